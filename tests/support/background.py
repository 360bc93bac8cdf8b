"""Calls in other threads, and waiting for what they do."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ollama_ext import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ollama_ext import CancelToken

PATIENCE = 20.0  # seconds; against a hang only


@contextmanager
def background(call: Callable[[], Any]) -> Generator[Future[Any]]:
    """Run a call in a thread, and wait for its end at the end of the block."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by future.result()
            future.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield future
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the call hangs"


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something is so, for which there is no event to wait for."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.001)


def cancelled(future: Future[Any]) -> Cancelled:
    """Return the error of a call that was cancelled."""
    error = future.exception(timeout=20)
    assert isinstance(error, Cancelled), error
    assert str(error) == "the call was cancelled"
    assert not error.retryable
    return error


def hooks(token: CancelToken) -> dict[int, Callable[[], None]]:
    """Return what waits for the token."""
    return token._hooks  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no other sign tells that a call waits
