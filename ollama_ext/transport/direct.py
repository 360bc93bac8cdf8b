"""The way to a server without a proxy: our own connections, our own HTTP/1.1."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ollama_ext.errors import ConnectionFailed, ConnectTimeout

from .connection import dial
from .exchange import Exchange
from .headers import DEFAULT_HEADERS, encoded_headers, host_header, merged
from .pool import Pool
from .tls import tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from ollama_openapi.types import Request

    from .connection import Connection
    from .limits import Limits
    from .settings import TransportSettings

#: Seconds for which an idle connection is kept.
_IDLE_LIMIT: Final = 60.0

#: How many blocks of headers are kept encoded: most calls have one of two or three.
_MOST_HEADS: Final = 32

_CONNECT_REMEDY: Final = (
    "is Ollama running there, and is that the right address (OLLAMA_HOST, or Client(host=...))?"
)

_UNTRUSTED: Final = "its certificate is not trusted: for one of your own, set SSL_CERT_FILE or verify="

#: What to do about a certificate, by OpenSSL's words for what is wrong with it.
_CERTIFICATE_REMEDIES: Final = {
    "has expired": "renew it on the server; is the clock of this machine right?",
    "not yet valid": "is the clock of this machine right?",
    "mismatch": "its certificate is for another name: is the address right?",
}


class Direct:
    """The connections to one server, and the requests that go out on them. May be used from many threads."""

    def __init__(self, url: str, settings: TransportSettings) -> None:
        """Take note of where the server is; nothing is opened yet."""
        parts = urlsplit(url)
        self._url = url
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._settings = settings
        self._context: ssl.SSLContext | None = None
        self._prefix = parts.path
        self._headers = {**DEFAULT_HEADERS, "Host": host_header(self._host, self._port, tls=self._tls)}
        self._heads: dict[tuple[tuple[str, str], ...], bytes] = {}
        self.pool: Pool[Connection] = Pool(
            self._connect, settings.max_connections, settings.max_idle_connections, _IDLE_LIMIT
        )

    def open(self, request: Request, headers: Mapping[str, str], limits: Limits) -> Exchange:
        """Send a request and return as soon as the status is there; the body is still to be read."""
        content = request.content
        body: bytes | Iterable[bytes]
        if content is None:
            framing, body = b"" if request.method in {"GET", "HEAD"} else b"Content-Length: 0\r\n", b""
        elif isinstance(content, bytes):
            framing, body = b"Content-Length: %d\r\n" % len(content), content
        else:
            framing, body = self._streamed(request, content)
        exchange = Exchange(self.pool, self._url, limits, request.method)
        exchange.start(self._head(request, headers) + framing + b"\r\n", body)
        return exchange

    def _streamed(self, request: Request, content: Iterable[bytes]) -> tuple[bytes, Iterable[bytes]]:
        if (length := request.headers.get("Content-Length")) is not None:
            return b"Content-Length: %d\r\n" % int(length), content
        return b"Transfer-Encoding: chunked\r\n", chunked(content)

    def _head(self, request: Request, headers: Mapping[str, str]) -> bytes:
        """Return request line and headers, without those that frame the body."""
        line = f"{request.method} {self._prefix}{request.path} HTTP/1.1\r\n".encode("ascii")
        key = (*request.headers.items(), *headers.items())
        head = self._heads.get(key)
        if head is None:
            head = encoded_headers(merged(merged(self._headers, request.headers), headers))
            if "Content-Length" not in request.headers and len(self._heads) < _MOST_HEADS:
                self._heads[key] = head
        return line + head

    def _connect(self, limits: Limits) -> Connection:
        limit = limits.left(limits.timeouts.connect)
        try:
            if self._tls and self._context is None:
                self._context = tls_context(self._settings)
            return dial(self._host, self._port, limit, self._context, self._host)
        except TimeoutError as error:
            if error.errno is not None:  # the system's own patience ended before ours
                raise connect_failure(self._url, error) from error
            if limits.ran_out(limit):
                raise limits.total_timeout() from error
            raise ConnectTimeout(
                f"no connection to {self._url} within {limits.timeouts.connect:g} s (Timeouts.connect); "
                "is the address right (OLLAMA_HOST, or Client(host=...))?"
            ) from error
        except OSError as error:
            raise connect_failure(self._url, error) from error

    def disown(self) -> None:
        """Leave every connection to the parent of this process."""
        self.pool.disown()

    def close(self) -> None:
        """Close every connection."""
        self.pool.close()


def connect_failure(url: str, error: Exception, *, hint: str = "") -> ConnectionFailed:
    """Return the error of a connection that could not be made."""
    remedy, retryable = _CONNECT_REMEDY, True
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        known = (remedy for words, remedy in _CERTIFICATE_REMEDIES.items() if words in text)
        remedy, retryable = next(known, _UNTRUSTED), False
    elif "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        remedy, retryable = "does it speak plain http: is it http://, not https://?", False
    elif isinstance(error, socket.gaierror):
        remedy = "no such host name is known: is the address right (OLLAMA_HOST, or Client(host=...))?"
    failure = ConnectionFailed(f"cannot connect to {url} ({text}); {remedy}{hint}")
    failure.retryable = retryable
    return failure


def chunked(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Yield a body whose length nobody knows yet, framed as HTTP/1.1 frames it."""
    for piece in pieces:
        if piece:
            yield b"%x\r\n" % len(piece)
            yield piece
            yield b"\r\n"
    yield b"0\r\n\r\n"
