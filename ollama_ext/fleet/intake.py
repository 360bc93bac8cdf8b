"""The consuming side of a worker: a link, a channel for each queue, and how the queues come to be.

A channel for each queue because the broker punishes with the whole channel: a queue that was deleted, or a
job that takes longer than the consumer time-out, then gives back nothing of the others.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from .declaring import NO_RIGHT, Declared, declare_exchange, declare_queue
from .links import Link
from .questions import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ollama_ext.settings import AmqpSettings

    from .broker import Reason
    from .channels import Channel, Message
    from .jobs import Settle
    from .loop import Loop

log: logging.Logger = logging.getLogger(__name__)

# Seconds before a queue that was lost is declared again, and one that was refused (doubling up to the last).
_AGAIN, _REFUSED, _LONGEST = 0.3, 2.0, 60.0


class Wanted(msgspec.Struct, frozen=True):
    """A queue to take from.

    Attributes:
        queue: Its name.
        exchange: What it is bound to.
        exclusive: Whether it gets a single active consumer, if it does not exist yet.
    """

    queue: str
    exchange: str
    exclusive: bool = False


class IntakeEvents(Protocol):
    """Who has an intake hears this, on the loop's thread."""

    def intake_up(self) -> None:
        """Take note that the connection is open; queues follow."""
        ...

    def intake_down(self, reason: Reason) -> None:
        """Take note that it is gone, and every channel with it."""
        ...

    def intake_failed(self, reason: Reason) -> None:
        """Take note that it could not be had; another try follows."""
        ...

    def exchange_refused(self, declared: Declared) -> None:
        """Take note that there is no exchange to bind to."""
        ...

    def queue_ready(self, declared: Declared) -> None:
        """Take note that a queue can be asked and consumed."""
        ...

    def queue_refused(self, declared: Declared) -> None:
        """Take note that it cannot be had; it is tried again."""
        ...

    def queue_lost(self, queue: str, epoch: int, reason: str) -> None:
        """Take note that a queue's channel is gone, and every delivery on it."""
        ...

    def consumer_gone(self, queue: str) -> None:
        """Take note that the broker has ended a consumer: the queue is gone, or we took too long."""
        ...

    def cancelled(self, queue: str) -> None:
        """Take note that a consumer has ended, as asked."""
        ...

    def arrived(self, queue: str, epoch: int, message: Message) -> None:
        """Take a message."""
        ...

    def empty(self, queue: str) -> None:
        """Take note that a queue that was asked had nothing."""
        ...


class Intake:
    """Takes messages from queues as it is told. On the loop's thread, all of it.

    Attributes:
        link: The connection.
    """

    def __init__(
        self, loop: Loop, name: str, settings: AmqpSettings, told: Mapping[str, str], events: IntakeEvents
    ) -> None:
        """Prepare; it connects from `open` on."""
        self.link: Link = Link(loop, name, settings, told, self)
        self._loop, self._events = loop, events
        self._wanted: dict[str, Wanted] = {}
        self._channels: dict[str, Channel] = {}
        self._exchanges: set[str] = set()
        self._refused: dict[str, float] = {}  # queue -> seconds until the next try
        self._open: dict[str, Declared] = {}  # while their channels open
        self._retries: dict[str, Any] = {}  # queue -> the timer of its next try

    def open(self) -> None:
        """Connect."""
        self.link.open()

    def close(self, closed: Callable[[], None]) -> None:
        """Close in good order; what is not acknowledged goes back to its queues."""
        self.link.close(closed)

    def want(self, queues: Iterable[Wanted]) -> None:
        """Say which queues to have; new ones are declared.

        The channels of others stay: what was taken from them may still run, and is settled there.
        """
        wanted = {each.queue: each for each in queues}
        new = [each for each in wanted.values() if each.queue not in self._wanted]
        self._wanted = wanted
        if self.link.is_open:
            for each in new:
                self._declare(each.queue)

    # -- what the worker does with a queue

    def consume(self, queue: str, prefetch: int) -> None:
        """Begin to consume."""
        channel = self._channels[queue]
        channel.consume(
            queue,
            prefetch,
            lambda message: self._events.arrived(queue, channel.epoch, message),
            lambda: self._began(queue),
            lambda: self._ended(queue),
        )

    def cancel(self, queue: str) -> None:
        """End consuming."""
        self._channels[queue].cancel(queue, lambda: self._events.cancelled(queue))

    def get(self, queue: str) -> None:
        """Ask for one message."""
        channel = self._channels[queue]
        channel.get(
            queue,
            lambda message: self._events.arrived(queue, channel.epoch, message),
            lambda: self._events.empty(queue),
        )

    def settle(self, settlement: Settle) -> None:
        """Acknowledge a delivery, or give it back; the broker has it back if its channel is gone."""
        channel = self._channels.get(settlement.queue)
        if channel is None or channel.epoch != settlement.epoch:
            return
        match settlement.kind:
            case "ack":
                channel.ack(settlement.tag)
            case "requeue":
                channel.requeue(settlement.tag)
            case "reject":
                channel.reject(settlement.tag)

    # -- the link

    def link_up(self) -> None:
        """Declare everything."""
        self._events.intake_up()
        self._exchanges.clear()
        for queue in list(self._wanted):
            self._declare(queue)

    def link_down(self, reason: Reason) -> None:
        """Forget the channels, those too that pika did not tell the end of."""
        for queue, channel in list(self._channels.items()):
            self._closed(queue, channel, reason)
        self._events.intake_down(reason)

    def link_failed(self, reason: Reason) -> None:
        """Pass it on."""
        self._events.intake_failed(reason)

    def link_blocked(self, on: bool) -> None:
        """Nothing is published here, so an alarm changes nothing."""

    # -- queues

    def _declare_later(self, queue: str, seconds: float) -> None:
        """Try again; one timer for each queue."""
        self._forget_retry(queue)
        self._retries[queue] = self._loop.later(seconds, self._declare, queue)

    def _forget_retry(self, queue: str) -> None:
        timer = self._retries.pop(queue, None)
        if timer is not None:
            self._loop.forget(timer)

    def _declare(self, queue: str) -> None:
        self._forget_retry(queue)
        wanted = self._wanted.get(queue)
        if wanted is None or not self.link.is_open or queue in self._open:
            return
        if wanted.exchange not in self._exchanges:
            self._exchanges.add(wanted.exchange)
            self.link.converse(Conversation(declare_exchange(wanted.exchange), self._exchange_declared))
        self.link.converse(
            Conversation(
                declare_queue(queue, wanted.exchange, exclusive=wanted.exclusive), self._queue_declared
            )
        )

    def _exchange_declared(self, declared: Declared) -> None:
        self._tell(declared)
        if declared.problem is not None:
            self._exchanges.remove(declared.name)  # asked again with the next queue
            self._events.exchange_refused(declared)

    def _queue_declared(self, declared: Declared) -> None:
        queue = declared.name
        if queue not in self._wanted:
            return
        self._tell(declared)
        if declared.problem is not None:
            self._refuse(declared)
            return
        channel = self._channels.get(queue)
        if channel is not None and channel.is_open:
            self._events.queue_ready(declared)
        elif queue not in self._open:
            self._open[queue] = declared
            self._channels[queue] = self.link.channel(
                lambda _channel: self._opened(queue), lambda channel, why: self._closed(queue, channel, why)
            )

    def _refuse(self, declared: Declared) -> None:
        """Try again later, and later each time."""
        wait = self._refused.get(declared.name, _REFUSED)
        self._refused[declared.name] = min(wait * 2, _LONGEST)
        self._declare_later(declared.name, wait)
        self._events.queue_refused(declared)

    def _tell(self, declared: Declared) -> None:
        for note in declared.notes:
            log.warning("%s", note)

    def _opened(self, queue: str) -> None:
        declared = self._open.pop(queue, None)
        if declared is not None and queue in self._wanted:
            self._events.queue_ready(declared)

    def _closed(self, queue: str, channel: Channel, reason: Reason) -> None:
        if self._channels.get(queue) is not channel:
            return
        del self._channels[queue]
        self._open.pop(queue, None)
        self._events.queue_lost(queue, channel.epoch, reason.text)
        if reason.code == NO_RIGHT:
            self._refuse(Declared(queue, f"we may not read queue {queue!r}: {reason.text}", right=True))
        elif self.link.is_open:
            self._declare_later(queue, _AGAIN)

    def _began(self, queue: str) -> None:
        self._refused.pop(queue, None)

    def _ended(self, queue: str) -> None:
        self._events.consumer_gone(queue)
        self._declare_later(queue, _AGAIN)
