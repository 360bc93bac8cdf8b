"""A client library for accessing Ollama"""

from .client import Client
from .errors import ApiError, InvalidBody
from .types import UNSET, Unset

__all__ = ("UNSET", "ApiError", "Client", "InvalidBody", "Unset")
