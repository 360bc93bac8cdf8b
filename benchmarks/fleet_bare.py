"""What pika's fastest adapter does when it is all there is: one connection, one channel, one loop.

No threads, no reconnection, no duplicates, no time-outs: the least that consumes, replies with a confirm, and
acknowledges.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pika
from pika import spec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Bare:
    """Answers every request of a queue with the same reply, until the process is ended."""

    def __init__(self, url: str, queue: str, prefetch: int, reply: Mapping[str, Any]) -> None:
        """Prepare."""
        self._queue, self._prefetch, self._reply = queue, prefetch, reply
        self._channel: Any = None
        self._published = 0
        self._under_way: dict[int, int] = {}  # number of a reply -> delivery tag of its request
        self._connection = pika.SelectConnection(pika.URLParameters(url), on_open_callback=self._opened)

    def run(self) -> None:
        """Work."""
        self._connection.ioloop.start()

    def _opened(self, connection: Any) -> None:
        self._channel = connection.channel(on_open_callback=self._ready)

    def _ready(self, channel: Any) -> None:
        channel.confirm_delivery(self._confirmed)
        channel.basic_qos(prefetch_count=self._prefetch)
        channel.basic_consume(self._queue, self._delivered)

    def _delivered(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        request = json.loads(body)
        reply = {"correlation_id": request["correlation_id"], "model": request["model"], **self._reply}
        channel.basic_publish(
            "",
            properties.reply_to,
            json.dumps(reply).encode(),
            pika.BasicProperties(
                content_type="application/json", correlation_id=properties.correlation_id, delivery_mode=2
            ),
            mandatory=True,
        )
        self._published += 1
        self._under_way[self._published] = method.delivery_tag

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        if not isinstance(method, spec.Basic.Ack):
            raise RuntimeError("the broker did not take a reply")  # noqa: TRY004 - of the broker, not of a type
        number: int = method.delivery_tag
        for each in [each for each in self._under_way if each <= number] if method.multiple else [number]:
            self._channel.basic_ack(self._under_way.pop(each))
