"""The operations with the tag `server`, a module each, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import head_root, head_version, ping, server_status, server_version
else:
    from ...lazy import lazy_modules

    __getattr__, __dir__ = lazy_modules(
        __name__, ("head_root", "head_version", "ping", "server_status", "server_version")
    )

__all__ = ("head_root", "head_version", "ping", "server_status", "server_version")
