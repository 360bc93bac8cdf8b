"""Calls over real sockets, and seeing that a test leaves no socket and no thread behind."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from ollama_ext import Client


@contextmanager
def nothing_left_behind() -> Generator[None]:
    """Compare the open files before and after, and see that every thread ends."""
    before, threads = open_files(), set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(20)  # a watchdog that was called off ends by itself, and closes what it has
        assert not thread.is_alive()
    assert open_files() <= before  # fewer, where something of before was closed meanwhile


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def ask(client: Client, path: str, *, stream: bool) -> Any:
    """Ask for what a path gives; a stream is read to its end."""
    if not stream:
        return (client.chat if path == "/api/chat" else client.generate)("m", "hi")
    return (client.chat_stream if path == "/api/chat" else client.generate_stream)("m", "hi").finish()
