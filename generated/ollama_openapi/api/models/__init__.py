"""The operations with the tag `models`, a module each, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import (
        copy_model,
        create_model,
        delete_model,
        head_models,
        list_models,
        list_running,
        pull_model,
        push_model,
        recommend_models,
        show_model,
    )
else:
    from ...lazy import lazy_modules

    __getattr__, __dir__ = lazy_modules(
        __name__,
        (
            "copy_model",
            "create_model",
            "delete_model",
            "head_models",
            "list_models",
            "list_running",
            "pull_model",
            "push_model",
            "recommend_models",
            "show_model",
        ),
    )

__all__ = (
    "copy_model",
    "create_model",
    "delete_model",
    "head_models",
    "list_models",
    "list_running",
    "pull_model",
    "push_model",
    "recommend_models",
    "show_model",
)
