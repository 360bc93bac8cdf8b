"""Retries in tests: the same ones, without their waits."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from typing import NoReturn

import pytest

from ollama_ext import retry
from ollama_ext.cancel import CancelToken
from ollama_ext.errors import Cancelled, ServerBusy
from ollama_ext.retry import Retry, RetryPolicy
from ollama_ext.testing.waiting import no_wait


def busy() -> NoReturn:
    raise ServerBusy("busy", status=503)


def fail(policy: RetryPolicy) -> None:
    with pytest.raises(ServerBusy):
        policy.call(busy)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits end at once, and are written down here."""
    seen: list[float] = []
    monkeypatch.setattr(retry, "sleep", seen.append)
    return seen


PLAIN = RetryPolicy(attempts=3, wait_initial=1.0, jitter=0.0)


def test_no_retry_waits_in_the_block_and_each_does_after_it(slept: list[float]) -> None:
    with no_wait():
        fail(PLAIN)
    assert slept == []
    fail(PLAIN)
    assert slept == [1.0, 2.0]


def test_a_function_can_be_decorated_and_called_again(slept: list[float]) -> None:
    @no_wait()
    def tried(policy: RetryPolicy) -> str:
        fail(policy)
        return "done"

    assert (tried(PLAIN), tried(PLAIN)) == ("done", "done")
    assert slept == []
    fail(PLAIN)
    assert slept == [1.0, 2.0]


def test_the_end_of_an_inner_block_does_not_end_the_outer_one(slept: list[float]) -> None:
    with no_wait():
        with no_wait():
            pass
        fail(PLAIN)
    assert slept == []


def test_blocks_that_overlap_end_with_the_last_one(slept: list[float]) -> None:
    one, other = ExitStack(), ExitStack()
    one.enter_context(no_wait())
    other.enter_context(no_wait())
    one.close()
    fail(PLAIN)
    assert slept == []
    other.close()
    fail(PLAIN)
    assert slept == [1.0, 2.0]


def test_a_block_that_fails_ends_too(slept: list[float]) -> None:
    with pytest.raises(ServerBusy), no_wait():
        busy()
    fail(PLAIN)
    assert slept == [1.0, 2.0]


def test_it_holds_for_every_thread(slept: list[float]) -> None:
    with no_wait():
        thread = threading.Thread(target=fail, args=[PLAIN])
        thread.start()
        thread.join()
    assert slept == []


def test_threads_that_enter_and_leave_at_once_leave_nothing_behind(slept: list[float]) -> None:
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(200):
            with no_wait():
                fail(RetryPolicy(attempts=2))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slept == []
    fail(PLAIN)
    assert slept == [1.0, 2.0]


def test_retries_are_told_and_logged_with_the_waits_that_would_have_been(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Retry] = []
    with no_wait(), caplog.at_level(logging.WARNING, "ollama_ext.retry"):
        fail(RetryPolicy(jitter=0.0, on_retry=told.append))
    assert [each.wait for each in told] == [0.5, 1.0, 2.0]
    assert len(caplog.records) == 3


def test_skipped_waits_count_for_the_total() -> None:
    told: list[Retry] = []
    policy = RetryPolicy(attempts=100, wait_initial=16.0, jitter=0.0, total=60.0, on_retry=told.append)
    with no_wait(), pytest.raises(ServerBusy) as caught:
        policy.call(busy)
    assert len(told) == 3  # tries at 0, 16, 32 and 48 seconds
    assert caught.value.__notes__ == ["tried 4 times in 48.0 s"]


def test_skipped_waits_count_for_a_deadline() -> None:
    told: list[Retry] = []
    policy = RetryPolicy(attempts=100, wait_initial=16.0, jitter=0.0, total=None, on_retry=told.append)
    with no_wait(), pytest.raises(ServerBusy):
        policy.call(busy, deadline=time.monotonic() + 40)
    assert len(told) == 2


def test_a_cancelled_call_ends_where_it_would_have_waited() -> None:
    token = CancelToken()
    policy = RetryPolicy(on_retry=lambda _retry: token.cancel())
    with no_wait(), pytest.raises(Cancelled):
        policy.call(busy, cancel=token)
