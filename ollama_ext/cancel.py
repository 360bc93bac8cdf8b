"""Ending a call from another thread."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, ParamSpec

from .errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")


class CancelToken:
    """Pass it to calls as ``cancel=``; `cancel` then ends them all at once, from any thread.

    The thread that waits in a call gets `Cancelled`, the server sees the connection close and stops
    generating. A token is used up by cancelling: later calls with it raise `Cancelled` before they send.
    """

    def __init__(self) -> None:
        """Start as not cancelled."""
        self._cancelled = False
        self._event: threading.Event | None = None  # made for who waits: it costs more than all the rest
        self._lock = threading.RLock()  # a garbage collector may call `detach` in the middle of our methods
        self._hooks: dict[int, Callable[[], None]] = {}
        self._count = 0

    def cancel(self) -> None:
        """End every call that has this token. May be called again, by any thread, at any time."""
        with self._lock:
            self._cancelled = True
            if self._event is not None:
                self._event.set()
            hooks = list(self._hooks.values())
            self._hooks.clear()
        for hook in hooks:
            hook()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is cancelled, or for a time; return whether it is."""
        with self._lock:
            if self._cancelled:
                return True
            event = self._event = self._event or threading.Event()
        return event.wait(seconds)

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` if it is."""
        if self._cancelled:
            raise Cancelled("the call was cancelled")

    def attach(self, hook: Callable[[], None]) -> int:
        """Have a hook called on `cancel`, at once if that was before; return the key to detach it with."""
        with self._lock:
            if not self._cancelled:
                self._count += 1
                self._hooks[self._count] = hook
                return self._count
        hook()
        return 0

    def detach(self, key: int) -> None:
        """Forget a hook; it may be running or have run."""
        with self._lock:
            self._hooks.pop(key, None)

    def __repr__(self) -> str:
        """Say whether it is cancelled."""
        return f"CancelToken({'cancelled' if self.cancelled else 'not cancelled'})"


def child_of(parent: CancelToken | None) -> CancelToken:
    """Return a token that the parent cancels too, and that can be cancelled on its own."""
    child = CancelToken()
    if parent is not None:
        weakref.finalize(child, parent.detach, parent.attach(weakly(child.cancel))).atexit = False
    return child


def weakly(method: Callable[P, object]) -> Callable[P, None]:
    """Return a method as a hook that does not keep its object alive, which nobody may be waiting for."""
    reference = weakref.WeakMethod(method)

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        if (alive := reference()) is not None:
            alive(*args, **kwargs)

    return call
