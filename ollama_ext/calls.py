"""One call from end to end: an operation of the generated package goes out, a reply or an error comes back.

This is the border between the two packages: `ollama_openapi` builds requests and reads bodies, the
transport sends, and whatever fails on the way leaves as an error of ours that says which call it is about.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ollama_openapi.errors import ApiError, InvalidBody

from . import arguments
from .errors import InvalidResponse, OllamaError, RequestInfo, ResponseError, error_text, reported, shown
from .transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from ollama_openapi.models import ChatRequest, GenerateRequest
    from ollama_openapi.types import Model, Request

    from .hosts import Host
    from .state import ReplyState
    from .transport import Answer, OpenAnswer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
StateT = TypeVar("StateT", bound="ReplyState[Any]")
StreamT = TypeVar("StreamT")


class Operation(Protocol[T_co]):
    """What a module of `ollama_openapi.api` offers."""

    def build_request(self, *args: Any, **kwargs: Any) -> Request:
        """Return the request that goes out."""
        ...

    def parse(self, status_code: int, content: bytes) -> T_co:
        """Read the answer; raise `ApiError` or `InvalidBody`."""
        ...


class Calls:
    """The calls to one server. May be used from many threads."""

    def __init__(self, host: Host, headers: Mapping[str, str]) -> None:
        """Take note of where the server is, and of headers to send with every call."""
        self._transport = Transport(host, headers)

    def ask(self, operation: Operation[T], body: Model | None, headers: Mapping[str, str] | None) -> T:
        """Send a request and return its answer as a model."""
        return self.reply(operation, lambda result, _status: result, body, headers)

    def reply(
        self,
        operation: Operation[T],
        reply: Callable[[T, int], R],
        body: Model | None,
        headers: Mapping[str, str] | None,
    ) -> R:
        """Send a request and return what ``reply`` makes of its answer and status."""
        request = arguments.encoded(operation.build_request, body)
        extra = arguments.checked_headers(headers, "extra_headers")
        with self._about(request, body):
            answer = self._transport.send(request, extra)
            return reply(_parsed(operation.parse, answer, answer.body), answer.status)

    def stream(
        self,
        operation: Operation[object],
        state: Callable[[str, int], StateT],
        stream: Callable[[OpenAnswer, StateT, RequestInfo, str], StreamT],
        body: ChatRequest | GenerateRequest,
        headers: Mapping[str, str] | None,
    ) -> StreamT:
        """Send a request and return the stream of its answer, once the server has accepted it."""
        request = arguments.encoded(operation.build_request, body, stream=True)
        extra = arguments.checked_headers(headers, "extra_headers")
        with self._about(request, body):
            answer = self._transport.open(request, extra)
            if not 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls success
                with closing(answer):
                    _parsed(operation.parse, answer, answer.read())
        return stream(answer, state(body.model, answer.status), self._transport.info(request), body.model)

    @contextmanager
    def _about(self, request: Request, body: Model | None) -> Generator[None]:
        """Say in every error which request and model it is about."""
        try:
            yield
        except OllamaError as error:
            error.request = self._transport.info(request)
            error.model = getattr(body, "model", None)
            raise

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()


def _parsed(parse: Callable[[int, bytes], T], answer: Answer | OpenAnswer, body: bytes) -> T:
    """Parse a whole answer; what the generated package raises becomes an error of ours."""
    status = answer.status
    try:
        return parse(status, body)
    except ApiError as error:
        words = error_text(body)
        message = f"HTTP status {status}: {words}" if words else f"HTTP status {status}"
        if location := answer.headers.get("location"):
            message += f" (it redirects to {location[:200]!r}, which is not followed: is that the host?)"
        raise ResponseError(message, status=status, body=body) from error
    except InvalidBody as error:
        if told := reported(body):
            message = f"HTTP status {status}, but an error: {told}"
            raise ResponseError(message, status=status, body=body) from error
        problem, start = str(error), shown(body)
        if body and start.removesuffix(" ...") not in problem:  # where it is no JSON, it is quoted already
            problem += f"; it starts with {start}"
        raise InvalidResponse(
            f"the answer is not what Ollama's API promises: {problem}", status=status, body=body
        ) from error
