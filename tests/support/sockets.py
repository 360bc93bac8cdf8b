"""Seeing that a test leaves no socket and no thread behind."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def nothing_left_behind() -> Generator[None]:
    """Compare the open files before and after, and see that every thread ends."""
    before, threads = open_files(), set(threading.enumerate())
    yield
    assert open_files() == before
    for thread in set(threading.enumerate()) - threads:
        thread.join(20)  # a watchdog that was called off ends by itself
        assert not thread.is_alive()


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
