"""Headers of requests."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from ollama_ext.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Sent with every request, unless the caller says otherwise.
DEFAULT_HEADERS: Final = {
    "User-Agent": f"ollama-ext/{__version__} (Python {platform.python_version()})",
    "Accept": "application/json, application/x-ndjson",
    "Accept-Encoding": "identity",  # a compressor in between would hold tokens back
}

_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})


def merged(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Return both; where names are the same, whatever their case, the second wins."""
    if not second:
        return dict(first)
    names = {name.lower() for name in second}
    return {**{name: value for name, value in first.items() if name.lower() not in names}, **second}


def encoded_headers(headers: Mapping[str, str]) -> bytes:
    """Return headers as bytes, but those that frame the body."""
    lines = (f"{name}: {value}\r\n" for name, value in headers.items() if name.lower() not in _FRAMING)
    return "".join(lines).encode("latin-1")


def host_header(host: str, port: int, *, tls: bool) -> str:
    """Return the value of the Host header."""
    host = host.partition("%")[0]  # the zone of an IPv6 address is nobody else's business
    name = f"[{host}]" if ":" in host else host
    return name if port == (443 if tls else 80) else f"{name}:{port}"
