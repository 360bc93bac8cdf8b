"""The calls of a `FleetClient`: what `ollama_ext.calls` is to the methods of `Client`, over queues."""

from __future__ import annotations

import threading
import uuid
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
from ollama_openapi.api import inference
from ollama_openapi.types import encode_json

from ollama_ext import arguments
from ollama_ext.calls import parsed
from ollama_ext.errors import InvalidArgument, OllamaError
from ollama_ext.options import Call as Begun
from ollama_ext.refusals import refusal
from ollama_ext.transport import Answer
from ollama_ext.transport.limits import Limits

from .caller import Caller, Waiting
from .calls import Call
from .dispatch import KINDS
from .errors import FleetBusy, FleetCancelled, FleetError, FleetTimeout, RequestFailed
from .messages import request_body, request_properties
from .topology import other_spelling, queue_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ollama_openapi.types import Model, Request

    from ollama_ext.calls import Operation
    from ollama_ext.options import CallOptions, Defaults
    from ollama_ext.repeats import Repeat
    from ollama_ext.settings import AmqpSettings

    from .messages import Reply

T = TypeVar("T")
R = TypeVar("R")

_TYPES: Final = {inference.chat: "chat", inference.generate: "generate", inference.embed: "embed"}
_OK: Final = 200
# Seconds between two looks at whether a call that waits for room may still wait.
_LOOK: Final = 0.2


class QueuedCalls:
    """Sends operations to queues instead of a server, for all threads of a client."""

    def __init__(self, settings: AmqpSettings, defaults: Defaults, max_in_flight: int, name: str) -> None:
        """Prepare; the first call connects."""
        self._settings, self._defaults = settings, defaults
        self._slots = threading.Semaphore(max_in_flight)
        self._caller = Caller(settings, name)

    def begin(self, options: CallOptions | Begun) -> Begun:
        """Return a call whose clock runs."""
        if not isinstance(options, Begun):
            if options.get("extra_headers"):
                raise InvalidArgument(
                    "extra_headers are HTTP headers, and a fleet is not reached by HTTP: leave them out",
                    argument="extra_headers",
                )
            options = Begun(self._defaults, options)
            limits = options.limits
            if limits.timeouts.total is None and limits.timeouts.first_byte is not None:
                # A reply comes in one piece, so the time until it begins is the time for all of it.
                timeouts = msgspec.structs.replace(limits.timeouts, total=limits.timeouts.first_byte)
                options.limits = Limits(timeouts, limits.cancel)
        return options

    def reply(
        self,
        operation: Operation[T],
        reply: Callable[[T, int], R],
        body: Model | None,
        options: CallOptions | Begun,
        repeat: Repeat,  # noqa: ARG002 - the queue repeats, whatever it is
    ) -> R:
        """Ask one thing, and return what ``reply`` makes of the answer."""
        return self.replies(operation, reply, [cast("Model", body)], self.begin(options))[0]

    def replies(
        self,
        operation: Operation[T],
        reply: Callable[[T, int], R],
        bodies: Sequence[Model],
        call: Begun,
    ) -> list[R]:
        """Ask several things at once, and return what ``reply`` makes of each answer, in order."""
        kind = _TYPES[cast("Any", operation)]
        asked: list[_Asked] = []
        try:
            for body in bodies:
                asked.append(_Asked(self, kind, body.to_dict(), call))
                asked[-1].begin()
            return [_read(operation, reply, each.answer(), kind, each.model) for each in asked]
        finally:
            for each in asked:
                each.end()

    def close(self) -> None:
        """Close the connections."""
        self._caller.close()

    # -- for `_Asked`

    def take_slot(self, call: Begun) -> _Slot:
        """Wait until one more request may be under way."""
        while not self._slots.acquire(timeout=_LOOK):
            _check(call)
        return _Slot(self._slots)

    def send(self, waiting: Waiting, ended: Callable[[], object]) -> None:
        """Send a request."""
        self._caller.begin(waiting, ended)

    def forget(self, waiting: Waiting) -> None:
        """Nobody waits for it any more."""
        self._caller.forget(waiting)

    def letter(self, kind: str, fields: dict[str, Any], call: Begun) -> Waiting:
        """Return a request as it is sent, with a new id."""
        model = arguments.checked_model(fields.pop("model", None))
        names = [model, other_spelling(model)]
        exchange = self._settings.exchange
        queues = [queue_name(kind, name, exchange) for name in names if name is not None]
        unknown = fields.keys() - KINDS[kind].fields
        if unknown:
            name, passed = min(unknown), ", ".join(KINDS[kind].fields)
            raise InvalidArgument(
                f"{name} does not reach the Ollama of a worker, which is passed {passed}", argument=name
            )
        call_id = uuid.uuid4().hex
        reply_to, deadline = self._caller.reply_to, call.limits.deadline
        timeout = None if deadline is None else max(deadline - monotonic(), 0.001)
        return Waiting(
            Call(call_id, queues, model),
            request_body(kind, model, fields, reply_to=reply_to, correlation_id=call_id),
            request_properties(
                reply_to=reply_to,
                correlation_id=call_id,
                message_id=call_id,
                timeout=timeout,
                run_limit=timeout,
            ),
            deadline,
        )


class _Slot:
    """Room for one request, given back once: when it has ended, or before that, when nobody waits for it."""

    def __init__(self, slots: threading.Semaphore) -> None:
        self._slots = slots
        self._given = threading.Lock()

    def give(self) -> None:
        """Let another request begin."""
        if self._given.acquire(blocking=False):
            self._slots.release()


class _Asked:
    """One request and the thread that waits for its reply.

    Attributes:
        model: That was asked for.
    """

    def __init__(self, calls: QueuedCalls, kind: str, fields: dict[str, Any], call: Begun) -> None:
        self.model = str(fields.get("model", ""))
        self._calls, self._kind, self._fields, self._call = calls, kind, fields, call
        self._waiting: Waiting | None = None
        self._slot: _Slot | None = None
        self._over = threading.Event()

    def begin(self) -> None:
        """Send it, when there is room."""
        _check(self._call)
        slot = self._slot = self._calls.take_slot(self._call)
        over = self._over = threading.Event()
        waiting = self._waiting = self._calls.letter(self._kind, dict(self._fields), self._call)

        def ended() -> None:
            slot.give()  # here, because a long list waits for room before it waits for replies
            over.set()

        self._calls.send(waiting, ended)

    def answer(self) -> Reply:
        """Wait for the reply; where the queue was full, try again as the policy says."""
        first = True

        def attempt() -> Reply:
            nonlocal first
            if not first:
                self.end()
                self.begin()
            first = False
            return self._wait()

        retry = self._call.retry
        if retry is None:
            return attempt()
        return retry.call(
            attempt,
            worth_it=lambda error, _tries: isinstance(error, FleetBusy),
            cancel=self._call.limits.cancel,
            deadline=self._call.limits.deadline,
        )

    def end(self) -> None:
        """Wait no more, and make room."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not self._over.is_set():
            self._calls.forget(waiting)
        if self._slot is not None:
            self._slot.give()

    def _wait(self) -> Reply:
        waiting, limits = self._waiting, self._call.limits
        assert waiting is not None  # noqa: S101 - it was begun
        cancel = limits.cancel
        key = None if cancel is None else cancel.attach(self._over.set)
        try:
            left = None if limits.deadline is None else max(limits.deadline - monotonic(), 0)
            self._over.wait(left)
        finally:
            if cancel is not None and key is not None:
                cancel.detach(key)
        outcome = waiting.outcome
        if outcome is None:
            self._calls.forget(waiting)
            _check(self._call)
            raise FleetTimeout(f"no reply within {limits.timeouts.total:g} s (timeout=)", model=self.model)
        if isinstance(outcome, FleetError):
            outcome.model = outcome.model or self.model
            raise outcome
        return outcome


def _check(call: Begun) -> None:
    """Raise if a call must not go on."""
    limits = call.limits
    if limits.cancel is not None and limits.cancel.cancelled:
        raise FleetCancelled("the call was cancelled")
    if limits.deadline is not None and monotonic() >= limits.deadline:
        raise FleetTimeout(
            f"no reply within {limits.timeouts.total:g} s (timeout=); the request may still wait or run"
        )


def _read(operation: Operation[T], reply: Callable[[T, int], R], answer: Reply, kind: str, model: str) -> R:
    """Return what a reply holds, or raise what it tells of."""
    if answer.failed:
        raise _failure(answer, kind, model)
    content = encode_json(answer.result)
    request = cast("Request", _Path(KINDS[kind].path))
    try:
        result = parsed(operation.parse, Answer(_OK, {}, content), content, request, model)
        return reply(result, answer.status)
    except OllamaError as error:
        error.model = model
        raise


class _Path:
    """As much of a request as errors speak of."""

    def __init__(self, path: str) -> None:
        self.path = path


def _failure(answer: Reply, kind: str, model: str) -> OllamaError:
    """Return the error that a reply tells of: the one that `Client` raises, if Ollama answered."""
    told = answer.error
    if answer.result is not None and (told is None or told.code == "ollama_error"):
        error: OllamaError = refusal(
            answer.status, {}, encode_json(answer.result), path=KINDS[kind].path, model=model
        )
    elif told is None:
        error = RequestFailed(
            f"a worker replied with status {answer.status}, and not why", code="unknown", status=answer.status
        )
    else:
        error = RequestFailed(
            f"{told.message} ({told.code})",
            code=told.code,
            retryable=told.retryable,
            status=answer.status,
            body=b"" if answer.result is None else encode_json(answer.result),
        )
    error.model = model
    if answer.worker:
        error.add_note(f"answered by the worker {answer.worker}")
    return error
