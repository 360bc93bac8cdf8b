"""Streams in three parts: bytes -> lines -> events -> reply.

`LineSplitter` (in the generated package) cuts bytes into lines. `ChatState` and `GenerateState` (in
`state.py`) turn lines into events and add up the reply. Neither does any I/O. `ChatStream` and
`GenerateStream`, here, join them to an open connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from ollama_openapi.ndjson import LineSplitter

from .errors import ConnectionFailed, OllamaError, StreamNotFinished, StreamTruncated
from .events import Event, TextDelta
from .replies import ChatReply, GenerateReply

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from types import GeneratorType, TracebackType

    from .errors import RequestInfo
    from .state import ReplyState
    from .transport import OpenAnswer

R = TypeVar("R", bound=ChatReply | GenerateReply)


class ReplyStream(Generic[R]):
    """An open stream: iterate it for its events, in a ``with`` block that closes it.

    The request was sent and accepted before this object existed; events are yielded as they arrive.
    Leaving early, or dropping the stream, closes the connection, upon which Ollama stops generating.
    For one thread at a time.
    """

    def __init__(self, answer: OpenAnswer, state: ReplyState[R], request: RequestInfo, model: str) -> None:
        """Join an open answer to a fresh state."""
        self._answer = answer
        self._state = state
        self._request = request
        self._model = model
        self._failures: list[OllamaError] = []
        # What iterates does not know the stream: a stream that is dropped is freed, and closed, at once.
        events = _events(answer, state, self._failures, request, model)
        self._events = cast("GeneratorType[Event, None, None]", events)

    def _reading(self) -> Generator[Event]:
        """Return what iterates, unless another thread is doing so."""
        if self._events.gi_running:
            raise OllamaError("another thread is reading this stream; a stream is for one thread at a time")
        return self._events

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
            request=self._request,
            model=self._model,
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


def _events(
    answer: OpenAnswer,
    state: ReplyState[Any],
    failures: list[OllamaError],
    request: RequestInfo,
    model: str,
) -> Generator[Event]:
    lines = LineSplitter()
    try:
        for data in answer.reads():
            for line in lines.feed(data):
                yield from state.feed(line)
            if state.done:
                answer.drain()
                return
        for line in lines.finish():
            yield from state.feed_rest(line)
        state.finish()
    except OllamaError as error:
        failure = error
        if isinstance(error, ConnectionFailed):
            failure = StreamTruncated(f"{error.message}; what had arrived is in .partial")
        failure.status, failure.partial = answer.status, state.partial
        failure.request, failure.model = request, model
        failures.append(failure)
        if failure is error:
            raise
        raise failure from error
    finally:
        answer.close()
