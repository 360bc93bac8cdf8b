"""The one place that knows sockets and HTTP: requests go out here, answers come in.

    settings     what a client says about its connections
    limits       how long one call may still take
    connection   a socket whose waits have limits, and that any thread can end
    pool         connections that are kept for the next call
    message      HTTP/1.1 in: bytes to status, headers, body
    content      bodies that a proxy compressed
    exchange     one request and its answer on one connection
    direct       the way to a server: `exchange` over `pool`
    forks        what happens to all of it in a child process
    proxied      the way through a proxy: httpx, imported only for that

Whatever fails is an error of `ollama_ext.errors`; nothing of httptools, ssl or httpx gets past this package.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from ollama_ext.errors import RequestInfo

from .direct import Direct
from .forks import forked, watch
from .settings import TransportSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ollama_openapi.types import Request

    from ollama_ext.hosts import Host

    from .limits import Limits

__all__ = ["Answer", "OpenAnswer", "Transport", "TransportSettings"]


class Answer(msgspec.Struct, frozen=True):
    """An answer in full. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class OpenAnswer(Protocol):
    """An answer whose body is still arriving. Close it, or drop it: either way the connection ends."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Their names in lower case."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        ...

    def reads(self, limit: float | None) -> Iterator[bytes]:
        """Yield the body piece by piece, each as soon as it arrives; silence may last ``limit`` seconds."""
        ...

    def read(self, limit: float | None) -> bytes:
        """Return all that is still to come; silence may last ``limit`` seconds."""
        ...

    def drain(self) -> None:
        """Read the end of a body whose content is complete, within a second and without failing."""
        ...

    def cancel(self) -> None:
        """End it from any thread: whoever reads it gets `Cancelled`."""
        ...

    def close(self) -> None:
        """Close the connection, or hand it back if the body was read to its end."""
        ...


class Transport:
    """The way to one server. May be used from many threads, but not across a fork."""

    def __init__(self, host: Host, settings: TransportSettings) -> None:
        """Take note of where the server is; nothing is opened yet.

        Raises:
            InvalidArgument: The host cannot be dialled, or the environment's proxy cannot be used.
        """
        self._url = host.dial_url
        self._forked = False
        self._way = _way_to(host, settings)
        watch(self)

    def info(self, request: Request) -> RequestInfo:
        """Return what an error may say about a request."""
        return RequestInfo(method=request.method, url=self._url + request.path)

    def open(self, request: Request, headers: Mapping[str, str], limits: Limits) -> OpenAnswer:
        """Send a request and return as soon as the status is there; the body is still to be read."""
        if self._forked:
            raise forked()
        return self._way.open(request, headers, limits)

    def send(self, request: Request, headers: Mapping[str, str], limits: Limits) -> Answer:
        """Send a request and return the whole answer, whatever its status."""
        answer = self.open(request, headers, limits)
        body = answer.read(limits.timeouts.first_byte)
        return Answer(answer.status, answer.headers, body)

    def disown(self) -> None:
        """Leave all connections to the parent: this is a child that was forked."""
        self._forked = True
        self._way.disown()

    def close(self) -> None:
        """Close every connection."""
        self._way.close()


class _Way(Protocol):
    def open(self, request: Request, headers: Mapping[str, str], limits: Limits) -> OpenAnswer: ...
    def disown(self) -> None: ...
    def close(self) -> None: ...


def _way_to(host: Host, settings: TransportSettings) -> _Way:
    if settings.proxy is not None or (
        settings.trust_env and not host.is_loopback and _environment_has_proxies()
    ):
        from .proxied import Proxied, proxy_for  # noqa: PLC0415 - httpx costs more than all the rest

        if (proxy := settings.proxy or proxy_for(host)) is not None:
            return Proxied(host.dial_url, proxy, settings)
    return Direct(host.dial_url, settings)


def _environment_has_proxies() -> bool:
    """Whether a look at the environment's proxies is worth its price (systems other than Linux have more)."""
    return (
        os.name == "nt"
        or os.uname().sysname == "Darwin"
        or any(name.lower().endswith("_proxy") for name in os.environ)
    )
