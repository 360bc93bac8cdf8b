"""Threads that do jobs and that nobody has to wait for.

The pools of `concurrent.futures` are waited for when the interpreter ends: a request that a server never
answers would hold up the end of a program, and Ctrl-C with it, until its time-out.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

_JOIN: Final = 1.0  # seconds for threads to end


class Crew:
    """Some threads; a context manager that ends them. Jobs are begun in their order."""

    def __init__(self, most: int, name: str) -> None:
        """Take how many threads there may be at once; they are started as they are needed."""
        self._most = most
        self._name = name
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have something done; what it returns or raises is in the future. After `close` it is cancelled."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                _cancel(future)
                return future
            self._jobs.append((future, lambda: work(*args, **kwargs)))
            if len(self._jobs) > self._idle and len(self._threads) < self._most:
                name = f"{self._name}-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
            self._changed.notify()
        return future

    def map(self, work: Callable[[U], T], items: Iterable[U]) -> list[T]:
        """Do something with each item, and return what comes of it, in their order.

        Raises:
            BaseException: What the first that fails raises.
        """
        futures = [self.submit(work, item) for item in items]
        return [future.result() for future in futures]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._jobs and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if not self._jobs:
                    return
                future, job = self._jobs.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
                future.set_exception(error)
            del future, job  # they may hold much, and the wait for the next may be long

    def close(self) -> None:
        """Cancel what was not begun, and wait a second for the rest. May be called again."""
        with self._changed:
            self._closed = True
            pending = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for future, _ in pending:
            _cancel(future)
        deadline = monotonic() + _JOIN
        for thread in self._threads:
            thread.join(max(deadline - monotonic(), 0.0))

    def __enter__(self) -> Self:
        """Return the crew itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do as `close` does."""
        self.close()


def _cancel(future: Future[Any]) -> None:
    if future.cancel():
        future.set_running_or_notify_cancel()  # wakes those who wait for it
