"""Tests that run into retries, without their waits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ollama_ext.retry import skipping_waits

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def no_wait() -> Generator[None]:
    """Let no retry of this process wait, in a ``with`` block or in a function that it decorates.

    Everything else stays as it is: retries are logged and told to ``on_retry`` with the wait that would have
    been, and a wait that is skipped counts for ``total`` and deadlines, so that the tries are the same ones.
    It holds for all threads, may be nested, and ends when the last one that is active does. A wait that had
    begun before is not cut.

        with no_wait(), pytest.raises(ServerBusy):
            client.chat("llama3.2", "hello")
    """
    mark = object()
    skipping_waits.add(mark)
    try:
        yield
    finally:
        skipping_waits.discard(mark)
