"""Which response is next for which route."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from ollama_ext.errors import InvalidArgument

from .responses import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

_METHOD = re.compile(r"[A-Za-z]+")


class Script:
    """Responses by method and path, handed out in order; the last of a route is repeated."""

    def __init__(self) -> None:
        """Start with nothing scripted."""
        self._lock = threading.Lock()
        self._left: dict[tuple[str, str], list[Response]] = {}

    def on(self, method: str, path: str, *responses: Response) -> None:
        """Script a route, in place of what was scripted for it; see `FakeOllama.on`."""
        key = (_method(method), _path(path))
        _check(responses)
        with self._lock:
            self._left[key] = list(responses)

    def take(self, method: str, path: str) -> Response | None:
        """Return the next response for a request, or None if its route is not scripted."""
        with self._lock:
            left = self._left.get((method, path))
            if left is None:
                return None
            return left.pop(0) if len(left) > 1 else left[0]


def _method(method: object) -> str:
    if isinstance(method, str) and _METHOD.fullmatch(method):
        return method.upper()
    raise InvalidArgument(f'method must be an HTTP method such as "POST", not {method!r}', argument="method")


def _path(path: object) -> str:
    if isinstance(path, str) and path.startswith("/") and not set(path) & set("?# \r\n"):
        return path
    raise InvalidArgument(
        f'path must begin with "/" and have no query or spaces ("/api/chat" is one), not {path!r}',
        argument="path",
    )


def _check(responses: Sequence[object]) -> None:
    if not responses:
        raise InvalidArgument("on() needs at least one response", argument="responses")
    for each in responses:
        if not isinstance(each, Response):
            raise InvalidArgument(
                "responses must be Json, Lines, Body, Recording or Raw, "
                f"not {type(each).__name__} (wrap a JSON value: Json(...))",
                argument="responses",
            )
