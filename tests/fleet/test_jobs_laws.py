"""The life of a job beside a simulated broker, in any order of events: what must hold whatever happens.

Hypothesis chooses what is published, which message goes where (here, or to another worker that dies, gives it
back or does it), when links are lost and consumers take too long, and how jobs end.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ollama_ext.fleet.jobs import Adopt, Delivery, Finished, Job, Jobs, Join, Run, Settle, State
from ollama_ext.fleet.messages import Properties

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ollama_ext.fleet.jobs import Kind

QUEUES = ("one", "two")
KEPT = 3

Same = tuple[str, str | None, str | None, str | None, bytes]

#: Queue, message_id, reply_to, correlation_id and body of few enough requests that many are equal.
requests: st.SearchStrategy[Same] = st.tuples(
    st.sampled_from(QUEUES),
    st.sampled_from((None, None, "a", "b", "c", "d", "e")),
    st.sampled_from(("here", "here", "here", None)),
    st.sampled_from((None, None, None, "x")),
    st.sampled_from((b"1", b"1", b"1", b"2")),
)


class Message(msgspec.Struct, eq=False):
    """A message in the simulated broker.

    Attributes:
        same: What is equal for equal requests.
        failed: How many deliveries of it have failed.
        held: Epoch and tag with which it is delivered to us now.
        job: The job here that it belongs to, or belonged to.
    """

    same: Same
    failed: int = 0
    redelivered: bool = False
    held: tuple[int, int] | None = None
    job: Job | None = None


class World(RuleBasedStateMachine):
    """A broker, its queues, and a worker with a channel for each of them."""

    def __init__(self) -> None:
        """Start with empty queues."""
        super().__init__()
        self.jobs = Jobs(kept_ids=KEPT)
        self.ready: dict[str, list[Message]] = {queue: [] for queue in QUEUES}
        self.epochs: dict[str, int] = {queue: number for number, queue in enumerate(QUEUES)}
        self.numbers = len(QUEUES)
        self.tags = 0
        self.holders: dict[tuple[int, int], Message | None] = {}  # unsettled tags; None: taken back meanwhile
        self.acknowledged: dict[str, list[Message]] = {queue: [] for queue in QUEUES}  # on these channels
        self.answered: OrderedDict[Same, Kind] = OrderedDict()
        self.orphans: set[Job] = set()
        self.failed: Counter[Same] = Counter()  # tries

    # The broker

    @rule(request=requests)
    def publish(self, request: Same) -> None:
        """A caller asks, perhaps for what it has asked before."""
        self.ready[request[0]].append(Message(request))

    @precondition(lambda self: any(self.ready.values()))
    @rule(data=st.data())
    def other_worker(self, data: st.DataObject) -> None:
        """Another worker takes a message, and does it or not."""
        message = self.take(data)
        if data.draw(st.booleans()):
            self.give_back(message, failed=1)

    @precondition(lambda self: any(self.ready.values()))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """We take a message: the decision is the right one."""
        self.delivered(self.take(data))

    @precondition(lambda self: any(self.ready.values()))
    @rule()
    def deliver_all(self) -> None:
        """We take all there are."""
        for messages in self.ready.values():
            for message in messages[:]:
                messages.remove(message)
                self.delivered(message)

    def take(self, data: st.DataObject) -> Message:
        """Take a message from the head of a queue."""
        return self.ready[data.draw(st.sampled_from([q for q in QUEUES if self.ready[q]]))].pop(0)

    def give_back(self, message: Message, failed: int) -> None:
        """Put a message back at the head of its queue."""
        message.redelivered = True
        message.failed += failed
        message.held = None
        self.ready[message.same[0]].insert(0, message)

    def delivered(self, message: Message) -> None:
        """Deliver a message and check the decision."""
        queue, message_id, reply_to, correlation_id, body = message.same
        self.tags += 1
        message.held = self.epochs[queue], self.tags
        self.holders[message.held] = message
        delivery = Delivery(
            queue=queue,
            epoch=self.epochs[queue],
            tag=self.tags,
            redelivered=message.redelivered,
            properties=Properties(message_id=message_id, reply_to=reply_to, correlation_id=correlation_id),
            body=body,
            count=message.failed,
        )
        here = [job for job in self.jobs if self.same(job) == message.same]
        orphans = [job for job in here if job in self.orphans]
        assert self.jobs.find(delivery.key) == here
        decision = self.jobs.delivered(delivery)
        if orphans and message.redelivered:
            assert decision == Adopt(orphans[0])
            message.job = orphans[0]
            self.orphans.remove(orphans[0])
        elif message_id is not None and here:
            assert decision == Join(here[0])
            message.job = here[0]
            self.orphans.discard(here[0])
        elif message_id is not None and message.redelivered and message.same in self.answered:
            self.answered.move_to_end(message.same)
            kind = self.answered[message.same]
            assert decision == Finished(delivery, Settle(queue, self.epochs[queue], self.tags, kind))
            assert isinstance(decision, Finished)
            self.settle([decision.settle])
        else:
            assert isinstance(decision, Run)
            assert decision.job not in here
            assert decision.job.delivery == delivery
            message.job = decision.job

    @rule(queue=st.sampled_from(QUEUES), late=st.sampled_from((0, 0, 1, 2, 9)))
    def lose(self, queue: str, late: int) -> None:
        """The channel of a queue is lost, with our latest acknowledgements: the broker has all that back."""
        epoch = self.epochs[queue]
        self.numbers += 1
        self.epochs[queue] = self.numbers
        lost = [key for key in self.holders if key[0] == epoch]
        acknowledged, self.acknowledged[queue] = self.acknowledged[queue], []
        for message in acknowledged[max(0, len(acknowledged) - late) :]:
            self.give_back(message, failed=1)
        for key in reversed(lost):
            held = self.holders.pop(key)
            if held is not None:
                self.give_back(held, failed=1)
        before = {job: job.state for job in self.jobs if any(of == epoch for of, _ in job.tags)}
        forgotten = self.jobs.lost(epoch)
        assert forgotten == [job for job, state in before.items() if state is State.HELD]
        self.orphans |= before.keys() - set(forgotten)

    @precondition(lambda self: any(self.holders.values()))
    @rule(data=st.data())
    def take_too_long(self, data: st.DataObject) -> None:
        """The broker takes a message back while its tag looks alive, and does not count it as a failure."""
        key = data.draw(
            st.sampled_from([key for key, message in self.holders.items() if message is not None])
        )
        message = self.holders[key]
        assert message is not None
        self.holders[key] = None
        self.give_back(message, failed=0)

    def settle(self, settles: Iterable[Settle]) -> None:
        """Settle deliveries; a tag that is not known is an error here, as it is for the broker."""
        for settle in settles:
            assert settle.epoch == self.epochs[settle.queue]
            message = self.holders.pop((settle.epoch, settle.tag))  # KeyError: settled twice
            if message is not None and settle.kind == "requeue":
                self.give_back(message, failed=1)
            elif message is not None:
                message.held = None
                self.acknowledged[settle.queue].append(message)

    # The worker

    def draw(self, data: st.DataObject, *states: State) -> Job:
        """Choose a job."""
        return data.draw(st.sampled_from([job for job in self.jobs if job.state in states]))

    def has(self, *states: State) -> bool:
        """Return whether there is such a job."""
        return any(job.state in states for job in self.jobs)

    @precondition(lambda self: self.has(State.HELD))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """A job starts."""
        self.jobs.started(self.draw(data, State.HELD), 0.0)

    @precondition(lambda self: self.has(State.HELD))
    @rule()
    def start_all(self) -> None:
        """All that are held start."""
        for job in self.jobs:
            if job.state is State.HELD:
                self.jobs.started(job, 0.0)

    @precondition(lambda self: self.has(State.RUNNING))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A job has its result."""
        self.jobs.finished(self.draw(data, State.RUNNING))

    @precondition(lambda self: self.has(State.RUNNING, State.REPLYING))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        """This machine cannot do it: each of its deliveries goes back, once."""
        job = self.draw(data, State.RUNNING, State.REPLYING)
        self.failed[self.same(job)] += 1
        self.end(job, self.jobs.requeue(job), "requeue")

    @precondition(lambda self: self.has(State.REPLYING))
    @rule(data=st.data(), dead=st.booleans())
    def reply(self, data: st.DataObject, dead: bool) -> None:
        """The fate of a reply is known: each delivery is acknowledged, or rejected as dead."""
        self.replied(self.draw(data, State.REPLYING), dead)

    @precondition(lambda self: self.has(State.RUNNING, State.REPLYING))
    @rule()
    def end_all(self) -> None:
        """All that run have results, and the fate of every reply is known."""
        for job in self.jobs:
            if job.state is State.RUNNING:
                self.jobs.finished(job)
            if job.state is State.REPLYING:
                self.replied(job, dead=False)

    def replied(self, job: Job, dead: bool) -> None:
        """End a job."""
        kind: Kind = "reject" if dead else "ack"
        if job.delivery.properties.message_id is not None:
            self.answered[self.same(job)] = kind
            self.answered.move_to_end(self.same(job))
            if len(self.answered) > KEPT:
                self.answered.popitem(last=False)
        self.end(job, self.jobs.reject_dead(job) if dead else self.jobs.replied(job), kind)

    def end(self, job: Job, settles: list[Settle], kind: Kind) -> None:
        """Settle what a job says, all in the same way."""
        self.orphans.discard(job)
        assert all(settle.kind == kind for settle in settles)
        assert job.started is not None  # nothing is given back that has not run
        assert job not in set(self.jobs)
        self.settle(settles)

    def same(self, job: Job) -> Same:
        """Return what is equal for equal requests."""
        told = job.delivery.properties
        return (
            job.delivery.queue,
            told.message_id,
            told.reply_to,
            told.correlation_id,
            job.delivery.body,
        )

    # What holds after each step

    @invariant()
    def every_delivery_that_is_not_settled_has_one_job(self) -> None:
        """None is lost, so none stays with the broker unsettled for ever; none is settled twice."""
        tags = sorted(tag for job in self.jobs for tag in job.tags)
        assert tags == sorted(self.holders)

    @invariant()
    def a_named_request_runs_once_at_a_time(self) -> None:
        """However often it is delivered."""
        named = [job.key for job in self.jobs if job.delivery.properties.message_id is not None]
        assert len(named) == len(set(named))

    @invariant()
    def a_message_that_we_hold_belongs_to_its_job(self) -> None:
        """It would be settled with another one's result otherwise."""
        for key, message in self.holders.items():
            if message is not None:
                assert message.job is not None
                assert key in message.job.tags

    @invariant()
    def only_what_was_started_is_an_orphan(self) -> None:
        """What was not started is forgotten with its link."""
        assert {job for job in self.jobs if job.orphaned} == self.orphans
        assert all(job.state is not State.HELD for job in self.orphans)

    @invariant()
    def attempts_are_within_what_has_been_counted(self) -> None:
        """At least one, at most one more than there were failures: to the broker, or of its equals here."""
        for job in self.jobs:
            assert 1 <= self.jobs.attempt(job) <= 1 + max(job.count, self.failed[self.same(job)])

    @invariant()
    def running_jobs_are_those_that_run(self) -> None:
        """What is held or waits for its reply's fate is not among them."""
        assert self.jobs.running == [job for job in self.jobs if job.state is State.RUNNING]
        assert len(self.jobs) == len(list(self.jobs))


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
