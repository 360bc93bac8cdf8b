"""The one module that knows the HTTP stack: requests go out here, answers come in, nothing of httpx does.

Whatever fails on the way is `ConnectionFailed` or `OllamaTimeout`.
"""

from __future__ import annotations

import platform
import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from .errors import ConnectionFailed, OllamaTimeout, RequestInfo
from .version import __version__

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from ollama_openapi.types import Request

    from .hosts import Host

#: Seconds. Reading waits as long as a queue and the load of a large model may take.
_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=600.0, write=600.0, pool=600.0)

#: A call never waits for another one's connection; idle connections beyond 20 are closed.
_LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=20)

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
        self._url = host.dial_url
        self._http = httpx.Client(
            headers={
                "User-Agent": f"ollama-ext/{__version__} (Python {platform.python_version()})",
                "Accept": "application/json, application/x-ndjson",
                "Accept-Encoding": "identity",  # a compressor in between would hold tokens back
                **headers,
            },
            timeout=_TIMEOUT,
            limits=_LIMITS,
            trust_env=not host.is_loopback,  # proxies of the environment cannot reach this machine
        )

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
        return self._http.build_request(
            request.method,
            self._url + request.path,
            headers={**request.headers, **headers},
            content=request.content,
        )

    @contextmanager
    def errors(self, request: Request) -> Generator[None]:
        """Turn what the stack raises inside the ``with`` block into our errors."""
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise OllamaTimeout(
                f"no connection to {self._url} within {_TIMEOUT.connect:g} s; "
                "is the address right (OLLAMA_HOST, or Client(host=...))?",
                request=self.info(request),
            ) from error
        except httpx.TimeoutException as error:
            raise OllamaTimeout(
                f"{self._url} was silent for {_TIMEOUT.read:g} s", request=self.info(request)
            ) from error
        except httpx.ConnectError as error:
            raise ConnectionFailed(
                f"cannot connect to {self._url} ({error}); is Ollama running there, "
                "and is that the right address (OLLAMA_HOST, or Client(host=...))?",
                request=self.info(request),
            ) from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            what = str(error) or type(error).__name__
            raise ConnectionFailed(
                f"the connection to {self._url} broke: {what}", request=self.info(request)
            ) from error

    def close(self) -> None:
        """Close every connection."""
        self._http.close()


class OpenAnswer:
    """An answer whose body is still arriving. Close it, or read it to its end."""

    def __init__(self, transport: Transport, request: Request, response: httpx.Response) -> None:
        """Take over a response whose status and headers are there."""
        self._transport = transport
        self._request = request
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        encoded = response.headers.get("content-encoding", "identity") != "identity"
        self._reads = response.iter_bytes() if encoded else response.iter_raw()

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
        stream = self._response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        watchdog = None
        if connection is not None and not select.select([connection], [], [], 0)[0]:
            # The stack may hold the end already, or would wait for it for as long as for a token.
            watchdog = threading.Timer(_DRAIN_LIMIT, _shut_down, [connection])
            watchdog.daemon = True
            watchdog.start()
        try:
            next(self._reads, b"")
        except (httpx.HTTPError, httpx.StreamError, OSError):
            pass  # the reply is whole; only the connection is lost
        finally:
            if watchdog is not None:
                watchdog.cancel()
            self.close()

    def close(self) -> None:
        """Close the connection, or give it back if the body was read to its end."""
        self._response.close()


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # closed meanwhile
        connection.shutdown(socket.SHUT_RDWR)
