"""Whether a machine is fit, told one event after the other. See also test_readiness_laws.py."""

from __future__ import annotations

import pytest

from ollama_ext.fleet.readiness import Go, Halt, Look, Pause, Probe, Readiness, Resume


def sick(now: float = 0.0, **known: float) -> Readiness:
    """Return what a probe has found sick."""
    readiness = Readiness(**known)  # type: ignore[arg-type] # only numbers are given here
    assert readiness.probe_failed(now) == [Halt()]
    return readiness


def test_a_machine_is_fit_until_something_fails() -> None:
    readiness = Readiness()
    assert readiness.ready
    assert readiness.reason == ""
    assert readiness.paused == frozenset()
    assert readiness.due(1e9) == []
    assert readiness.next_due(0.0) is None


def test_two_failures_in_a_row_make_it_sick() -> None:
    readiness = Readiness()
    assert readiness.machine_failed(0.0, "connection refused") == []
    assert readiness.ready
    assert readiness.machine_failed(1.0, "out of memory") == [Halt()]
    assert not readiness.ready
    assert readiness.reason == "2 failures in a row, the last one: out of memory"
    assert readiness.machine_failed(1.0) == []
    assert readiness.reason == "2 failures in a row, the last one: out of memory"


def test_a_job_that_was_done_ends_the_row() -> None:
    readiness = Readiness()
    readiness.machine_failed(0.0)
    assert readiness.succeeded() == []
    assert readiness.machine_failed(1.0) == []
    assert readiness.machine_failed(2.0) == [Halt()]
    assert readiness.reason == "2 failures in a row, the last one"


def test_how_many_failures_can_be_chosen() -> None:
    readiness = Readiness(failures=3)
    assert readiness.machine_failed(0.0) == []
    assert readiness.machine_failed(0.0) == []
    assert readiness.machine_failed(0.0) == [Halt()]


def test_one_failed_probe_makes_it_sick() -> None:
    readiness = Readiness()
    assert readiness.probe_failed(0.0, "no answer") == [Halt()]
    assert not readiness.ready
    assert readiness.reason == "a probe failed: no answer"


def test_a_sick_machine_is_probed_and_goes_on_when_a_probe_passes() -> None:
    readiness = sick(10.0)
    assert readiness.next_due(10.0) == 1.0
    assert readiness.due(10.9) == []
    assert readiness.next_due(10.9) == pytest.approx(0.1)
    assert readiness.next_due(12.0) == 0.0
    assert readiness.due(11.0) == [Probe()]
    assert readiness.due(1e9) == []  # it is under way
    assert readiness.next_due(1e9) is None
    assert readiness.probe_passed(12.0) == [Go()]
    assert readiness.ready
    assert readiness.reason == ""
    assert readiness.next_due(1e9) is None
    assert readiness.probe_passed(13.0) == []


def test_probes_that_fail_come_at_growing_distances_up_to_a_minute() -> None:
    readiness = sick()
    now, waits = 0.0, []
    for _ in range(9):
        wait = readiness.next_due(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        assert readiness.due(now) == [Probe()]
        assert readiness.probe_failed(now) == []
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_machine_that_was_sick_for_years_is_still_probed_each_minute() -> None:
    readiness = sick()
    for _ in range(5000):
        readiness.due(1e9)
        readiness.probe_failed(0.0)
    assert readiness.next_due(0.0) == 60.0


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_waits_are_made_up_to_half_longer(jitter: float, wait: float) -> None:
    readiness = Readiness(first_wait=4.0, jitter=lambda: jitter)
    readiness.probe_failed(0.0)
    assert readiness.next_due(0.0) == wait


def test_the_longest_wait_can_be_chosen() -> None:
    readiness = sick(first_wait=3.0, longest_wait=5.0)
    readiness.due(3.0)
    readiness.probe_failed(3.0)
    assert readiness.next_due(3.0) == 5.0


def test_a_job_that_finds_a_sick_machine_sick_moves_no_probe() -> None:
    readiness = sick()
    assert readiness.probe_failed(0.5) == []
    assert readiness.next_due(0.5) == 0.5


def test_a_probe_that_a_job_made_is_as_good_as_another() -> None:
    readiness = sick()
    assert readiness.probe_passed(0.5) == [Go()]
    assert readiness.due(1e9) == []


def test_a_machine_whose_probes_pass_and_whose_jobs_fail_stops_after_each_failure_for_longer() -> None:
    readiness = sick()
    readiness.machine_failed(0.0)
    readiness.machine_failed(0.0)
    for wait in (4.0, 8.0, 16.0):
        assert readiness.probe_passed(0.0) == [Go()]
        assert readiness.machine_failed(0.0) == [Halt()]
        assert readiness.next_due(0.0) == wait


def test_failures_in_a_row_have_it_wait_longer_than_a_failed_probe_so_that_others_get_the_request() -> None:
    readiness = Readiness()
    readiness.machine_failed(0.0)
    readiness.machine_failed(0.0)
    assert readiness.next_due(0.0) == 4.0


def test_a_job_that_was_done_ends_the_growth_of_the_waits() -> None:
    readiness = sick()
    readiness.probe_passed(0.0)
    readiness.succeeded()
    readiness.probe_failed(0.0)
    assert readiness.next_due(0.0) == 1.0


def test_a_job_that_was_done_does_not_make_a_sick_machine_fit() -> None:
    readiness = sick()
    readiness.succeeded()
    assert not readiness.ready
    assert readiness.due(1.0) == [Probe()]


def test_a_missing_model_pauses_its_source_only() -> None:
    readiness = Readiness()
    assert readiness.missing("a", 0.0) == [Pause("a")]
    assert readiness.missing("a", 0.0) == []
    assert readiness.ready
    assert readiness.paused == {"a"}
    assert readiness.machine_failed(0.0) == []  # it was the first
    assert readiness.found("a") == [Resume("a")]
    assert readiness.paused == frozenset()
    assert readiness.found("a") == []


def test_a_missing_model_is_looked_for_at_growing_distances() -> None:
    readiness = Readiness()
    readiness.missing("a", 0.0)
    readiness.missing("b", 0.5)
    assert readiness.next_due(0.5) == 0.5
    assert readiness.due(0.9) == []
    assert readiness.due(1.0) == [Look("a")]
    assert readiness.next_due(1.0) == 0.5
    assert readiness.missing("a", 2.0) == []
    assert readiness.missing("a", 3.0) == []  # a job that was under way has not found it either
    assert readiness.due(3.9) == [Look("b")]
    assert readiness.due(4.0) == [Look("a")]
    assert readiness.found("a") == [Resume("a")]
    assert readiness.missing("b", 4.0) == []
    assert readiness.next_due(4.0) == 2.0


def test_a_model_that_is_missing_again_is_looked_for_soon() -> None:
    readiness = Readiness()
    readiness.missing("a", 0.0)
    readiness.due(1.0)
    readiness.missing("a", 1.0)
    readiness.found("a")
    assert readiness.missing("a", 10.0) == [Pause("a")]
    assert readiness.next_due(10.0) == 1.0


def test_no_model_is_looked_for_on_a_sick_machine() -> None:
    readiness = sick()
    assert readiness.missing("a", 0.0) == [Pause("a")]
    assert readiness.due(1.0) == [Probe()]
    assert readiness.next_due(1.0) is None
    readiness.probe_passed(1.0)
    assert readiness.paused == {"a"}
    assert readiness.due(1.0) == [Look("a")]
