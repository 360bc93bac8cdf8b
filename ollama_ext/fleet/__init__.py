"""The fleet: Ollama on many machines, reached by queues of RabbitMQ.

    from ollama_ext.fleet import FleetClient, FleetWorker, handle_request

worker              what a machine runs: `FleetWorker`; engine joins its parts on one I/O thread:
    taking, jobs    which messages to take, and what a delivery is until it is settled
    running         a job on its thread (threads); faults: whose failure it was
    serving         what is served now: readiness, watching (the Ollama), expansion (wildcards)
    answering       replies, and dead letters
client              what a program calls: `FleetClient`; caller is its I/O, calls its state
dispatch            from a message to a call of Ollama and back: `handle_request`
messages            requests and replies as they travel; docs/fleet-protocol.md
topology            names of exchanges and queues; definitions: the same for an operator
declaring           how queues come to be, as questions to the broker
check               what a worker would find, and what is wrong, each with what to type

intake, post        the two connections of a worker; outbox: replies whose fate is not known
links, channels     connections that come back, and what is done on them; with connection, loop and broker,
                    all that knows pika
errors              what goes wrong

Importing this needs nothing but the library itself; `FleetWorker` and `FleetClient` need the extra
``ollama-ext[fleet]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .dispatch import handle_request
from .errors import (
    BrokerBlocked,
    BrokerRefused,
    BrokerUnreachable,
    FleetBusy,
    FleetCancelled,
    FleetError,
    FleetTimeout,
    ModelNotServed,
    ReplyRefused,
    RequestFailed,
    RequestTooLarge,
)

if TYPE_CHECKING:
    from .client import FleetClient
    from .worker import FleetWorker

__all__ = [
    "BrokerBlocked",
    "BrokerRefused",
    "BrokerUnreachable",
    "FleetBusy",
    "FleetCancelled",
    "FleetClient",
    "FleetError",
    "FleetTimeout",
    "FleetWorker",
    "ModelNotServed",
    "ReplyRefused",
    "RequestFailed",
    "RequestTooLarge",
    "handle_request",
]

_NEED_PIKA = {"FleetClient": "client", "FleetWorker": "worker"}


def __getattr__(name: str) -> Any:
    """Import what needs pika when it is asked for."""
    module = _NEED_PIKA.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only for this

    try:
        found = getattr(import_module(f".{module}", __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pika":
            raise
        raise FleetError(f"{name} needs the extra [fleet]: pip install 'ollama-ext[fleet]'") from None
    globals()[name] = found
    return found
