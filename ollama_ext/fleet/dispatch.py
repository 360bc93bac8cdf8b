"""From the body of a message to a call of Ollama, and from what Ollama answers to the body of a reply.

`handle_request` is the one way there, for a program that calls it and for the worker (by `run_request`, which
also tells what the reply does not: whose failure it was). It needs no broker. Whatever a message says, only
`/api/chat`, `/api/generate` and `/api/embed` are ever called, with the fields of `KINDS`: else any publisher
could delete models. Fields go on as they came, for Ollama to judge; nothing of them is checked here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec
from ollama_openapi.api import inference
from ollama_openapi.models import ChatRequest
from ollama_openapi.types import UNSET, Request, encode_json

from ollama_ext.calls import Operation, parsed, tried
from ollama_ext.errors import (
    Cancelled,
    ConnectionFailed,
    IncompleteReply,
    InvalidArgument,
    OllamaError,
    OllamaTimeout,
    ResponseError,
    TotalTimeout,
)
from ollama_ext.names import parse_name
from ollama_ext.repeats import Repeat
from ollama_ext.replies import EmbedReply, all_embedded
from ollama_ext.state import ChatState, GenerateState
from ollama_ext.streaming import ReplyStream

from .faults import Fault, fault_of
from .messages.shapes import CODES
from .topology import ANY

if TYPE_CHECKING:
    from ollama_openapi.types import Unset

    from ollama_ext.calls import Calls
    from ollama_ext.cancel import CancelToken
    from ollama_ext.client import Client
    from ollama_ext.events import Event
    from ollama_ext.options import Call, CallOptions
    from ollama_ext.retry import RetryPolicy
    from ollama_ext.settings import Subscription
    from ollama_ext.timeouts import Timeouts
    from ollama_ext.transport import Answer
    from ollama_ext.usage import Usage

_log = logging.getLogger(__name__)


class Kind(msgspec.Struct, frozen=True):
    """What a kind of request calls.

    Attributes:
        path: The endpoint.
        fields: The fields of a message that go on to it, each under its own name, beside ``model``.
        operation: How its answers are read.
        state: What adds up its stream; None where Ollama has none.
    """

    path: str
    fields: tuple[str, ...]
    operation: Operation[Any]
    state: Callable[[str, int], Any] | None = None


_SHARED: Final = ("format", "options", "keep_alive", "think", "truncate", "shift", "logprobs", "top_logprobs")
#: What is called for each ``request_type``; any other one, or none, is a chat. ``embed`` also takes its
#: ``input`` from the field ``text``, where ``input`` is absent or null.
KINDS: Final[Mapping[str, Kind]] = {
    "chat": Kind("/api/chat", ("messages", "tools", *_SHARED), inference.chat, ChatState),
    "generate": Kind(
        "/api/generate",
        ("prompt", "images", "system", "suffix", "template", "context", "raw", *_SHARED),
        inference.generate,
        GenerateState,
    ),
    "embed": Kind(
        "/api/embed", ("input", "truncate", "options", "keep_alive", "dimensions"), inference.embed
    ),
}
#: The fields of Ollama's requests that a message cannot set, and why.
WITHHELD: Final[Mapping[str, str]] = {
    "stream": "always true for chat and generate, so that a hang is seen and a caller who left is noticed",
    "_debug_render_only": "shows the template and the system prompt of a model, and generates nothing",
}
# The status of a failure that has none, or none of a failure: an error line in a stream, say. It is the one
# that the plain call would have had, as Ollama sends the status of that when it knows how it ended.
_FAILED: Final = 500
_LEAST_FAILURE: Final = 400
_NANOSECONDS: Final = 1_000_000  # of a millisecond
_LONGEST_SHOWN: Final = 120  # characters of a name in a message
_JSON_TYPES: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_NOT_JSON: Final = (ValueError, TypeError, OverflowError, RecursionError)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request: the reply, and what only the worker needs to know.

    Attributes:
        result: What Ollama answered, decoded; the text where it is no JSON; None if it did not answer.
        usage: The six integers of `Usage.to_dict`; empty after a failure.
        status: Ollama's HTTP status, or that of the code of the error.
        model: The model that was asked for, as it was written; None if no text says which.
        error: None, or ``code``, ``message`` and ``retryable``.
        fault: Whose failure it is; None after a success.
        failure: The error of the client behind it, if there is one.
        first_token: Whether any part of the reply had come.
        load_ms: Milliseconds that Ollama took to make the model ready, waiting in its queue included; 0 if it
            did not say.
        total_ms: Milliseconds that the request took here.
    """

    result: Any
    usage: dict[str, int]
    status: int
    model: str | None
    error: dict[str, Any] | None = None
    fault: Fault | None = None
    failure: OllamaError | None = None
    first_token: bool = False
    load_ms: int = 0
    total_ms: int = 0

    def reply(self) -> dict[str, Any]:
        """Return what `handle_request` does."""
        reply = {"result": self.result, "usage": self.usage, "status": self.status, "model": self.model}
        return reply if self.error is None else {**reply, "error": self.error}


def handle_request(
    body: object,
    client: Client,
    subscription: Subscription | None = None,
    *,
    cancel: CancelToken | None = None,
    timeout: Timeouts | float | Unset | None = UNSET,
    on_event: Callable[[Event], object] | None = None,
) -> dict[str, Any]:
    """Do what a message asks for, by one call of Ollama, and return the reply. Never raises an `Exception`.

    Chat and generate are streamed from Ollama, and the reply is what the plain call would have given.

    Args:
        body: The decoded body of the message: an object with ``model``, ``request_type`` (``"embed"``,
            ``"generate"``; all else is a chat) and the fields of the request. null is as good as absent.
        client: Whose Ollama does it, and whose retries apply.
        subscription: Fills ``request_type`` and ``model`` where the body has none; a body that names another
            model is refused. Its ``options`` and ``keep_alive``, where it has any, replace those of the body.
        cancel: Ends the call from another thread.
        timeout: `Timeouts`, or seconds for the whole call, or None for no limit. Left out: the client's.
        on_event: Called with each event of a stream as it comes.

    Returns:
        ``result``, ``usage``, ``status``, ``model``, each as `Outcome` has it. After a failure also ``error``
        with ``code``, ``message`` and ``retryable``. The codes: ``invalid_request`` (400), ``model_mismatch``
        (404), ``deadline_expired`` (408), ``cancelled`` (499), ``internal`` (500), ``ollama_unavailable``
        (503: no answer, or one that broke off), else ``ollama_error``, with the status of Ollama. Where that
        is none of a failure, as with an error line inside a stream, it is 500, as of the plain call.
    """
    outcome = run_request(body, client, subscription, cancel=cancel, timeout=timeout, on_event=on_event)
    return outcome.reply()


def run_request(
    body: object,
    client: Client,
    subscription: Subscription | None = None,
    *,
    cancel: CancelToken | None = None,
    timeout: Timeouts | float | Unset | None = UNSET,
    on_event: Callable[[Event], object] | None = None,
    retry: RetryPolicy | Unset | None = UNSET,
) -> Outcome:
    """Do as `handle_request` does, and return all that is known of how it went.

    Args:
        body: As there, like all but the last.
        client: As there.
        subscription: As there.
        cancel: As there.
        timeout: As there.
        on_event: As there.
        retry: When to try again, or None for never. Left out: the client's.
    """
    started = monotonic()
    model: str | None = None
    listener = _Listener(on_event)
    try:
        fields = _filled(body, subscription)
        asked = fields.get("model")
        model = asked if isinstance(asked, str) else None
        work = _Work(fields, subscription)
        options: CallOptions = {"cancel": cancel}
        if timeout is not UNSET:
            options["timeout"] = timeout
        if retry is not UNSET:
            options["retry"] = retry
        calls = _calls_of(client)
        call = calls.begin(options)
        try:
            outcome = work.done(calls, call, listener)
        except OllamaError as error:
            outcome = _failed(error, model, first_token=listener.heard)
    except _Unfit as problem:
        outcome = _failure(problem.code, problem.message, model, Fault.CALLER)
    except Exception as error:  # noqa: BLE001 - who waits for a reply gets one
        _log.exception("a request for the model %.120r failed here, not at Ollama", model)
        outcome = _failure("internal", f"{type(error).__name__}: the log says more", model, Fault.UNSURE)
    milliseconds = round((monotonic() - started) * 1000)
    return msgspec.structs.replace(outcome, total_ms=milliseconds, first_token=listener.heard)


# -- what is asked


class _Unfit(Exception):
    """The message cannot be sent on to Ollama: one of `CODES`, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _filled(body: object, subscription: Subscription | None) -> Mapping[str, Any]:
    """Return the fields of a message, with the two that a subscription fills."""
    if not isinstance(body, dict):
        raise _Unfit("invalid_request", f"the body must be a JSON object, not {_type_of(body)}")
    fields: dict[str, Any] = {**body}
    if subscription is not None:
        for name, own in (("request_type", subscription.type), ("model", subscription.model)):
            if fields.get(name) is None and own != ANY:
                fields[name] = own
    return fields


class _Work:
    """A message that can be sent on: what is called, and with what."""

    def __init__(self, fields: Mapping[str, Any], subscription: Subscription | None) -> None:
        """Raise `_Unfit` if it cannot."""
        self._model = model = _checked_model(fields.get("model"), subscription)
        request_type = fields.get("request_type")
        name = request_type if isinstance(request_type, str) and request_type in KINDS else "chat"
        self._kind = kind = KINDS[name]
        passed = {name: value for name in kind.fields if (value := fields.get(name)) is not None}
        if name == "embed" and "input" not in passed and (text := fields.get("text")) is not None:
            passed["input"] = text
        if subscription is not None:
            own = {"options": subscription.options, "keep_alive": subscription.keep_alive}
            passed |= {name: value for name, value in own.items() if value is not None}
        self._texts: Any = passed.get("input")
        # In the place of the generated requests, which take what is right only, and read it their own way.
        sent = {"model": model, **passed, **({"stream": True} if kind.state else {})}
        try:
            content = encode_json(sent)
        except _NOT_JSON as error:
            raise _Unfit("invalid_request", f"the body cannot be sent as JSON: {error}") from None
        headers = {"Content-Type": "application/json"}
        self._request = Request(method="POST", path=kind.path, headers=headers, content=content)

    def done(self, calls: Calls, call: Call, listener: _Listener) -> Outcome:
        """Ask Ollama, and return what it replies.

        Raises:
            OllamaError: What the client raises.
        """
        state = self._kind.state
        if state is None:
            return calls.send(lambda: self._request, self._read, self._model, call, Repeat.EMBEDDING)
        named = ChatRequest(model=self._model)  # of which no more is read than that
        opened = tried(
            lambda: calls.open(
                _Written(self._request, self._kind), named, call, silence=call.limits.timeouts.between
            ),
            call,
            Repeat.INFERENCE,
        )
        with ReplyStream[Any](opened, state(self._model, opened.answer.status)) as stream:
            for event in stream:
                listener.hear(event)
            reply = stream.reply
        return self._success(reply.result.to_dict(), reply.usage, reply.status)

    def _read(self, answer: Answer) -> Outcome:
        model = parsed(self._kind.operation.parse, answer, answer.body, self._request, self._model)
        reply = all_embedded(EmbedReply(model, answer.status), self._texts)
        result = msgspec.json.decode(answer.body)  # once more: as it came, and faster than out of the model
        return self._success(result, reply.usage, reply.status)

    def _success(self, result: Any, usage: Usage, status: int) -> Outcome:
        load = usage.load_duration // _NANOSECONDS
        return Outcome(result=result, usage=usage.to_dict(), status=status, model=self._model, load_ms=load)


class _Written:
    """An operation whose request is there already: encoded once, however often it is tried."""

    def __init__(self, request: Request, kind: Kind) -> None:
        self._request = request
        self.parse = kind.operation.parse

    def build_request(self, *_args: Any, **_flags: Any) -> Request:
        return self._request


class _Listener:
    """Who is told of the events of a stream.

    Attributes:
        heard: Whether there was any.
    """

    def __init__(self, on_event: Callable[[Event], object] | None) -> None:
        self._on_event = on_event
        self.heard: bool = False

    def hear(self, event: Event) -> None:
        self.heard = True
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except OllamaError as error:  # of something else that the listener does: no failure of this Ollama
            raise RuntimeError("the listener to the events of a stream failed") from error


def _checked_model(model: object, subscription: Subscription | None) -> str:
    if model is None:
        raise _Unfit("invalid_request", "the body names no model")
    if not isinstance(model, str):
        raise _Unfit("invalid_request", f"model must be a string, not {_type_of(model)}")
    if not model:
        raise _Unfit("invalid_request", "model is empty: name one, or leave it out for that of the queue")
    served = ANY if subscription is None else subscription.model
    if served != ANY and not parse_name(model).same_as(parse_name(served)):
        asked = repr(model if len(model) <= _LONGEST_SHOWN else model[:_LONGEST_SHOWN] + "...")
        raise _Unfit(
            "model_mismatch",
            f"this queue serves the model {served!r}, not {asked}: send it to the queue of that model",
        )
    return model


def _type_of(value: object) -> str:
    return _JSON_TYPES.get(type(value), type(value).__name__)


def _calls_of(client: Client) -> Calls:
    # The public methods check their arguments, warn of what Ollama ignores, and cut or convert what they know
    # better: right for a programmer, wrong for a message, which is Ollama's to judge.
    return client._calls  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


# -- what is replied to a failure


def _failed(error: OllamaError, model: str | None, *, first_token: bool) -> Outcome:
    code, result = "internal", None
    status: int | None = None
    match error:
        case InvalidArgument():
            code = "invalid_request"
        case Cancelled():
            code = "cancelled"
        case TotalTimeout():
            code = "deadline_expired"
        case ConnectionFailed() | OllamaTimeout() | IncompleteReply():
            code = "ollama_unavailable"
        case OllamaError(status=int(status)):
            code = "ollama_error"
            result = _verbatim(error.body) if error.body or isinstance(error, ResponseError) else None
        case _:
            pass
    fault = fault_of(error, first_token=first_token)
    outcome = _failure(code, error.message, model, fault, status=status, retryable=error.retryable)
    return msgspec.structs.replace(outcome, result=result, failure=error)


def _failure(
    code: str,
    message: str,
    model: str | None,
    fault: Fault,
    *,
    status: int | None = None,
    retryable: bool = False,
) -> Outcome:
    known = CODES[code].status
    if known is None:  # it is Ollama's
        known = status if status is not None and status >= _LEAST_FAILURE else _FAILED
    error = {"code": code, "message": message, "retryable": retryable}
    return Outcome(result=None, usage={}, status=known, model=model, error=error, fault=fault)


def _verbatim(body: bytes) -> Any:
    """Return an error body as JSON if it is JSON, else as the text that it is."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return body.decode("utf-8", errors="replace")
