"""What a client says about its connections."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ollama_ext.errors import InvalidArgument


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect; the parameters of `Client` of the same names.

    Attributes:
        verify: Which certificates to trust: True, False, or a context of your own.
        proxy: URL of a proxy, or None for those of the environment.
        trust_env: Whether the environment's proxies and certificates count.
        max_connections: How many connections may be open at a time, or None.
        max_idle_connections: How many are kept for later calls.
    """

    verify: ssl.SSLContext | bool = True
    proxy: str | None = None
    trust_env: bool = True
    max_connections: int | None = None
    max_idle_connections: int = 20

    def __repr__(self) -> str:
        """Leave out the proxy, whose URL may hold a password."""
        proxy = None if self.proxy is None else "..."
        return (
            f"TransportSettings(verify={self.verify}, proxy={proxy}, trust_env={self.trust_env}, "
            f"max_connections={self.max_connections}, max_idle_connections={self.max_idle_connections})"
        )

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        if not isinstance(self.verify, ssl.SSLContext | bool):
            raise InvalidArgument(
                f"verify must be True, False or an ssl.SSLContext, not {type(self.verify).__name__}: for a "
                "certificate file, pass ssl.create_default_context(cafile=...)",
                argument="verify",
            )
        if self.proxy is not None:
            check_proxy(self.proxy, "proxy")
        if self.max_connections is not None:
            _check_count(self.max_connections, "max_connections", least=1)
        _check_count(self.max_idle_connections, "max_idle_connections", least=0)


def _check_count(value: Any, name: str, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgument(
            f"{name} must be a whole number from {least} on, not {value!r:.40}", argument=name
        )


def check_proxy(proxy: Any, what: str) -> None:
    """Refuse what is no URL of a proxy.

    Args:
        proxy: The URL. It is not in the message: it may hold a password.
        what: How to call it there.

    Raises:
        InvalidArgument: It is none.
    """
    parts = None
    try:
        parts = urlsplit(proxy) if isinstance(proxy, str) else None
        usable = parts is not None and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts is None or parts.scheme not in {"http", "https", "socks5", "socks5h"}:
        raise InvalidArgument(
            f"{what} must be a URL such as 'http://proxy:3128' (http, https, socks5 or socks5h)",
            argument="proxy",
        )
