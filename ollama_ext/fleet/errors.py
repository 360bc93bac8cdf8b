"""What goes wrong between a caller and a fleet, in one tree under `ollama_ext.OllamaError`.

    FleetError
    ├── BrokerUnreachable       no connection to any broker in time
    ├── BrokerBlocked           the broker takes no messages: its memory or disk alarm is on
    ├── BrokerRefused           it refuses us: user, virtual host, a right, an exchange of another type
    ├── FleetBusy               the queue takes no more requests
    ├── ModelNotServed          no queue for this model: no worker has ever subscribed to it
    ├── FleetTimeout            no reply in time (also an OllamaTimeout)
    ├── FleetCancelled          the call was cancelled (also Cancelled)
    ├── RequestTooLarge         the request is longer than workers take (also an InvalidArgument)
    ├── ReplyRefused            a message on the reply queue that is no reply
    └── RequestFailed           a worker replied that it could not do it: its code, and whether to try again

What Ollama itself answered to a request arrives as the error that `ollama_ext.Client` raises for the same
answer: `ModelNotFound`, `ContextOverflow`, `BadRequest` and so on.
"""

from __future__ import annotations

from typing import Any

from ollama_ext.errors import Cancelled, InvalidArgument, OllamaError, OllamaTimeout


class FleetError(OllamaError):
    """The root of the tree."""


class BrokerUnreachable(FleetError):
    """No broker answered in time; the message holds each address without its password, and why."""

    retryable = True


class BrokerBlocked(FleetError):
    """The broker takes no messages for now: its memory or its disk is full."""

    retryable = True


class BrokerRefused(FleetError):
    """The broker does not let us in, or not do what we must; the message holds the command that allows it."""


class FleetBusy(FleetError):
    """The queue of the model is full, or its machines cannot confirm; nothing was accepted."""

    retryable = True


class ModelNotServed(FleetError):
    """There is no queue for this kind of request and model: no worker subscribes to it."""


class FleetTimeout(FleetError, OllamaTimeout):
    """No reply in time. The request may still run, unless it was still waiting: then the broker drops it."""


class FleetCancelled(FleetError, Cancelled):
    """The call was cancelled while it waited for its reply."""


class RequestTooLarge(FleetError, InvalidArgument):
    """The request is longer than workers take; the message says how long, and what in it is large."""


class ReplyRefused(FleetError):
    """A message that claims to be the reply is none: no JSON object, or fields of wrong types."""


class RequestFailed(FleetError):
    """A worker replied that it could not do what was asked.

    Attributes:
        code: Its code, such as ``delivery_limit``; docs/fleet-protocol.md lists them.
    """

    def __init__(self, message: str, *, code: str, retryable: bool = False, **known: Any) -> None:
        """Take the message, the code and whether the worker thinks that another try may help."""
        super().__init__(message, **known)
        self.code = code
        self.retryable = retryable
