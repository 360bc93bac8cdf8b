"""How far a transfer is: numbers from many threads in, events from one thread out. No I/O."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

#: What happens to a blob, or to a model.
State = Literal[
    "planned", "present", "resuming", "downloading", "uploading", "verifying", "publishing", "done", "failed"
]

_RATE_SECONDS: Final = 10.0
#: All bytes may be there and a model not yet published: no bar shows 100 % before all is done.
_ALMOST: Final = 0.99


class TransferTotals(msgspec.Struct, frozen=True):
    """How far all of it is. None of the first three ever goes back.

    Attributes:
        completed: Bytes done, of all blobs of all models, each counted once.
        total: Bytes of all blobs; it grows while models are still being planned.
        fraction: From 0.0 to 1.0, which it is when everything is done.
        transferred: Bytes that came from (or went to) the other side in this run, repeated ones included.
        rate: Transferred bytes a second, over the last 10 seconds.
        remaining: Seconds until the end at that rate, or None while there is none to tell by.
    """

    completed: int = 0
    total: int = 0
    fraction: float = 0.0
    transferred: int = 0
    rate: float = 0.0
    remaining: float | None = None


class TransferProgress(msgspec.Struct, frozen=True):
    """One step of an import, export, publication or verification.

    Attributes:
        state: What happens now: ``planned`` (known, not begun), ``present`` (there already and proven),
            ``resuming`` (what an earlier run left is hashed), ``downloading``, ``uploading``, ``verifying``
            (hashed), ``publishing`` (a model is being shown), ``done``, ``failed``.
        model: The model, as Ollama lists it; of a blob that several need, the first.
        digest: The blob, or empty where this is about the model as a whole.
        completed: Bytes of it that are done; never goes back, nor over ``total``.
        total: Its size in bytes.
        overall: The same over everything.
    """

    state: State
    model: str
    digest: str
    completed: int
    total: int
    overall: TransferTotals


class _Subject:
    """A blob, or a model as a whole."""

    __slots__ = ("completed", "digest", "model", "state", "told", "total", "transferred")

    def __init__(self, model: str, digest: str, total: int) -> None:
        self.model = model
        self.digest = digest
        self.total = total
        self.completed = 0  # as it is, which may go back
        self.told = 0  # as it is shown, which may not
        self.transferred = 0
        self.state: State = "planned"


class Tracker:
    """Adds up what threads do, and tells one callback of it when its owner says so."""

    def __init__(self, on_progress: Callable[[TransferProgress], object] | None = None) -> None:
        """Start with nothing planned."""
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._subjects: dict[tuple[str, str], _Subject] = {}
        self._changed: dict[tuple[str, str], None] = {}
        self._total = 0
        self._completed = 0
        self._transferred = 0
        self._fraction = 0.0
        self._samples: deque[tuple[float, int]] = deque([(monotonic(), 0)])

    @property
    def transferred(self) -> int:
        """Bytes that came from or went to the other side."""
        return self._transferred

    def transferred_of(self, digest: str) -> int:
        """Return how many bytes of a blob came from or went to the other side."""
        with self._lock:
            subject = self._subjects.get(("", digest))
            return subject.transferred if subject is not None else 0

    def plan(self, model: str, digest: str, size: int) -> None:
        """Take note of a blob; it is counted once, however many models have it."""
        with self._lock:
            key = ("", digest)
            if key not in self._subjects:
                self._subjects[key] = _Subject(model, digest, size)
                self._total += size
                self._changed[key] = None

    def state(self, digest: str, state: State) -> None:
        """Take note of what happens to a blob; one that is done or present is complete."""
        with self._lock:
            subject = self._subjects[("", digest)]
            if state in {"done", "present"}:
                self._set(subject, subject.total)
            subject.state = state
            self._changed[("", digest)] = None

    def advance(self, digest: str, count: int, *, transferred: bool) -> None:
        """Count bytes of a blob."""
        with self._lock:
            subject = self._subjects.get(("", digest))
            if subject is None:  # a config that is looked at before anything is planned
                return
            self._set(subject, subject.completed + count)
            if transferred:
                self._transferred += count
                subject.transferred += count
            self._changed[("", digest)] = None

    def restart(self, digest: str) -> None:
        """Take note that a blob is gone through from its start again; what was shown stays meanwhile."""
        with self._lock:
            self._subjects[("", digest)].completed = 0

    def model(self, model: str, state: State, size: int = 0) -> None:
        """Take note of what happens to a model as a whole."""
        with self._lock:
            subject = self._subjects.setdefault((model, ""), _Subject(model, "", size))
            subject.total = max(size, subject.total)
            if state == "done":
                subject.told = subject.total
            subject.state = state
            self._changed[(model, "")] = None

    def _set(self, subject: _Subject, completed: int) -> None:
        subject.completed = completed
        shown = min(max(subject.told, completed), subject.total)
        self._completed += shown - subject.told
        subject.told = shown

    def tell(self, *, finished: bool = False) -> None:
        """Tell the callback of all that changed; for one thread only, the one that made this."""
        with self._lock:
            changed = [self._subjects[key] for key in self._changed]
            self._changed.clear()
            totals = self._totals(finished=finished)
            steps = [
                TransferProgress(each.state, each.model, each.digest, each.told, each.total, totals)
                for each in changed
            ]
        if self._on_progress is not None:
            for step in steps:
                self._on_progress(step)

    def _totals(self, *, finished: bool) -> TransferTotals:
        now = monotonic()
        self._samples.append((now, self._transferred))
        while len(self._samples) > 1 and self._samples[0][0] < now - _RATE_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        rate = (self._transferred - before) / (now - then) if now > then else 0.0
        fraction = min(self._completed / self._total, _ALMOST) if self._total else 0.0
        self._fraction = 1.0 if finished else max(self._fraction, fraction)
        left = self._total - self._completed
        remaining = 0.0 if finished else left / rate if rate > 0 else None
        return TransferTotals(
            self._completed, self._total, self._fraction, self._transferred, rate, remaining
        )
