"""A model of RabbitMQ's quorum queues in memory, in which every frame is moved by hand.

`SimulatedBroker` has queues; each `SimulatedChannel` is one client's channel, with one first-in-first-out
line of frames in each direction. Nothing moves by itself: `SimulatedChannel.broker_reads` lets the broker
take the next frame of the client, `SimulatedChannel.receive` lets the client take the next of the broker. A
message is delivered when its frame is put on the line to the client: from then on it is unacknowledged.

What is modelled as RabbitMQ does it: prefetch counts per consumer (messages that were asked for do not
count), consumers of a queue in turn, one active consumer where the queue is so (and no ``basic.get`` there),
ConsumeOk before the first delivery, deliveries until CancelOk, requeueing when a channel is lost. And as
pika does it: with `calls_wait`, a Consume or Cancel stays with the client until the one before it is
answered, while questions and settlements pass it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["get", "consume", "cancel", "ack", "requeue"]
Answer = Literal["got", "delivery", "empty", "consuming", "cancelled", "consumer gone"]


@dataclass(frozen=True)
class Message:
    """One copy of a request; `request` names it, and two copies of it may be in the broker."""

    number: int
    request: int


@dataclass(frozen=True)
class Delivered:
    """A message as the broker delivered it on a channel, with its tag there."""

    queue: str
    message: Message
    tag: int
    channel: int


@dataclass(frozen=True)
class Asked:
    """A frame of a client. `number` is a prefetch count or a delivery tag."""

    kind: Kind
    queue: str = ""
    number: int = 0


@dataclass(frozen=True)
class Answered:
    """A frame of the broker."""

    kind: Answer
    queue: str
    item: Delivered | None = None


@dataclass
class _Consumer:
    channel: SimulatedChannel
    prefetch: int
    unsettled: set[int] = field(default_factory=set[int])


class SimulatedBroker:
    """Queues, their consumers, and how many messages were settled.

    Attributes:
        ready: The messages of each queue that nobody has.
        settled: How often each message was acknowledged.
    """

    def __init__(self, queues: list[str], *, single_active: frozenset[str] = frozenset()) -> None:
        """Make the queues; those in `single_active` have a single active consumer."""
        self.ready: dict[str, deque[Message]] = {queue: deque() for queue in queues}
        self.single_active = single_active
        self.settled: dict[int, int] = {}
        self._consumers: dict[str, list[_Consumer]] = {queue: [] for queue in queues}
        self._channels = 0

    def channel(self, *, calls_wait: bool = False) -> SimulatedChannel:
        """Open a channel."""
        self._channels += 1
        return SimulatedChannel(self, self._channels, calls_wait=calls_wait)

    def publish(self, queue: str, message: Message) -> None:
        """Take a message, and deliver it if somebody waits for it."""
        self.ready[queue].append(message)
        self.dispatch(queue)

    def dispatch(self, queue: str) -> None:
        """Deliver what is ready to the consumers that may have it, in turn."""
        consumers = self._consumers[queue]
        while self.ready[queue]:
            able = consumers[:1] if queue in self.single_active else consumers
            taker = next((each for each in able if len(each.unsettled) < each.prefetch), None)
            if taker is None:
                return
            if queue not in self.single_active:
                consumers.remove(taker)
                consumers.append(taker)
            taker.channel.deliver(queue, taker)

    def cancel_consumers(self, queue: str) -> None:
        """Cancel all consumers of the queue, as when it is deleted or its leader moves."""
        gone, self._consumers[queue] = self._consumers[queue], []
        for consumer in gone:
            consumer.channel.to_client.append(Answered("consumer gone", queue))

    def consumer_of(self, queue: str, channel: SimulatedChannel) -> _Consumer | None:
        """Return the consumer that a channel has of the queue."""
        return next((each for each in self._consumers[queue] if each.channel is channel), None)

    def add_consumer(self, queue: str, consumer: _Consumer) -> None:
        """Start a consumer."""
        assert self.consumer_of(queue, consumer.channel) is None, "one consumer of a queue per channel"
        self._consumers[queue].append(consumer)
        self.dispatch(queue)

    def remove_consumer(self, queue: str, channel: SimulatedChannel) -> None:
        """End a consumer, if it is there; a single active queue goes to the next one."""
        self._consumers[queue] = [each for each in self._consumers[queue] if each.channel is not channel]
        self.dispatch(queue)

    def requeue(self, queue: str, message: Message) -> None:
        """Take a message back, to where it is delivered next."""
        self.ready[queue].appendleft(message)


class SimulatedChannel:
    """A client's channel: what is under way in both directions, and what was delivered on it.

    Attributes:
        waiting: Calls that the client keeps until the one before is answered.
        to_broker: Frames that the broker has not read.
        to_client: Frames that the client has not read.
        unsettled: What the broker counts as delivered here, by tag.
    """

    def __init__(self, broker: SimulatedBroker, number: int, *, calls_wait: bool) -> None:
        """Open the channel; use `SimulatedBroker.channel`."""
        self.number = number
        self.waiting: deque[Asked] = deque()
        self.to_broker: deque[Asked] = deque()
        self.to_client: deque[Answered] = deque()
        self.unsettled: dict[int, Delivered] = {}
        self._broker = broker
        self._calls_wait = calls_wait
        self._calling = False
        self._consumer_of_tag: dict[int, _Consumer] = {}
        self._tags = 0

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way."""
        return not (self.waiting or self.to_broker or self.to_client)

    def send(self, frame: Asked) -> None:
        """Send a frame from the client."""
        if frame.kind not in {"consume", "cancel"} or not self._calls_wait:
            self.to_broker.append(frame)
        elif self._calling:
            self.waiting.append(frame)
        else:
            self._calling = True
            self.to_broker.append(frame)

    def receive(self) -> Answered:
        """Let the client take the next frame of the broker."""
        frame = self.to_client.popleft()
        if frame.kind in {"consuming", "cancelled"} and self._calls_wait:
            self._calling = bool(self.waiting)
            if self.waiting:
                self.to_broker.append(self.waiting.popleft())
        return frame

    def broker_reads(self) -> None:
        """Let the broker take the next frame of the client."""
        frame = self.to_broker.popleft()
        match frame.kind:
            case "get":
                assert frame.queue not in self._broker.single_active, "basic.get is refused on such a queue"
                if self._broker.ready[frame.queue]:
                    self.deliver(frame.queue, None)
                else:
                    self.to_client.append(Answered("empty", frame.queue))
            case "consume":
                self.to_client.append(Answered("consuming", frame.queue))
                self._broker.add_consumer(frame.queue, _Consumer(self, frame.number))
            case "cancel":
                self._broker.remove_consumer(frame.queue, self)
                self.to_client.append(Answered("cancelled", frame.queue))
            case "ack" | "requeue":
                item = self.unsettled.pop(frame.number)
                if consumer := self._consumer_of_tag.pop(frame.number, None):
                    consumer.unsettled.discard(frame.number)
                if frame.kind == "ack":
                    number = item.message.number
                    self._broker.settled[number] = self._broker.settled.get(number, 0) + 1
                else:
                    self._broker.requeue(item.queue, item.message)
                self._broker.dispatch(item.queue)

    def deliver(self, queue: str, consumer: _Consumer | None) -> None:
        """Put the next message of the queue on the line to the client."""
        self._tags += 1
        item = Delivered(queue, self._broker.ready[queue].popleft(), self._tags, self.number)
        self.unsettled[self._tags] = item
        if consumer is not None:
            consumer.unsettled.add(self._tags)
            self._consumer_of_tag[self._tags] = consumer
        self.to_client.append(Answered("got" if consumer is None else "delivery", queue, item))

    def prefetched(self, queue: str) -> bool:
        """Whether this channel's consumer of the queue gets nothing more until something is settled."""
        consumer = self._broker.consumer_of(queue, self)
        return consumer is not None and len(consumer.unsettled) >= consumer.prefetch

    def consumes(self, queue: str) -> bool:
        """Whether the broker has a consumer of the queue for this channel."""
        return self._broker.consumer_of(queue, self) is not None

    def lose(self) -> None:
        """End the channel: frames under way are gone, and what was delivered is ready again."""
        for frames in (self.waiting, self.to_broker, self.to_client):
            frames.clear()
        lost, self.unsettled = self.unsettled, {}
        for queue in self._broker.ready:
            if self.consumes(queue):
                self._broker.remove_consumer(queue, self)
        for item in reversed(lost.values()):
            self._broker.requeue(item.queue, item.message)
        for queue in {item.queue for item in lost.values()}:
            self._broker.dispatch(queue)
