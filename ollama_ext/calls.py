"""One call from end to end: an operation of the generated package goes out, a reply or an error comes back.

This is the border between the two packages: `ollama_openapi` builds requests and reads bodies, the
transport sends, and whatever fails on the way leaves as an error of ours that says which call it is about.
Here is also where a call is tried again.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ollama_openapi.errors import ApiError, InvalidBody

from . import arguments
from .errors import InvalidResponse, OllamaError
from .options import Call
from .refusals import refusal, reported, shown
from .repeats import Repeat, worth_repeating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ollama_openapi.types import Model, Request

    from .errors import RequestInfo
    from .options import CallOptions, Defaults
    from .transport import Answer, OpenAnswer, Transport

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Operation(Protocol[T_co]):
    """What a module of `ollama_openapi.api` offers."""

    def build_request(self, *args: Any, **kwargs: Any) -> Request:
        """Return the request that goes out."""
        ...

    def parse(self, status_code: int, content: bytes) -> T_co:
        """Read the answer; raise `ApiError` or `InvalidBody`."""
        ...


class OpenCall:
    """An answer that has begun with a success, and what its reader must know.

    Attributes:
        answer: The open answer.
        request: Which request it answers.
        model: The model that it is about.
    """

    __slots__ = ("_silence", "answer", "model", "request")

    def __init__(self, answer: OpenAnswer, request: RequestInfo, model: str, silence: float | None) -> None:
        """Keep what belongs together."""
        self.answer: OpenAnswer = answer
        self.request: RequestInfo = request
        self.model: str = model
        self._silence = silence

    def reads(self) -> Iterator[bytes]:
        """Yield the body piece by piece, each as soon as it arrives."""
        return self.answer.reads(self._silence)


class Calls:
    """The calls to one server. May be used from many threads.

    Attributes:
        transport: The way to the server.
        defaults: The options of the client.
    """

    def __init__(self, transport: Transport, defaults: Defaults) -> None:
        """Take note of the way to the server, and of the options that hold where a call has none."""
        self.transport = transport
        self.defaults = defaults

    def begin(self, options: CallOptions | Call) -> Call:
        """Return a new call, whose clock runs; one that has begun goes on."""
        return options if isinstance(options, Call) else Call(self.defaults, options)

    def ask(
        self,
        operation: Operation[T],
        body: Model | None,
        options: CallOptions | Call,
        repeat: Repeat = Repeat.SAFE,
    ) -> T:
        """Send a request and return its answer as a model."""
        return self.reply(operation, _result, body, options, repeat)

    def reply(
        self,
        operation: Operation[T],
        reply: Callable[[T, int], R],
        body: Model | None,
        options: CallOptions | Call,
        repeat: Repeat,
    ) -> R:
        """Send a request and return what ``reply`` makes of its answer and status."""
        request = arguments.encoded(operation.build_request, body)
        model = _model_of(body)

        def read(answer: Answer) -> R:
            return reply(parsed(operation.parse, answer, answer.body, request, model), answer.status)

        return self.send(lambda: request, read, model, self.begin(options), repeat)

    def send(
        self,
        build: Callable[[], Request],
        read: Callable[[Answer], R],
        model: str | None,
        call: Call,
        repeat: Repeat,
    ) -> R:
        """Send what ``build`` returns, anew for each try, and return what ``read`` makes of the answer."""
        return tried(lambda: self.once(build(), read, model, call), call, repeat)

    def once(self, request: Request, read: Callable[[Answer], R], model: str | None, call: Call) -> R:
        """Send a request, and never again, and return what ``read`` makes of the answer."""
        try:
            return read(self.transport.send(request, call.headers, call.limits))
        except OllamaError as error:
            raise self._about(error, request, model)  # noqa: B904 - it is the same error

    def open(
        self,
        operation: Operation[object],
        body: Model,
        call: Call,
        *,
        silence: float | None,
    ) -> OpenCall:
        """Send a request, once, and return its answer when the server has accepted it.

        Args:
            operation: One that streams.
            body: The body of the request.
            call: The call that this is part of.
            silence: Seconds for which the answer may pause.
        """
        request = arguments.encoded(operation.build_request, body, stream=True)
        model = _model_of(body)
        try:
            answer = self.transport.open(request, call.headers, call.limits)
            if not 200 <= answer.status < 300:  # noqa: PLR2004 - what HTTP calls success
                with closing(answer):
                    content = answer.read(call.limits.timeouts.between)
                    parsed(operation.parse, answer, content, request, model)
        except OllamaError as error:
            raise self._about(error, request, model)  # noqa: B904 - it is the same error
        return OpenCall(answer, self.transport.info(request), model or "", silence)

    def _about(self, error: OllamaError, request: Request, model: str | None) -> OllamaError:
        """Say in an error which request and model it is about."""
        error.request = self.transport.info(request)
        error.model = model or None
        return error

    def close(self) -> None:
        """Close every connection."""
        self.transport.close()


def tried(attempt: Callable[[], R], call: Call, repeat: Repeat) -> R:
    """Return what an attempt returns, made again as the call's policy and the table of `repeats` say."""
    if call.retry is None:
        return attempt()
    return call.retry.call(
        attempt,
        worth_it=lambda error, tries: worth_repeating(error, repeat, tries),
        cancel=call.limits.cancel,
        deadline=call.limits.deadline,
    )


def _result(result: T, _status: int) -> T:
    return result


def _model_of(body: Model | None) -> str | None:
    model: str | None = getattr(body, "model", None)
    return model


def parsed(
    parse: Callable[[int, bytes], T],
    answer: Answer | OpenAnswer,
    body: bytes,
    request: Request,
    model: str | None,
) -> T:
    """Parse a whole answer; what the generated package raises becomes an error of ours."""
    status = answer.status
    try:
        return parse(status, body)
    except ApiError as error:
        raise refusal(status, answer.headers, body, path=request.path, model=model) from error
    except InvalidBody as error:
        if reported(body):
            raise refusal(status, answer.headers, body, path=request.path, model=model) from error
        problem, start = str(error), shown(body)
        if body and start.removesuffix(" ...") not in problem:  # where it is no JSON, it is quoted already
            problem += f"; it starts with {start}"
        raise InvalidResponse(
            f"the answer is not what Ollama's API promises: {problem}", status=status, body=body
        ) from error
