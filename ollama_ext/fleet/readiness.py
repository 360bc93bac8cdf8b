"""Whether this machine is fit to serve: a sick one must not eat the queue.

`Readiness` hears how jobs and probes ended, and says when to stop taking work, when to probe, and when to go
on. It does no I/O and has no clock: times are seconds of a monotonic clock.

* **The machine** is sick after failures in a row, or after one failed probe. Then no work is taken until a
  probe passes. Only a job that was done ends the row, so a machine whose probes pass and whose jobs fail
  stops again after one more failure; and only that ends the growth of the waits, so each stop is longer.
* **A model that is missing** is no failure of the machine: its source pauses, the others go on, and one looks
  for the model now and then.

What else may happen to a job is not told here, because it says nothing. A caller's error (a bad option, an
unknown format) is found by the part of Ollama that answers also where no model can be run any more; if it
ended the row, a few bad requests between the good ones would keep a sick machine at work. If it counted, any
caller could stop the fleet. A job that was cancelled has shown neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


class Halt(msgspec.Struct, frozen=True):
    """Take no work. Jobs that run go on."""


class Go(msgspec.Struct, frozen=True):
    """Take work again."""


class Pause(msgspec.Struct, frozen=True):
    """Take no work from this queue: its model is missing."""

    queue: str


class Resume(msgspec.Struct, frozen=True):
    """Take work from this queue again."""

    queue: str


class Probe(msgspec.Struct, frozen=True):
    """Probe the machine; `Readiness.probe_passed` or `Readiness.probe_failed` tells how it went."""


class Look(msgspec.Struct, frozen=True):
    """Look whether the model of this queue is there; `Readiness.found` or `Readiness.missing` tells."""

    queue: str


Action: TypeAlias = Halt | Go | Pause | Resume
Due: TypeAlias = Probe | Look


#: How often the first wait after failures in a row is doubled already. A machine whose probes pass would else
#: be back at once, and fail the same request up to its last delivery while all others are busy.
HEAD_START: Final = 2


class _Wait:
    """When to try next; None: a try is under way."""

    __slots__ = ("at", "tries")

    def __init__(self) -> None:
        self.at: float | None = None
        self.tries = 0


class Readiness:
    """Decides whether a worker takes work. See the module for the rules.

    Attributes:
        reason: Why it takes none, for people; empty if it does.
    """

    def __init__(
        self,
        failures: int = 2,
        first_wait: float = 1.0,
        longest_wait: float = 60.0,
        jitter: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Start fit.

        Args:
            failures: How many failures in a row make the machine sick.
            first_wait: Seconds before the first probe of a sick machine; doubled for each that follows.
            longest_wait: Seconds that are not doubled any more.
            jitter: Returns a number from 0 to 1: by how many halves a wait is made longer. Keeps machines
                apart that failed together; ``random.random`` will do.
        """
        self.reason: str = ""
        self._failures = failures
        self._first, self._longest, self._jitter = first_wait, longest_wait, jitter
        self._row = 0  # failures since a job was last done
        self._machine = _Wait()
        self._missing: dict[str, _Wait] = {}

    @property
    def ready(self) -> bool:
        """Whether the machine is fit; single queues may be `paused`."""
        return not self.reason

    @property
    def paused(self) -> frozenset[str]:
        """The queues whose models are missing."""
        return frozenset(self._missing)

    # What happened to jobs

    def succeeded(self) -> list[Action]:
        """A job was done. If the machine is sick it stays so until a probe passes."""
        self._row = 0
        self._machine.tries = 0
        return []

    def machine_failed(self, now: float, why: str = "") -> list[Action]:
        """A job was not done, and that is the machine's failure."""
        self._row += 1
        if not self.ready or self._row < self._failures:
            return []
        self._machine.tries = max(self._machine.tries, HEAD_START)
        return self._sick(f"{self._row} failures in a row, the last one", why, now)

    # What probes have shown, ours or one that was made to judge a job

    def probe_failed(self, now: float, why: str = "") -> list[Action]:
        """The machine does not even do the least."""
        if self.ready:
            return self._sick("a probe failed", why, now)
        if self._machine.at is None:
            self._put_off(self._machine, now)
        return []

    def probe_passed(self, now: float) -> list[Action]:  # noqa: ARG002 - an event as the others
        """The machine does the least."""
        if self.ready:
            return []
        self.reason = ""
        return [Go()]

    # What is known of models

    def missing(self, queue: str, now: float) -> list[Action]:
        """The model of this queue is not there."""
        wait = self._missing.get(queue)
        if wait is not None:
            if wait.at is None:
                self._put_off(wait, now)
            return []
        wait = self._missing[queue] = _Wait()
        self._put_off(wait, now)
        return [Pause(queue)]

    def found(self, queue: str) -> list[Action]:
        """It is there; or this queue is no source any more, and nobody need look."""
        return [] if self._missing.pop(queue, None) is None else [Resume(queue)]

    # When to look again

    def due(self, now: float) -> list[Due]:
        """Return what is to be tried now. Each is under way then, and not due before it was answered."""
        due: list[Due] = []
        for what, wait in self._waits():
            if wait.at is not None and wait.at <= now:
                wait.at = None
                due.append(what)
        return due

    def next_due(self, now: float) -> float | None:
        """Return in how many seconds something will be due; None: nothing before another event."""
        times = [wait.at for _, wait in self._waits() if wait.at is not None]
        return max(0.0, min(times) - now) if times else None

    def _waits(self) -> list[tuple[Due, _Wait]]:
        """Return what is waited for. Where nothing can be run, nobody looks for models."""
        if not self.ready:
            return [(Probe(), self._machine)]
        return [(Look(queue), wait) for queue, wait in self._missing.items()]

    def _sick(self, what: str, why: str, now: float) -> list[Action]:
        self.reason = f"{what}: {why}" if why else what
        self._put_off(self._machine, now)
        return [Halt()]

    def _put_off(self, wait: _Wait, now: float) -> None:
        seconds = min(self._first * 2.0 ** min(wait.tries, 64), self._longest)
        wait.at = now + seconds * (1 + self._jitter() / 2)
        wait.tries += 1
