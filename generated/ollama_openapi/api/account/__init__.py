"""The operations with the tag `account`, a module each, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import delete_user_key, sign_out, whoami
else:
    from ...lazy import lazy_modules

    __getattr__, __dir__ = lazy_modules(__name__, ("delete_user_key", "sign_out", "whoami"))

__all__ = ("delete_user_key", "sign_out", "whoami")
