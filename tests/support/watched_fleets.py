"""A fleet whose Ollamas may be killed and hang, and whose runs are watched: in which order, how many at once.

with WatchedFleet(vhost, workers=6) as fleet:
    fleet.kill_ollama(0)
    ...
    fleet.revive_ollama(0)
    fleet.finish()
"""

from __future__ import annotations

import json
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pika
from amqp_proxy import AmqpProxy
from fleet_workers import CHAT, MODEL, PATIENCE, EchoOllama, Fleet, wait_until
from pika.exceptions import ChannelClosedByBroker

from ollama_ext.fleet.topology import queue_name
from ollama_ext.testing import Json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from rabbitmq import Counts
    from virtual_hosts import VirtualHost

    from ollama_ext.testing import RecordedRequest, Response

LOCKED = 405  # AMQP's code for a queue that gives messages to its one consumer only
NOT_A_LIST = "ChatRequest.messages of type []api.Message"
CHAT_QUEUE = queue_name("chat", MODEL)


class Waits(NamedTuple):
    """How long the chats of a queue waited, in seconds: for a slot, and on their way."""

    requests: int
    longest: float
    mean: float

    def __str__(self) -> str:
        """Tell it in a line."""
        return f"{self.requests} requests; longest wait {self.longest:.3f} s, mean {self.mean:.3f} s"


class WatchedFleet(Fleet):
    """A `Fleet` with a proxy before each Ollama.

    Attributes:
        order: What was run, in the order in which runs began.
        most: How many ran at once, at most, on all Ollamas together: by kind, and under "" of all kinds.
        seconds: How long each run takes at least.
        away: Whether Ollamas to come are not there before they are revived.
        loads: What ``/api/generate`` answers, one after the other, if anything special. For Ollamas to come.
        models: What each Ollama says that it has; None: what it does by itself. For Ollamas to come.
    """

    def __init__(
        self,
        vhost: VirtualHost,
        *,
        workers: int = 1,
        subscriptions: Sequence[Mapping[str, Any]] = (CHAT,),
        models: Sequence[str] | None = None,
        ready: Sequence[str] | None = None,
        **arguments: Any,
    ) -> None:
        """Say what is to run.

        Args:
            vhost: Where.
            workers: How many.
            subscriptions: Of each.
            models: See above.
            ready: The queues that are taken from at the start, where those are not all.
            arguments: Of `Fleet`.
        """
        super().__init__(vhost, workers=workers, subscriptions=subscriptions, **arguments)
        self.order: list[str] = []
        self.models = models
        self._host = vhost
        self._ready_queues = self.queues if ready is None else list(ready)
        self._links: list[AmqpProxy] = []
        self._counting = threading.Lock()
        self._at_once: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.seconds = 0.0
        self.loads: list[Response] = []
        self.away = False

    def make_ollama(self) -> EchoOllama:
        """Return one whose runs are watched."""
        ollama = _WatchedOllama(self, self._log)
        if self.loads:
            ollama.on("POST", "/api/generate", *self.loads)
        if self.models is not None:
            ollama.on("GET", "/api/tags", tags(*self.models))
        return ollama

    def reach(self, ollama: EchoOllama) -> str:
        """Return where its proxy is."""
        self._links.append(self._stack.enter_context(AmqpProxy(ollama.port)))
        if self.away:
            self._links[-1].refuse()
        return f"http://127.0.0.1:{self._links[-1].port}"

    def wait_ready(self, workers: int | None = None) -> None:
        """Wait until this many workers, by default all, consume from each queue that is to be taken from."""
        count = len(self.workers) if workers is None else workers
        for queue in self._ready_queues:
            wait_until(partial(self._ready, queue, count), what=f"{count} workers of {queue}")

    def began(self, kind: str, text: str, by: int) -> None:
        """Take note of runs that begin (or, with -1, end)."""
        with self._counting:
            for name in ("", kind):
                self._at_once[name] = self._at_once.get(name, 0) + by
                self.most[name] = max(self.most.get(name, 0), self._at_once[name])
            if by > 0:
                self.order.append(text)

    def serve(self, subscriptions: Sequence[Mapping[str, Any]]) -> None:
        """Start a worker with subscriptions of its own, and wait until it takes from `queues`."""
        self._mapping = {"subscriptions": [dict(each) for each in subscriptions]}
        self._ready_queues = self.queues
        self.add()
        self.wait_ready()

    def finish(self, *, dead: int = 0) -> None:
        """As `Fleet.finish`; queues with a single active consumer are counted, as nobody else gets in."""
        single = [queue for queue in self.queues if not self._can_be_asked(queue)]
        self.queues = [queue for queue in self.queues if queue not in single]
        super().finish(dead=dead)
        for queue in single:
            self.wait_for_unacked(queue, 0)

    def _can_be_asked(self, queue: str) -> bool:
        try:
            method, _, _ = self.admin.channel.basic_get(queue)
        except ChannelClosedByBroker as error:
            return bool(error.reply_code != LOCKED)
        assert method is None, f"a request was left in {queue}"
        return True

    def slow(self, seconds: float) -> None:
        """Let each run take so long at least, from now on."""
        self.seconds = seconds

    def load(
        self, queues: Sequence[str], load: float, count: int, seconds: float, dice: Random
    ) -> dict[str, Waits]:
        """Publish chats at random times, wait for all their replies, and return how long they waited.

        Args:
            queues: Where to; each has as many of them as the others.
            load: Of the workers, each of which runs one at a time: 1.0 is all that they can.
            count: Of the chats.
            seconds: That a run takes.
            dice: What chance goes by.
        """
        self.slow(seconds)
        published: dict[str, tuple[str, float]] = {}
        answered: dict[str, float] = {}
        due = time.monotonic()
        while len(answered) < count:
            now = time.monotonic()
            if len(published) < count and now >= due:
                text = str(len(published))
                queue = queues[len(published) % len(queues)]
                published[text] = queue, now
                body = {"messages": [{"role": "user", "content": text}]}
                self.send(body, queue, correlation_id=text, message_id=text)
                due += dice.expovariate(load * len(self.workers) / seconds)
            elif (message := self.admin.get(self.replies)) is not None:
                body = json.loads(message.body)
                assert "error" not in body, body
                assert body["correlation_id"] not in answered, "a reply came twice"
                answered[body["correlation_id"]] = now
            else:
                assert now < due + PATIENCE, f"{count - len(answered)} replies never came"
                time.sleep(0.001)
        waits: dict[str, list[float]] = {queue: [] for queue in queues}
        for text, (queue, sent) in published.items():
            waits[queue].append(answered[text] - sent - seconds)
        return {queue: Waits(len(each), max(each), sum(each) / len(each)) for queue, each in waits.items()}

    # -- faults of an Ollama

    def kill_ollama(self, number: int = 0) -> None:
        """Reset all its connections, and refuse new ones: its process is gone."""
        self._links[number].refuse()
        self._links[number].reset_all()

    def freeze_ollama(self, number: int = 0) -> None:
        """Let it answer nothing more, and close nothing."""
        self._links[number].blackhole()

    def revive_ollama(self, number: int = 0) -> None:
        """Let it be as before."""
        self._links[number].pass_through()

    # -- requests

    def send(
        self,
        body: object = None,
        queue: str = CHAT_QUEUE,
        *,
        exchange: str = "",
        **properties: Any,
    ) -> None:
        """Publish anything: bytes as they are, what else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        told: dict[str, Any] = {"reply_to": self.replies, "delivery_mode": 2, **properties}
        self.admin.publish(queue, content, pika.BasicProperties(**told), exchange=exchange)

    def wait_for_count(self, queue: str, ready: int) -> None:
        """Wait until this many messages are ready in a queue."""
        wait_until(lambda: self.admin.count(queue) == ready, what=f"{ready} messages in {queue}")

    def wait_for_unacked(self, queue: str, unacked: int, ready: int = 0) -> None:
        """Wait until so many messages are delivered and not settled, and so many more wait."""

        def so() -> bool:
            counts: Counts | None = self._host.rabbit.queue(queue, self._host.name)
            return counts is not None and (counts.unacked, counts.ready) == (unacked, ready)

        wait_until(so, what=f"{unacked} messages of {queue} delivered, {ready} waiting")

    def wait_for_consumers(self, queue: str, count: int) -> None:
        """Wait until a queue has so many consumers."""
        wait_until(lambda: self.admin.consumers(queue) == count, what=f"{count} consumers of {queue}")


class _WatchedOllama(EchoOllama):
    """Tells its fleet of each run."""

    def __init__(self, fleet: WatchedFleet, log: Any) -> None:
        super().__init__(log)
        self._fleet = fleet

    def _response(self, request: RecordedRequest) -> Response:
        body = request.json() if request.body else None
        if isinstance(body, dict) and not isinstance(body.get("messages", []), list):
            return Json({"error": f"json: cannot unmarshal string into Go struct field {NOT_A_LIST}"}, 400)
        text = _prompt(body)
        if text is None:
            return super()._response(request)
        kind = request.path.rpartition("/")[2]
        self._fleet.began(kind, text, 1)
        try:
            return super()._response(request).delay(self._fleet.seconds)
        finally:
            self._fleet.began(kind, text, -1)


def _prompt(body: Any) -> str | None:
    """Return what a request asks, or None if it is no inference."""
    if not isinstance(body, dict):
        return None
    messages = body.get("messages")
    asked = messages[-1].get("content") if messages else body.get("prompt") or body.get("input")
    return None if not asked else str(asked)


def entry(name: str, family: str = "llama", **more: Any) -> dict[str, Any]:
    """Return what ``/api/tags`` says of a model."""
    details = {"parent_model": "", "format": "gguf", "family": family, "families": [family]}
    details |= {"parameter_size": "1B", "quantization_level": "Q4_K_M"}
    told = {"name": name, "model": name, "modified_at": "2026-11-25T12:00:00Z", "size": 1, "digest": name}
    return {**told, "details": details, **more}


def tags(*models: str) -> Json:
    """Return an answer of ``/api/tags``."""
    return Json({"models": [entry(name) for name in models]})
