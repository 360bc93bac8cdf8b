"""One channel of a connection to the broker: all that the fleet does with messages, in terms free of pika."""

from __future__ import annotations

import itertools
from math import inf
from struct import unpack_from
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pika
import pika.data
from pika import spec

from .broker import reason_of
from .messages import Properties
from .questions import (
    Answer,
    ExchangeDeclare,
    Question,
    QueueBind,
    QueueDeclare,
    QueueDelete,
    QueueUnbind,
    TryConsume,
    TryPublish,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .broker import Reason
    from .loop import Loop

_epochs = itertools.count(1)


def _forgiving(decode: Callable[[bytes, int], tuple[Any, int]]) -> Any:
    """Have headers that pika cannot read be none, instead of the end of the connection.

    A message with such headers, say a time in milliseconds where AMQP has seconds, would end the connection
    of each worker that takes it, and go back into its queue every time.
    """

    def decode_table(encoded: bytes, offset: int) -> tuple[Any, int]:
        end = offset + 4 + unpack_from(">I", encoded, offset)[0]
        try:
            table, read = decode(encoded, offset)
        except Exception:  # noqa: BLE001 - of any kind: they are a stranger's bytes
            return {}, end
        return (table if read == end else {}), end

    return decode_table


pika.data.decode_table = _forgiving(pika.data.decode_table)


class Channel:
    """One channel: what the fleet does on it. Calls on a closed one do nothing: who owns it has been told.

    Attributes:
        epoch: A number that no other channel of this process has.
    """

    def __init__(
        self,
        loop: Loop,
        connection: pika.SelectConnection,
        opened: Callable[[Channel], None],
        closed: Callable[[Channel, Reason], None],
    ) -> None:
        """Open it."""
        self.epoch: int = next(_epochs)
        self._loop, self._opened, self._closed = loop, opened, closed
        self._tags: dict[str, str] = {}  # queue -> consumer tag
        self._ends: dict[str, Callable[[], None]] = {}  # consumer tag -> what to call when the broker cancels
        self._prefetch = 0
        self._count = 0
        self._unsettled: dict[int, None] = {}  # delivery tags, the earliest first
        self._acks: list[int] = []  # to be sent at the end of the round
        self._got: tuple[Callable[[Message], None], Callable[[], None]] | None = None
        self._pika: Any = None
        self._pika = connection.channel(on_open_callback=lambda _c: loop.guarded(self._on_open))
        self._pika.add_on_close_callback(lambda _c, why: loop.guarded(self._on_close, why))

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return bool(self._pika.is_open)

    def _on_open(self) -> None:
        self._pika.add_callback(
            lambda _f: self._loop.guarded(self._on_empty), [spec.Basic.GetEmpty], one_shot=False
        )
        self._pika.add_on_cancel_callback(
            lambda frame: self._loop.guarded(self._on_cancelled, frame.method.consumer_tag)
        )
        self._opened(self)

    def _on_close(self, why: BaseException) -> None:
        self._tags.clear()
        self._ends.clear()
        self._unsettled.clear()
        self._acks.clear()
        self._got = None
        self._closed(self, reason_of(why))

    def close(self) -> None:
        """Close it; what it has not acknowledged goes back to its queues."""
        if self.is_open:
            self._send_acks()
            self._pika.close()

    # -- taking messages

    def consume(
        self,
        queue: str,
        prefetch: int,
        delivered: Callable[[Message], None],
        began: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        """Consume from a queue.

        Args:
            queue: Which.
            prefetch: How many messages may be unacknowledged at once.
            delivered: Called with each message, until the cancel is confirmed.
            began: Called when the broker has confirmed it.
            ended: Called when the broker has cancelled it by itself: the queue is gone, or we took too long.
        """
        if not self.is_open:
            return
        if prefetch != self._prefetch:
            self._pika.basic_qos(prefetch_count=prefetch)
            self._prefetch = prefetch
        self._count += 1
        tag = f"ollama-ext.{self.epoch}.{self._count}"
        self._tags[queue] = tag
        self._ends[tag] = ended
        self._pika.basic_consume(
            queue,
            lambda _c, method, properties, body: self._loop.guarded(
                delivered, self._taken(method, properties, body)
            ),
            consumer_tag=tag,
            callback=lambda _f: self._loop.guarded(began),
        )

    def _on_cancelled(self, tag: str) -> None:
        ended = self._ends.pop(tag, None)  # None while our own cancel is under way
        self._tags = {queue: each for queue, each in self._tags.items() if each != tag}
        if ended is not None:
            ended()

    def cancel(self, queue: str, done: Callable[[], None]) -> None:
        """End consuming from a queue; messages that are under way are still delivered until ``done``."""
        tag = self._tags.pop(queue, None)
        if tag is None or not self.is_open:
            return
        self._ends.pop(tag, None)
        self._pika.basic_cancel(tag, callback=lambda _f: self._loop.guarded(done))
        # pika would reject what is delivered between here and the broker's answer, and each rejection counts
        # as a failed delivery. Forgetting that the consumer is being cancelled makes it deliver instead.
        self._pika._cancelled.discard(tag)  # noqa: SLF001 - tests/fleet/broker/test_links.py watches over it

    def get(self, queue: str, got: Callable[[Message], None], empty: Callable[[], None]) -> None:
        """Ask a queue for one message. One question at a time."""
        if not self.is_open:
            return
        self._got = got, empty
        self._pika.basic_get(
            queue,
            lambda _c, method, properties, body: self._loop.guarded(
                self._on_got, self._taken(method, properties, body)
            ),
        )

    def _taken(self, method: Any, properties: Any, body: bytes) -> Message:
        self._unsettled[method.delivery_tag] = None
        return _message(method, properties, body)

    def _on_got(self, message: Message) -> None:
        asked, self._got = self._got, None
        if asked is not None:
            asked[0](message)

    def _on_empty(self) -> None:
        asked, self._got = self._got, None
        if asked is not None:
            asked[1]()

    def ack(self, tag: int) -> None:
        """Acknowledge a message: it is done with. Sent at the end of the round, with others as one."""
        if self.is_open:
            if not self._acks:
                self._loop.at_end(self._send_acks)
            self._acks.append(tag)

    def _send_acks(self) -> None:
        """Send acknowledgements: one for all deliveries before which none is open, as it is mostly."""
        acks, self._acks = self._acks, []
        if not self.is_open:
            return
        acks.sort()
        for tag in acks:
            self._unsettled.pop(tag, None)
        earliest = next(iter(self._unsettled), inf)
        together = [tag for tag in acks if tag < earliest]
        if together:
            self._pika.basic_ack(together[-1], multiple=len(together) > 1)
        for tag in acks[len(together) :]:
            self._pika.basic_ack(tag)

    def requeue(self, tag: int) -> None:
        """Give a message back to its queue; counts as a failed delivery on every version of the broker."""
        self._reject(tag, requeue=True)

    def reject(self, tag: int) -> None:
        """Give a message to the dead-letter queue, if its queue has one."""
        self._reject(tag, requeue=False)

    def _reject(self, tag: int, *, requeue: bool) -> None:
        if self.is_open:
            self._unsettled.pop(tag, None)
            self._pika.basic_reject(tag, requeue=requeue)

    # -- publishing

    def confirm(
        self,
        ready: Callable[[], None],
        confirmed: Callable[[int, bool, bool], None],
        returned: Callable[[Returned], None],
    ) -> None:
        """Have the broker confirm each message that is published from now on.

        Args:
            ready: Called when it will.
            confirmed: Called with the number of a message, counted from 1, whether all before it are meant
                too, and whether it was accepted.
            returned: Called with a mandatory message that no queue takes, before its confirmation.
        """
        self._pika.add_on_return_callback(
            lambda _c, method, properties, _body: self._loop.guarded(
                returned,
                Returned(
                    properties.message_id,
                    method.routing_key,
                    method.exchange,
                    method.reply_code,
                    method.reply_text,
                ),
            )
        )

        def told(frame: Any) -> None:
            method = frame.method
            accepted = isinstance(method, spec.Basic.Ack)
            self._loop.guarded(confirmed, method.delivery_tag, method.multiple, accepted)

        self._pika.confirm_delivery(told, callback=lambda _f: self._loop.guarded(ready))

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        """Publish a message; mandatory, so that one that no queue takes comes back."""
        if self.is_open:
            self._pika.basic_publish(exchange, routing_key, body, _told(properties), mandatory=True)

    # -- asking

    def ask(self, question: Question, answered: Callable[[Answer], None]) -> None:
        """Ask the broker something; a "no" closes the channel instead of an answer."""

        def yes(frame: Any) -> None:
            method = frame.method
            counts = getattr(method, "message_count", 0) or 0, getattr(method, "consumer_count", 0) or 0
            self._loop.guarded(answered, Answer(messages=counts[0], consumers=counts[1]))

        match question:
            case ExchangeDeclare(exchange, passive, arguments):
                self._pika.exchange_declare(
                    exchange,
                    exchange_type="topic",
                    durable=True,
                    passive=passive,
                    arguments=arguments,
                    callback=yes,
                )
            case QueueDeclare(queue, arguments, passive):
                self._pika.queue_declare(
                    queue, durable=True, passive=passive, arguments=arguments, callback=yes
                )
            case QueueBind(queue, exchange, routing_key):
                self._pika.queue_bind(queue, exchange, routing_key, callback=yes)
            case QueueUnbind(queue, exchange, routing_key):
                self._pika.queue_unbind(queue, exchange, routing_key, callback=yes)
            case QueueDelete(queue):
                self._pika.queue_delete(queue, callback=yes)
            case TryConsume(queue):
                impossible = {"x-priority": "a number is wanted here"}
                self._pika.basic_consume(queue, lambda *_: None, arguments=impossible, callback=yes)
            case TryPublish(routing_key):
                self.confirm(
                    lambda: self.publish("", routing_key, b"", Properties()),
                    lambda *_: answered(Answer()),
                    lambda _returned: None,  # as it should; the confirmation follows
                )


class Message(msgspec.Struct, frozen=True):
    """A message as it was delivered.

    Attributes:
        tag: Its delivery tag, a number on its channel.
        redelivered: Whether it may have been delivered before, to anybody.
        routing_key: What it was published with.
    """

    tag: int
    redelivered: bool
    routing_key: str
    properties: Properties
    body: bytes


class Returned(msgspec.Struct, frozen=True):
    """A message that came back because no queue takes it."""

    message_id: str | None
    routing_key: str
    exchange: str
    code: int
    text: str


_NAMES: Final = Properties.__struct_fields__


def _message(method: Any, properties: Any, body: bytes) -> Message:
    told = Properties(
        **{name: getattr(properties, name) for name in _NAMES if name != "headers"},
        headers=properties.headers or {},
    )
    return Message(method.delivery_tag, method.redelivered, method.routing_key, told, body)


def _told(properties: Properties) -> pika.BasicProperties:
    return pika.BasicProperties(**{name: getattr(properties, name) for name in _NAMES})
