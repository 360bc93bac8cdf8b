"""The calls of a caller that wait for replies: a state machine, as `taking` and `jobs` are for a worker.

A call is sent to a queue and, if no worker has ever made that queue, to the one of the model's other
spelling. It ends with a reply, or with what became of its letter, or when it has waited too long for the
broker. How long it may take in all is its thread's to watch; `forget` then takes it away.

If the queue of the replies was lost, so may be the replies to what the broker had accepted: those calls are
sent again. They are run twice at worst, and one reply is dropped here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from .errors import (
    BrokerBlocked,
    BrokerRefused,
    BrokerUnreachable,
    FleetBusy,
    FleetError,
    ModelNotServed,
    RequestTooLarge,
)
from .messages import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .outbox import How

#: What to do where a caller lacks a right.
RIGHTS: Final = "A caller needs the rights that `ollama-ext fleet definitions --permissions` shows"
# Seconds for which a call that the broker has not got yet waits: for a broker, and for one that is blocked.
_UNREACHABLE, _BLOCKED = 10.0, 30.0


class Call:
    """One message that waits for its reply.

    Attributes:
        id: Its ``message_id`` and ``correlation_id``.
        queues: Where it may go, the first choice first.
        model: What it is for, for errors.
        accepted: Whether the broker has confirmed it: then it only waits for its reply.
        since: When it was begun, in seconds of a monotonic clock.
    """

    __slots__ = ("accepted", "id", "model", "queues", "since", "tried")

    def __init__(self, call_id: str, queues: Iterable[str], model: str) -> None:
        """Begin."""
        self.id: str = call_id
        self.queues: list[str] = list(queues)
        self.model: str = model
        self.accepted: bool = False
        self.since: float = 0.0
        self.tried: list[str] = []

    @property
    def queue(self) -> str:
        """Where it was sent to, or is to be sent."""
        return self.queues[0]


class Send(msgspec.Struct, frozen=True):
    """Publish the call's message to its queue."""

    call: Call


class Withdraw(msgspec.Struct, frozen=True):
    """Do not publish it, if it waits still."""

    call: Call


class End(msgspec.Struct, frozen=True):
    """The call has ended, with a reply or an error."""

    call: Call
    outcome: Reply | FleetError


Action: TypeAlias = Send | Withdraw | End


class Calls:
    """The calls that wait. Methods are what happened; each returns what is to be done now.

    Attributes:
        strays: Messages on the reply queue that no call waits for: duplicates, and replies that came too
            late.
    """

    def __init__(self) -> None:
        """Start without calls, without a broker and without a reply queue."""
        self.strays: int = 0
        self._calls: dict[str, Call] = {}
        self._ready = False  # there is a queue for replies, or was once
        self._down: float | None = None  # since when there is no broker
        self._why = "no broker has answered yet"
        self._blocked: float | None = None  # since when it takes no messages

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._calls)

    def begin(self, call: Call, now: float) -> list[Action]:
        """A call begins. It is sent when there is a queue for its reply."""
        call.since = now
        self._calls[call.id] = call
        return [Send(call)] if self._ready else []

    def forget(self, call: Call) -> list[Action]:
        """Nobody waits for it any more."""
        return [] if self._calls.pop(call.id, None) is None else [Withdraw(call)]

    def ready(self, *, lost: bool = False) -> list[Action]:
        """There is a queue for replies; the one of before, unless that is ``lost``."""
        first, self._ready = not self._ready, True
        calls = list(self._calls.values())
        if first:
            return [Send(call) for call in calls]
        return [self._again(call) for call in calls if lost and call.accepted]

    def up(self) -> None:
        """There is a broker to send to."""
        self._down = None

    def down(self, why: str, now: float) -> None:
        """There is none, or not any more."""
        self._why = why
        if self._down is None:
            self._down = now

    def blocked(self, on: bool, now: float) -> None:
        """The broker takes no messages, or does again."""
        self._blocked = now if on else None

    def refused(self, error: FleetError) -> list[Action]:
        """There can be no replies, or no connection, until somebody changes something."""
        return [self._end(call, error) for call in list(self._calls.values()) if not call.accepted]

    def settled(self, call_id: str, how: How, reason: str) -> list[Action]:
        """It is known what became of the message."""
        call = self._calls.get(call_id)
        if call is None:
            return []
        if how in {"confirmed", "unconfirmed"}:  # of the latter nobody knows; a reply may come
            call.accepted = True
            return []
        if how == "returned":
            call.tried.append(call.queues.pop(0))
            if call.queues:
                return [Send(call)]
        return [self._end(call, self._unsent(call, how, reason))]

    def _unsent(self, call: Call, how: How, reason: str) -> FleetError:
        """Return why a message is in no queue."""
        match how:
            case "returned":
                return _not_served(call)
            case "nacked":
                return FleetBusy(f"{call.queue} takes no more requests: it is full, or its broker is")
            case "refused" if "no exchange" in reason:
                call.tried.append(call.queues.pop(0))
                return _not_served(call, "no worker has ever run here")
            case "refused" if "ACCESS_REFUSED" in reason:
                return BrokerRefused(f"we may not publish requests: {reason}. {RIGHTS}")
            case "refused":
                return RequestTooLarge(f"the broker does not take it: {reason or how}")
            case _:
                return BrokerUnreachable(f"the request could not be sent: {self._why}")

    def replied(self, call_id: str | None, outcome: Reply | FleetError) -> list[Action]:
        """A message came on the reply queue."""
        call = self._calls.get(call_id or "")
        if call is None:
            self.strays += 1
            return []
        return [self._end(call, outcome)]

    def tick(self, now: float) -> list[Action]:
        """Time has passed: give up what the broker should have got long ago."""
        ended: list[Action] = []
        for call in list(self._calls.values()):
            if call.accepted:
                continue
            if self._down is not None and now - max(self._down, call.since) >= _UNREACHABLE:
                ended += [Withdraw(call), self._end(call, BrokerUnreachable(self._why))]
            elif self._blocked is not None and now - max(self._blocked, call.since) >= _BLOCKED:
                why = "the broker takes no messages: its memory or disk alarm is on (rabbitmqctl status)"
                ended += [Withdraw(call), self._end(call, BrokerBlocked(why))]
        return ended

    def _again(self, call: Call) -> Send:
        call.accepted = False
        return Send(call)

    def _end(self, call: Call, outcome: Reply | FleetError) -> End:
        del self._calls[call.id]
        return End(call, outcome)


def _not_served(call: Call, why: str = "") -> ModelNotServed:
    tried = " and ".join(call.tried) + (f", and {why}" if why else "")
    return ModelNotServed(
        f"no worker serves {call.model!r}: there is no queue {tried}. Is it subscribed to under this name, "
        "and on this exchange and virtual host?",
        model=call.model,
    )
