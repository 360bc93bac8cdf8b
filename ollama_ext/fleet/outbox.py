"""What is to be published, and what became of it: waiting, under way, settled.

`Outbox` stands behind a channel that publishes with confirms. Its methods are what happened; each returns
what is to be done now, in that order. It does no I/O and has no clock: times are of the monotonic clock, in
seconds.

A letter waits while there is no channel, or while the broker takes no messages (an alarm). Then it is
published, in the order in which letters were added, and is *under way* until the broker confirms it. If the
channel is lost before that, nobody knows whether the broker has it: it is published again, and may arrive
twice. That happens only to letters whose fate is unknown.

If the broker closed the channel because of something that was published on it, one of the letters under way
was bad and would close the next channel too. The broker does not say which. Almost always it is one that is
longer than the broker takes, so the largest is given up, and the others are published again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from .messages import Properties

if TYPE_CHECKING:
    from collections.abc import Iterable

How: TypeAlias = Literal["confirmed", "returned", "nacked", "refused", "expired", "unconfirmed"]
"""What became of a letter.

* ``confirmed``: the broker has it, in a queue;
* ``returned``: no queue takes it;
* ``nacked``: the broker does not take it, as its queue is full;
* ``refused``: it cannot be published: the broker closed the channel because of it, or it is no valid AMQP;
* ``expired``: it was never published: its patience was over first;
* ``unconfirmed``: it was published, and nobody knows whether the broker has it.
"""

# Replies that close a channel because of a message: no right to the exchange, no such exchange, too long or a
# bad property, and (the whole connection) headers longer than a frame.
_BAD_PUBLISH: Final = frozenset({403, 404, 406, 501})
# Brokers up to 4.1 return what they have delivered to such an address, and all of them confirm it.
_DIRECT_REPLY: Final = "amq.rabbitmq.reply-to."
# Bytes that a letter takes beside its body, about: its properties, and what is kept of its job.
OVERHEAD: Final = 2048


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A message to publish, mandatory and confirmed.

    Attributes:
        id: Names it in this outbox; also the ``message_id`` of its properties, by which a return names it.
        routing_key: Where to; a queue's name in the default exchange.
        body: What.
        properties: Its AMQP properties.
        exchange: Its exchange; the default one is ``""``.
        expires: Until when it may wait to be published, a time of the monotonic clock; None: for ever. What
            can be published at once does not wait.
    """

    id: str
    routing_key: str
    body: bytes
    properties: Properties
    exchange: str = ""
    expires: float | None = None


class Publish(msgspec.Struct, frozen=True):
    """Publish the letter on the channel, now."""

    letter: Letter


class Settled(msgspec.Struct, frozen=True):
    """The letter has left the outbox."""

    letter: Letter
    how: How


Action: TypeAlias = Publish | Settled


class _Entry:
    """A letter in the outbox."""

    __slots__ = ("letter", "number", "returned", "since", "tried")

    def __init__(self, letter: Letter) -> None:
        self.letter = letter
        self.number: int | None = None  # on the channel; None: it waits
        self.tried = False  # the broker may have it
        self.since = 0.0  # when it was published, or since when the broker can confirm it
        self.returned = False  # a confirmation follows

    def impatient(self, now: float) -> bool:
        return self.letter.expires is not None and self.letter.expires <= now


class Outbox:
    """Decides what is published when, and tells the fate of every letter, once. See the module."""

    def __init__(self, limit_bytes: int = 256 * 1024 * 1024, confirm_timeout: float = 30.0) -> None:
        """Start empty, without a channel.

        Args:
            limit_bytes: Beyond how many bytes it is `full`.
            confirm_timeout: Seconds in which the broker, while it could, must have confirmed a letter.
        """
        self._limit = limit_bytes
        self._confirm_timeout = confirm_timeout
        self._entries: dict[str, _Entry] = {}  # by id, in the order in which they were added
        self._under_way: dict[int, _Entry] = {}  # by number, in that order too
        self._size = 0
        self._number = 0  # of the last one that was published on this channel
        self._up = self._blocked = False

    def __contains__(self, letter_id: str) -> bool:
        """Whether the letter with this id is here."""
        return letter_id in self._entries

    @property
    def waiting(self) -> int:
        """How many letters wait to be published."""
        return len(self._entries) - len(self._under_way)

    @property
    def in_flight(self) -> int:
        """How many letters are under way."""
        return len(self._under_way)

    @property
    def size(self) -> int:
        """How many bytes all these letters take, `OVERHEAD` and body."""
        return self._size

    @property
    def full(self) -> bool:
        """Whether no more work should be taken. Letters are accepted all the same: their work is done."""
        return self._size > self._limit

    # What its user wants

    def add(self, letter: Letter, now: float) -> list[Action]:
        """Publish this, now or as soon as it can be.

        Raises:
            ValueError: A letter with this id is here.
        """
        if letter.id in self._entries:
            raise ValueError(
                f"the outbox holds a letter with the id {letter.id!r} already: ids must be unique"
            )
        entry = self._entries[letter.id] = _Entry(letter)
        self._size += OVERHEAD + len(letter.body)
        return self._publish([entry], now) if self._sending else []

    def withdraw(self, letter_id: str) -> bool:
        """Take a letter back that waits.

        Returns:
            Whether it was there: it is not published (again), and nothing more is told of it. False: it is
            under way, or settled.
        """
        entry = self._entries.get(letter_id)
        if entry is None or entry.number is not None:
            return False
        self._remove(entry)
        return True

    # What happened to the channel

    def up(self, now: float) -> list[Action]:
        """There is a new channel that confirms: numbers begin with 1."""
        actions = self.down(None, now)
        self._up = True
        self._number = 0
        return actions + self._publish_waiting(now)

    def down(self, reason_code: int | None, now: float) -> list[Action]:  # noqa: ARG002 - an event as the others
        """The channel is gone; None: without a reason given by the broker."""
        self._up = False
        lost = list(self._under_way.values())
        self._under_way.clear()
        for entry in lost:
            entry.number = None
        unknown = [entry for entry in lost if not entry.returned]
        actions: list[Action] = [self._settle(entry, "returned") for entry in lost if entry.returned]
        if unknown and reason_code in _BAD_PUBLISH:
            actions.append(self._settle(max(unknown, key=lambda entry: len(entry.letter.body)), "refused"))
        return actions

    def blocked(self) -> None:
        """The broker takes no messages for now. It may keep confirmations to itself meanwhile."""
        self._blocked = True

    def unblocked(self, now: float) -> list[Action]:
        """It takes messages again."""
        self._blocked = False
        for entry in self._under_way.values():
            entry.since = now
        return self._publish_waiting(now)

    # What happened to letters

    def confirmed(self, tag: int, multiple: bool, ack: bool, now: float) -> list[Action]:  # noqa: ARG002 - as others
        """The broker has, or (``ack`` False) does not take, the letter of this number.

        Args:
            tag: The number, on this channel; letters that are settled are passed over.
            multiple: Whether all letters before it are meant too; with tag 0, all that are under way.
            ack: Whether it was accepted.
            now: When.
        """
        if multiple:
            meant = [entry for number, entry in self._under_way.items() if number <= tag or not tag]
        else:
            meant = [self._under_way[tag]] if tag in self._under_way else []
        return [self._settle(entry, "confirmed" if ack else "nacked") for entry in meant]

    def returned(self, letter_id: str, reply_code: int, now: float) -> list[Action]:  # noqa: ARG002 - as others
        """No queue takes the letter; its confirmation follows."""
        entry = self._entries.get(letter_id)
        if entry is not None and entry.number is not None:
            letter = entry.letter
            entry.returned = bool(letter.exchange) or not letter.routing_key.startswith(_DIRECT_REPLY)
        return []

    def spoilt(self, letter_id: str) -> list[Action]:
        """The letter could not be written: nothing of it was sent, so the numbers are wrong from here on.

        The channel has to be closed; nothing is published until the next one is up.
        """
        self._up = False
        entry = self._entries.get(letter_id)
        return [] if entry is None else [self._settle(entry, "refused")]

    def tick(self, now: float) -> list[Action]:
        """Time has passed: settle what has waited too long."""
        # A broker that is blocked may be so for hours. Then a letter's own patience counts.
        given_up = [
            entry
            for entry in self._under_way.values()
            if (entry.impatient(now) if self._blocked else now - entry.since >= self._confirm_timeout)
        ]
        return [*self._expire(now), *(self._settle(entry, "unconfirmed") for entry in given_up)]

    # How it decides

    @property
    def _sending(self) -> bool:
        return self._up and not self._blocked

    def _waiting(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.number is None]

    def _publish_waiting(self, now: float) -> list[Action]:
        if not self._sending:
            return []
        return [*self._expire(now), *self._publish(self._waiting(), now)]

    def _publish(self, entries: Iterable[_Entry], now: float) -> list[Action]:
        actions: list[Action] = []
        for entry in entries:
            self._number += 1
            entry.number, entry.since, entry.tried = self._number, now, True
            self._under_way[self._number] = entry
            actions.append(Publish(entry.letter))
        return actions

    def _expire(self, now: float) -> list[Action]:
        return [
            self._settle(entry, "unconfirmed" if entry.tried else "expired")
            for entry in self._waiting()
            if entry.impatient(now)
        ]

    def _settle(self, entry: _Entry, how: How) -> Action:
        self._remove(entry)
        if entry.returned and how in ("confirmed", "unconfirmed"):
            how = "returned"
        return Settled(entry.letter, how)

    def _remove(self, entry: _Entry) -> None:
        del self._entries[entry.letter.id]
        self._size -= OVERHEAD + len(entry.letter.body)
        if entry.number is not None:
            del self._under_way[entry.number]
