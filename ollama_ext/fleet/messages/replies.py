"""Replies and dead letters as a worker writes them, and replies as a caller reads them."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ollama_ext.fleet.errors import ReplyRefused
from ollama_ext.fleet.topology import PROVIDER
from ollama_ext.usage import EMPTY_USAGE, Usage

from .shapes import (
    APP_ID,
    CODES,
    DEAD,
    HEADERS,
    JSON,
    MAX_BYTES,
    PERSISTENT,
    REPLY,
    RUN_LIMIT,
    Envelope,
    Properties,
    Refusal,
    text_of,
)

if TYPE_CHECKING:
    from ollama_ext.fleet.dispatch import Outcome

_LONGEST_REASON: Final = 1000  # characters, in a header
_LONGEST_KEPT: Final = 512  # characters of a header that a dead letter keeps
_KEPT: Final = ("traceparent", "tracestate", RUN_LIMIT)
_OK, _FAILED = 200, 500  # what a reply without a status means, and an error whose code has none


# -- as a worker writes them


def reply_body(request: Envelope, outcome: Outcome, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the body that answers a request which was run.

    One that would be too long becomes the error ``payload_too_large``. Never raises.

    Args:
        request: What was asked.
        outcome: What became of it.
        max_bytes: That a reply may have.
    """
    error = {} if outcome.error is None else {"error": outcome.error}
    model = request.model if outcome.model is None else outcome.model
    try:
        body = msgspec.json.encode(
            _fields(request, outcome.result, outcome.usage, model, outcome.status) | error
        )
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as failure:
        problem = f"what Ollama answered cannot be sent as JSON: {type(failure).__name__}"
        return error_body(request.refused("internal", problem), max_bytes=max_bytes)
    if len(body) <= max_bytes:
        return body
    problem = (
        f"the reply has {len(body)} bytes, and this worker sends {max_bytes}: ask for less at a time, or "
        "raise worker.max_reply_bytes"
    )
    return error_body(request.refused("payload_too_large", problem), max_bytes=max_bytes)


def error_body(refusal: Refusal, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the body that answers a request which was not run, or could not be.

    What it echoes of the request is left out where it would be too long: ``message_context`` first, then
    ``model``, then ``correlation_id``.

    Args:
        refusal: What was asked, and why not.
        max_bytes: That a reply may have.
    """
    body = _error(refusal)
    for name in ("message_context", "model", "correlation_id"):
        if len(body) <= max_bytes:
            break
        refusal = msgspec.structs.replace(refusal, **{name: None})
        body = _error(refusal)
    return body


def refused_body(body: bytes, why: str) -> bytes:
    """Return what is sent in the place of a reply that the broker does not take: that, as an error.

    Args:
        body: The reply, one of ours.
        why: What the broker says of it.
    """
    told = msgspec.json.decode(body)
    known = Envelope(**{name: told.get(name) for name in ("correlation_id", "model", "message_context")})
    problem = f"the reply has {len(body)} bytes, and the broker does not take it: {why}"
    return error_body(known.refused("payload_too_large", problem))


def _error(refusal: Refusal) -> bytes:
    code = CODES[refusal.code]
    error = {"code": refusal.code, "message": refusal.message, "retryable": bool(code.retryable)}
    fields = _fields(refusal, None, {}, refusal.model, code.status or _FAILED)
    return msgspec.json.encode(fields | {"error": error})


def _fields(
    request: Envelope, result: Any, usage: dict[str, int], model: str | None, status: int
) -> dict[str, Any]:
    fields = {
        "correlation_id": request.correlation_id,
        "result": result,
        "usage": usage,
        "model": model,
        "provider": PROVIDER,
        "status": status,
    }
    context = request.message_context
    return fields if context is None else fields | {"message_context": context}


def reply_properties(
    *,
    correlation_id: str | None,
    message_id: str,
    worker: str,
    queue: str,
    attempt: int,
    run: str | None = None,
    digest: str | None = None,
    version: str | None = None,
    load_ms: int | None = None,
    run_ms: int | None = None,
    timestamp: int | None = None,
) -> Properties:
    """Return the properties of a reply. What is None, or empty, has no header.

    Args:
        correlation_id: `Envelope.correlation_property` of the request.
        message_id: Of the reply.
        worker: The name of the worker.
        queue: That the request came from.
        attempt: Which delivery of the request this is, counted from 1.
        run: Identifies the inference; none for a request that was not run.
        digest: Of the manifest of the model.
        version: Of Ollama.
        load_ms: Milliseconds until the model was ready, waiting in Ollama's own queue included.
        run_ms: Milliseconds that the request took at the worker.
        timestamp: Seconds since 1970; None for now.
    """
    known = {
        "worker": worker,
        "run": run,
        "attempt": attempt,
        "model-digest": digest,
        "ollama-version": version,
        "queue": queue,
        "load-ms": load_ms,
        "run-ms": run_ms,
    }
    headers = {HEADERS + name: value for name, value in known.items() if value not in (None, "")}
    return Properties(
        correlation_id=correlation_id,
        message_id=message_id,
        type=REPLY,
        timestamp=int(time()) if timestamp is None else timestamp,
        headers=headers,
        content_type=JSON,
        app_id=APP_ID,
        delivery_mode=PERSISTENT,
    )


def dead_properties(
    properties: Properties,
    *,
    message_id: str,
    code: str,
    why: str,
    worker: str,
    queue: str,
    attempt: int,
    timestamp: int | None = None,
) -> Properties:
    """Return the properties of the copy of a request in the queue of dead letters, whose body is the same.

    Properties of the request stay, but for its ``expiration``: the copy is kept as long as the policy of that
    queue says. Of its headers only those that a worker reads stay: others may be ones that this client cannot
    write, or tell the broker where to send copies (``CC``).

    Args:
        properties: Of the request.
        message_id: Of the copy; that of the request is in a header.
        code: What its caller was told.
        why: What went wrong.
        worker: The name of the worker.
        queue: That the request came from.
        attempt: Which delivery of the request was the last.
        timestamp: Seconds since 1970, of its death; None for now.
    """
    kept = {
        name: value
        for name in _KEPT
        if (isinstance(value := properties.headers.get(name), str) and len(value) <= _LONGEST_KEPT)
        or (name == RUN_LIMIT and isinstance(value, int))
    }
    known = {
        "code": code,
        "reason": why[:_LONGEST_REASON],
        "queue": queue,
        "worker": worker,
        "attempt": attempt,
        "message-id": text_of(properties.message_id),
        "sent": properties.timestamp if isinstance(properties.timestamp, int) else None,
    }
    return Properties(
        content_type=text_of(properties.content_type),
        content_encoding=text_of(properties.content_encoding),
        reply_to=text_of(properties.reply_to),
        correlation_id=text_of(properties.correlation_id),
        message_id=message_id,
        type=DEAD,
        app_id=APP_ID,
        timestamp=int(time()) if timestamp is None else timestamp,
        headers=kept | {HEADERS + name: value for name, value in known.items() if value is not None},
        delivery_mode=PERSISTENT,
    )


# -- as a caller reads them


class ReplyError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request could not be done.

    Attributes:
        code: One of `CODES`, or one of another worker's.
        message: For people.
        retryable: Whether the same request has a fair chance later.
    """

    code: str
    message: str
    retryable: bool = False


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply.

    Attributes:
        result: What Ollama answered, decoded; None if it did not answer.
        usage: Tokens and times; all 0 after a failure, and where a worker sends none.
        status: Ollama's HTTP status, or that of the code of ``error``.
        model: That was used, or asked for.
        provider: ``"ollama"``.
        correlation_id: Of the body, else of the properties.
        error: None after a success, and from workers that send none.
        message_context: As the request had it.
        worker: The name of the worker, or None.
        run: Identifies the inference, or None.
        attempt: Which delivery of the request it was, counted from 1, or None.
    """

    result: Any
    usage: Usage = EMPTY_USAGE
    status: int = _OK
    model: str | None = None
    provider: str | None = None
    correlation_id: Any = None
    error: ReplyError | None = None
    message_context: Any = None
    worker: str | None = None
    run: str | None = None
    attempt: int | None = None

    @property
    def failed(self) -> bool:
        """Whether the request could not be done."""
        return self.error is not None or self.status >= 400  # noqa: PLR2004 - the first HTTP status of an error


def parse_reply(body: bytes, properties: Properties) -> Reply:
    """Read a message from a reply queue.

    Replies of other workers of this protocol may lack ``status``, which is 200 then, ``usage`` and ``error``.

    Raises:
        ReplyRefused: It is no reply: no JSON object, none with a ``result``, or a field has a wrong type.
    """
    try:
        told = msgspec.json.decode(body, type=_Told)
    except RecursionError:
        raise ReplyRefused("The reply is nested too deeply to be read.", body=body) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ReplyRefused(f"The message is no reply: {error}.", body=body) from None
    status = _OK if told.status is None else told.status
    correlation_id = told.correlation_id
    headers = properties.headers
    attempt = headers.get(HEADERS + "attempt")
    return Reply(
        result=told.result,
        usage=told.usage or EMPTY_USAGE,
        status=status,
        model=told.model,
        provider=told.provider,
        correlation_id=properties.correlation_id if correlation_id is None else correlation_id,
        error=told.error,
        message_context=told.message_context,
        worker=text_of(headers.get(HEADERS + "worker")),
        run=text_of(headers.get(HEADERS + "run")),
        attempt=attempt if isinstance(attempt, int) else None,
    )


class _Told(msgspec.Struct, kw_only=True):
    """The body of a reply; ``result`` is what tells it from other messages."""

    result: Any
    usage: Usage | None = None
    status: int | None = None
    model: str | None = None
    provider: str | None = None
    correlation_id: Any = None
    error: ReplyError | None = None
    message_context: Any = None
