"""The I/O thread's loop: what other threads post to it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from ollama_ext.fleet.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Generator

PATIENCE = 30.0  # seconds; against a hang only


@pytest.fixture
def loop() -> Generator[Loop]:
    loop = Loop("test-io")
    loop.start()
    yield loop
    loop.stop()
    assert loop.join(PATIENCE)


def test_everything_that_threads_post_is_called_once_and_in_the_order_of_each(loop: Loop) -> None:
    called: list[tuple[int, int]] = []

    def post(thread: int) -> None:
        for number in range(500):
            loop.call(called.append, (thread, number))

    threads = [threading.Thread(target=post, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    all_called = threading.Event()
    loop.call(all_called.set)
    assert all_called.wait(PATIENCE)
    for which in range(4):
        assert [number for thread, number in called if thread == which] == list(range(500))
    assert len(called) == 2000


def test_what_a_callback_posts_is_called_too(loop: Loop) -> None:
    done = threading.Event()
    loop.call(lambda: loop.call(lambda: loop.call(done.set)))
    assert done.wait(PATIENCE)


def test_a_callback_that_raises_keeps_none_of_those_posted_with_it_from_being_called(loop: Loop) -> None:
    gate, done = threading.Event(), threading.Event()

    def fail() -> None:
        raise RuntimeError("a bug")

    loop.call(gate.wait, PATIENCE)  # what follows waits for it, and comes at once
    loop.call(fail)
    loop.call(done.set)
    gate.set()
    assert done.wait(PATIENCE)
    assert loop.failures == 1


def test_what_is_posted_before_a_stop_is_called_and_after_the_end_nothing() -> None:
    loop = Loop("test-io")
    called: list[str] = []
    loop.call(called.append, "before the start")
    loop.start()
    loop.call(called.append, "before the stop")
    loop.stop()
    assert loop.join(PATIENCE)
    loop.call(called.append, "after the end")
    assert called == ["before the stop"]
