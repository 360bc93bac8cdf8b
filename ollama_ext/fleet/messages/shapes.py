"""What messages are made of: properties, codes, and what is known of a request."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ollama_ext.fleet.topology import LONGEST_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The property ``type`` of a request, of a reply, and of what is put into the queue of dead letters.
REQUEST, REPLY, DEAD = "llm.request", "llm.reply", "llm.dead"
#: The property ``app_id`` of what we publish.
APP_ID: Final = "ollama-ext"
#: The header of a request with the longest time that it may run, in milliseconds.
RUN_LIMIT: Final = "x-run-limit-ms"
#: What the headers of replies and of dead letters begin with.
HEADERS: Final = "x-ollama-ext-"
#: Bytes that a body may have each way unless the settings of a worker say otherwise.
MAX_BYTES: Final = 8 << 20
#: Objects and lists inside one another that a request may have.
MAX_DEPTH: Final = 200
#: The ``delivery_mode`` of messages that outlive a restart of the broker.
PERSISTENT: Final = 2
#: The content type of every body.
JSON: Final = "application/json"


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """What a code in the ``error`` of a reply says.

    Attributes:
        status: That goes with it; None where it is Ollama's.
        retryable: Whether the same request has a fair chance later; None where that depends on the failure.
        meaning: For people.
    """

    status: int | None
    meaning: str
    retryable: bool | None = False


#: Every code that a worker replies with.
CODES: Final[Mapping[str, Code]] = {
    "invalid_request": Code(status=400, meaning="the message is no request"),
    "model_mismatch": Code(status=404, meaning="the queue serves another model than the body names"),
    "deadline_expired": Code(status=408, meaning="it ran for as long as it was allowed to"),
    "payload_too_large": Code(status=413, meaning="the request or the reply is longer than the worker takes"),
    "unsupported_encoding": Code(
        status=415, meaning="the body is compressed, encrypted or otherwise encoded"
    ),
    "cancelled": Code(status=499, meaning="it was ended on purpose"),
    "delivery_limit": Code(
        status=500, meaning="it was tried as often as it may be, and no machine could do it"
    ),
    "internal": Code(status=500, meaning="the worker itself failed"),
    "ollama_unavailable": Code(
        status=503, meaning="Ollama did not answer, or its answer broke off", retryable=True
    ),
    "ollama_error": Code(
        status=None, meaning="Ollama answered with an error, which is in `result`", retryable=None
    ),
}


class Properties(msgspec.Struct, frozen=True, kw_only=True):
    """The AMQP properties of a message.

    Those of a message that arrived are what a stranger wrote: text that is no UTF-8 arrives as bytes.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    message_id: str | None = None
    expiration: str | None = None
    type: str | None = None
    app_id: str | None = None
    timestamp: int | None = None
    headers: dict[str, Any] = {}
    priority: int | None = None
    delivery_mode: int | None = None


def unique_ids() -> Callable[[], str]:
    """Return a function that returns another id each time: random to begin with, then counted.

    To ask the system for random bytes each time would let another thread have the interpreter each time.
    """
    token, numbers = secrets.token_hex(10), itertools.count()
    return lambda: f"{token}{next(numbers):012x}"


def text_of(value: object) -> str | None:
    """Return a value that should be text if it is; what strangers send may be anything."""
    return value if isinstance(value, str) else None


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply needs to know of its request, and whatever of it is known is here, however bad it is.

    Attributes:
        reply_to: The address; None for no reply. Nobody has judged it yet (`topology.reply_refused`).
        correlation_id: Any JSON value, for the body of the reply.
        model: The model that is asked for, as it is written; None if no text says which.
        request_type: The type that is asked for; None likewise.
        message_context: Any JSON value, copied back where it is not null.
        patience: Seconds from its delivery for which the caller waits, or None.
    """

    reply_to: str | None = None
    correlation_id: Any = None
    model: str | None = None
    request_type: str | None = None
    message_context: Any = None
    patience: float | None = None

    @property
    def correlation_property(self) -> str | None:
        """The ``correlation_id`` for the property of the reply; None where it cannot be one."""
        value = self.correlation_id
        return value if isinstance(value, str) and 1 <= len(value.encode()) <= LONGEST_NAME else None

    def refused(self, code: str, message: str) -> Refusal:
        """Return the refusal that answers this request with an error.

        Args:
            code: One of `CODES` that has a status of its own.
            message: Why, and what to do about it.
        """
        known = {name: getattr(self, name) for name in Envelope.__struct_fields__}
        return Refusal(code=code, message=message, **known)


class Request(Envelope, frozen=True, kw_only=True):
    """A message that is a request: a JSON object with a fit address. The rest of it is for Ollama to judge.

    Attributes:
        body: The object, with ``model``, ``request_type``, ``reply_to`` and ``correlation_id`` filled.
        run_limit: Seconds that it may run, or None.
        stream: Whether the caller wants the parts of the reply as they come.
    """

    body: dict[str, Any]
    run_limit: float | None = None
    stream: bool = False


class Refusal(Envelope, frozen=True, kw_only=True):
    """A request that is not run, with what is replied.

    Attributes:
        code: One of `CODES`.
        message: Why, and what to do about it.
    """

    code: str
    message: str
