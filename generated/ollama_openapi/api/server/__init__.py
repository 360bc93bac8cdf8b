"""The operations with the tag `server`, a module each, imported when first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import head_root, head_version, ping, server_status, server_version

__all__ = (
    "head_root",
    "head_version",
    "ping",
    "server_status",
    "server_version",
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
