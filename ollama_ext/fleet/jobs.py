"""The life of a job: delivered, running, replied, settled; and what becomes of it when its link is lost.

`Jobs` knows which deliveries are the same request. Its methods are what happened; they say whether a delivery
is to be run and, when a job has ended, which deliveries are to be settled. It does no I/O and has no clock.

When a link is lost the broker takes back all that was delivered on it and delivers it again, somewhere. A job
that has been started goes on: it is an *orphan* until its redelivery comes back here and it is *adopted*.
What had been delivered but not started is forgotten; its redelivery is a new job.

Two deliveries are the same request if queue, ``message_id``, ``reply_to``, ``correlation_id`` and body are
equal: nobody could tell a reply to one from a reply to the other.

* With a ``message_id`` there is one job for all of them: later ones *join* it and are settled with it. That
  may be a caller that connected anew and published again, or a broker that ended a consumer which took too
  long and redelivers on the same channel, where the old tag still looks alive.
* Without one, two equal messages are two requests. So only an orphan takes a delivery, once for each time
  that its link was lost, and only one that is marked as redelivered.

Results are not kept. A request that is published again after its job has ended runs again; its caller drops
the second reply. A *re*delivery of it is another matter: the reply has left, only the acknowledgement was
lost. The keys of ended jobs are kept to tell. Without a ``message_id`` they are not: what looks like that
redelivery may be an equal request that was never answered, and to run one twice is better than to lose one.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import msgspec

from .messages import Properties

if TYPE_CHECKING:
    from collections.abc import Iterator

V = TypeVar("V")

Kind: TypeAlias = Literal["ack", "requeue", "reject"]
"""How a delivery is settled: acknowledged, given back to its queue, or given to the dead-letter queue."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the broker delivered it.

    Attributes:
        queue: From where.
        tag: Its delivery tag, a number on its channel.
        epoch: Of which channel: a number that no other channel of this process has.
        redelivered: Whether it may have been delivered before, to anybody.
        properties: Its AMQP properties.
        body: As it came.
        count: How many deliveries of it have failed before: ``x-delivery-count``; 0 where there is none.
    """

    queue: str
    tag: int
    epoch: int
    redelivered: bool
    properties: Properties
    body: bytes
    count: int

    @property
    def key(self) -> bytes:
        """What is equal for deliveries of the same request: 32 bytes, however long the properties are."""
        told = self.properties
        known = (self.queue, told.message_id, told.reply_to, told.correlation_id)
        digest = sha256(repr(known).encode())  # where it ends is plain, so no body can pass for a part of it
        digest.update(self.body)
        return digest.digest()


class State(Enum):
    """How far a job is."""

    HELD = "held"
    """Delivered, not started."""

    RUNNING = "running"
    """Started."""

    REPLYING = "replying"
    """It has its result; what becomes of its reply is not known yet."""

    OVER = "over"
    """Settled, or forgotten."""


class Job:
    """One request that was delivered, once or more often. Changed by `Jobs` only.

    Attributes:
        key: Of its deliveries.
        delivery: The first of them; its body is empty once it is not needed any more.
        tags: Epoch and tag of those that are to be settled; none: its link is lost.
        count: The highest ``x-delivery-count`` of them.
        state: How far it is.
        started: When it was started, in seconds of a monotonic clock; None: it was not.
    """

    __slots__ = ("count", "delivery", "key", "started", "state", "tags")

    def __init__(self, delivery: Delivery, key: bytes) -> None:
        """Hold a job; it is not started."""
        self.key: bytes = key
        self.delivery: Delivery = delivery
        self.tags: list[tuple[int, int]] = [(delivery.epoch, delivery.tag)]
        self.count: int = delivery.count
        self.state: State = State.HELD
        self.started: float | None = None

    @property
    def orphaned(self) -> bool:
        """Whether its link is lost and its redelivery has not come."""
        return not self.tags

    def __repr__(self) -> str:
        """Say which job it is, and how far."""
        return f"<Job {self.key.hex()[:8]} of {self.delivery.queue!r}, {self.state.value}, tags {self.tags}>"


class Settle(msgspec.Struct, frozen=True):
    """Settle this delivery, on the channel of this epoch."""

    queue: str
    epoch: int
    tag: int
    kind: Kind


class Run(msgspec.Struct, frozen=True):
    """It is a new job: run it."""

    job: Job


class Adopt(msgspec.Struct, frozen=True):
    """It is the redelivery of a job that goes on here: do nothing."""

    job: Job


class Join(msgspec.Struct, frozen=True):
    """It is a duplicate of a job that is here: do nothing."""

    job: Job


class Finished(msgspec.Struct, frozen=True):
    """It is the redelivery of a job that has ended here: settle it, do not run it."""

    delivery: Delivery
    settle: Settle


Decision: TypeAlias = Run | Adopt | Join | Finished


class Jobs:
    """The jobs of a worker. See the module for the rules.

    An event that cannot happen in the state of its job is a `ValueError`: nothing is settled before what
    becomes of its reply is known, and what has not run is not given back. Deliveries of a channel that is
    gone must not be told.
    """

    def __init__(self, kept_ids: int = 10_000) -> None:
        """Start without jobs.

        Args:
            kept_ids: How many keys of jobs that have ended are remembered, the latest ones.
        """
        self._kept = kept_ids
        self._jobs: dict[bytes, list[Job]] = {}  # more than one for a key only without a message_id
        self._finished: OrderedDict[bytes, Kind] = OrderedDict()  # how; only those with a message_id
        self._innocent: OrderedDict[bytes, int] = OrderedDict()  # deliveries that failed, but no try of a job
        self._given_back: OrderedDict[bytes, int] = OrderedDict()  # tries that failed here

    def __len__(self) -> int:
        """Return how many jobs there are."""
        return sum(map(len, self._jobs.values()))

    def __iter__(self) -> Iterator[Job]:
        """Iterate over the jobs; over a copy, so that they may end meanwhile."""
        return iter([job for jobs in self._jobs.values() for job in jobs])

    @property
    def running(self) -> list[Job]:
        """The jobs that have been started and have no result yet."""
        return [job for job in self if job.state is State.RUNNING]

    def find(self, key: bytes) -> list[Job]:
        """Return the jobs with this key; more than one only if they have no ``message_id``."""
        return list(self._jobs.get(key, ()))

    def attempt(self, job: Job) -> int:
        """Return which try at its request this job is, counted from 1.

        Deliveries that ended with a lost link do not count if the job went on here or was never started.
        Where the broker does not count (a classic queue), the tries that failed here do.
        """
        if job.delivery.redelivered and not job.count:
            return 1 + self._given_back.get(job.key, 0)
        return max(1, 1 + job.count - self._innocent.get(job.key, 0))

    # What happened to the channels

    def delivered(self, delivery: Delivery) -> Decision:
        """The broker has delivered this."""
        key = delivery.key
        named = bool(delivery.properties.message_id)
        here = self._jobs.get(key, [])
        orphan = next((job for job in here if job.orphaned), None)
        if orphan is not None and delivery.redelivered:
            self._once_more(self._innocent, key)
            return Adopt(_with(orphan, delivery))
        if named and here:
            return Join(_with(here[0], delivery))
        if delivery.redelivered and key in self._finished:
            kind = self._finished[key]
            self._remember(self._finished, key, kind)
            return Finished(delivery, Settle(delivery.queue, delivery.epoch, delivery.tag, kind))
        job = Job(delivery, key)
        self._jobs.setdefault(key, []).append(job)
        return Run(job)

    def lost(self, epoch: int) -> list[Job]:
        """The channel of this epoch is gone: its tags mean nothing any more.

        Returns:
            The jobs that are forgotten, as they had not been started. They must not be started now.
        """
        forgotten: list[Job] = []
        for job in self:
            job.tags = [(of, tag) for of, tag in job.tags if of != epoch]
            if job.orphaned and job.state is State.HELD:
                self._once_more(self._innocent, job.key)
                self._forget(job)
                forgotten.append(job)
        return forgotten

    # What happened to a job

    def started(self, job: Job, now: float) -> None:
        """A thread has it."""
        _expect(job, State.HELD)
        job.state, job.started = State.RUNNING, now

    def finished(self, job: Job) -> None:
        """It has its result. If a reply is wanted, that is on its way."""
        _expect(job, State.RUNNING)
        job.state = State.REPLYING

    def replied(self, job: Job, *, arrived: bool = True) -> list[Settle]:
        """What became of its reply is known, or none was wanted: it is done.

        Args:
            job: Which.
            arrived: Whether its reply is in a queue. If it is not, its caller may ask again, with the same
                message, and that is not to be taken for a redelivery of an answered one.
        """
        return self._done(job, "ack", keep=arrived)

    def reject_dead(self, job: Job) -> list[Settle]:
        """As `replied`, but there is no other copy of it: the broker gives it to the dead-letter queue."""
        return self._done(job, "reject", keep=True)

    def requeue(self, job: Job) -> list[Settle]:
        """It could not be done here, and no reply was sent: it goes back into its queue."""
        _expect(job, State.RUNNING, State.REPLYING)
        self._once_more(self._given_back, job.key)
        return self._settled(job, "requeue")

    def unburden(self, job: Job) -> None:
        """Forget the body of a request that has its result: its reply may have to wait for long."""
        _expect(job, State.REPLYING, State.OVER)
        job.delivery = msgspec.structs.replace(job.delivery, body=b"")

    def _done(self, job: Job, kind: Kind, *, keep: bool) -> list[Settle]:
        _expect(job, State.REPLYING)
        self._innocent.pop(job.key, None)
        self._given_back.pop(job.key, None)
        if keep and job.delivery.properties.message_id:
            self._remember(self._finished, job.key, kind)
        return self._settled(job, kind)

    def _settled(self, job: Job, kind: Kind) -> list[Settle]:
        tags = job.tags
        self._forget(job)
        return [Settle(job.delivery.queue, epoch, tag, kind) for epoch, tag in tags]

    def _forget(self, job: Job) -> None:
        job.state, job.tags = State.OVER, []
        jobs = self._jobs[job.key]
        jobs.remove(job)
        if not jobs:
            del self._jobs[job.key]

    def _once_more(self, counts: OrderedDict[bytes, int], key: bytes) -> None:
        self._remember(counts, key, counts.get(key, 0) + 1)

    def _remember(self, known: OrderedDict[bytes, V], key: bytes, value: V) -> None:
        known[key] = value
        known.move_to_end(key)
        if len(known) > self._kept:
            known.popitem(last=False)


def _with(job: Job, delivery: Delivery) -> Job:
    """Let a job answer for one more delivery."""
    job.tags.append((delivery.epoch, delivery.tag))
    job.count = max(job.count, delivery.count)
    return job


def _expect(job: Job, *states: State) -> None:
    if job.state not in states:
        wanted = " or ".join(state.value for state in states)
        raise ValueError(f"{job!r} was told of an event of a job that is {wanted}")
