"""Which server is sent the key: never one that could not be meant."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from .errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .hosts import Host

#: The only server that a key of the environment goes to.
_CLOUD: Final = "https://ollama.com:443"
_KEY: Final = re.compile(r"[\x21-\x7e]+")


def authorization(
    host: Host, api_key: str | None, headers: Mapping[str, str], *, allow_plain_http: bool
) -> dict[str, str]:
    """Return the header that carries the key, or nothing.

    ``$OLLAMA_API_KEY`` goes to ``https://ollama.com`` and nowhere else; a key that is passed goes to any
    https host, and over plain http only if that is allowed.

    Raises:
        InvalidArgument: The key would be sent in the clear, or is none. Its text is in no message.
    """
    given = any(name.lower() == "authorization" for name in headers)
    if api_key is None:
        key = os.environ.get("OLLAMA_API_KEY", "").strip() if host.dial_url == _CLOUD else ""
        return {} if given or not key else _bearer(key, "OLLAMA_API_KEY")
    if given:
        raise InvalidArgument(
            "api_key and headers['Authorization'] are both given: leave one out", argument="api_key"
        )
    if host.scheme != "https" and not allow_plain_http:
        raise InvalidArgument(
            f"api_key would cross the network in the clear to {host.dial_url}: use https, or pass "
            "allow_plain_http_key=True where nobody can listen",
            argument="api_key",
        )
    return _bearer(api_key, "api_key")


def _bearer(key: Any, argument: str) -> dict[str, str]:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InvalidArgument(
            f"{argument} must be a key of printable ASCII characters, without spaces", argument="api_key"
        )
    return {"Authorization": f"Bearer {key}"}
