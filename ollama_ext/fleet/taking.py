"""How a worker takes messages from its queues: a state machine that says which frames to send.

The methods of `Taking` are what happened; each returns what is to be done now, in that order.

* **One source** has one permanent consumer, whose prefetch count is the number of jobs that may run.
* **Several sources**: a free slot asks one queue after the other (``basic.get``), one question at a time.
  Only when all have answered that they are empty does the worker listen: it consumes from all of them, with
  prefetch 1. The first delivery cancels these consumers, and until the last ``CancelOk`` nothing is asked,
  consumed or settled: settling would make the broker send more. What other queues delivered meanwhile is
  *held*, and runs before anything is asked. So nothing is ever sent back that has not run: brokers count that
  as a failed delivery, and in the end drop the message as poison.
* **An exclusive source** (single active consumer) has a permanent consumer with prefetch 1, because brokers
  refuse ``basic.get`` there. Its price: while all slots are taken it holds one message, which runs when it
  would be the queue's turn to be asked; and its next one comes only when that one is settled.

Whose turn it is: lanes strictly in order. Within a lane the sources of the loaded model come first, asked
longest ago first; once a lane has kept to a model for `dwell` seconds the others come first, least recently
served first. So a queue waits for at most two turns per source of its lane, each of `dwell` and one job more.
What was taken is run, also when nothing more is to be taken (`halt`, `drain`, `pause`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A queue to take from."""

    queue: str
    model: str
    lane: int = 0  # a lane with a lower number is served before one with a higher
    slots: int | None = None  # how many of its jobs may run at once; None: as many as the worker runs
    exclusive: bool = False  # whether the queue has a single active consumer


class Get(msgspec.Struct, frozen=True):
    """Ask the queue for one message; `Taking.arrived` or `Taking.empty` tells the answer."""

    queue: str


class Consume(msgspec.Struct, frozen=True):
    """Start a consumer of the queue, with this prefetch count."""

    queue: str
    prefetch: int


class Cancel(msgspec.Struct, frozen=True):
    """Cancel the consumer of the queue; what it delivers until CancelOk still goes to `Taking.arrived`."""

    queue: str


class Run(msgspec.Struct, Generic[T], frozen=True):
    """Start the job; `Taking.freed` tells its end."""

    item: T


class Settle(msgspec.Struct, Generic[T], frozen=True):
    """Acknowledge or reject the delivery now, as it was decided."""

    item: T


Action: TypeAlias = Get | Consume | Cancel | Run[T] | Settle[T]


class _Queue(Generic[T]):
    """What is known of a queue: of a source, or of a former one of which something is left."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.listed = True  # a source
        self.permanent = False  # whether it keeps its consumer while jobs run
        self.running = 0
        self.held: deque[T] = deque()
        self.prefetch = 0  # of its consumer; 0: it has none
        self.cancelling = False
        self.asked = self.served = 0  # when last, in ticks

    @property
    def full(self) -> bool:
        return self.source.slots is not None and self.running >= self.source.slots


class Taking(Generic[T]):
    """Decides what a worker asks, consumes, cancels, runs and settles, by the rules of the module.

    `now` is seconds of a monotonic clock. An event of an unknown queue is a `KeyError`; those of a channel
    that is gone must not be told. `loaded` is the model of the job that was started last.
    """

    def __init__(self, slots: int, dwell: float) -> None:
        """Allow `slots` jobs at once, and a lane to keep to the loaded model for `dwell` seconds."""
        self.loaded: str | None = None
        self._slots, self._dwell = slots, dwell
        self._queues: dict[str, _Queue[T]] = {}
        self._paused: set[str] = set()
        self._open = self._halted = self._draining = False
        self._running = 0
        self._question: _Queue[T] | None = None  # the queue that was asked and has not answered
        self._round: deque[_Queue[T]] | None = None  # who is to be asked next; None: begin anew
        self._listening = False
        self._cancelling = 0  # Cancels without their CancelOk
        self._unsettled: list[T] = []  # to be settled after the last of these
        self._turns: dict[int, tuple[str | None, float]] = {}  # lane: the model it keeps to, and since when
        self._ticks = 0
        self._former = False  # whether there may be queues that are sources no more

    @property
    def free(self) -> int:
        """How many more jobs may run."""
        return self._slots - self._running

    @property
    def held(self) -> list[T]:
        """What was delivered and waits for a slot."""
        return [item for queue in self._queues.values() for item in queue.held]

    @property
    def running(self) -> dict[str, int]:
        """How many jobs run, by queue; queues without any are left out."""
        return {name: queue.running for name, queue in self._queues.items() if queue.running}

    @property
    def idle(self) -> bool:
        """Whether nothing runs, is held (that always waits for one of the others), or is under way."""
        return not (self._running or self._question or self._cancelling)

    def opened(self, now: float) -> list[Action[T]]:
        """There is a channel."""
        self._open = True
        return self._next(now)

    def lost(self) -> None:
        """The channel is gone, and the broker has back what was delivered on it; jobs go on."""
        self._open = False
        self._question = None
        self._cancelling = 0
        self._unsettled.clear()
        self._ask_anew()
        for queue in self._queues.values():
            queue.prefetch, queue.cancelling = 0, False
            queue.held.clear()

    def cancelled(self, queue: str, now: float) -> list[Action[T]]:
        """The broker has said CancelOk: nothing comes from this consumer any more."""
        known = self._queues[queue]
        known.prefetch, known.cancelling = 0, False
        self._cancelling -= 1
        return [] if self._cancelling else self._next(now)

    def consumer_gone(self, queue: str, now: float) -> list[Action[T]]:
        """The broker has cancelled the consumer (queue deleted, consumer time-out): paused until `resume`.

        What is held stays held: to the broker it is delivered. If we are cancelling too, CancelOk comes.
        """
        known = self._queues[queue]
        if not known.cancelling:
            known.prefetch = 0
        return self.pause(queue, now)

    def arrived(self, queue: str, item: T, now: float, *, absorbed: bool = False) -> list[Action[T]]:
        """The queue has delivered this, to its consumer or as the answer to a question.

        With `absorbed` it belongs to a job that runs already or has ended, and needs no slot.
        """
        known = self._queues[queue]
        if self._question is known:
            self._question = None
        if not absorbed:
            known.held.append(item)
        return self._next(now, anew=True)

    def empty(self, queue: str, now: float) -> list[Action[T]]:  # noqa: ARG002 - only one was asked
        """The queue that was asked has nothing."""
        self._question = None
        return self._next(now)

    def freed(self, queue: str, now: float) -> list[Action[T]]:
        """A job of this queue has ended."""
        known = self._queues[queue]
        if not known.running:
            raise ValueError(f"no job of queue {queue!r} runs, so none can have ended: was it told twice?")
        known.running -= 1
        self._running -= 1
        self._round = None
        return self._next(now)

    def settle(self, item: T) -> list[Action[T]]:
        """The delivery can be acknowledged or rejected: at once, or after the last CancelOk."""
        if not self._cancelling:
            return [Settle(item)]
        self._unsettled.append(item)
        return []

    def set_sources(self, sources: Sequence[Source], now: float) -> list[Action[T]]:
        """Take from these queues from now on, and from no others. Pauses outlast it."""
        for queue in self._queues.values():
            queue.listed = queue.permanent = False
        for source in sources:
            queue = self._queues.setdefault(source.queue, _Queue(source))
            queue.source, queue.listed = source, True
            queue.permanent = source.exclusive or len(sources) == 1
            self._turns.setdefault(source.lane, (None, now))
        self._former = True
        self._round = None
        return self._next(now)

    def pause(self, queue: str, now: float) -> list[Action[T]]:
        """Take nothing from this queue until `resume`, whether or not it is a source yet."""
        self._paused.add(queue)
        return self._next(now)

    def resume(self, queue: str, now: float) -> list[Action[T]]:
        """Take from this queue again."""
        self._paused.discard(queue)
        self._round = None
        return self._next(now)

    def halt(self, now: float) -> list[Action[T]]:
        """Take nothing until `go`."""
        self._halted = True
        self._ask_anew()
        return self._next(now)

    def go(self, now: float) -> list[Action[T]]:
        """Take again."""
        self._halted = False
        return self._next(now)

    def drain(self, now: float) -> list[Action[T]]:
        """Take nothing any more: the worker is stopping."""
        self._draining = True
        return self._next(now)

    def _next(self, now: float, *, anew: bool = False) -> list[Action[T]]:
        """Return what is to be done in the state that an event has left; `anew`: ask all queues again."""
        actions: list[Action[T]] = []
        self._run_surplus(now, actions)
        if anew:
            self._ask_anew()
        self._cancel(actions)
        if not self._cancelling:
            actions += map(Settle, self._unsettled)
            self._unsettled.clear()
            self._ask(now, actions)
            self._consume(actions)
        if self._former:
            self._forget_former()
        return actions

    def _forget_former(self) -> None:
        """Forget queues that are sources no more and of which nothing is left."""
        for name, queue in list(self._queues.items()):
            if not (queue.listed or queue.running or queue.held or queue.prefetch or queue is self._question):
                del self._queues[name]
        self._former = not all(queue.listed for queue in self._queues.values())

    def _run_surplus(self, now: float, actions: list[Action[T]]) -> None:
        """Run what is held, but for what waits for its queue's turn: that has come when all else is empty."""
        held = [queue for queue in self._queues.values() if queue.held]
        if not held:
            return
        surplus = [each for each in held if self._listening or not (each.permanent and self._served(each))]
        while self.free and (ready := [queue for queue in surplus if queue.held and not queue.full]):
            self._run(min(ready, key=lambda queue: self._turn(queue, now)), now, actions)

    def _cancel(self, actions: list[Action[T]]) -> None:
        """Cancel the consumers that are not wanted as they are."""
        for name, queue in self._queues.items():
            if queue.prefetch and not queue.cancelling and queue.prefetch != self._wanted_prefetch(queue):
                queue.cancelling = True
                self._cancelling += 1
                actions.append(Cancel(name))

    def _ask(self, now: float, actions: list[Action[T]]) -> None:
        """Ask the queue whose turn it is, or run what is held of it. After a round of empty ones, listen."""
        while self.free and not self._question and not self._listening:
            if self._round is None:
                eligible = [
                    queue
                    for queue in self._queues.values()
                    if (queue.held or not queue.permanent) and self._eligible(queue)
                ]
                eligible.sort(key=lambda queue: self._turn(queue, now))
                self._round = deque(eligible)
            if not self._round:
                self._round = None
                self._listening = any(self._eligible(q) and not q.permanent for q in self._queues.values())
                return
            queue = self._round.popleft()
            if queue.held:
                self._run(queue, now, actions)
            elif self._eligible(queue) and not queue.permanent:
                self._ticks += 1
                queue.asked = self._ticks
                self._question = queue
                actions.append(Get(queue.source.queue))

    def _consume(self, actions: list[Action[T]]) -> None:
        """Start the consumers that are wanted; not beside a question to the same queue: who answered it?"""
        for name, queue in self._queues.items():
            if not queue.prefetch and queue is not self._question:
                queue.prefetch = self._wanted_prefetch(queue)
                if queue.prefetch:
                    actions.append(Consume(name, queue.prefetch))

    def _run(self, queue: _Queue[T], now: float, actions: list[Action[T]]) -> None:
        source = queue.source
        kept, since = self._turns[source.lane]
        # With one lane, a turn begins when the model changes. But lanes share the loaded model: what another
        # lane loads begins no turn in this one, or queues that it happens to favour could go first for ever.
        if source.model != self.loaded or (source.model != kept and now - since >= self._dwell):
            self._turns[source.lane] = source.model, now
        self.loaded = source.model
        self._ticks += 1
        queue.asked = queue.served = self._ticks
        queue.running += 1
        self._running += 1
        self._ask_anew()
        actions.append(Run(queue.held.popleft()))

    def _turn(self, queue: _Queue[T], now: float) -> tuple[int, bool, int]:
        """Return what queues are sorted by: the smallest has its turn."""
        lane, model = queue.source.lane, queue.source.model
        kept, since = self._turns[lane]
        if now - since >= self._dwell:
            return lane, model == kept, queue.served
        return lane, model != self.loaded, queue.asked if model == self.loaded else queue.served

    def _served(self, queue: _Queue[T]) -> bool:
        """Whether anything is to be taken from this queue."""
        taking = self._open and not self._halted and not self._draining
        return taking and queue.listed and queue.source.queue not in self._paused

    def _eligible(self, queue: _Queue[T]) -> bool:
        """Whether a job of this queue could start if there were one."""
        return self._served(queue) and not queue.full

    def _wanted_prefetch(self, queue: _Queue[T]) -> int:
        """Return the prefetch count of the consumer that the queue should have now; 0: none."""
        if queue.permanent and self._served(queue):
            return 1 if queue.source.exclusive else min(self._slots, queue.source.slots or self._slots)
        return int(self._listening and self._eligible(queue))

    def _ask_anew(self) -> None:
        self._round = None
        self._listening = False
