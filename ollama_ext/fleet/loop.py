"""The one thread on which everything of pika happens, and how other threads reach it."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack

from pika.adapters.select_connection import IOLoop

if TYPE_CHECKING:
    from collections.abc import Callable

Ts = TypeVarTuple("Ts")

log: logging.Logger = logging.getLogger(__name__)


class _IOLoop(IOLoop):
    """Pika's, with something to do at the end of each round: after its events, before it waits again."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[Callable[[], object]] = []

    def at_end(self, function: Callable[[], object]) -> None:
        self._ends.append(function)

    def end_round(self) -> None:
        while self._ends:
            ends, self._ends = self._ends, []
            for each in ends:
                each()

    def process_timeouts(self) -> None:
        super().process_timeouts()
        self.end_round()


class Loop:
    """An I/O loop on a thread of its own.

    An exception that leaves a callback would end pika's loop, and with it every connection, in silence. So
    all callbacks go through `guarded`: what they raise is logged and counted, and the loop goes on.

    Attributes:
        failures: How many callbacks raised. Each is a bug, of ours or of pika's.
        broken: Called when one of pika's own has raised: connections may be in any state.
        ticked: When the loop last ran its clock, by `time.monotonic`.
    """

    def __init__(self, name: str) -> None:
        """Prepare the loop; it runs from `start` on, and has no socket before."""
        self.pika: _IOLoop
        self.failures: int = 0
        self.broken: list[Callable[[], object]] = []
        self.ticked: float = monotonic()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._posted: list[Callable[[], object]] = []  # by `call`; the loop has been woken for the first
        self._runs = False

    def start(self) -> None:
        """Start the thread."""
        self.pika = _IOLoop()
        self._runs = True
        self._thread.start()

    def call(self, function: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        """Have a function called on the loop's thread, soon; from any thread.

        It is dropped before the start and after the end.
        """
        with self._lock:
            if not self._runs:
                return
            self._posted.append(lambda: self.guarded(function, *args))
            first = len(self._posted) == 1
        if first:  # one wake-up for all that comes until the loop has time for it
            self.pika.add_callback_threadsafe(self._run_posted)

    def later(self, seconds: float, function: Callable[[Unpack[Ts]], object], *args: *Ts) -> Any:
        """Have a function called in some seconds; on the loop's thread only. Returns what `forget` takes."""
        return self.pika.call_later(seconds, lambda: self.guarded(function, *args))

    def at_end(self, function: Callable[[], object]) -> None:
        """Have a function called at the end of this round of the loop, once; on the loop's thread only."""
        self.pika.at_end(lambda: self.guarded(function))

    def end_round(self) -> None:
        """Do now what is to be done at the end of this round; on the loop's thread only."""
        self.pika.end_round()

    def forget(self, timer: Any) -> None:
        """Forget a call that was to come later, if it has not come yet."""
        self.pika.remove_timeout(timer)

    def guarded(self, function: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        """Call a function; log what it raises."""
        try:
            function(*args)
        except Exception:
            self.failures += 1
            log.exception("a callback of the fleet's I/O thread failed; it goes on")

    def stop(self) -> None:
        """End the loop, from any thread; what was posted before is still done."""
        self.call(lambda: self.pika.stop())  # noqa: PLW0108 - there is none before the start

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end of the thread; return whether it has ended."""
        return self._ended.wait(seconds)

    def _run_posted(self) -> None:
        """Do what other threads want."""
        with self._lock:
            posted, self._posted = self._posted, []
        for each in posted:
            each()

    def _tick(self) -> None:
        self.ticked = monotonic()
        self.later(1.0, self._tick)

    def _run(self) -> None:
        try:
            self._tick()
            while not self._run_once():
                for mend in self.broken:
                    self.guarded(mend)
        finally:
            with self._lock:
                self._runs = False
            self.pika.close()
            self._ended.set()

    def _run_once(self) -> bool:
        """Run until the loop is stopped; return whether it was, and did not fail."""
        try:
            self.pika.start()
        except Exception:
            self.failures += 1
            log.exception("the AMQP client failed; its connections are made anew")
            return False
        return True
