"""Requests: as a worker reads them, and as a caller writes them."""

from __future__ import annotations

import re
from decimal import Decimal
from math import ceil, isfinite
from time import time
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from ollama_openapi.types import encode_json

from ollama_ext.errors import InvalidArgument
from ollama_ext.fleet.errors import RequestTooLarge
from ollama_ext.fleet.topology import ANY, DIRECT_REPLY_TO

from .shapes import (
    APP_ID,
    JSON,
    MAX_BYTES,
    MAX_DEPTH,
    PERSISTENT,
    REQUEST,
    RUN_LIMIT,
    Envelope,
    Properties,
    Refusal,
    Request,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ollama_ext.settings import Subscription

_LONGEST_EXPIRATION: Final = 0xFFFFFFFF  # milliseconds; the broker closes the channel over a longer one
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_TYPES: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
    bytes: "text that is not UTF-8",
}
_TOO_DEEP: Final = f"the body has more than {MAX_DEPTH} objects and lists inside one another: nest it less"


# -- as a worker reads them


def parse_request(  # noqa: PLR0911 - one for each thing that can be wrong
    body: bytes,
    properties: Properties,
    subscription: Subscription | None = None,
    *,
    max_bytes: int = MAX_BYTES,
) -> Request | Refusal:
    """Read a message from a queue of requests. Never raises.

    Headers never replace a field of the body. Names that occur twice in an object have their last value.

    Args:
        body: Of any content; its length is looked at before anything else.
        properties: Fill ``reply_to`` and ``correlation_id`` where the body has none, or null; so they are
            known even if the body is no JSON.
        subscription: What the message was taken for; fills ``request_type`` and ``model``.
        max_bytes: That a body may have.
    """
    known = _known(properties, subscription)
    if len(body) > max_bytes:
        return known.refused(
            "payload_too_large",
            f"the request has {len(body)} bytes, and this worker takes {max_bytes}: send less, or raise "
            "worker.max_request_bytes",
        )
    encoding = properties.content_encoding
    if encoding and not (isinstance(encoding, str) and encoding.lower() == "identity"):
        return known.refused(
            "unsupported_encoding",
            f"the content_encoding {encoding!r:.100} is not supported: send the body as it is, without one",
        )
    try:
        fields = msgspec.json.decode(body)
    except RecursionError:
        return known.refused("invalid_request", _TOO_DEEP)
    except (msgspec.MsgspecError, ValueError) as error:
        return known.refused("invalid_request", f"the body is not JSON: {error}")
    if not isinstance(fields, dict):
        return known.refused("invalid_request", f"the body must be a JSON object, not {_type_of(fields)}")
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(fields):
        return known.refused("invalid_request", _TOO_DEEP)
    return _filled(fields, known, properties)


def _known(properties: Properties, subscription: Subscription | None) -> Envelope:
    """Return what is known before the body is read."""
    reply_to, correlation_id = properties.reply_to, properties.correlation_id
    request_type, model = (None, None) if subscription is None else (subscription.type, subscription.model)
    return Envelope(
        reply_to=reply_to if isinstance(reply_to, str) and reply_to else None,
        correlation_id=correlation_id if isinstance(correlation_id, str) else None,
        model=None if model == ANY else model,
        request_type=None if request_type == ANY else request_type,
        patience=_patience(properties.expiration),
    )


def _filled(fields: dict[str, Any], known: Envelope, properties: Properties) -> Request | Refusal:
    if fields.get("reply_to") == DIRECT_REPLY_TO:  # an address only as a property
        del fields["reply_to"]
    for name, filling in (
        ("model", known.model),
        ("request_type", known.request_type),
        ("reply_to", properties.reply_to),
        ("correlation_id", known.correlation_id),
    ):
        if fields.get(name) is None and filling is not None:
            fields[name] = filling
    reply_to = fields.get("reply_to")
    envelope: dict[str, Any] = {
        "reply_to": known.reply_to,
        "correlation_id": fields.get("correlation_id"),
        "model": text_of(fields.get("model")),
        "request_type": text_of(fields.get("request_type")),
        "message_context": fields.get("message_context"),
        "patience": known.patience,
    }
    if reply_to is not None and not isinstance(reply_to, str):
        return Envelope(**envelope).refused(
            "invalid_request", f"reply_to must be a string, the name of a queue, not {_type_of(reply_to)}"
        )
    envelope["reply_to"] = reply_to or None
    given = properties.headers.get(RUN_LIMIT)
    run_limit = _milliseconds(given)
    if run_limit is None and given is not None:
        return Envelope(**envelope).refused(
            "invalid_request",
            f"the header {RUN_LIMIT} must be a number of milliseconds above 0, not {given!r:.100}: correct "
            "it, or leave it out for the limit of the worker",
        )
    return Request(
        body=fields,
        run_limit=run_limit,
        stream=fields.get("stream") is True and envelope["request_type"] != "embed",
        **envelope,
    )


def _too_deep(fields: dict[str, Any]) -> bool:
    level: list[Any] = [fields]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _patience(expiration: object) -> float | None:
    """Return the seconds of an ``expiration``.

    The broker takes none that is no number. 0 says "only if a worker is free now", and nothing of a reply.
    """
    digits = isinstance(expiration, str) and _DIGITS.fullmatch(expiration) is not None
    return (int(cast("str", expiration)) / 1000 or None) if digits else None


def _milliseconds(value: object) -> float | None:
    """Return a number of milliseconds above 0 in seconds; None for everything else."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        seconds = float(value) / 1000
    except (ValueError, OverflowError):
        return None
    return seconds if isfinite(seconds) and seconds > 0 else None


def _type_of(value: object) -> str:
    return _TYPES.get(type(value), type(value).__name__)


# -- as a caller writes them


def request_body(
    request_type: str,
    model: str,
    fields: Mapping[str, Any],
    *,
    reply_to: str | None,
    correlation_id: str,
    max_bytes: int = MAX_BYTES,
) -> bytes:
    """Return the body of a request.

    Args:
        request_type: ``chat``, ``generate`` or ``embed``.
        model: As its queue is named.
        fields: Those of Ollama's request; None is as good as left out.
        reply_to: Where the reply goes; None for no reply.
        correlation_id: What the reply will have.
        max_bytes: That workers take.

    Raises:
        InvalidArgument: The fields hold what JSON cannot.
        RequestTooLarge: It has more bytes; the message says what in it is the largest.
    """
    own = {
        "model": model,
        "request_type": request_type,
        "reply_to": reply_to,
        "correlation_id": correlation_id,
    }
    rest = {name: value for name, value in fields.items() if name not in own}
    content = {name: value for name, value in (own | rest).items() if value is not None}
    try:
        body = encode_json(content)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"The request cannot be sent as JSON: {error}.", model=model) from error
    if len(body) > max_bytes:
        path, length = _largest(content)
        raise RequestTooLarge(
            f"The request has {len(body)} bytes, and workers take {max_bytes}; its largest part is {path}, "
            f"with {length} bytes: send less of it, or raise worker.max_request_bytes of the workers.",
            model=model,
            argument=path,
        )
    return body


def request_properties(
    *,
    reply_to: str | None,
    correlation_id: str,
    message_id: str,
    timeout: float | None = None,
    run_limit: float | None = None,
    traceparent: str | None = None,
    timestamp: int | None = None,
) -> Properties:
    """Return the properties of a request.

    Args:
        reply_to: Where the reply goes; None for no reply.
        correlation_id: What the reply will have.
        message_id: Tells two deliveries of one request from two requests.
        timeout: Seconds after which the request, if it still waits, is dropped; None: as the broker's policy
            says.
        run_limit: Seconds that it may run; None: as the worker's settings say.
        traceparent: The caller's place in a distributed trace, as W3C Trace Context writes it.
        timestamp: Seconds since 1970; None for now.
    """
    headers: dict[str, Any] = {}
    if run_limit is not None:
        headers[RUN_LIMIT] = max(1, ceil(run_limit * 1000))
    if traceparent is not None:
        headers["traceparent"] = traceparent
    expiration = None if timeout is None else str(min(max(1, ceil(timeout * 1000)), _LONGEST_EXPIRATION))
    return Properties(
        reply_to=reply_to,
        correlation_id=correlation_id,
        message_id=message_id,
        type=REQUEST,
        timestamp=int(time()) if timestamp is None else timestamp,
        expiration=expiration,
        headers=headers,
        content_type=JSON,
        app_id=APP_ID,
        delivery_mode=PERSISTENT,
    )


def _largest(content: dict[str, Any]) -> tuple[str, int]:
    """Return the path and the bytes of the largest value that has no parts."""
    best = ("", 0)
    left: list[tuple[str, Any]] = list(content.items())
    while left:
        path, value = left.pop()
        if isinstance(value, dict):
            left.extend((f"{path}.{name}", part) for name, part in value.items())
        elif isinstance(value, (list, tuple)):
            left.extend((f"{path}[{index}]", part) for index, part in enumerate(value))
        elif (length := len(msgspec.json.encode(value))) > best[1]:
            best = (path, length)
    return best
