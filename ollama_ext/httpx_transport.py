"""Our transport for an `httpx.Client` of yours, such as the one under the generated package.

    http = httpx.Client(transport=HTTPTransport())
    client = ollama_openapi.Client("http://127.0.0.1:11434", http_client=http)

`ollama_ext.Client` does not need it: it calls the transport directly.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final

import httpx

from .errors import (
    ConnectionFailed,
    ConnectTimeout,
    FirstByteTimeout,
    InvalidResponse,
    OllamaError,
    OllamaTimeout,
)
from .timeouts import Timeouts
from .transport.direct import Direct, chunked
from .transport.exchange import Exchange
from .transport.limits import Limits
from .transport.settings import TransportSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Iterable, Iterator

#: What would make one header, or one request, two.
_BREAK: Final = re.compile(rb"[\r\n\0]")

#: What methods and the names of headers consist of.
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: The least and the most that a limit can be, in seconds; httpx knows no bounds.
_SHORTEST: Final = 0.001
_LONGEST: Final = 2_000_000.0


class HTTPTransport(httpx.BaseTransport):
    """HTTP/1.1 over sockets of our own, to any number of servers; no proxies.

    A stream costs a third of what it costs with httpx's own transport. ``connect`` and ``read`` of
    `httpx.Timeout` hold as there; ``read`` also is the limit on writing and on the wait for a connection.

    Args:
        verify: Which certificates to trust: True, False or a context of your own.
        max_connections: How many connections to one server may be open at a time, or None.
        max_idle_connections: How many are kept for later requests.
    """

    def __init__(
        self,
        *,
        verify: ssl.SSLContext | bool = True,
        max_connections: int | None = None,
        max_idle_connections: int = 20,
    ) -> None:
        """Open nothing yet."""
        self._settings = TransportSettings(
            verify=verify, max_connections=max_connections, max_idle_connections=max_idle_connections
        )
        self._lock = threading.Lock()
        self._servers: dict[str, Direct] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of the response is read when it is asked for.

        Raises:
            httpx.TransportError: There is no answer.
        """
        if request.url.scheme not in {"http", "https"}:
            raise httpx.UnsupportedProtocol(
                f"{request.url.scheme!r} is neither http nor https", request=request
            )
        head, content = _head(request), _content(request)
        limits = Limits(_timeouts(request.extensions.get("timeout", {})))
        try:
            exchange = Exchange(self._server(request.url).pool, _origin(request.url), limits, request.method)
            exchange.start(head, content)
        except OllamaError as error:
            raise _theirs(error, request) from error
        return httpx.Response(
            exchange.status,
            headers=exchange.raw_headers,
            stream=_Body(exchange, limits, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _server(self, url: httpx.URL) -> Direct:
        origin = _origin(url)
        with self._lock:
            server = self._servers.get(origin)
            if server is None:
                server = self._servers[origin] = Direct(origin, self._settings)
            return server

    def close(self) -> None:
        """Close every connection."""
        for server in self._servers.values():
            server.close()


class _Body(httpx.SyncByteStream):
    """The body of a response, as it came."""

    def __init__(self, exchange: Exchange, limits: Limits, request: httpx.Request) -> None:
        self._exchange = exchange
        self._limits = limits
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        return self._iterate()

    def _iterate(self) -> Generator[bytes]:
        try:
            yield from self._exchange.raw_reads(self._limits.timeouts.between)
        except OllamaError as error:
            raise _theirs(error, self._request) from error

    def close(self) -> None:
        self._exchange.close()


def _origin(url: httpx.URL) -> str:
    host = url.raw_host.decode("ascii")
    name = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{name}" + (f":{url.port}" if url.port else "")


def _timeouts(given: dict[str, float | None]) -> Timeouts:
    connect, read = (
        None if seconds is None else min(max(seconds, _SHORTEST), _LONGEST)
        for seconds in (given.get("connect"), given.get("read"))
    )
    return Timeouts(connect=connect, first_byte=read, between=read)


def _head(request: httpx.Request) -> bytes:
    method = request.method.encode("ascii", "replace")
    headers = request.headers.raw
    for token in (method, *(name for name, _ in headers)):
        if not _TOKEN.fullmatch(token):
            raise httpx.LocalProtocolError(f"not a method or name of a header: {token!r}", request=request)
    for name, value in headers:
        if _BREAK.search(value):
            raise httpx.LocalProtocolError(f"the header {name!r} has a line break or zero", request=request)
    lines = [b"%s %s HTTP/1.1" % (method, request.url.raw_path), *(b"%s: %s" % header for header in headers)]
    return b"\r\n".join([*lines, b"", b""])


def _content(request: httpx.Request) -> bytes | Iterable[bytes]:
    stream = request.stream
    if not isinstance(stream, httpx.SyncByteStream):
        raise TypeError("an asynchronous body cannot be sent by a synchronous transport")
    if "transfer-encoding" in request.headers:
        return chunked(stream)
    sized = _sized(request, stream)
    return b"".join(sized) if isinstance(stream, httpx.ByteStream) else sized


def _sized(request: httpx.Request, pieces: Iterable[bytes]) -> Generator[bytes]:
    """Yield a body of as many bytes as its header says: others would be the start of the next request."""
    length = request.headers.get("content-length", "0")
    missing = int(length) if length.isdecimal() else -1
    for piece in pieces:
        missing -= len(piece)
        if missing < 0:
            break
        yield piece
    if missing:
        raise httpx.LocalProtocolError(f"the body is not of Content-Length {length!r}", request=request)


def _theirs(error: OllamaError, request: httpx.Request) -> httpx.TransportError:
    kind: type[httpx.TransportError] = httpx.ReadError
    if isinstance(error, ConnectTimeout):
        kind = httpx.ConnectTimeout
    elif isinstance(error, FirstByteTimeout | OllamaTimeout):
        kind = httpx.ReadTimeout
    elif isinstance(error, InvalidResponse):
        kind = httpx.RemoteProtocolError
    elif isinstance(error, ConnectionFailed):
        broken = httpx.ReadError if isinstance(error.__cause__, OSError) else httpx.RemoteProtocolError
        kind = httpx.ConnectError if error.stage == "connect" else broken
    return kind(error.message, request=request)
