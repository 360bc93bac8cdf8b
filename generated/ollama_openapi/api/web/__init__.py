"""The operations with the tag `web`, a module each, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import web_fetch, web_search
else:
    from ...lazy import lazy_modules

    __getattr__, __dir__ = lazy_modules(__name__, ("web_fetch", "web_search"))

__all__ = ("web_fetch", "web_search")
