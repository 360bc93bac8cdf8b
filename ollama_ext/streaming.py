"""Streams in three parts: bytes -> lines -> events -> reply.

`LineSplitter` (in the generated package) cuts bytes into lines. `ChatState` and `GenerateState` (in
`state.py`) and `ProgressState` (in `progress.py`) turn lines into events and add them up. None does any I/O.
The streams, here, join them to an open connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, cast

from ollama_openapi.ndjson import LineSplitter

from .errors import (
    Cancelled,
    ConnectionFailed,
    OllamaError,
    OllamaTimeout,
    StreamNotFinished,
    StreamTruncated,
)
from .events import Event, TextDelta
from .progress import Progress
from .replies import ChatReply, GenerateReply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import GeneratorType, TracebackType

    from .calls import OpenCall
    from .cancel import CancelToken
    from .state import ReplyState

E = TypeVar("E")
R = TypeVar("R", bound=ChatReply | GenerateReply)


class ReplyStream(Generic[R]):
    """An open stream: iterate it for its events, in a ``with`` block that closes it.

    The request was sent and accepted before this object existed; events are yielded as they arrive.
    Leaving early, or dropping the stream, closes the connection, upon which Ollama stops generating.
    For one thread at a time; only `cancel` is for others.
    """

    def __init__(self, call: OpenCall, state: ReplyState[R], look: Callable[[R], None] | None = None) -> None:
        """Join an open answer to a fresh state; ``look`` is called with the reply when it is whole."""
        self._call = call
        self._answer = call.answer
        self._state = state
        self._failures: list[OllamaError] = []
        # What iterates does not know the stream: a stream that is dropped is freed, and closed, at once.
        self._events = events_of(call, state, self._failures, look)

    def _reading(self) -> Generator[Event]:
        """Return what iterates, unless another thread is doing so."""
        return _not_running(self._events)

    def __iter__(self) -> Iterator[Event]:
        """Yield the events that are still to come; none after an error, which is raised once."""
        return self._reading()

    def __next__(self) -> Event:
        """Wait for the next event."""
        return next(self._reading())

    def text_deltas(self) -> Iterator[str]:
        """Yield only the pieces of the answer's text."""
        for event in self._reading():
            if isinstance(event, TextDelta):
                yield event.text

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def partial(self) -> R:
        """The reply as far as it has arrived, at any time. Each look costs a copy of the text so far."""
        return self._state.partial

    @property
    def reply(self) -> R:
        """The reply that the call without streaming would have returned.

        Raises:
            StreamNotFinished: The stream is not at its end, was left early, or failed (the failure is
                the ``__cause__``).
        """
        if self._state.done:
            return self._state.partial
        failure = self._failures[0] if self._failures else None
        if failure is not None:
            problem = f"the stream failed ({failure.message})"
        elif self._answer.closed:
            problem = "the stream was left before its end"
        else:
            problem = "the stream is not at its end: iterate on, or call finish()"
        raise StreamNotFinished(
            f"{problem}; what has arrived is in .partial",
            status=self._answer.status,
            request=self._call.request,
            model=self._call.model,
            partial=self._state.partial,
        ) from failure

    def finish(self) -> R:
        """Read to the end and return the reply.

        Raises:
            OllamaError: What iterating raises; `StreamNotFinished` if that was raised before.
        """
        for _ in self._reading():
            pass
        return self.reply

    def cancel(self) -> None:
        """End the stream from any thread, at once: who reads it gets `Cancelled`, with what has arrived.

        After the last event it changes nothing.
        """
        self._answer.cancel()

    def close(self) -> None:
        """End the stream; what has arrived stays in ``partial``.

        Before the last event the connection is closed; after it, it is kept for the next call.

        Raises:
            OllamaError: Another thread is reading the stream.
        """
        events = self._reading()
        if self._state.done:
            self._answer.drain()
        events.close()
        self._answer.close()

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do as `close` does."""
        self.close()


class ChatStream(ReplyStream[ChatReply]):
    """An open stream of ``/api/chat``."""


class GenerateStream(ReplyStream[GenerateReply]):
    """An open stream of ``/api/generate``."""


class ProgressStream:
    """The progress of a pull, push or create: iterate it to the end, in a ``with`` block that closes it.

    Leaving early closes the connection: a pull or push then stops on the server and goes on where it was when
    it is asked for again. For one thread at a time; only `cancel` is for others.
    """

    def __init__(self, steps: Generator[Progress], token: CancelToken) -> None:
        """Take over what yields the steps, and the token that ends it."""
        self._steps = steps
        self._token = token
        self._latest: Progress | None = None

    def __iter__(self) -> Iterator[Progress]:
        """Return itself."""
        return self

    def __next__(self) -> Progress:
        """Wait for the next step."""
        try:
            self._latest = step = next(_not_running(self._steps))
        except OllamaError as error:
            error.progress = error.progress or self._latest  # in an upload nothing has arrived yet
            raise
        return step

    @property
    def progress(self) -> Progress | None:
        """The latest step, or None before the first."""
        return self._latest

    def finish(self) -> None:
        """Read to the end; return when it has succeeded.

        Raises:
            OllamaError: It failed.
        """
        for _ in self:
            pass

    def cancel(self) -> None:
        """End it from any thread, at once: who reads it gets `Cancelled`."""
        self._token.cancel()

    def close(self) -> None:
        """End it; what the server has done so far stays done.

        Raises:
            OllamaError: Another thread is reading the stream.
        """
        _not_running(self._steps).close()
        # Python 3.13 keeps what a generator holds that was closed before it began: here an open connection.
        self._steps = _no_steps()

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do as `close` does."""
        self.close()


def _no_steps() -> Generator[Progress]:
    yield from ()


def _not_running(events: Generator[E]) -> Generator[E]:
    """Return what iterates a stream, unless another thread is doing so."""
    if cast("GeneratorType[E, None, None]", events).gi_running:
        raise OllamaError(
            "another thread is reading this stream; a stream is for one thread at a time (to end it from "
            "another one, call cancel())"
        )
    return events


class State(Protocol[E]):
    """What turns lines into events: `ReplyState` or `ProgressState`."""

    @property
    def done(self) -> bool:
        """Whether nothing that could follow matters."""
        ...

    @property
    def partial(self) -> Any:
        """What has arrived."""
        ...

    def feed(self, line: bytes) -> list[E]:
        """Take one line; return what happened in it."""
        ...

    def feed_rest(self, line: bytes) -> list[E]:
        """Take a last line that nothing terminated."""
        ...

    def finish(self) -> None:
        """Take note that there are no more lines."""
        ...


def events_of(
    call: OpenCall,
    state: State[E],
    failures: list[OllamaError],
    look: Callable[[Any], None] | None = None,
) -> Generator[E]:
    """Yield the events of an open answer; what fails says which call it is about, and what had arrived.

    Args:
        call: The open answer.
        state: A fresh one.
        failures: Where a failure is left, for those who come to ask later.
        look: Called with the whole, before the last event.
    """
    lines, answer = LineSplitter(), call.answer
    broken: ConnectionFailed | Cancelled | OllamaTimeout | None = None
    try:
        try:
            for data in call.reads():
                for line in lines.feed(data):
                    if answer.cancelled and not state.done:  # what came before that is still in our buffers
                        raise Cancelled("the call was cancelled")  # noqa: TRY301 - caught where it ends
                    events = state.feed(line)
                    if state.done and look is not None:
                        look(state.partial)
                        look = None
                    yield from events
                if state.done:
                    answer.drain()
                    return
            for line in lines.finish():
                yield from state.feed_rest(line)
        except (ConnectionFailed, Cancelled, OllamaTimeout) as error:
            broken = error
        _finish(state, broken)
    except OllamaError as error:
        arrived = state.partial
        if isinstance(arrived, Progress):
            error.progress = arrived
        else:
            error.partial = arrived
        error.status = answer.status
        error.request, error.model = call.request, call.model
        failures.append(error)
        raise
    finally:
        answer.close()


def _finish(state: State[Any], broken: ConnectionFailed | Cancelled | OllamaTimeout | None) -> None:
    """Take note that there are no more lines; why there are none matters only if one is missing."""
    try:
        state.finish()
    except StreamTruncated:
        if broken is None:
            raise
        if not isinstance(broken, ConnectionFailed):
            raise broken from None
        failure = StreamTruncated(f"{broken.message}; what had arrived is in .partial")
        failure.retryable = broken.retryable
        raise failure from broken
