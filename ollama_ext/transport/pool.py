"""Connections that are kept for the next call."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from ollama_ext.errors import FirstByteTimeout, OllamaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .limits import Limits


class Poolable(Protocol):
    """What a pool keeps: `Connection`, or what stands for one."""

    reused: bool
    idle_since: float

    def is_stale(self) -> bool:
        """Whether it cannot be used again."""
        ...

    def shut_down(self) -> None:
        """End what it is used for, from another thread."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


C = TypeVar("C", bound=Poolable)


class Pool(Generic[C]):
    """The connections to one server. May be used from many threads.

    Args:
        connect: Makes a new one.
        most: How many may be open at a time, or None; a call beyond that waits for another to end.
        most_idle: How many are kept for later; what is beyond is closed.
        idle_limit: Seconds that one is kept. A router in between may have forgotten it long before either end
            learns of it.
    """

    def __init__(
        self, connect: Callable[[Limits], C], most: int | None, most_idle: int, idle_limit: float
    ) -> None:
        """Start empty."""
        self._connect = connect
        self._most = most
        self._most_idle = most_idle
        self._idle_limit = idle_limit
        self._changed = (
            threading.Condition()
        )  # reentrant: a token that is cancelled already wakes us ourselves
        self._idle: list[C] = []  # the longest idle first
        self._used: set[C] = set()
        self._connecting = 0
        self.closed: bool = False
        self.forked: bool = False

    def take(self, limits: Limits) -> C:
        """Return a connection: an idle one if any is alive, else a new one.

        Raises:
            OllamaError: The pool is closed, or what connecting raises.
        """
        limits.check()
        with self._changed:
            connection = self._take_idle(limits)
            if connection is not None:
                return connection
            self._connecting += 1
        try:
            connection = self._connect(limits)
        except BaseException:
            with self._changed:
                self._connecting -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._connecting -= 1
            if not self.closed:
                self._used.add(connection)
                return connection
        connection.close()
        raise _closed()

    def _take_idle(self, limits: Limits) -> C | None:
        patience = limits.timeouts.first_byte
        end = None if patience is None else monotonic() + patience
        while True:
            if self.closed:
                raise _closed()
            oldest = monotonic() - self._idle_limit
            while self._idle:
                connection = self._idle.pop()
                if connection.idle_since >= oldest and not connection.is_stale():
                    self._used.add(connection)
                    return connection
                connection.close()
            if self._most is None or len(self._used) + self._connecting < self._most:
                return None
            if end is not None and monotonic() >= end:
                raise FirstByteTimeout(
                    f"all {self._most} connections of this client were in use for {patience:g} s "
                    "(Timeouts.first_byte): raise max_connections, or close streams that are not read"
                )
            self._wait(limits, end)

    def _wait(self, limits: Limits, end: float | None) -> None:
        """Wait until something changed, or until the end of the patience."""
        hook = limits.cancel.attach(self._wake) if limits.cancel is not None else 0
        try:
            limits.check()
            self._changed.wait(limits.left(None if end is None else end - monotonic()))
            limits.check()
        except BaseException:
            self._changed.notify()  # what we were woken for, perhaps, is for the next one who waits
            raise
        finally:
            if limits.cancel is not None:
                limits.cancel.detach(hook)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def put_back(self, connection: C) -> None:
        """Keep a connection whose answer was read to its end."""
        connection.reused = True
        connection.idle_since = monotonic()
        with self._changed:
            self._used.discard(connection)
            if self.closed or self._most_idle <= 0:
                surplus: C | None = connection
            else:
                self._idle.append(connection)
                surplus = self._idle.pop(0) if len(self._idle) > self._most_idle else None
            self._changed.notify()
        if surplus is not None:
            surplus.close()

    def drop(self, connection: C) -> None:
        """Close a connection that cannot be used again."""
        with self._changed:
            self._used.discard(connection)  # from now on no other thread can reach it
            self._changed.notify()
        connection.close()

    def disown(self) -> None:
        """Close our copies of all connections, which go on in the parent of this process."""
        self._changed = threading.Condition()  # a thread that is not here may have held the old one
        self.closed = self.forked = True
        for connection in (*self._used, *self._idle):
            connection.close()

    def close(self) -> None:
        """Close the idle ones and end the others; who waits on one of them is woken."""
        with self._changed:
            self.closed = True
            for connection in list(self._used):
                connection.shut_down()
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for connection in idle:
            connection.close()


def _closed() -> OllamaError:
    return OllamaError("this client is closed: make a new one")
