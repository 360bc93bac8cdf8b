"""A `Link` on a loop of its own, for the thread of a test."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from background import wait_until
from sockets import open_files

from ollama_ext.fleet.links import Link
from ollama_ext.fleet.loop import Loop
from ollama_ext.fleet.questions import Conversation
from ollama_ext.settings import AmqpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from ollama_ext.fleet.broker import Reason
    from ollama_ext.fleet.channels import Channel

PATIENCE = 20.0  # seconds; against a hang only


class Linked:
    """A link on a loop of its own, and what it told.

    Attributes:
        told: ``up``, ``down`` and ``failed``, in order.
        reasons: Of the latter two.
    """

    def __init__(self, *urls: str, **settings: Any) -> None:
        """Prepare."""
        self.told: list[str] = []
        self.reasons: list[Reason] = []
        self.loop = Loop("links-under-test")
        self.link = Link(self.loop, "a link", AmqpSettings(urls=urls, **settings), {"worker": "w"}, self)
        self.on_up: Callable[[], object] = lambda: None

    def do(self, call: Callable[[], Any]) -> Any:
        """Call something on the loop's thread, and return what it returns."""
        done: Future[Any] = Future()
        self.loop.call(lambda: done.set_result(call()))
        return done.result(PATIENCE)  # in vain, where it raised or the loop hangs

    def wait(self, *told: str) -> None:
        """Wait until exactly this was told."""
        wait_until(lambda: len(self.told) >= len(told))
        assert self.told == list(told), self.reasons

    def channel(self) -> Channel:
        """Return a channel that is open."""
        is_open = threading.Event()

        def opened(_: Channel) -> None:
            is_open.set()

        channel: Channel = self.do(lambda: self.link.channel(opened, lambda _, _reason: None))
        assert is_open.wait(PATIENCE)
        return channel

    def converse(self, steps: Any) -> Any:
        """Hold a conversation and return its result."""
        done: Future[Any] = Future()
        self.loop.call(self.link.converse, Conversation(steps, done.set_result))
        return done.result(PATIENCE)

    # -- what a link tells

    def link_up(self) -> None:
        """Note it."""
        self.told.append("up")
        self.on_up()

    def link_down(self, reason: Reason) -> None:
        """Note it, and why."""
        self.reasons.append(reason)
        self.told.append("down")

    def link_failed(self, reason: Reason) -> None:
        """Note it, and why."""
        self.reasons.append(reason)
        self.told.append("failed")

    def link_blocked(self, on: bool) -> None:
        """Note it."""
        self.told.append("blocked" if on else "unblocked")


@contextmanager
def opened(made: Linked, others: int = 0) -> Generator[Linked]:
    """Open a link, and close it at the end, when no socket and no thread of it may be left.

    Args:
        made: The link.
        others: How many sockets the test itself opens meanwhile and leaves.
    """
    files, threads = open_files(), set(threading.enumerate())
    made.loop.start()
    made.loop.call(made.link.open)
    try:
        yield made
    finally:
        closed = threading.Event()
        made.loop.call(made.link.close, closed.set)
        in_order = closed.wait(PATIENCE)
        made.loop.stop()
        assert made.loop.join(PATIENCE)
        assert in_order, "the link does not close"
    wait_until(lambda: open_files() <= files + others)  # a proxy has some, too, and hears of the end
    wait_until(lambda: set(threading.enumerate()) <= threads)  # pika's, which resolve names


def linked(*urls: str, others: int = 0, **settings: Any) -> AbstractContextManager[Linked]:
    """Open a link to a broker, as `opened` does."""
    return opened(Linked(*urls, **settings), others)
