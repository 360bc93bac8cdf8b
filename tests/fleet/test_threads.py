"""The threads on which jobs run."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from ollama_ext.fleet.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 20.0


@pytest.fixture
def named(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name threads, and see that all of that name have ended."""
    name = f"of-{request.node.name}"
    yield name
    for thread in of(name):
        thread.join(LONG)
    assert of(name) == []


def of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_one_thread_does_what_it_is_given_in_order_and_all_of_it_before_it_ends(named: str) -> None:
    done: list[int] = []
    threads = Threads(1, named)
    for number in range(100):
        threads.submit(partial(done.append, number))
    threads.end()
    for thread in of(named):
        thread.join(LONG)
    assert done == list(range(100))


@pytest.mark.parametrize("count", [1, 2, 8])
def test_as_many_things_go_on_at_once_as_there_are_threads(named: str, count: int) -> None:
    threads = Threads(count, named)
    for _ in range(3):  # whoever of them is idle
        together = threading.Barrier(count + 1)
        for _ in range(count):
            threads.submit(partial(together.wait, LONG))
        together.wait(LONG)
    threads.end()


def test_what_takes_long_keeps_nothing_else_waiting_while_a_thread_is_free(named: str) -> None:
    threads = Threads(2, named)
    go = threading.Event()
    threads.submit(partial(go.wait, LONG))
    for _ in range(50):
        done = threading.Event()
        threads.submit(done.set)
        assert done.wait(LONG)
    go.set()
    threads.end()


def test_whatever_many_submit_at_once_is_done_once(named: str) -> None:
    threads = Threads(4, named)
    done: list[int] = []
    everything = threading.Event()

    def do(number: int) -> None:
        done.append(number)
        if len(done) == 4000:
            everything.set()

    def submit(start: int) -> None:
        for number in range(start, start + 1000):
            threads.submit(partial(do, number))

    submitters = [threading.Thread(target=submit, args=(start,)) for start in range(0, 4000, 1000)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    assert everything.wait(LONG)
    assert sorted(done) == list(range(4000))
    threads.end()


def test_a_thread_that_hangs_keeps_no_program_alive(named: str) -> None:
    threads = Threads(2, named)
    assert [thread.daemon for thread in of(named)] == [True, True]
    threads.end()
