"""A client of Ollama's HTTP API, compiled from an OpenAPI description of it.

`Client` says where the server is, `ollama_openapi.api` has a module for each operation, and
`ollama_openapi.models` what they take and return. Only what is used is imported, the HTTP stack included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ApiError, InvalidBody
from .types import UNSET, File, Unset

if TYPE_CHECKING:
    from .client import Client
else:
    from .lazy import lazy_members

    __getattr__, __dir__ = lazy_members(__name__, {"Client": "client"})

__all__ = ("UNSET", "ApiError", "Client", "File", "InvalidBody", "Unset")
