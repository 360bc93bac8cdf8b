"""Reads a range of a blob whatever happens to the connection: broken, stalled and slow ones are replaced.

A new connection goes on at the byte that the last one reached.
"""

from __future__ import annotations

import statistics
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from .download import Over
from .errors import BucketAnswerRefused, BucketUnreachable, MirrorError, ObjectChanged
from .limits import RateLimit

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from .download import Reading
    from .limits import TransferSettings
    from .reporting import Tracker
    from .source import RangeReader, Source

_LONGEST_BACKOFF: Final = 8.0
_SLOW_AFTER: Final = 5.0  # seconds that a connection has before it is compared with others
_SLOW_SHARE: Final = 0.1
_SLOW_TRIES: Final = 3
_ENOUGH_RATES: Final = 4


class _Slow(BucketUnreachable):
    """A connection is far slower than the others are."""


class Carrier:
    """Reads ranges, for any number of threads, within one limit on the rate."""

    def __init__(
        self, source: Source, settings: TransferSettings, tracker: Tracker, stopping: threading.Event
    ) -> None:
        """Take where bytes come from, what may be taken, who counts them, and what ends it all."""
        self._source = source
        self._settings = settings
        self._tracker = tracker
        self._stopping = stopping
        self._limit = RateLimit(settings.limit_rate)
        self._rates: deque[float] = deque(maxlen=64)

    def carry(
        self, reading: Reading, start: int, end: int, take: Callable[[bytes | memoryview, int], None]
    ) -> None:
        """Read the bytes from ``start`` up to ``end`` in order, and have them taken, each with its position.

        Raises:
            Over: It is not to go on.
            MirrorError: The bytes cannot be had, or not be taken.
        """
        position, failures, slow = start, 0, 0
        while position < end:
            before = position
            try:
                with (
                    self._source.open(reading.digest, reading.size, position, end, reading.version) as reader,
                    reading.reading(reader),
                ):
                    for piece in self._pieces(reader, end - position, compare=slow < _SLOW_TRIES):
                        if reading.over or self._stopping.is_set():
                            raise Over
                        take(piece, position)
                        position += len(piece)
                        self._tracker.advance(reading.digest, len(piece), transferred=True)
            except _Slow:
                slow += 1
            except MirrorError as error:
                if reading.over or self._stopping.is_set():
                    raise Over from None
                failures = 1 if position > before else failures + 1
                if (
                    not error.retryable
                    or isinstance(error, ObjectChanged)
                    or failures >= self._settings.attempts
                ):
                    raise
                self._stopping.wait(min(0.1 * 2.0**failures, _LONGEST_BACKOFF))

    def _pieces(self, reader: RangeReader, count: int, *, compare: bool) -> Iterator[bytes | memoryview]:
        """Yield the bytes of one connection, within the limit on the rate.

        Raises:
            BucketUnreachable: It ended early.
            _Slow: It is far slower than others were, and there is a chance that a new one is not.
        """
        began, waited, done = monotonic(), 0.0, 0
        while done < count:
            piece = reader.read()
            if not piece:
                problem = f"{self._source.name} sent {done:,} of {count:,} bytes and ended"
                raise BucketUnreachable(problem)
            if len(piece) > count - done:  # it would be written over what lies behind
                problem = f"{self._source.name} sends more than the {count:,} bytes that it announced"
                raise BucketAnswerRefused(problem)
            done += len(piece)
            yield piece
            waited += self._limit.spend(len(piece), self._stopping.wait)
            taken = monotonic() - began - waited
            if compare and taken > _SLOW_AFTER and done / taken < self._slowest():
                raise _Slow(f"{self._source.name} is slow")
        self._rates.append(done / max(monotonic() - began - waited, 1e-6))

    def _slowest(self) -> float:
        """Return the rate below which a connection is replaced."""
        rates = list(self._rates)
        return statistics.median(rates) * _SLOW_SHARE if len(rates) >= _ENOUGH_RATES else 0.0
