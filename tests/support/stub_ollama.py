"""An Ollama in the place of a client's transport: all of the client but the sockets is the real one.

It sees each request as it would go out, and answers, or fails, as a test says, without any waiting: for laws
that are tried on hundreds of examples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from ollama_ext import Client
from ollama_ext.calls import Calls
from ollama_ext.errors import RequestInfo
from ollama_ext.transport import Answer, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ollama_openapi.types import Request

    from ollama_ext.transport.limits import Limits


@dataclass(frozen=True)
class Scripted:
    """What is answered to one request.

    Attributes:
        status: The HTTP status.
        pieces: The body, as it arrives.
        refuses: Raised instead of an answer.
        breaks: Raised after the last piece, in the place of an end.
    """

    status: int = 200
    pieces: tuple[bytes, ...] = ()
    refuses: BaseException | None = None
    breaks: BaseException | None = None


@dataclass(frozen=True)
class Sent:
    """A request that went out."""

    method: str
    path: str
    body: Any


@dataclass
class StubOllama:
    """Answers what ``answer`` returns for a path and a decoded body."""

    answer: Callable[[str, Any], Scripted]
    requests: list[Sent] = field(default_factory=list[Sent])

    @classmethod
    def always(cls, scripted: Scripted) -> Self:
        """Return one that answers the same to every request."""

        def answer(_path: str, _body: Any) -> Scripted:
            return scripted

        return cls(answer)

    def client(self) -> Client:
        """Return a client that talks to it."""
        client = Client("http://127.0.0.1:1")
        defaults = client._calls.defaults  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        client._calls = Calls(cast("Transport", self), defaults)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - only the sockets go
        return client

    # -- what `Calls` uses of a transport

    def info(self, request: Request) -> RequestInfo:
        """Return what an error may say about a request."""
        return RequestInfo(method=request.method, url=f"http://127.0.0.1:1{request.path}")

    def open(self, request: Request, _headers: Mapping[str, str], _limits: Limits) -> Any:
        """Take a request and begin to answer."""
        content = cast("bytes | None", request.content)
        body = None if content is None else msgspec.json.decode(content)
        self.requests.append(Sent(request.method, request.path, body))
        scripted = self.answer(request.path, body)
        if scripted.refuses is not None:
            raise scripted.refuses
        return _Open(scripted)

    def send(self, request: Request, headers: Mapping[str, str], limits: Limits) -> Answer:
        """Take a request and answer it whole."""
        answer = self.open(request, headers, limits)
        return Answer(answer.status, answer.headers, answer.read(None))


class _Open:
    """An answer that arrives."""

    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted
        self.status = scripted.status
        self.headers = {"content-type": "application/x-ndjson"}
        self.closed = self.cancelled = False

    def reads(self, _limit: float | None) -> Iterator[bytes]:
        yield from self._scripted.pieces
        if self._scripted.breaks is not None:
            raise self._scripted.breaks

    def read(self, limit: float | None) -> bytes:
        return b"".join(self.reads(limit))

    def drain(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True
