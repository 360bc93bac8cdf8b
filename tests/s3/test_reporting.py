"""Progress: whatever threads do and in which order, what is told never goes back, nor over the total."""

from __future__ import annotations

import threading
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ollama_ext.s3 import TransferProgress, TransferTotals, reporting
from ollama_ext.s3.reporting import Tracker

DIGESTS = ("sha256:a", "sha256:b", "sha256:c")
MODELS = ("one", "two")
STATES = ("resuming", "downloading", "uploading", "verifying", "failed")


class Transfers(RuleBasedStateMachine):
    """Any calls that transfers can make, beside what must be told of them."""

    def __init__(self) -> None:
        """Start with a tracker that nobody has told anything."""
        super().__init__()
        self.now = 1000.0
        self.patch = mock.patch.object(reporting, "monotonic", self.clock)
        self.patch.start()
        self.told: list[TransferProgress] = []
        self.tracker = Tracker(self.told.append)
        self.sizes: dict[str, int] = {}
        self.first: dict[str, str] = {}
        self.states: dict[tuple[str, str], str] = {}
        self.reached: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.transferred: dict[str, int] = {}
        self.changed: set[tuple[str, str]] = set()
        self.finished = False
        self.looked = 0

    def clock(self) -> float:
        """Return the time, which a rule sets."""
        return self.now

    def teardown(self) -> None:
        """Give the clock back."""
        self.patch.stop()

    @initialize()
    def begin(self) -> None:
        """Nothing is told of nothing."""
        self.tell(finished=False)
        assert self.told == []

    @rule(model=st.sampled_from(MODELS), digest=st.sampled_from(DIGESTS), size=st.integers(1, 100))
    def plan(self, model: str, digest: str, size: int) -> None:
        """A model needs a blob."""
        size = self.sizes.get(digest, size)
        self.tracker.plan(model, digest, size)
        if digest not in self.sizes:
            self.sizes[digest] = size
            self.first[digest] = model
            self.states["", digest] = "planned"
            self.reached[digest] = self.most[digest] = 0
            self.changed.add(("", digest))

    @rule(digest=st.sampled_from(DIGESTS), count=st.integers(1, 60), transferred=st.booleans())
    def advance(self, digest: str, count: int, transferred: bool) -> None:
        """Bytes come, whether the blob is known or not."""
        self.tracker.advance(digest, count, transferred=transferred)
        if digest in self.sizes:
            self.reached[digest] += count
            self.most[digest] = max(self.most[digest], min(self.reached[digest], self.sizes[digest]))
            self.transferred[digest] = self.transferred.get(digest, 0) + count * transferred
            self.changed.add(("", digest))

    @precondition(lambda self: self.sizes)
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        """A blob is gone through again."""
        digest = data.draw(st.sampled_from(sorted(self.sizes)))
        self.tracker.restart(digest)
        self.reached[digest] = 0

    @precondition(lambda self: self.sizes)
    @rule(data=st.data(), state=st.sampled_from((*STATES, "done", "present")))
    def change(self, data: st.DataObject, state: reporting.State) -> None:
        """A blob is in another state."""
        digest = data.draw(st.sampled_from(sorted(self.sizes)))
        self.tracker.state(digest, state)
        self.states["", digest] = state
        if state in {"done", "present"}:
            self.reached[digest] = self.most[digest] = self.sizes[digest]
        self.changed.add(("", digest))

    @rule(
        model=st.sampled_from(MODELS),
        state=st.sampled_from(("publishing", "done", "failed")),
        size=st.integers(0, 300),
    )
    def change_model(self, model: str, state: reporting.State, size: int) -> None:
        """A model is in another state."""
        self.tracker.model(model, state, size)
        self.states[model, ""] = state
        self.changed.add((model, ""))

    @rule(seconds=st.floats(0.001, 30))
    def time_passes(self, seconds: float) -> None:
        """The rate is of the last seconds."""
        self.now += seconds

    @rule(finished=st.sampled_from([False, False, False, True]))
    def tell(self, finished: bool) -> None:
        """All that changed is told, each once."""
        before = len(self.told)
        self.tracker.tell(finished=finished)
        self.finished = self.finished or finished
        new = self.told[before:]
        keys = [(each.model if not each.digest else "", each.digest) for each in new]
        assert sorted(keys) == sorted(self.changed)  # each once, and no other
        self.changed.clear()
        for key, each in zip(keys, new, strict=True):
            assert each.state == self.states[key]
            if each.digest:
                assert each.model == self.first[each.digest]
                assert (each.completed, each.total) == (self.most[each.digest], self.sizes[each.digest])
            totals = each.overall
            assert totals.total == sum(self.sizes.values())
            assert totals.completed == sum(self.most.values())
            assert totals.transferred == sum(self.transferred.values())
            assert (totals.fraction == 1.0) is self.finished
            assert totals.rate >= 0
            assert totals.remaining is None or totals.remaining >= 0

    @invariant()
    def nothing_goes_back_or_over(self) -> None:
        """Look at all that was ever told."""
        last: dict[tuple[str, str], TransferProgress] = {}
        overall = TransferTotals()
        for each in self.told:
            key = (each.model, each.digest)
            assert 0 <= each.completed <= each.total
            assert each.completed >= (last[key].completed if key in last else 0)
            last[key] = each
            totals = each.overall
            assert 0 <= totals.completed <= totals.total
            assert totals.completed >= overall.completed
            assert totals.total >= overall.total
            assert 0 <= overall.fraction <= totals.fraction <= 1
            assert totals.transferred >= overall.transferred
            overall = totals

    @invariant()
    def the_tracker_can_be_asked(self) -> None:
        """What was transferred can be asked for at any time."""
        assert self.tracker.transferred == sum(self.transferred.values())
        for digest in DIGESTS:
            assert self.tracker.transferred_of(digest) == self.transferred.get(digest, 0)


TestTransfers = Transfers.TestCase
TestTransfers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def told() -> list[TransferProgress]:
    return []


@pytest.fixture
def tracker(told: list[TransferProgress], monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.setattr(reporting, "monotonic", lambda: 1000.0)
    return Tracker(told.append)


def test_a_blob_that_two_models_have_is_counted_once_and_told_of_the_first(
    tracker: Tracker, told: list[TransferProgress]
) -> None:
    tracker.plan("one", "sha256:a", 100)
    tracker.plan("two", "sha256:a", 100)
    tracker.tell()
    (step,) = told
    assert step == TransferProgress("planned", "one", "sha256:a", 0, 100, TransferTotals(total=100))


def test_bytes_that_come_again_are_not_counted_again_but_were_transferred(
    tracker: Tracker, told: list[TransferProgress]
) -> None:
    tracker.plan("one", "sha256:a", 100)
    tracker.advance("sha256:a", 80, transferred=True)
    tracker.restart("sha256:a")
    tracker.advance("sha256:a", 50, transferred=True)
    tracker.tell()
    assert (told[-1].completed, told[-1].overall.transferred) == (80, 130)
    tracker.advance("sha256:a", 40, transferred=True)
    tracker.tell()
    assert (told[-1].completed, told[-1].overall.transferred) == (90, 170)


def test_all_bytes_are_no_whole_until_all_is_done(tracker: Tracker, told: list[TransferProgress]) -> None:
    tracker.plan("one", "sha256:a", 100)
    tracker.state("sha256:a", "done")
    tracker.tell()
    assert (told[-1].overall.completed, told[-1].overall.fraction) == (100, 0.99)
    tracker.model("one", "done", 100)
    tracker.tell(finished=True)
    assert (told[-1].state, told[-1].completed, told[-1].overall.fraction) == ("done", 100, 1.0)
    assert told[-1].overall.remaining == 0.0


def test_a_fraction_does_not_go_back_when_more_is_planned(
    tracker: Tracker, told: list[TransferProgress]
) -> None:
    tracker.plan("one", "sha256:a", 100)
    tracker.advance("sha256:a", 50, transferred=False)
    tracker.tell()
    tracker.plan("two", "sha256:b", 900)
    tracker.tell()
    assert (told[-1].overall.fraction, told[-1].overall.completed, told[-1].overall.total) == (0.5, 50, 1000)


def test_the_rate_is_that_of_the_last_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[TransferProgress] = []
    now = 0.0
    monkeypatch.setattr(reporting, "monotonic", lambda: now)
    tracker = Tracker(told.append)
    tracker.plan("one", "sha256:a", 10_000)
    tracker.tell()
    assert (told[-1].overall.rate, told[-1].overall.remaining) == (0.0, None)
    for now in range(1, 11):  # noqa: B007 - the clock
        tracker.advance("sha256:a", 100, transferred=True)
        tracker.tell()
    assert (told[-1].overall.rate, told[-1].overall.remaining) == (100.0, 90.0)
    for now in range(11, 31):  # noqa: B007
        tracker.advance("sha256:a", 10, transferred=True)
        tracker.tell()
    assert (told[-1].overall.rate, told[-1].overall.remaining) == (10.0, 880.0)
    tracker.advance("sha256:a", 100, transferred=False)  # found here: no transfer
    tracker.tell()
    assert told[-1].overall.rate == 10.0


def test_a_config_that_is_looked_at_before_the_plan_is_not_counted(
    tracker: Tracker, told: list[TransferProgress]
) -> None:
    tracker.advance("sha256:a", 100, transferred=True)
    tracker.tell()
    assert told == []
    assert tracker.transferred == 0


def test_nobody_need_listen() -> None:
    tracker = Tracker()
    tracker.plan("one", "sha256:a", 100)
    tracker.advance("sha256:a", 100, transferred=True)
    tracker.tell(finished=True)
    assert tracker.transferred == 100


def test_threads_lose_no_byte_and_the_callback_is_called_by_one(told: list[TransferProgress]) -> None:
    callers: set[int] = set()

    def listen(step: TransferProgress) -> None:
        told.append(step)
        callers.add(threading.get_ident())

    tracker = Tracker(listen)
    tracker.plan("one", "sha256:a", 8000)

    def work() -> None:
        for _ in range(1000):
            tracker.advance("sha256:a", 1, transferred=True)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tracker.tell()
    tracker.tell(finished=True)
    assert tracker.transferred == 8000
    assert told[-1].completed == 8000
    assert callers == {threading.get_ident()}
    assert [step.completed for step in told] == sorted(step.completed for step in told)
