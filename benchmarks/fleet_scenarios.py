"""The scenarios of the fleet: what is put into queues, who takes it out, and what is looked at meanwhile."""

from __future__ import annotations

import itertools
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import fleet_celery
from fleet_broker import BrokerError
from fleet_processes import Child
from rounds import take_turns

from ollama_ext.fleet.messages import request_body, request_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from fleet_broker import Driver

    from ollama_ext.fleet.messages import Properties

OURS, BARE, CELERY, SOCKET = "FleetWorker", "bare pika", "Celery threads", "FleetWorker, null Ollama"
ONE, THREE = "one queue", "three queues"

SLOTS: Final = 8
SUBSCRIPTIONS: Final = 100
TOKENS: Final = 8  # that the null Ollama sends for a chat
_LOOK: Final = 0.02  # seconds between two counts of the replies
_SETTLE: Final = 0.2  # seconds for the last acknowledgements
_PATIENCE: Final = 120.0  # for a worker to answer what it was given
_EXPIRES: Final = 600.0  # seconds after which the broker drops a request

_MODEL: Final = "burst"  # of the null server
_FIELDS: Final[Mapping[str, Any]] = {
    "messages": [{"role": "user", "content": "Why is the sky blue? One sentence."}],
    "options": {"num_predict": TOKENS},
}
_USAGE: Final = {
    "input_tokens": 29,
    "output_tokens": 17,
    "total_duration": 700715822,
    "load_duration": 1307835,
    "prompt_eval_duration": 12959000,
    "eval_duration": 680805000,
}
_REPLY: Final[Mapping[str, Any]] = {
    "model": _MODEL,
    "created_at": "2026-11-24T12:00:01.123456789Z",
    "message": {
        "role": "assistant",
        "content": "Air scatters short waves the most, so that blue light comes from every side.",
    },
    "done": True,
    "done_reason": "stop",
    **_USAGE,
}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Sizes:
    """How much of everything.

    Attributes:
        messages: In the queue when a worker starts.
        skipped: How many of them are answered before the clock starts.
        many: Messages over which memory is watched.
        calls: Of the round trip, each way.
        rounds: Samples of each method.
    """

    messages: int
    skipped: int
    many: int
    calls: int
    rounds: int


FULL: Final = Sizes(messages=6000, skipped=1000, many=100_000, calls=300, rounds=5)
QUICK: Final = Sizes(messages=1200, skipped=200, many=10_000, calls=50, rounds=2)


@dataclass(frozen=True)
class Drained:
    """How a worker emptied its queues.

    Attributes:
        rate: Messages a second.
        cpu: Microseconds of its processor time for a message.
    """

    rate: float
    cpu: float


@dataclass(frozen=True)
class Raced:
    """The samples of a scenario about throughput.

    Attributes:
        messages: How many were answered in each sample while the clock ran, about.
        samples: For each method one sample per round.
    """

    name: str
    messages: int
    samples: Mapping[str, list[Drained]]


@dataclass(frozen=True)
class Trips:
    """What a call takes, in seconds, directly and through the fleet: medians of each round."""

    direct: list[float]
    fleet: list[float]


@dataclass(frozen=True)
class Resident:
    """Memory of a worker.

    Attributes:
        answered: Messages when each sample was taken.
        resident: Bytes resident then.
    """

    answered: list[int]
    resident: list[int]

    @property
    def growth(self) -> float:
        """Bytes per message that were added, from peak to peak of the two halves."""
        middle = next(place for place, has in enumerate(self.answered) if has * 2 >= self.answered[-1])
        first, second = self.resident[:middle], self.resident[middle:]
        return (max(second) - max(first)) / (self.answered[-1] - self.answered[middle - 1])


@dataclass(frozen=True)
class Workshop:
    """What all scenarios need."""

    driver: Driver
    ollama: str
    sizes: Sizes


# -- what is in the queues


def _requests(reply_to: str, count: int, kind: str = "chat") -> Generator[tuple[bytes, Properties]]:
    """Yield requests as `FleetClient` writes them."""
    for _ in range(count):
        correlation_id = str(uuid4())
        known: dict[str, Any] = {"reply_to": reply_to, "correlation_id": correlation_id}
        yield (
            request_body(kind, _MODEL, _FIELDS, **known),
            request_properties(**known, message_id=str(uuid4()), timeout=_EXPIRES),
        )


def _settings(
    workshop: Workshop, exchange: str, subscriptions: Sequence[tuple[str, str]], slots: int
) -> dict[str, Any]:
    return {
        "amqp": {"url": workshop.driver.url, "exchange": exchange},
        "ollama": {"host": workshop.ollama},
        "worker": {"name": "benchmark", "slots": slots},
        "subscriptions": [{"type": kind, "model": model} for kind, model in subscriptions],
    }


# -- throughput


def throughput(workshop: Workshop) -> Raced:
    """One queue with eight slots: ours, Celery and bare pika; and ours with an Ollama behind a socket."""
    methods: dict[str, Callable[[], Drained]] = {
        OURS: lambda: _ours(workshop, ["chat"], SLOTS),
        BARE: lambda: _other(workshop, "bare"),
        CELERY: lambda: _other(workshop, "celery"),
        SOCKET: lambda: _ours(workshop, ["chat"], SLOTS, called=True),
    }
    return _race("throughput", workshop, methods)


def queues(workshop: Workshop) -> Raced:
    """Three queues of one model with one slot, which are asked in turn, beside one queue with one slot."""
    methods: dict[str, Callable[[], Drained]] = {
        ONE: lambda: _ours(workshop, ["chat"], 1),
        THREE: lambda: _ours(workshop, ["chat", "generate", "embed"], 1),
    }
    return _race("queues", workshop, methods)


def _race(name: str, workshop: Workshop, methods: Mapping[str, Callable[[], Drained]]) -> Raced:
    sizes = workshop.sizes
    return Raced(name, sizes.messages - sizes.skipped, take_turns(methods, sizes.rounds))


def _ours(workshop: Workshop, kinds: Sequence[str], slots: int, *, called: bool = False) -> Drained:
    """Have a worker empty queues of all these types, which share the messages."""
    exchange, replies = f"bench-{next(_numbers)}", f"llm.reply.bench.{next(_numbers)}"
    names = [f"{exchange}.ollama.{kind}.{_MODEL}" for kind in kinds]
    driver = workshop.driver
    driver.reply_queue(replies)
    for kind, name in zip(kinds, names, strict=True):
        driver.request_queue(name)
        driver.fill(name, _requests(replies, workshop.sizes.messages // len(kinds), kind))
    job = {
        "action": "worker",
        "reply": None if called else _REPLY,
        "usage": _USAGE,
        "settings": _settings(workshop, exchange, [(kind, _MODEL) for kind in kinds], slots),
    }
    return _drain(workshop, job, names, replies, exchange)


def _other(workshop: Workshop, action: str) -> Drained:
    name, replies = f"bench-{next(_numbers)}", f"llm.reply.bench.{next(_numbers)}"
    driver, count = workshop.driver, workshop.sizes.messages
    driver.request_queue(name)
    driver.reply_queue(replies)
    if action == "celery":
        driver.fill(
            name, fleet_celery.messages(driver.url, name, replies, {"model": _MODEL, **_FIELDS}, count)
        )
    else:
        driver.fill(name, _requests(replies, count))
    job = {
        "action": action,
        "url": driver.url,
        "queue": name,
        "slots": SLOTS,
        "reply": {"result": _REPLY, "usage": _USAGE, "provider": "ollama", "status": 200},
    }
    return _drain(workshop, job, [name], replies)


def _drain(
    workshop: Workshop,
    job: Mapping[str, Any],
    names: Sequence[str],
    replies: str,
    exchange: str | None = None,
) -> Drained:
    driver, sizes = workshop.driver, workshop.sizes
    total = sizes.messages // len(names) * len(names)
    with Child(job) as child:
        first = _answered(driver, child, replies, sizes.skipped)
        start, cpu = time.perf_counter(), child.cpu
        last = _answered(driver, child, replies, total)
        seconds, cpu = time.perf_counter() - start, child.cpu - cpu
        _end(driver, child, names, replies, total)
    driver.remove(*names, replies, exchange=exchange)
    return Drained((last - first) / seconds, cpu / (last - first) * 1e6)


def _answered(driver: Driver, child: Child, replies: str, count: int) -> int:
    """Wait until at least so many are answered, and return how many are."""
    deadline = time.monotonic() + _PATIENCE
    while (has := driver.count(replies)) < count:
        child.check()
        if time.monotonic() > deadline:
            raise BrokerError(f"only {has} of {count} replies came\n{child.errors()}")
        time.sleep(_LOOK)
    return has


def _end(driver: Driver, child: Child, names: Sequence[str], replies: str, total: int) -> None:
    """End a worker; every request must be acknowledged then, and answered once."""
    time.sleep(_SETTLE)
    child.stop()
    for name in names:
        driver.until(name, 0)
    driver.until(replies, total)


# -- the others


def round_trip(workshop: Workshop) -> Trips:
    """Call the same Ollama directly and through the fleet, by turns; fresh processes for every round."""
    trips = Trips([], [])
    for number in range(workshop.sizes.rounds + 1):
        exchange = f"bench-{next(_numbers)}"
        settings = _settings(workshop, exchange, [("chat", _MODEL)], 1)
        calls = {
            "action": "calls",
            "url": workshop.driver.url,
            "ollama": workshop.ollama,
            "exchange": exchange,
            "calls": workshop.sizes.calls,
            "tokens": TOKENS,
        }
        with Child({"action": "worker", "reply": None, "settings": settings}) as worker:
            worker.line()
            with Child(calls) as child:
                medians = child.result()
            worker.stop()
        workshop.driver.remove(f"{exchange}.ollama.chat.{_MODEL}", exchange=exchange)
        if number:
            trips.direct.append(medians["direct"])
            trips.fleet.append(medians["fleet"])
    return trips


def memory(workshop: Workshop) -> Resident:
    """Watch the memory of a worker over very many messages."""
    exchange, replies = f"bench-{next(_numbers)}", f"llm.reply.bench.{next(_numbers)}"
    name = f"{exchange}.ollama.chat.{_MODEL}"
    driver, count = workshop.driver, workshop.sizes.many
    driver.request_queue(name)
    driver.reply_queue(replies)
    driver.fill(name, _requests(replies, count))
    job = {
        "action": "worker",
        "reply": _REPLY,
        "usage": _USAGE,
        "settings": _settings(workshop, exchange, [("chat", _MODEL)], SLOTS),
    }
    resident = Resident([], [])
    step = count // 200
    with Child(job) as child:
        has = 0
        while has < count:
            has = _answered(driver, child, replies, min(has + step, count))
            resident.answered.append(has)
            resident.resident.append(child.resident)
        _end(driver, child, [name], replies, count)
    driver.remove(name, replies, exchange=exchange)
    return resident


def starts(workshop: Workshop) -> list[float]:
    """Return the seconds from the start of the process until all of a hundred new queues are served."""
    seconds: list[float] = []
    for number in range(workshop.sizes.rounds + 1):
        exchange = f"bench-{next(_numbers)}"
        models = [f"model-{model:02d}" for model in range(SUBSCRIPTIONS)]
        settings = _settings(workshop, exchange, [("chat", model) for model in models], 1)
        with Child({"action": "worker", "reply": _REPLY, "usage": _USAGE, "settings": settings}) as worker:
            worker.line()
            took = time.perf_counter() - worker.started
            worker.stop()
        workshop.driver.remove(*(f"{exchange}.ollama.chat.{model}" for model in models), exchange=exchange)
        sys.stderr.write(f"  {took:.2f} s\n")
        if number:
            seconds.append(took)
    return seconds
