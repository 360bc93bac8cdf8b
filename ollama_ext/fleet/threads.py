"""The threads on which jobs run, and probes of the machine."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Threads:
    """Threads that do one thing after the other. Daemons: a stop does not wait for a server that hangs.

    A thread that is woken does what waits, one thing after the other, and first wakes another one if there is
    more than one thing. So what takes no time at all is done by few, who need not take turns at the
    interpreter, and what takes long is done by as many as there are.
    """

    def __init__(self, count: int, name: str) -> None:
        """Start them."""
        self._lock = threading.Lock()
        self._tasks: deque[Callable[[], object]] = deque()
        self._idle = 0
        self._waking = self._ended = False
        self._bell = threading.Lock()  # what idle threads wait for; only ever released for one of them
        self._bell.acquire()
        for number in range(1, count + 1):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def submit(self, task: Callable[[], object]) -> None:
        """Have a function called, which must not raise."""
        with self._lock:
            self._tasks.append(task)
            wake = self._wake()
        if wake:
            self._bell.release()

    def end(self) -> None:
        """Let each thread end when it has nothing more to do."""
        with self._lock:
            self._ended = True
            wake = self._wake()
        if wake:
            self._bell.release()

    def _wake(self) -> bool:
        """Return whether to wake one more: one at a time, who looks whether another one is needed."""
        wake = self._idle > 0 and not self._waking
        self._waking = self._waking or wake
        return wake

    def _work(self) -> None:
        while True:
            with self._lock:
                task = self._tasks.popleft() if self._tasks else None
                ended = self._ended and task is None
                wake = bool(self._tasks or ended) and self._wake()
                if task is None and not ended:
                    self._idle += 1
            if wake:
                self._bell.release()
            if ended:
                return
            if task is not None:
                task()
                continue
            self._bell.acquire()
            with self._lock:
                self._idle -= 1
                self._waking = False
