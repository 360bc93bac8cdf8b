"""The one module here that knows the HTTP stack: it sends what the operations build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from .ndjson import ChunkStream
from .types import UNSET, Request, Unset

T = TypeVar("T")

#: Seconds. `read` also covers loading a model: the server sends nothing before the first token.
DEFAULT_TIMEOUT = httpx.Timeout(connect=5.0, read=600.0, write=600.0, pool=600.0)


class Client:
    """Where the server is and how to reach it. May be shared between threads; close it, or use ``with``.

    Args:
        base_url: Scheme, host and port, and a path prefix if a proxy adds one.
        headers: Sent with every request, for example ``{"Authorization": "Bearer ..."}``.
        timeout: Seconds, or an `httpx.Timeout`; None waits for ever. Left out: 5 seconds to connect, 600
            for everything else.
        http_client: An `httpx.Client` of your own, for proxies, certificates or a transport. ``headers``
            are added to its requests, its time-outs hold unless ``timeout`` is given as well, and it is
            closed with this one.

    Raises:
        ValueError: ``base_url`` is no address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | httpx.Timeout | Unset | None = UNSET,
        http_client: httpx.Client | None = None,
    ) -> None:
        self.base_url: str = _checked(base_url)
        self._headers = dict(headers or {})
        self._timeout: Any = httpx.USE_CLIENT_DEFAULT
        if http_client is None:
            http_client = httpx.Client(timeout=DEFAULT_TIMEOUT if isinstance(timeout, Unset) else timeout)
        elif not isinstance(timeout, Unset):
            self._timeout = timeout
        self._http = http_client

    def _build(self, request: Request) -> httpx.Request:
        return self._http.build_request(
            request.method,
            self.base_url + request.path,
            headers={**self._headers, **request.headers},
            content=request.content,
            timeout=self._timeout,
        )

    def send(self, request: Request) -> httpx.Response:
        """Send a request and read the whole answer, whatever its status."""
        return self._http.send(self._build(request))

    def stream(
        self, request: Request, parse: Callable[[int, bytes], object], parse_chunk: Callable[[bytes], T]
    ) -> ChunkStream[T]:
        """Send a request and return the chunks of its answer, to be read as they come.

        Args:
            request: What to send.
            parse: Called with status and body where the status is no success; it raises.
            parse_chunk: Called with each line of the body.
        """
        response = self._http.send(self._build(request), stream=True)
        if not response.is_success:
            try:
                parse(response.status_code, response.read())
            finally:
                response.close()
        return ChunkStream(response.iter_bytes(), response.close, parse_chunk)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _checked(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
        usable = url.scheme in {"http", "https"} and url.host and not (url.query or url.fragment)
    except (httpx.InvalidURL, TypeError):
        usable = False
    if not usable:
        raise ValueError(f"base_url must be like 'http://127.0.0.1:11434', not {base_url!r}")
    return base_url.rstrip("/")
