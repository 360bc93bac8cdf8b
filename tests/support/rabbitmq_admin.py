"""What a test does itself in a virtual host: queues made, messages put there as they are, and read back."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pika.adapters.blocking_connection import BlockingChannel

PATIENCE = 30.0  # seconds; against a hang only
LOOK_AGAIN = 0.01  # seconds between two looks for a message
NOT_FOUND = 404  # AMQP's code for a queue or an exchange that does not exist

QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum"}  # what a worker declares, and all that it declares


@dataclass(frozen=True)
class Message:
    """A message as it lay in a queue."""

    body: bytes
    properties: pika.BasicProperties
    exchange: str
    routing_key: str
    redelivered: bool

    @property
    def headers(self) -> dict[str, Any]:
        """The headers; none are ``{}``."""
        return dict(self.properties.headers or {})


class Admin:
    """A connection for the thread of a test, opened when it is needed and again after the node was away.

    It sends no heartbeats, so it may idle as long as the test likes; where the node is frozen or an alarm
    blocks it, its calls hang until that ends.
    """

    def __init__(self, url: str) -> None:
        """Take the address; nothing is opened yet."""
        self.url = url
        self._connection: pika.BlockingConnection | None = None
        self._open_channel: BlockingChannel | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection, whatever state it is in; a later call opens another one."""
        connection, self._connection, self._open_channel = self._connection, None, None
        if connection is not None:
            with suppress(AMQPError, ValueError):  # ValueError: pika's word for a loss that it met before
                connection.close()
            # pika leaves sockets open where a connection was lost in the instant in which it was opened.
            connection._cleanup()  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]

    @property
    def channel(self) -> BlockingChannel:
        """A channel with publisher confirms, for what has no method here."""
        try:
            if self._connection is not None:
                self._connection.process_data_events(0)  # notices that the node has closed it
        except (AMQPError, ValueError):
            self.close()
        if self._connection is None or not self._connection.is_open:
            parameters = pika.URLParameters(self.url)
            parameters.heartbeat = 0
            self._connection = pika.BlockingConnection(parameters)
            self._open_channel = None
        if self._open_channel is None or not self._open_channel.is_open:
            self._open_channel = self._connection.channel()
            self._open_channel.confirm_delivery()
        return self._open_channel

    # -- exchanges and queues

    def declare_exchange(self, name: str, exchange_type: str = "topic", *, durable: bool = True) -> None:
        """Make an exchange."""
        self.channel.exchange_declare(name, exchange_type, durable=durable)

    def declare(self, queue: str, arguments: Mapping[str, Any] = QUORUM, *, exclusive: bool = False) -> str:
        """Make a queue, a durable quorum queue unless told; return its name.

        With ``arguments={}`` it is a classic queue; with `exclusive`, one that is this connection's alone.
        """
        declared = self.channel.queue_declare(
            queue, durable=not exclusive, exclusive=exclusive, arguments=dict(arguments)
        )
        return str(declared.method.queue)

    def bind(self, queue: str, exchange: str, routing_key: str | None = None) -> None:
        """Bind a queue to an exchange, by its name unless told."""
        self.channel.queue_bind(queue, exchange, queue if routing_key is None else routing_key)

    def reply_queue(self) -> str:
        """Make a durable queue for replies, of which a worker's default settings approve; return its name."""
        return self.declare(f"llm.reply.tests.{next(self._numbers)}", {})

    def delete(self, queue: str) -> None:
        """Delete a queue with all that is in it; one that does not exist is fine."""
        self.channel.queue_delete(queue)

    def purge(self, queue: str) -> int:
        """Throw away what is ready in a queue; return how many messages it was."""
        return int(self.channel.queue_purge(queue).method.message_count)

    def exists(self, queue: str) -> bool:
        """Whether there is such a queue; one that is another connection's alone is refused, and raises."""
        return self._passively(queue) is not None

    def count(self, queue: str) -> int:
        """Return how many messages are ready: neither delivered and unacked, nor gone.

        Raises:
            LookupError: There is no such queue.
        """
        return self._counts(queue)[0]

    def consumers(self, queue: str) -> int:
        """Return how many consumers a queue has.

        Raises:
            LookupError: There is no such queue.
        """
        return self._counts(queue)[1]

    def wait_for_consumers(self, queue: str, count: int) -> None:
        """Wait until a queue exists and has this many consumers."""
        end = time.monotonic() + PATIENCE
        while (found := self._passively(queue)) is None or found[1] != count:
            assert time.monotonic() < end, f"{queue} has {found and found[1]} consumers, not {count}"
            time.sleep(LOOK_AGAIN)

    # -- messages

    def publish(
        self,
        routing_key: str,
        body: bytes,
        properties: pika.BasicProperties | None = None,
        *,
        exchange: str = "",
        mandatory: bool = True,
    ) -> None:
        """Publish these bytes, by default into the queue of that name, and wait until the node has them.

        Raises:
            pika.exceptions.UnroutableError: No queue takes it.
            pika.exceptions.NackError: A queue refused it.
        """
        self.channel.basic_publish(exchange, routing_key, body, properties, mandatory)

    def get(self, queue: str) -> Message | None:
        """Take the first message that is ready out of a queue, if there is one."""
        method, properties, body = self.channel.basic_get(queue, auto_ack=True)
        if method is None or properties is None:
            return None
        return Message(
            body or b"", properties, str(method.exchange), str(method.routing_key), bool(method.redelivered)
        )

    def get_all(self, queue: str) -> list[Message]:
        """Take what is ready out of a queue."""
        return list(iter(lambda: self.get(queue), None))

    def wait_for(self, queue: str, count: int = 1) -> list[Message]:
        """Take this many messages out of a queue, and wait for them as long as it takes."""
        found: list[Message] = []
        end = time.monotonic() + PATIENCE
        while len(found) < count:
            if (message := self.get(queue)) is not None:
                found.append(message)
                continue
            assert time.monotonic() < end, f"{queue} got {len(found)} messages of {count}: {found}"
            time.sleep(LOOK_AGAIN)
        return found

    # -- inside

    def _counts(self, queue: str) -> tuple[int, int]:
        if (found := self._passively(queue)) is None:
            raise LookupError(f"there is no queue {queue!r}")
        return found

    def _passively(self, queue: str) -> tuple[int, int] | None:
        try:
            found = self.channel.queue_declare(queue, passive=True).method
        except ChannelClosedByBroker as error:
            if error.reply_code == NOT_FOUND:
                return None
            raise
        return int(found.message_count), int(found.consumer_count)
