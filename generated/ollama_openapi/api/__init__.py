"""The operations, a package for each tag of the spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import account, blobs, inference, models, server, web
else:
    from ..lazy import lazy_modules

    __getattr__, __dir__ = lazy_modules(
        __name__, ("account", "blobs", "inference", "models", "server", "web")
    )

__all__ = ("account", "blobs", "inference", "models", "server", "web")
