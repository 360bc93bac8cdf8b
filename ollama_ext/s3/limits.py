"""How much a transfer may take: connections, bytes a second, memory. And what the caller can set of it."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from .errors import SettingRefused

if TYPE_CHECKING:
    from collections.abc import Callable

MIB: Final = 1 << 20
GIB: Final = 1 << 30

#: Connections unless told otherwise: 16, as S3 gives 80 to 100 MB/s to each, but no more than four for each
#: processor, which then is the limit: it receives, writes and hashes some 600 MB/s.
CONNECTIONS: Final = min(16, 4 * (os.cpu_count() or 4))

_MOST_CONNECTIONS: Final = 256
_BURST_SECONDS: Final = 0.1
_SMALL_PART: Final = 16 * MIB
_LARGE_PART: Final = 64 * MIB
_GROUPS: Final = Path("/sys/fs/cgroup")


class TransferSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a transfer may take. A value.

    Attributes:
        connections: Connections at most, over all blobs of all models; 16, or four for each processor if
            that is less.
        limit_rate: Bytes a second at most, over all connections; None is no limit.
        start_jitter: A transfer begins after up to this many seconds, by chance, so that a fleet that was
            started at once does not ask at once.
        reserve: Bytes that must stay free on the disk.
        stall: Seconds without a byte after which a connection is given up, and its rest asked for anew.
        attempts: How often in a row a connection may break without a byte before the transfer fails.
        trust_present: Whether a blob that the target has with the right size is taken for good unhashed.

    Raises:
        SettingRefused: A field has a value that it cannot have.
    """

    connections: int = CONNECTIONS
    limit_rate: float | None = None
    start_jitter: float = 0.0
    reserve: int = GIB
    stall: float = 30.0
    attempts: int = 6
    trust_present: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        if not _whole(self.connections) or not 1 <= self.connections <= _MOST_CONNECTIONS:
            self._refuse("connections", f"a whole number from 1 to {_MOST_CONNECTIONS}")
        if self.limit_rate is not None and not 1 <= _number(self.limit_rate) < float("inf"):
            self._refuse("limit_rate", "bytes a second, at least 1, or None for no limit")
        if not 0 <= _number(self.start_jitter) <= threading.TIMEOUT_MAX:
            self._refuse("start_jitter", "a number of seconds from 0 on")
        if not _whole(self.reserve) or self.reserve < 0:
            self._refuse("reserve", "a number of bytes from 0 on")
        if not 0 < _number(self.stall) <= threading.TIMEOUT_MAX:
            self._refuse("stall", "a positive number of seconds")
        if not _whole(self.attempts) or self.attempts < 1:
            self._refuse("attempts", "a whole number from 1 on")

    def _refuse(self, name: str, wanted: str) -> None:
        raise SettingRefused(f"{name} must be {wanted}; not {getattr(self, name)!r:.80}", argument=name)

    def pause_at_start(self, wait: Callable[[float], object]) -> None:
        """Wait for the part of ``start_jitter`` that chance gives."""
        if self.start_jitter:
            wait(random.uniform(0, self.start_jitter))  # noqa: S311 - nobody is harmed who guesses it


class RateLimit:
    """Bytes a second, shared by any number of threads."""

    def __init__(self, rate: float | None) -> None:
        """Take the limit, or None for none."""
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = monotonic()

    def spend(self, count: int, wait: Callable[[float], object]) -> float:
        """Take note of bytes, and wait until they are within the limit; return the seconds waited."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = monotonic()
            self._free_at = max(self._free_at, now - _BURST_SECONDS) + count / self._rate
            delay = self._free_at - now
        if delay <= 0:
            return 0.0
        wait(delay)
        return delay


def part_size_of(size: int) -> int:
    """Return in which parts a blob is fetched: 16 MiB of those up to 4 GiB, else 64 MiB.

    A request costs a millisecond of processor time, so parts of less than 16 MiB show in the total; larger
    ones lose more when a connection breaks, and keep the hash waiting for the first of them.
    """
    return _SMALL_PART if size <= 4 * GIB else _LARGE_PART


def memory_limit() -> int:
    """Return how much memory this process may have in bytes: that of its control group, or of the machine."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _group_files():
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # no such kind of group, or "max"
            continue
    return min(limits)


def _group_files() -> list[Path]:
    """Return where the kernel may tell the limit of our control group; in a container it is the root."""
    files = [_GROUPS / "memory.max", _GROUPS / "memory" / "memory.limit_in_bytes"]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return files
    for line in lines:
        _, kinds, group = line.split(":", 2)
        if not kinds:
            files.append(_GROUPS / group.lstrip("/") / "memory.max")
        elif "memory" in kinds.split(","):
            files.append(_GROUPS / "memory" / group.lstrip("/") / "memory.limit_in_bytes")
    return files


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")
