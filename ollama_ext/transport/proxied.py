"""The way through a proxy: httpx, which knows every kind of them.

Each request has a connection of its own, so that deadlines and cancellation can reach its socket from the
moment it is connected. Proxies are for servers far away, where that costs little in comparison.
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
    InvalidArgument,
    InvalidResponse,
    OllamaError,
)

from .direct import connect_failure
from .headers import DEFAULT_HEADERS, merged
from .tls import tls_context

# httpx brings a command of its own, for which it would import click and rich wherever they are installed.
_COMMAND: Final = "httpx._main"
_modules = cast("dict[str, Any]", sys.modules)  # None in there: cannot be imported
_hidden = "httpx" not in sys.modules and _modules.setdefault(_COMMAND, None) is None

import httpx  # noqa: E402 - the command must be hidden by then

if _hidden:
    del sys.modules[_COMMAND]

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from ollama_openapi.types import Request

    from ollama_ext.errors import Stage
    from ollama_ext.hosts import Host

    from .limits import Limits
    from .settings import TransportSettings

_HINT: Final = (
    " A proxy is in between (proxy=, or HTTP_PROXY, HTTPS_PROXY, ALL_PROXY in the environment): to go there "
    "directly, set NO_PROXY."
)


def proxy_for(host: Host) -> str | None:
    """Return the proxy that the environment names for a host, or None."""
    proxies = getproxies()
    proxy = proxies.get(host.scheme) or proxies.get("all")
    return None if proxy is None or proxy_bypass(host.host) else proxy


class Proxied:
    """Requests to one server through a proxy. May be used from many threads."""

    def __init__(self, url: str, proxy: str, settings: TransportSettings) -> None:
        """Take note of where server and proxy are; nothing is opened yet."""
        self._url = url
        try:
            self._http = httpx.Client(
                headers=DEFAULT_HEADERS,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none: calls share no state
                proxy=proxy if "://" in proxy else f"http://{proxy}",
                trust_env=False,
                verify=tls_context(settings)
                if url.startswith("https:") or proxy.startswith("https:")
                else False,
                limits=httpx.Limits(max_connections=settings.max_connections, max_keepalive_connections=0),
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise InvalidArgument(
                "the proxy (proxy=, or HTTP_PROXY, HTTPS_PROXY, ALL_PROXY in the environment) cannot be "
                f"used: {error}; to go there directly, set NO_PROXY",
                argument="proxy",
            ) from error

    def open(self, request: Request, headers: Mapping[str, str], limits: Limits) -> _ProxiedAnswer:
        """Send a request and return as soon as the status is there; the body is still to be read."""
        limits.check()
        timeouts = limits.timeouts
        outgoing = self._http.build_request(
            request.method,
            self._url + request.path,
            headers=merged(request.headers, headers),
            content=request.content,
            timeout=httpx.Timeout(
                connect=limits.left(timeouts.connect),
                read=timeouts.first_byte,
                write=timeouts.between,
                pool=timeouts.first_byte,
            ),
        )
        return _ProxiedAnswer(self._http, outgoing, self._url, limits)

    def disown(self) -> None:
        """Do nothing: none is kept for later, and one that is dropped is closed in this process only."""

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


class _ProxiedAnswer:
    """A request on a connection of its own, and its answer."""

    def __init__(self, http: httpx.Client, request: httpx.Request, url: str, limits: Limits) -> None:
        self._http = http
        self._request = request
        self._url = url
        self._limits = limits
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._response: httpx.Response | None = None
        self._ended: OllamaError | None = None  # what a cancellation or the deadline makes of any failure
        self.closed = False
        request.extensions["trace"] = weakly(self._trace)
        self._timer: threading.Timer | None = None
        if limits.deadline is not None:
            self._timer = threading.Timer(limits.left(None) or 0.0, weakly(self._expire))
            self._timer.daemon = True
            self._timer.start()
        self._hook = limits.cancel.attach(weakly(self.cancel)) if limits.cancel is not None else 0
        try:
            self._response = http.send(request, stream=True)
        except Exception as error:
            self.close()
            raise self._failed(error, "send", limits.timeouts.first_byte) from error
        except BaseException:  # Ctrl-C
            self.close()
            raise
        self.status: int = self._response.status_code
        self.headers: Mapping[str, str] = {
            key.lower(): value for key, value in self._response.headers.items()
        }

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the socket as soon as there is one, and of the one that TLS puts in its place."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete", "connect_socks5_proxy.complete")):
            connected = getattr(info.get("return_value"), "get_extra_info", _nothing)("socket")
            with self._lock:
                if isinstance(connected, socket.socket):
                    self._socket = connected
        if self._ended is not None:
            self._shut_down()

    def _shut_down(self) -> None:
        with self._lock:
            if self._socket is not None and not self.closed:
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @property
    def cancelled(self) -> bool:
        return isinstance(self._ended, Cancelled)

    def cancel(self) -> None:
        self._ended = Cancelled("the call was cancelled")
        self._shut_down()

    def _expire(self) -> None:
        self._ended = self._limits.total_timeout()
        self._shut_down()

    def reads(self, limit: float | None) -> Generator[bytes]:
        response = self._response
        if response is None:
            return
        timeout = cast("dict[str, float | None]", self._request.extensions["timeout"])
        timeout["read"] = limit  # httpcore looks it up when it starts on the body
        try:
            yield from _body(response)
        except Exception as error:
            raise self._failed(error, "receive", limit) from error
        finally:
            self.close()
        if self._ended is not None and not self._framed():
            raise self._ended  # a body that ends with the connection ended too early

    def _framed(self) -> bool:
        return bool(self.headers.keys() & {"content-length", "transfer-encoding"})

    def read(self, limit: float | None) -> bytes:
        return b"".join(self.reads(limit))

    def drain(self) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._limits.cancel is not None:
            self._limits.cancel.detach(self._hook)
        if self._response is not None:
            self._response.close()

    def __del__(self) -> None:
        with suppress(Exception):  # nobody could catch it
            self.close()

    def _failed(self, error: Exception, stage: Stage, limit: float | None) -> Exception:
        if self._ended is not None:
            return self._ended
        if isinstance(error, RuntimeError) and self._http.is_closed:
            return OllamaError("this client is closed: make a new one")
        if not isinstance(error, httpx.HTTPError | httpx.StreamError | OSError):
            return error  # of the caller's own making, such as a file that cannot be read
        return _translated(error, self._url, stage, self._limits, limit)


def _nothing(_name: str) -> None: ...


def _translated(error: Exception, url: str, stage: Stage, limits: Limits, limit: float | None) -> OllamaError:
    if isinstance(error, httpx.ConnectTimeout):
        return ConnectTimeout(
            f"no connection to {url} through the proxy within {limits.timeouts.connect:g} s"
        )
    if isinstance(error, httpx.TimeoutException):
        return limits.silence(url, limit, answering=stage == "receive")
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        return connect_failure(url, error, hint=_HINT)
    ended = "disconnected" in str(error) or "closed" in str(error)  # httpx has one class for both
    if isinstance(error, httpx.DecodingError | httpx.ProtocolError) and not ended:
        return InvalidResponse(f"the answer of {url} is not as HTTP has it: {error}")
    problem = str(error) or type(error).__name__
    return ConnectionFailed(f"the connection to {url} broke: {problem}", stage=stage)


def _body(response: httpx.Response) -> Iterator[bytes]:
    if response.headers.get("content-encoding", "identity") == "identity":
        return iter(cast("httpx.SyncByteStream", response.stream))
    return response.iter_bytes()
