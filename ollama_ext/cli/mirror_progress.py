"""What is told of a transfer under way: bars on a terminal, lines in a pipe, JSON for each step."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from .output import printable, size

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rich.progress import TaskID

    from ollama_ext.s3 import TransferProgress, TransferTotals

    from .output import Output

#: Seconds between two lines in a pipe.
EVERY: Final = 10.0

_LARGE: Final = 16 << 20  # a blob that has a bar of its own
_MOST_BARS: Final = 8
_ACTIVE: Final = frozenset({"resuming", "downloading", "uploading", "verifying"})
_SHORT_DIGEST: Final = 12
_MINUTE, _HOUR = 60, 3600


class Follower:
    """Takes the steps of one or more transfers, shows them, and adds them up."""

    def __init__(
        self, output: Output, *, trusting: bool = False, clock: Callable[[], float] = monotonic
    ) -> None:
        """Start the clock, which counts seconds.

        Args:
            output: Where to show them.
            trusting: Whether what is there already is taken for good unhashed.
            clock: Returns the time in seconds.
        """
        self._output = output
        self._verified = {"done"} if trusting else {"done", "present"}
        self._clock = clock
        self._started = clock()
        self._told = self._started
        self._blobs: dict[str, str] = {}  # digest to state
        self._transferred = 0
        self._reused = 0

    @contextmanager
    def follow(self, title: str = "in all") -> Generator[Callable[[TransferProgress], None]]:
        """Yield what takes the steps of one transfer.

        Args:
            title: What to call the bar of all of it.
        """
        last: TransferTotals | None = None

        def take(step: TransferProgress) -> None:
            nonlocal last
            last = step.overall
            if step.digest:
                self._blobs[step.digest] = step.state
            show(step)

        try:
            with self._shown(title) as show:
                yield take
        finally:
            if last is not None:
                self._transferred += last.transferred
                self._reused += max(last.completed - last.transferred, 0)

    @contextmanager
    def _shown(self, title: str) -> Generator[Callable[[TransferProgress], None]]:
        if self._output.json:
            yield lambda step: self._output.data(msgspec.to_builtins(step))
        elif self._output.terminal:
            with _Bars(self._output, title) as bars:
                yield bars.show
        else:
            yield self._write

    def _write(self, step: TransferProgress) -> None:
        """Write a line, if the last was long ago."""
        now = self._clock()
        if now - self._told >= EVERY:
            self._told = now
            self._output.line(_line(step.overall))

    def summary(self) -> str:
        """Return what was moved, proven and taken, in one line."""
        seconds = self._clock() - self._started
        rate = f", {size(round(self._transferred / seconds))}/s" if seconds > 0 and self._transferred else ""
        verified = sum(state in self._verified for state in self._blobs.values())
        return (
            f"{size(self._transferred)} transferred, {size(self._reused)} there already, "
            f"{verified} of {len(self._blobs)} blobs verified, {span(seconds)}{rate}"
        )


class _Bars:
    """A bar for all of it, and one for each large blob that is being worked on."""

    def __init__(self, output: Output, title: str) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TextColumn("{task.fields[pace]}", markup=False),
        )
        self._drawn = Progress(*columns, console=output.console, refresh_per_second=10, expand=True)
        self._whole: TaskID = self._drawn.add_task(printable(title), total=None, pace="")
        self._blobs: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Draw nothing before the first step."""
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._blobs.values():
            self._drawn.remove_task(bar)
        self._drawn.stop()

    def show(self, step: TransferProgress) -> None:
        """Move the bars."""
        self._drawn.start()
        overall = step.overall
        self._drawn.update(
            self._whole, completed=overall.completed, total=overall.total or None, pace=_pace(overall)
        )
        if not step.digest or step.total < _LARGE:
            return
        bar = self._blobs.get(step.digest)
        if step.state not in _ACTIVE:
            if bar is not None:
                self._drawn.remove_task(bar)
                del self._blobs[step.digest]
            return
        if bar is None:
            if len(self._blobs) >= _MOST_BARS:
                return
            bar = self._blobs[step.digest] = self._drawn.add_task("", total=step.total, pace="")
        name = step.digest.rpartition(":")[2][:_SHORT_DIGEST]
        self._drawn.update(bar, completed=step.completed, description=printable(f"  {name} {step.state}"))


def _line(overall: TransferTotals) -> str:
    parts = (f"{int(overall.fraction * 100)} %", f"{size(overall.completed)} of {size(overall.total)}")
    return ", ".join(filter(None, (*parts, _pace(overall))))


def _pace(overall: TransferTotals) -> str:
    rate = f"{size(round(overall.rate))}/s" if overall.rate >= 1 else ""
    left = f"{span(overall.remaining)} left" if overall.remaining else ""
    return ", ".join(filter(None, (rate, left)))


def span(seconds: float) -> str:
    """Return a time as people say it: ``0.4 s``, ``12 s``, ``4 min 28 s``, ``1 h 05 min``."""
    if seconds < 10:  # noqa: PLR2004 - one digit more where it says something
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


@contextmanager
def interruptible(output: Output, words: str) -> Generator[None]:
    """Say what becomes of the work when Ctrl-C, or a request to end, stops it.

    The first process of a container ignores SIGTERM unless it has a handler, until it is killed.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        output.note(f"\nstopped; {words}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
