"""The way through a proxy: httpx, which knows every kind of them.

Each request has a connection of its own, so that deadlines and cancellation can reach its socket from the
moment it is connected; a `Pool` counts them, and ends them when the client is closed. Proxies are for servers
far away, where that costs little in comparison.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.request import getproxies, proxy_bypass

from ollama_ext.cancel import weakly
from ollama_ext.errors import (
    Cancelled,
    ConnectionFailed,
    ConnectTimeout,
    IdleTimeout,
    InvalidArgument,
    InvalidResponse,
    OllamaError,
)

from .content import decompressed, is_compressed
from .direct import connect_failure
from .headers import DEFAULT_HEADERS, merged
from .message import MalformedAnswer
from .pool import Pool
from .settings import check_proxy
from .tls import tls_context

# httpx brings a command of its own, for which it would import click and rich wherever they are installed.
_COMMAND: Final = "httpx._main"
_modules = cast("dict[str, Any]", sys.modules)  # None in there: cannot be imported
_hidden = "httpx" not in sys.modules and _modules.setdefault(_COMMAND, None) is None

import httpx  # noqa: E402 - the command must be hidden by then

if _hidden:
    del sys.modules[_COMMAND]

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from ollama_openapi.types import Request

    from ollama_ext.errors import OllamaTimeout, Stage
    from ollama_ext.hosts import Host

    from .limits import Limits
    from .settings import TransportSettings

_HINT: Final = (
    " A proxy is in between (proxy=, or HTTP_PROXY, HTTPS_PROXY, ALL_PROXY in the environment): to go there "
    "directly, set NO_PROXY."
)

_OF_THE_ENVIRONMENT: Final = (
    "the proxy of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY; to go there directly, set NO_PROXY)"
)


_CANNOT_BE_USED: Final = (
    "the proxy (proxy=, or HTTP_PROXY, HTTPS_PROXY, ALL_PROXY in the environment) cannot be used"
)


def proxy_for(host: Host) -> str | None:
    """Return the proxy that the environment names for a host, or None.

    Raises:
        InvalidArgument: It names one that is none.
    """
    proxies = getproxies()
    proxy = proxies.get(host.scheme) or proxies.get("all")
    if proxy is None or proxy_bypass(host.host) or proxy_bypass(f"{host.host}:{host.port}"):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    check_proxy(proxy, _OF_THE_ENVIRONMENT)
    return proxy


class Proxied:
    """Requests to one server through a proxy. May be used from many threads."""

    def __init__(self, url: str, proxy: str, settings: TransportSettings) -> None:
        """Take note of where server and proxy are; nothing is opened yet.

        Raises:
            InvalidArgument: httpx cannot use the proxy.
        """
        self.url = url
        self.pool: Pool[_Line] = Pool(
            lambda _: _Line(), settings.max_connections, most_idle=0, idle_limit=0.0
        )
        secure = url.startswith("https:") or proxy.startswith("https:")
        context = tls_context(settings) if secure else None
        try:
            self.http: httpx.Client = httpx.Client(
                headers=DEFAULT_HEADERS,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none: calls share no state
                proxy=httpx.Proxy(proxy, ssl_context=context if proxy.startswith("https:") else None),
                trust_env=False,
                verify=context or False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        except ImportError as error:
            raise InvalidArgument(f"{_CANNOT_BE_USED}: {error}", argument="proxy") from None
        except (ValueError, httpx.InvalidURL):  # whose texts may hold a part of the password
            raise InvalidArgument(f"{_CANNOT_BE_USED}: it is no URL", argument="proxy") from None

    def open(self, request: Request, headers: Mapping[str, str], limits: Limits) -> _ProxiedAnswer:
        """Send a request and return as soon as the status is there; the body is still to be read."""
        return _ProxiedAnswer(self, request, headers, limits)

    def disown(self) -> None:
        """Use none of them any more: this is a child that was forked."""
        self.pool.disown()

    def close(self) -> None:
        """Close every connection."""
        self.pool.close()  # httpx holds none but those in use


class _Line:
    """The socket of one request, that any thread can end, also before there is one."""

    reused = False
    idle_since = 0.0

    def __init__(self) -> None:
        # Reentrant, for the handler of a signal may end what the very same thread is doing.
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._over = False

    def carry(self, connected: socket.socket) -> None:
        """Take note of the socket."""
        with self._lock:
            # A descriptor of our own: TLS, once or twice, takes the first one away from its socket.
            self._socket = connected.dup()
            if self._over:
                self.shut_down()

    def is_stale(self) -> bool:
        """None is ever used again."""
        return True

    def shut_down(self) -> None:
        """End it: whoever waits for it is woken at once."""
        with self._lock:
            self._over = True
            if self._socket is not None:
                with suppress(OSError):  # it has ended by itself
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close our descriptor."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class _ProxiedAnswer:
    """A request on a connection of its own, and its answer."""

    def __init__(self, way: Proxied, request: Request, headers: Mapping[str, str], limits: Limits) -> None:
        self._way = way
        self._limits = limits
        self._response: httpx.Response | None = None
        self._ended: OllamaError | None = None  # what a cancellation or a limit makes of any failure
        self._of_the_body: Exception | None = None
        self._hook = 0
        self._timers: list[threading.Timer] = []
        self.closed: bool = False
        self._line = way.pool.take(limits)
        if limits.cancel is not None:
            self._hook = limits.cancel.attach(weakly(self.cancel))
        try:
            self._connecting = self._after(limits.timeouts.connect, self._expire_connecting)
            self._after(limits.left(None), self._expire)
            self._request = self._built(request, headers)
            self._response = way.http.send(self._request, stream=True)
        except _FAILURES as error:
            self.close()
            if self._is_of_the_body(error):
                raise
            raise self._failed(error, "send", limits.timeouts.first_byte) from _cause(error)
        except BaseException:  # Ctrl-C
            self.close()
            raise
        self.status: int = self._response.status_code
        self.headers: Mapping[str, str] = {
            key.lower(): value for key, value in self._response.headers.items()
        }

    def _built(self, request: Request, headers: Mapping[str, str]) -> httpx.Request:
        timeouts = self._limits.timeouts
        content = request.content
        return self._way.http.build_request(
            request.method,
            self._way.url + request.path,
            headers=merged(request.headers, headers),
            content=content if content is None or isinstance(content, bytes) else self._sent(content),
            timeout=httpx.Timeout(
                connect=self._limits.left(timeouts.connect),
                read=timeouts.first_byte,
                write=timeouts.between,
                pool=None,
            ),
            extensions={"trace": weakly(self._trace)},
        )

    def _is_of_the_body(self, error: Exception) -> bool:
        return error is self._of_the_body

    def _sent(self, content: Iterable[bytes]) -> Generator[bytes]:
        try:
            yield from content
        except Exception as error:
            self._of_the_body = error  # the caller's own, such as a file that cannot be read
            raise

    # -- waiting

    def _after(self, seconds: float | None, expire: Callable[[], None]) -> threading.Timer | None:
        if seconds is None:
            return None
        timer = threading.Timer(seconds, weakly(expire))
        timer.daemon = True
        timer.start()
        self._timers.append(timer)
        return timer

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the socket as soon as there is one, and of when it reaches the server."""
        if event.endswith("connect_tcp.complete"):
            connected = info["return_value"].get_extra_info("socket")
            if isinstance(connected, socket.socket):
                self._line.carry(connected)
        elif event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            if self._connecting is not None:
                self._connecting.cancel()
            self._connecting = None

    @property
    def cancelled(self) -> bool:
        return isinstance(self._ended, Cancelled)

    def cancel(self) -> None:
        self._end(Cancelled("the call was cancelled"))

    def _expire(self) -> None:
        self._end(self._limits.total_timeout())

    def _expire_connecting(self) -> None:
        # httpx has no limit on how long a proxy may take to reach the server.
        if self._connecting is not None:
            self._end(_connect_timeout(self._way.url, self._limits))

    def _end(self, error: OllamaError) -> None:
        self._ended = error
        self._line.shut_down()

    # -- the answer

    def reads(self, limit: float | None) -> Generator[bytes]:
        response = self._response
        if response is None:
            return
        timeout = cast("dict[str, float | None]", self._request.extensions["timeout"])
        timeout["read"] = limit  # httpcore looks it up when it starts on the body
        encoding = self.headers.get("content-encoding", "")
        body = cast("httpx.SyncByteStream", response.stream)
        try:
            yield from decompressed(encoding, body) if is_compressed(encoding) else body
        except _FAILURES as error:
            raise self._failed(error, "receive", limit) from _cause(error)
        finally:
            self.close()
        framed = bool(self.headers.keys() & {"content-length", "transfer-encoding"})
        if not framed and (self._ended is not None or self._way.pool.closed):
            # The connection was ended, and not by the server.
            raise self._failed(EOFError(), "receive", limit)

    def read(self, limit: float | None) -> bytes:
        return b"".join(self.reads(limit))

    def drain(self) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        for timer in self._timers:
            timer.cancel()
        if self._limits.cancel is not None:
            self._limits.cancel.detach(self._hook)
        if self._response is not None:
            self._response.close()
        self._way.pool.drop(self._line)

    def __del__(self) -> None:
        with suppress(Exception):  # nobody could catch it
            self.close()

    def _failed(self, error: Exception, stage: Stage, limit: float | None) -> OllamaError:
        """Return the error that the caller should see."""
        if self._ended is not None:
            return self._ended
        if isinstance(error, OllamaError):
            return error
        url = self._way.url
        if self._way.pool.closed:
            failure = ConnectionFailed(f"the connection to {url} broke: this client was closed", stage=stage)
            failure.retryable = False
            return failure
        return _translated(error, url, stage, self._limits, limit)


#: What can go wrong on the way; UnicodeError is of a name that is none.
_FAILURES: Final = (
    OllamaError,
    httpx.HTTPError,
    httpx.StreamError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    OSError,
    EOFError,
    UnicodeError,
    MalformedAnswer,
)


def _cause(error: Exception) -> Exception | None:
    """Return what to show as the cause of our error: what the stack said, not what we raised ourselves."""
    return None if isinstance(error, OllamaError | MalformedAnswer | EOFError) else error


def _translated(error: Exception, url: str, stage: Stage, limits: Limits, limit: float | None) -> OllamaError:
    if isinstance(error, httpx.TimeoutException) and (timeout := _timeout(error, url, stage, limits, limit)):
        return timeout
    if isinstance(error, httpx.ConnectError | httpx.ProxyError | httpx.ConnectTimeout | UnicodeError):
        failure = connect_failure(url, error, hint=_HINT)
        # A proxy that refuses (403, 407) refuses again.
        failure.retryable &= not (isinstance(error, httpx.ProxyError) and str(error).startswith("4"))
        return failure
    ended = "disconnected" in str(error) or "closed" in str(error)  # httpx has one class for both
    if isinstance(error, MalformedAnswer | httpx.DecodingError | httpx.ProtocolError) and not ended:
        return InvalidResponse(f"the answer of {url} is not HTTP: {error}")
    problem = str(error) or type(error).__name__
    return ConnectionFailed(f"the connection to {url} broke: {problem}", stage=stage)


def _timeout(
    error: httpx.TimeoutException, url: str, stage: Stage, limits: Limits, limit: float | None
) -> OllamaTimeout | None:
    """Return the error of a limit, or None where there was none: the system gave the peer up."""
    if isinstance(error, httpx.ConnectTimeout):
        limit = limits.timeouts.connect
    elif isinstance(error, httpx.WriteTimeout):
        limit = limits.timeouts.between
    if limits.ran_out(limit):
        return limits.total_timeout()
    if limit is None:
        return None
    if isinstance(error, httpx.ConnectTimeout):
        return _connect_timeout(url, limits)
    if isinstance(error, httpx.WriteTimeout):
        return IdleTimeout(
            f"the proxy took nothing of the request to {url} for {limit:g} s (Timeouts.between)"
        )
    return limits.silence(url, limit, answering=stage == "receive")


def _connect_timeout(url: str, limits: Limits) -> ConnectTimeout:
    return ConnectTimeout(
        f"no connection to {url} through the proxy within {limits.timeouts.connect:g} s (Timeouts.connect)."
        f"{_HINT}"
    )
