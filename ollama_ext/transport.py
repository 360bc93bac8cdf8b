"""The one module that knows the HTTP stack: requests go out here, answers come in, nothing of httpx does.

Whatever fails on the way is `ConnectionFailed` or `OllamaTimeout`; a body that cannot be unpacked is
`InvalidResponse`.
"""

from __future__ import annotations

import platform
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.request import getproxies, proxy_bypass

import msgspec

from .errors import (
    ConnectionFailed,
    InvalidArgument,
    InvalidResponse,
    OllamaError,
    OllamaTimeout,
    RequestInfo,
)
from .version import __version__

# httpx brings a command of its own, for which it would import click and rich wherever they are installed.
_COMMAND: Final = "httpx._main"
_modules = cast("dict[str, Any]", sys.modules)  # None in there: cannot be imported
_hidden = "httpx" not in sys.modules and _modules.setdefault(_COMMAND, None) is None

import httpx  # noqa: E402 - the command must be hidden by then

if _hidden:
    del sys.modules[_COMMAND]

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from ollama_openapi.types import Request

    from .hosts import Host

#: Seconds. Reading waits as long as a queue and the load of a large model may take.
_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=600.0, write=600.0, pool=600.0)

#: A call never waits for another one's connection; idle connections beyond 20 are closed.
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20)

#: Whether the limit on reading can be left to the kernel, see `_stack`.
_KERNEL_LIMITS: Final = sys.platform != "win32"

#: Seconds that a finished stream waits for the end of its body, to use the connection again.
_DRAIN_LIMIT: Final = 1.0


class Answer(msgspec.Struct, frozen=True):
    """An answer in full."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """A pool of connections to one server. May be used from many threads."""

    def __init__(self, host: Host, headers: Mapping[str, str]) -> None:
        """Take note of where the server is, and of headers to send with every request."""
        self._host = host
        self._url = host.dial_url
        try:
            httpx.URL(self._url)
        except (httpx.InvalidURL, UnicodeError) as error:  # names that IDNA does not know
            raise InvalidArgument(
                f"the host {self._url!r} has no valid name: {error}", argument="host"
            ) from None
        self._http = _stack(host)
        self._http.headers.update(headers)

    def info(self, request: Request) -> RequestInfo:
        """Return what an error may say about a request."""
        return RequestInfo(method=request.method, url=self._url + request.path)

    def send(self, request: Request, headers: Mapping[str, str]) -> Answer:
        """Send a request and return the whole answer, whatever its status."""
        with self.errors(request):
            response = self._http.send(self._build(request, headers))
        return Answer(response.status_code, response.headers, response.content)

    def open(self, request: Request, headers: Mapping[str, str]) -> OpenAnswer:
        """Send a request and return as soon as the status is there; the body is still to be read."""
        with self.errors(request):
            response = self._http.send(self._build(request, headers), stream=True)
        return OpenAnswer(self, request, response)

    def _build(self, request: Request, headers: Mapping[str, str]) -> httpx.Request:
        merged = httpx.Headers(request.headers)
        merged.update(headers)  # whatever the case of the names, each is sent once
        return self._http.build_request(
            request.method, self._url + request.path, headers=merged, content=request.content
        )

    @contextmanager
    def errors(self, request: Request) -> Generator[None]:
        """Turn what the stack raises inside the ``with`` block into our errors."""
        try:
            yield
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, OSError) as error:
            ours = self._error(error)
            ours.request = self.info(request)
            raise ours from error
        except RuntimeError as error:
            if not self._http.is_closed:
                raise
            raise OllamaError("this client is closed: make a new one", request=self.info(request)) from error

    def _is_proxied(self) -> bool:
        names = {self._host.scheme, "all"} & getproxies().keys()
        return bool(names) and not self._host.is_loopback and not proxy_bypass(self._host.host)

    def _error(self, error: Exception) -> OllamaError:
        if isinstance(error, httpx.ConnectTimeout):
            return OllamaTimeout(
                f"no connection to {self._url} within {_TIMEOUT.connect:g} s; "
                "is the address right (OLLAMA_HOST, or Client(host=...))?"
            )
        if isinstance(error, httpx.TimeoutException) or _ran_out(error):
            return OllamaTimeout(f"{self._url} was silent for {_TIMEOUT.read:g} s")
        if isinstance(error, httpx.ConnectError):
            remedy = (
                "is Ollama running there, and is that the right address (OLLAMA_HOST, or Client(host=...))?"
            )
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                remedy = "its certificate is not trusted: for one of your own, set SSL_CERT_FILE"
            elif "WRONG_VERSION_NUMBER" in str(error):
                remedy = "does it speak plain http: is it http://, not https://?"
            elif self._is_proxied():
                remedy += (
                    " The environment names a proxy (HTTP_PROXY, HTTPS_PROXY or ALL_PROXY), which is in "
                    f"between: to go there directly, set NO_PROXY={self._host.host}"
                )
            return ConnectionFailed(f"cannot connect to {self._url} ({error}); {remedy}")
        if isinstance(error, httpx.DecodingError):
            return InvalidResponse(f"the body of the answer is not compressed as its headers say: {error}")
        what = "this client was closed" if self._http.is_closed else str(error) or type(error).__name__
        broken = ConnectionFailed(f"the connection to {self._url} broke: {what}")
        broken.retryable = not self._http.is_closed
        return broken

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


def _ran_out(error: BaseException) -> bool:
    """Whether the kernel's limit on reading is at the root of an error."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return isinstance(error, BlockingIOError)


def _stack(host: Host) -> httpx.Client:
    timeout, transport = _TIMEOUT, None
    try:
        if host.is_loopback:  # a transport of its own, because proxies cannot reach this machine
            # Plain http needs no certificates, and loading them takes longer than everything else here.
            plain = host.scheme == "http"
            options: list[tuple[int, int, bytes]] = []
            if plain and _KERNEL_LIMITS:
                # With a limit, Python polls before every read: one system call more for every token. The
                # kernel keeps the same limit for nothing. (Not with TLS, which would try again for ever.)
                limit = _TIMEOUT.read or 0.0
                timeval = struct.pack("@ll", int(limit), int(limit % 1 * 1_000_000))
                options.append((socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval))
                timeout = httpx.Timeout(
                    connect=_TIMEOUT.connect, read=None, write=_TIMEOUT.write, pool=_TIMEOUT.pool
                )
            transport = httpx.HTTPTransport(verify=not plain, limits=_LIMITS, socket_options=options)
        return httpx.Client(
            headers={
                "User-Agent": f"ollama-ext/{__version__} (Python {platform.python_version()})",
                "Accept": "application/json, application/x-ndjson",
                "Accept-Encoding": "identity",  # a compressor in between would hold tokens back
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none: calls share no state
            timeout=timeout,
            limits=_LIMITS,
            transport=transport,
        )
    except (ValueError, ImportError, httpx.InvalidURL, OSError) as error:
        raise InvalidArgument(
            "the environment's proxies (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY) or certificates "
            f"(SSL_CERT_FILE, SSL_CERT_DIR) cannot be used: {error}"
        ) from error


class OpenAnswer:
    """An answer whose body is still arriving. Close it, or drop it: either way the connection ends.

    Attributes:
        status: The HTTP status.
        headers: Their names in any case.
    """

    def __init__(self, transport: Transport, request: Request, response: httpx.Response) -> None:
        """Take over a response whose status and headers are there."""
        self._transport = transport
        self._request = request
        self._response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._encoded = response.headers.get("content-encoding", "identity") != "identity"
        # Not iter_raw(): at the end that hands the connection back, which is for close() to do.
        stream = cast("httpx.SyncByteStream", response.stream)
        self._reads: Iterator[bytes] = response.iter_bytes() if self._encoded else iter(stream)

    def reads(self) -> Iterable[bytes]:
        """Yield the body piece by piece, each as soon as it arrives."""
        with self._transport.errors(self._request):
            yield from self._reads

    def read(self) -> bytes:
        """Return all that is still to come."""
        return b"".join(self.reads())

    def drain(self) -> None:
        """Read the end of a body whose content is complete, so that the connection can be used again.

        Nothing depends on it: it gives up after a second, and no failure comes out of it.
        """
        if self.closed:
            return
        try:
            if not self._encoded:
                self._read_end()
        except (httpx.HTTPError, httpx.StreamError, OSError, RuntimeError):
            pass  # the reply is whole; only the connection is lost
        finally:
            self.close()

    def _read_end(self) -> None:
        connection = self._response.extensions["network_stream"]
        if connection.get_extra_info("is_readable"):
            next(self._reads, b"")
            return
        # The stack may hold the end already. Or the server owes it, and the stack would wait for it for as
        # long as for a token.
        watchdog = _Watchdog(connection.get_extra_info("socket"), _DRAIN_LIMIT)
        try:
            next(self._reads, b"")
        finally:
            watchdog.call_off()  # before close(): from then on another thread may own the connection

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._response.is_closed

    def close(self) -> None:
        """Close the connection, or hand it back if the body was read to its end."""
        self._response.close()

    def __del__(self) -> None:
        """Close the connection of an answer that nobody waits for any more: the server then stops."""
        with suppress(Exception):  # nobody could catch it
            self.close()


class _Watchdog:
    """Shuts a socket down when its time is up, unless it was called off: then never, and surely."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._on_duty = True
        self._timer = threading.Timer(seconds, self._shut_down)
        self._timer.daemon = True
        self._timer.start()

    def _shut_down(self) -> None:
        with self._lock:
            if self._on_duty:
                with suppress(OSError):  # closed meanwhile
                    self._connection.shutdown(socket.SHUT_RDWR)

    def call_off(self) -> None:
        with self._lock:
            self._on_duty = False
        self._timer.cancel()
