"""Whether a machine is fit, in any order of events: what must hold whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ollama_ext.fleet.readiness import HEAD_START, Go, Halt, Look, Pause, Probe, Readiness, Resume

if TYPE_CHECKING:
    from ollama_ext.fleet.readiness import Action, Due

QUEUES = ("a", "b", "c")
FAILURES = 2
FIRST, LONGEST = 1.0, 60.0
queues = st.sampled_from(QUEUES)


class World(RuleBasedStateMachine):
    """A machine and its worker: they tell what happens, and do what they are told."""

    def __init__(self) -> None:
        """Start fit."""
        super().__init__()
        self.jitter = 0.0
        self.readiness = Readiness(FAILURES, FIRST, LONGEST, lambda: self.jitter)
        self.now = 100.0
        self.halted = False
        self.row = 0
        self.paused: set[str] = set()
        self.under_way: set[Due] = set()
        self.growth: dict[Due, int] = {}  # waits since the last reason to begin with a short one
        self.earliest: dict[Due, float] = {}

    def do(self, actions: list[Action]) -> list[Action]:
        """Do what is said; Halt and Go take turns, and so do Pause and Resume of a queue."""
        for action in actions:
            match action:
                case Halt():
                    assert not self.halted
                    self.halted = True
                    self.put_off(Probe())
                case Go():
                    assert self.halted
                    self.halted = False
                case Pause(queue):
                    assert queue not in self.paused
                    self.paused.add(queue)
                    self.put_off(Look(queue))
                case Resume(queue):
                    assert queue in self.paused
                    self.paused.remove(queue)
                    self.growth.pop(Look(queue), None)
        return actions

    def put_off(self, what: Due) -> None:
        """Note that something is tried again, and not at once."""
        tries = self.growth.get(what, 0)
        self.growth[what] = tries + 1
        self.under_way.discard(what)
        self.earliest[what] = self.now + min(FIRST * 2**tries, LONGEST) * (1 + self.jitter / 2)

    @rule(jitter=st.sampled_from((0.0, 0.5, 1.0)))
    def shake(self, jitter: float) -> None:
        """Chance has its way."""
        self.jitter = jitter

    @rule()
    def job_done(self) -> None:
        """A job is done: no action, but what fails next is the first."""
        self.row = 0
        self.growth.pop(Probe(), None)
        assert self.do(self.readiness.succeeded()) == []

    @rule()
    def job_failed(self) -> None:
        """The machine fails a job: enough of them in a row make it sick."""
        self.row += 1
        stops = not self.halted and self.row >= FAILURES
        if stops:
            self.growth[Probe()] = max(self.growth.get(Probe(), 0), HEAD_START)
        assert self.do(self.readiness.machine_failed(self.now, "why")) == [Halt()] * stops

    @rule()
    def probe_failed(self) -> None:
        """A probe fails, whoever made it."""
        stops, ours = not self.halted, Probe() in self.under_way
        assert self.do(self.readiness.probe_failed(self.now)) == [Halt()] * stops
        if not stops and ours:
            self.put_off(Probe())

    @rule()
    def probe_passed(self) -> None:
        """A probe passes, whoever made it: a sick machine is fit again."""
        goes = self.halted
        self.under_way.discard(Probe())
        assert self.do(self.readiness.probe_passed(self.now)) == [Go()] * goes

    @rule(queue=queues)
    def missing(self, queue: str) -> None:
        """A model is missing, says a job or a look."""
        stops, looked = queue not in self.paused, Look(queue) in self.under_way
        assert self.do(self.readiness.missing(queue, self.now)) == [Pause(queue)] * stops
        if not stops and looked:
            self.put_off(Look(queue))

    @rule(queue=queues)
    def found(self, queue: str) -> None:
        """A model is there: its source goes on."""
        goes = queue in self.paused
        self.under_way.discard(Look(queue))
        assert self.do(self.readiness.found(queue)) == [Resume(queue)] * goes

    @rule(seconds=st.sampled_from((0.0, 0.5, 1.0, 3.0, 20.0, 90.0)))
    def wait(self, seconds: float) -> None:
        """Time passes: what is due is due, and nothing else."""
        self.now += seconds
        self.check_due()

    @precondition(lambda self: self.waiting())
    @rule()
    def wait_for_the_next(self) -> None:
        """What is announced is due then."""
        wait = self.readiness.next_due(self.now)
        assert wait is not None
        self.now = max(self.now + wait, min(self.waiting().values()))  # of two sums one may be a hair less
        assert self.check_due() != []

    def waiting(self) -> dict[Due, float]:
        """Return what will be due, and when."""
        wanted: list[Due] = [Probe()] if self.halted else [Look(queue) for queue in self.paused]
        return {what: self.earliest[what] for what in wanted if what not in self.under_way}

    def check_due(self) -> list[Due]:
        """Take what is due."""
        expected = {what for what, at in self.waiting().items() if at <= self.now}
        due = self.readiness.due(self.now)
        assert len(due) == len(expected)
        assert set(due) == expected
        assert self.readiness.due(self.now) == []
        self.under_way |= expected
        return due

    @invariant()
    def it_is_ready_or_says_why_not(self) -> None:
        """And knows what it has paused."""
        assert self.readiness.ready is not self.halted
        assert bool(self.readiness.reason) is self.halted
        assert self.readiness.paused == self.paused

    @invariant()
    def it_knows_when_something_is_due(self) -> None:
        """In seconds; or nothing is waited for but an answer."""
        waiting = self.waiting().values()
        expected = max(0.0, min(waiting) - self.now) if waiting else None
        assert self.readiness.next_due(self.now) == expected

    def teardown(self) -> None:
        """However sick: with probes that pass and models that are there, all work is taken in the end."""
        self.now += 2 * LONGEST
        for _ in range(2):  # looks come after the probe
            self.under_way |= set(self.readiness.due(self.now))
            for what in self.under_way:
                if isinstance(what, Look):
                    self.do(self.readiness.found(what.queue))
                else:
                    self.do(self.readiness.probe_passed(self.now))
            self.under_way.clear()
        assert not self.halted
        assert self.paused == set()


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
