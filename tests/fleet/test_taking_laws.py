"""Taking work from a simulated broker, in any order of events: what must hold whatever happens.

`Fleet` lets hypothesis choose what happens next: a frame moves in one of the channels, a job ends, a link is
lost, a queue is paused, the sources change. Laws are checked after each step, those about frames when one is
sent.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from simulated_broker import Asked, Delivered, Message, SimulatedBroker, SimulatedChannel

from ollama_ext.fleet.taking import Action, Cancel, Consume, Get, Run, Settle, Source, Taking

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

QUEUES = ("chat.a", "embed.a", "chat.b", "chat.c", "alone")
SINGLE_ACTIVE = frozenset({"alone"})
MODELS = dict(zip(QUEUES, "aabcc", strict=True))
DWELL = 60.0


class Worker:
    """A worker around `Taking`: it sends what that says, and knows which job each delivery belongs to.

    Attributes:
        jobs: The deliveries of each running request; more than one after a redelivery or a duplicate.
        replying: What is settled next: jobs that have ended, whose reply is under way.
    """

    def __init__(self, broker: SimulatedBroker, slots: int, *, calls_wait: bool) -> None:
        """Start without a channel."""
        self.broker = broker
        self.slots = slots
        self.calls_wait = calls_wait
        self.taking: Taking[Delivered] = Taking(slots, DWELL)
        self.channel: SimulatedChannel | None = None
        self.sources: dict[str, Source] = {}
        self.known: dict[str, Source] = {}
        self.paused: set[str] = set()
        self.halted = self.draining = False
        self.jobs: dict[int, list[Delivered]] = {}
        self.queue_of: dict[int, str] = {}
        self.joined: list[Delivered] = []
        self.replying: list[tuple[Delivered, bool]] = []
        self.settling: dict[Delivered, bool] = {}
        self.done: set[int] = set()
        self.cancels = 0
        self.question: str | None = None
        self.listening = False
        self.answered: set[str] = set()

    # What it knows

    @property
    def running(self) -> Counter[str]:
        """Return how many jobs of each queue run."""
        return Counter(self.queue_of[request] for request in self.jobs)

    def limit(self, queue: str) -> int:
        """Return how many jobs of the queue may run at once."""
        slots = self.known[queue].slots
        return self.slots if slots is None else slots

    def eligible(self) -> list[str]:
        """Return the queues from which a job could be started now, were there one."""
        if self.channel is None or self.halted or self.draining or len(self.jobs) >= self.slots:
            return []
        return [
            queue
            for queue in self.sources
            if queue not in self.paused and self.running[queue] < self.limit(queue)
        ]

    def permanent(self, queue: str) -> bool:
        """Return whether the queue keeps its consumer."""
        return queue in self.sources and (self.sources[queue].exclusive or len(self.sources) == 1)

    # What it does

    def do(self, actions: Sequence[Action[Delivered]]) -> None:
        """Do what `Taking` says, and see that it may say so."""
        for action in actions:
            match action:
                case Run(item):
                    self.start(item)
                    continue
                case Settle(item):
                    assert not self.cancels, "settled between a Cancel and its CancelOk"
                    frame = Asked("ack" if self.settling.pop(item) else "requeue", item.queue, item.tag)
                case Get(queue):
                    assert not self.cancels, "asked between a Cancel and its CancelOk"
                    assert self.question is None, "two questions at once"
                    assert queue in self.eligible(), "asked a queue of which no job can start"
                    assert not self.permanent(queue)
                    self.question = queue
                    frame = Asked("get", queue)
                case Consume(queue, prefetch):
                    self.may_consume(queue, prefetch)
                    frame = Asked("consume", queue, prefetch)
                case Cancel(queue):
                    self.cancels += 1
                    frame = Asked("cancel", queue)
            assert self.channel is not None, "frames without a channel"
            self.channel.send(frame)

    def may_consume(self, queue: str, prefetch: int) -> None:
        """See that a consumer may be started."""
        assert not self.cancels, "consumed between a Cancel and its CancelOk"
        assert queue in self.sources
        assert queue not in self.paused
        assert not self.halted
        assert not self.draining
        if self.permanent(queue):
            expected = 1 if self.sources[queue].exclusive else min(self.slots, self.limit(queue))
            assert prefetch == expected
            return
        assert prefetch == 1
        assert queue in self.eligible()
        if not self.listening:
            asked = {each for each in self.eligible() if not self.permanent(each)}
            assert asked <= self.answered, "listens before all have said that they are empty"
        self.listening = True

    def start(self, item: Delivered) -> None:
        """Start a job."""
        request, queue = item.message.request, item.queue
        assert request not in self.jobs, "runs twice at once"
        assert len(self.jobs) < self.slots, "more jobs than slots"
        assert self.running[queue] < self.limit(queue), "more jobs than the source's slots"
        mine = [each for each in self.joined if each.message.request == request]
        self.joined = [each for each in self.joined if each.message.request != request]
        self.queue_of[request] = queue
        self.jobs[request] = [item, *mine]

    def receive(self, now: float) -> None:
        """Take the next frame of the broker."""
        assert self.channel is not None
        frame = self.channel.receive()
        queue = frame.queue
        if frame.item is not None:
            if frame.kind == "got":
                assert self.question == queue
                self.question = None
            else:
                assert self.question != queue, "cannot tell a delivery from an answer"
            self.arrived(frame.item, now)
            return
        match frame.kind:
            case "empty":
                assert self.question == queue
                self.question = None
                self.answered.add(queue)
                self.do(self.taking.empty(queue, now))
            case "consuming":  # a channel keeps its order both ways, so nothing waits for this
                pass
            case "cancelled":
                self.cancels -= 1
                self.do(self.taking.cancelled(queue, now))
            case _:
                self.paused.add(queue)
                self.do(self.taking.consumer_gone(queue, now))

    def arrived(self, item: Delivered, now: float) -> None:
        """Take a delivery: of a new job, of one that waits or runs, or of one that has ended."""
        self.listening = False
        self.answered.clear()
        request = item.message.request
        waiting = any(each.message.request == request for each in self.taking.held)
        absorbed = waiting or request in self.jobs or request in self.done
        if request in self.jobs:
            self.jobs[request].append(item)
        elif waiting:
            self.joined.append(item)
        elif request in self.done:
            self.settling[item] = True
        self.do(self.taking.arrived(item.queue, item, now, absorbed=absorbed))
        if item in self.settling:
            self.do(self.taking.settle(item))

    def end(self, request: int, now: float, *, well: bool) -> None:
        """End a job; what it was delivered as is settled with the reply, or goes back if that failed."""
        items = self.jobs.pop(request)
        if well:
            self.done.add(request)
        self.replying += [(item, well) for item in items]
        self.do(self.taking.freed(self.queue_of.pop(request), now))

    def replied(self, which: int) -> None:
        """Have a reply confirmed."""
        item, well = self.replying.pop(which)
        self.settling[item] = well
        self.do(self.taking.settle(item))

    def lose(self) -> None:
        """Lose the link."""
        assert self.channel is not None
        self.channel.lose()
        self.channel = None
        self.cancels, self.question, self.listening = 0, None, False
        self.jobs = {request: [] for request in self.jobs}
        for forgotten in (self.joined, self.replying, self.settling, self.answered):
            forgotten.clear()
        self.taking.lost()

    def open(self, now: float) -> None:
        """Open a channel."""
        self.channel = self.broker.channel(calls_wait=self.calls_wait)
        self.do(self.taking.opened(now))

    def take_from(self, sources: Sequence[Source], now: float) -> None:
        """Take from other queues."""
        self.sources = {source.queue: source for source in sources}
        self.known |= self.sources
        self.do(self.taking.set_sources(sources, now))

    def resume(self, queue: str, now: float) -> None:
        """Resume a queue; it has lost nothing by having been asked too early, so it is asked again."""
        self.paused.discard(queue)
        self.answered.discard(queue)
        self.do(self.taking.resume(queue, now))

    def halt(self, now: float) -> None:
        """Take nothing for a while."""
        self.halted = True
        self.listening = False
        self.answered.clear()
        self.do(self.taking.halt(now))

    def go(self, now: float) -> None:
        """Take again."""
        self.halted = False
        self.do(self.taking.go(now))

    def drain(self, now: float) -> None:
        """Take nothing more."""
        self.draining = True
        self.do(self.taking.drain(now))


@st.composite
def source_lists(draw: st.DrawFn) -> list[Source]:
    """Draw the sources of a worker."""
    fewest = draw(st.sampled_from([0, 1, 2, 3, 3]))
    queues = draw(st.lists(st.sampled_from(QUEUES), unique=True, min_size=fewest))
    return [
        Source(
            queue=queue,
            model=MODELS[queue],
            lane=draw(st.integers(0, 1)),
            slots=draw(st.sampled_from([None, None, 1, 2])),
            exclusive=queue in SINGLE_ACTIVE or draw(st.integers(0, 5)) == 0,
        )
        for queue in queues
    ]


class Fleet(RuleBasedStateMachine):
    """Some workers and a broker."""

    def __init__(self) -> None:
        """Start with an empty broker."""
        super().__init__()
        self.now = 1000.0
        self.broker = SimulatedBroker(list(QUEUES), single_active=SINGLE_ACTIVE)
        self.workers: list[Worker] = []
        self.published = 0

    @initialize(
        slots=st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=3),
        calls_wait=st.booleans(),
        sources=st.lists(source_lists(), min_size=3, max_size=3),
    )
    def begin(self, slots: list[int], calls_wait: bool, sources: list[list[Source]]) -> None:
        """Start the workers."""
        self.workers = [Worker(self.broker, each, calls_wait=calls_wait) for each in slots]
        for worker, its in zip(self.workers, sources, strict=False):
            worker.take_from(its, self.now)
            worker.open(self.now)

    def worker(self, which: int) -> Worker:
        """Return one of the workers."""
        return self.workers[which % len(self.workers)]

    @rule(queues=st.lists(st.sampled_from(QUEUES), min_size=1, max_size=5))
    def publish(self, queues: list[str]) -> None:
        """Requests come."""
        for queue in queues:
            self.published += 1
            self.broker.publish(queue, Message(self.published, self.published))

    @rule(queues=st.lists(st.sampled_from(QUEUES), min_size=2, max_size=5))
    def publish_to_those_who_listen(self, queues: list[str]) -> None:
        """Requests come at once to several queues that have been empty for a while."""
        for which in range(len(self.workers)):
            self.talk(which, 40)
        self.publish(queues)

    @rule(queue=st.sampled_from(QUEUES), back=st.integers(0, 3))
    def publish_again(self, queue: str, back: int) -> None:
        """A request comes twice."""
        request = max(1, self.published - back)
        self.published += 1
        self.broker.publish(queue, Message(self.published, request))

    @rule(which=st.integers(0, 2), count=st.integers(1, 5))
    def broker_reads(self, which: int, count: int) -> None:
        """The broker takes frames of a worker."""
        channel = self.worker(which).channel
        while channel is not None and channel.to_broker and count:
            channel.broker_reads()
            count -= 1

    @rule(which=st.integers(0, 2), count=st.integers(1, 5))
    def worker_reads(self, which: int, count: int) -> None:
        """A worker takes frames of the broker."""
        worker = self.worker(which)
        while worker.channel is not None and worker.channel.to_client and count:
            worker.receive(self.now)
            count -= 1

    @rule(which=st.integers(0, 2), rounds=st.integers(1, 20))
    def talk(self, which: int, rounds: int) -> None:
        """A worker and the broker exchange frames."""
        for _ in range(rounds):
            self.broker_reads(which, 1)
            self.worker_reads(which, 1)

    @rule(which=st.integers(0, 2), data=st.data(), well=st.sampled_from([True, True, True, False]))
    def end_job(self, which: int, data: st.DataObject, well: bool) -> None:
        """A job ends; the machine may have failed."""
        worker = self.worker(which)
        if worker.jobs:
            worker.end(data.draw(st.sampled_from(sorted(worker.jobs))), self.now, well=well)

    @rule(which=st.integers(0, 2), data=st.data())
    def confirm_reply(self, which: int, data: st.DataObject) -> None:
        """The broker has a reply."""
        worker = self.worker(which)
        if worker.replying:
            worker.replied(data.draw(st.integers(0, len(worker.replying) - 1)))

    @rule(which=st.integers(0, 2), rarely=st.integers(0, 3))
    def lose_or_open(self, which: int, rarely: int) -> None:
        """A link is lost, or there again."""
        worker = self.worker(which)
        if worker.channel is None:
            worker.open(self.now)
        elif rarely == 0:
            worker.lose()

    @rule(which=st.integers(0, 2), queue=st.sampled_from(QUEUES), rarely=st.integers(0, 2))
    def pause_or_resume(self, which: int, queue: str, rarely: int) -> None:
        """A model is gone, or there again."""
        worker = self.worker(which)
        if queue in worker.paused:
            worker.resume(queue, self.now)
        elif rarely == 0:
            worker.paused.add(queue)
            worker.do(worker.taking.pause(queue, self.now))

    @rule(which=st.integers(0, 2), rarely=st.integers(0, 3))
    def halt_or_go(self, which: int, rarely: int) -> None:
        """An Ollama is sick, or well again."""
        worker = self.worker(which)
        if worker.halted:
            worker.go(self.now)
        elif rarely == 0:
            worker.halt(self.now)

    @rule(which=st.integers(0, 2), rarely=st.integers(0, 9))
    def drain(self, which: int, rarely: int) -> None:
        """A worker is stopped."""
        if rarely == 0:
            self.worker(which).drain(self.now)

    @rule(which=st.integers(0, 2), sources=source_lists())
    def set_sources(self, which: int, sources: list[Source]) -> None:
        """The wildcard means other models now."""
        self.worker(which).take_from(sources, self.now)

    @rule(queue=st.sampled_from(QUEUES), rarely=st.integers(0, 2))
    def cancel_consumers(self, queue: str, rarely: int) -> None:
        """The broker cancels the consumers of a queue."""
        if rarely == 0:
            self.broker.cancel_consumers(queue)

    @rule(seconds=st.sampled_from([1.0, 59.0, 61.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    # Laws

    @invariant()
    def the_broker_has_each_message_once(self) -> None:
        """Each message is ready, delivered to one channel, or was acknowledged once."""
        at = Counter(message.number for ready in self.broker.ready.values() for message in ready)
        at.update(self.broker.settled)
        for worker in self.workers:
            if worker.channel is not None:
                at.update(item.message.number for item in worker.channel.unsettled.values())
        assert at == Counter(range(1, self.published + 1))

    @invariant()
    def a_worker_has_each_delivery_once(self) -> None:
        """Each delivery is under way, held, of a running job, of one that replies, or its settlement is."""
        for worker in self.workers:
            if worker.channel is None:
                assert not worker.taking.held
                continue
            tags = Counter(frame.item.tag for frame in worker.channel.to_client if frame.item is not None)
            tags.update(
                frame.number for frame in worker.channel.to_broker if frame.kind in {"ack", "requeue"}
            )
            tags.update(item.tag for items in worker.jobs.values() for item in items)
            tags.update(item.tag for item in worker.taking.held)
            tags.update(item.tag for item in worker.joined)
            tags.update(item.tag for item, _ in worker.replying)
            tags.update(item.tag for item in worker.settling)
            assert tags == Counter(worker.channel.unsettled.keys())

    @invariant()
    def what_is_shown_is_so(self) -> None:
        """The properties of `Taking` say what its worker sees."""
        for worker in self.workers:
            assert worker.taking.running == worker.running
            assert worker.taking.free == worker.slots - len(worker.jobs)
            busy = worker.jobs or worker.question or worker.cancels or worker.taking.held
            assert worker.taking.idle is not bool(busy)

    @invariant()
    def nothing_is_held_that_could_run(self) -> None:
        """What is held waits for a slot, one of its queue's, or, of an exclusive queue, for its turn."""
        for worker in self.workers:
            for item in worker.taking.held if worker.taking.free else ():
                if worker.running[item.queue] < worker.limit(item.queue):
                    assert worker.permanent(item.queue)
                    assert worker.question or worker.cancels

    @invariant()
    def settlements_wait_only_for_cancels(self) -> None:
        """What is to be settled is, as soon as no Cancel is under way."""
        for worker in self.workers:
            assert worker.cancels or not worker.settling

    @invariant()
    def nobody_sleeps_beside_work(self) -> None:
        """Where work is ready and a slot free, frames are under way, or the consumer has all it may have."""
        for worker in self.workers:
            for queue in worker.eligible():
                channel = worker.channel
                if channel is None or not channel.quiet or not self.broker.ready[queue]:
                    continue
                assert worker.permanent(queue)
                assert channel.consumes(queue)
                assert channel.prefetched(queue) or queue in SINGLE_ACTIVE

    @invariant()
    def whoever_rests_listens(self) -> None:
        """With a free slot and no frame under way there is a consumer for each queue that may be served."""
        for worker in self.workers:
            if worker.channel is None or not worker.channel.quiet:
                continue
            for queue in worker.eligible():
                assert worker.channel.consumes(queue)
            for queue in QUEUES:
                wanted = queue in worker.eligible() or (
                    worker.permanent(queue) and self.serves(worker, queue)
                )
                assert channel_has(worker, queue) is wanted

    def serves(self, worker: Worker, queue: str) -> bool:
        """Return whether a worker takes from this queue when it has slots."""
        return not (worker.halted or worker.draining or queue in worker.paused)

    def teardown(self) -> None:
        """Let everything come to rest: all work is done, and who is drained has nothing left."""
        for worker in self.workers:
            if worker.channel is None:
                worker.open(self.now)
            if worker.halted:
                worker.go(self.now)
        self.come_to_rest()
        for worker in self.workers:
            for queue in list(worker.paused):
                worker.resume(queue, self.now)
        self.come_to_rest()
        for worker in self.workers:
            assert worker.taking.idle
            for queue in worker.sources if not worker.draining else ():
                assert not self.broker.ready[queue]
        for worker in self.workers:
            worker.drain(self.now)
        self.come_to_rest()
        for worker in self.workers:
            assert worker.channel is not None
            assert not worker.channel.unsettled
            assert not any(channel_has(worker, queue) for queue in QUEUES)
        self.check_all()

    def come_to_rest(self) -> None:
        """Move everything that can move. It must end: whoever is idle sends nothing."""
        for _ in range(1000 + 100 * self.published):
            moved = False
            for which, worker in enumerate(self.workers):
                channel = worker.channel
                assert channel is not None
                moved |= not channel.quiet or bool(worker.jobs or worker.replying)
                self.talk(which, 1)
                for request in list(worker.jobs)[:1]:
                    worker.end(request, self.now, well=True)
                if worker.replying:
                    worker.replied(0)
                self.check_all()
            if not moved:
                return
        pytest.fail("the workers and the broker never come to rest")

    def check_all(self) -> None:
        """Check all laws."""
        self.the_broker_has_each_message_once()
        self.a_worker_has_each_delivery_once()
        self.what_is_shown_is_so()
        self.nothing_is_held_that_could_run()
        self.settlements_wait_only_for_cancels()
        self.nobody_sleeps_beside_work()
        self.whoever_rests_listens()


def channel_has(worker: Worker, queue: str) -> bool:
    """Return whether the broker has a consumer of the queue for this worker."""
    return worker.channel is not None and worker.channel.consumes(queue)


class Clockwork:
    """One worker whose frames take no time and whose jobs take theirs; queues are filled by hand.

    Attributes:
        started: When a job of which queue was started, and for how long it ran.
    """

    def __init__(self, sources: Sequence[Source], slots: int = 1, dwell: float = DWELL) -> None:
        """Start at the time 0."""
        self.now = 0.0
        self.taking: Taking[str] = Taking(slots, dwell)
        self.ready: Counter[str] = Counter()
        self.consumers: set[str] = set()
        self.started: list[tuple[float, str]] = []
        self.jobs: deque[str] = deque()
        self.do(self.taking.set_sources(sources, self.now))
        self.do(self.taking.opened(self.now))

    def do(self, actions: Sequence[Action[str]]) -> None:
        """Do what `Taking` says; the broker answers at once, in order."""
        todo = deque(actions)
        while todo:
            match todo.popleft():
                case Run(queue):
                    self.started.append((self.now, queue))
                    self.jobs.append(queue)
                case Get(queue) if self.ready[queue]:
                    self.ready[queue] -= 1
                    todo.extend(self.taking.arrived(queue, queue, self.now))
                case Get(queue):
                    todo.extend(self.taking.empty(queue, self.now))
                case Consume(queue):
                    self.consumers.add(queue)
                    todo.extend(self.deliver(queue))
                case Cancel(queue):
                    self.consumers.discard(queue)
                    todo.extend(self.taking.cancelled(queue, self.now))
                case Settle(queue):
                    todo.extend(self.deliver(queue))

    def deliver(self, queue: str) -> Sequence[Action[str]]:
        """Let a consumer that has no message have one."""
        if queue in self.consumers and self.ready[queue]:
            self.ready[queue] -= 1
            return self.taking.arrived(queue, queue, self.now)
        return []

    def fill(self, queue: str, count: int = 1) -> None:
        """Put requests into a queue."""
        for _ in range(count):
            self.ready[queue] += 1
            self.do(self.deliver(queue))

    def end_job(self, seconds: float) -> None:
        """Let the oldest job end, so much later."""
        self.now += seconds
        queue = self.jobs.popleft()
        self.do(self.taking.freed(queue, self.now))
        self.do(self.taking.settle(queue))

    def waits(self, queue: str) -> list[float]:
        """Return how long the queue waited each time: until its first job, between jobs, since the last."""
        moments = [0.0, *(moment for moment, each in self.started if each == queue), self.now]
        return [later - earlier for earlier, later in pairwise(moments)]


@st.composite
def lanes_of_sources(draw: st.DrawFn) -> list[Source]:
    """Draw the sources of one worker in two lanes."""
    models = draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=6))
    return [
        Source(
            queue=f"{model}{index}", model=model, lane=draw(st.sampled_from([0, 1, 1])), exclusive=draw(few())
        )
        for index, model in enumerate(models)
    ]


def few() -> st.SearchStrategy[bool]:
    """Draw True now and then."""
    return st.sampled_from([False, False, False, True])


@settings(max_examples=100, deadline=None)
@given(
    lanes_of_sources(),
    st.integers(1, 2),
    st.randoms(use_true_random=False),
    st.sampled_from([0.0, 10.0, 60.0]),
)
def test_a_backlogged_queue_waits_for_no_more_turns_than_its_lane_and_then_its_model_have_sources(
    sources: list[Source], slots: int, chance: random.Random, dwell: float
) -> None:
    # The end of a turn brings the least recently served queue of another model than the turn's. So a queue
    # waits for each other queue of its lane once, and once more after each turn of its own model.
    lanes = {lane: [source.queue for source in sources if source.lane == lane] for lane in (0, 1)}
    clock = Clockwork(sources, slots, dwell)
    for queue in lanes[1]:
        clock.fill(queue, 400)
    longest, other_lane = 1.0, 0.0
    for _ in range(300):
        if lanes[0] and chance.random() < 0.5:
            clock.fill(chance.choice(lanes[0]))
        if not clock.jobs:
            break
        seconds = chance.choice([0.1, 1.0, 7.0, 45.0])
        longest = max(longest, seconds)
        if clock.jobs[0] in lanes[0]:
            other_lane += seconds
        clock.end_job(seconds)
    for queue in lanes[1]:
        turns = len(lanes[1]) + sum(each[0] == queue[0] for each in lanes[1])
        assert max(clock.waits(queue)) <= turns * (dwell + longest) + other_lane


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
