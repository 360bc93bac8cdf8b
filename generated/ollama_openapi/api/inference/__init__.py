"""The operations with the tag `inference`, a module each, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import chat, embed, embed_legacy, generate
else:
    from ...lazy import lazy_modules

    __getattr__, __dir__ = lazy_modules(__name__, ("chat", "embed", "embed_legacy", "generate"))

__all__ = ("chat", "embed", "embed_legacy", "generate")
