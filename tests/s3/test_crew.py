"""Threads that do jobs, and that nobody has to wait for."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from ollama_ext.s3.crew import Crew


def test_a_job_gives_what_it_returns_and_what_it_raises() -> None:
    def fail() -> None:
        raise KeyError("no")

    with Crew(2, "test") as crew:
        good, bad = crew.submit(pow, 2, 10), crew.submit(fail)
        assert good.result() == 1024
        with pytest.raises(KeyError):
            bad.result()


def test_results_of_many_come_in_the_order_of_the_items() -> None:
    with Crew(3, "test") as crew:
        assert crew.map(lambda number: number * number, range(100)) == [n * n for n in range(100)]


def test_no_more_threads_work_at_once_than_were_allowed() -> None:
    with Crew(3, "test") as crew:
        names = set(crew.map(lambda _: threading.current_thread().name, range(200)))
    assert len(names) <= 3


def test_as_many_threads_work_at_once_as_were_allowed() -> None:
    together = threading.Barrier(4)
    with Crew(4, "test") as crew:
        assert sorted(crew.map(lambda _: together.wait(), range(4))) == [0, 1, 2, 3]


def test_what_was_not_begun_is_cancelled_by_the_end() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        go_on.wait()
        return "done"

    crew = Crew(1, "test")
    first, second = crew.submit(work), crew.submit(work)
    begun.wait()
    ending = threading.Thread(target=crew.close)
    ending.start()
    with pytest.raises(CancelledError):
        second.result()
    go_on.set()
    ending.join()
    assert first.result() == "done"


def test_what_is_submitted_after_the_end_is_cancelled() -> None:
    crew = Crew(1, "test")
    crew.close()
    assert crew.submit(pow, 1, 1).cancelled()


def test_a_program_ends_though_a_job_does_not() -> None:
    program = "\n".join(  # noqa: FLY002 - lines are easier to read
        [
            "import threading",
            "from ollama_ext.s3.crew import Crew",
            "begun = threading.Event()",
            "def wait(): begun.set(); threading.Event().wait()",
            "with Crew(1, 'test') as crew: crew.submit(wait); begun.wait()",
            "print('the end')",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "the end\n"
