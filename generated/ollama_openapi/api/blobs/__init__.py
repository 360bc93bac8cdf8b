"""The operations with the tag `blobs`, a module each, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import check_blob, push_blob
else:
    from ...lazy import lazy_modules

    __getattr__, __dir__ = lazy_modules(__name__, ("check_blob", "push_blob"))

__all__ = ("check_blob", "push_blob")
