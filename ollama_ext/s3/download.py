"""What threads share that read one blob: who reads, whether to go on, which parts are still to be fetched."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .errors import MirrorError, ObjectChanged

if TYPE_CHECKING:
    from collections.abc import Generator

    from .source import RangeReader
    from .staging import StagedBlob


class Over(Exception):
    """The download has ended, well or badly: whoever still works on it stops."""


class Reading:
    """One attempt at reading one blob, by any number of connections at once.

    Attributes:
        digest: The blob.
        size: Its size in bytes.
    """

    def __init__(self, digest: str, size: int, changed: threading.Condition | None = None) -> None:
        """Start with no reader.

        Args:
            digest: The blob.
            size: Its size in bytes.
            changed: Notified, and its lock held, when anything changes.
        """
        self.digest = digest
        self.size = size
        self._changed = changed or threading.Condition()
        self._readers: set[RangeReader] = set()
        self._version: str | None = None
        self._error: MirrorError | None = None
        self._over = False

    @property
    def version(self) -> str | None:
        """Which version of the object is being read; None before the first answer."""
        return self._version

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over

    @property
    def error(self) -> MirrorError | None:
        """Why it has failed, or None."""
        return self._error

    @contextmanager
    def reading(self, reader: RangeReader) -> Generator[None]:
        """Hold on to a reader while its bytes may be used.

        Raises:
            Over: It is too late for that.
            ObjectChanged: It reads another version than the others.
        """
        with self._changed:
            if self._over:
                raise Over
            if self._version is None:
                self._version = reader.version
            elif reader.version != self._version:
                raise ObjectChanged(f"the object of {self.digest} changed while it was read")
            self._readers.add(reader)
        try:
            yield
        finally:
            with self._changed:
                self._readers.discard(reader)
                self._changed.notify_all()

    def end(self, error: MirrorError | None = None) -> None:
        """End it for all who work on it, and do not wait for them."""
        with self._changed:
            self._over = True
            self._error = self._error or error
            readers = list(self._readers)
            self._changed.notify_all()
        for reader in readers:
            reader.abort()

    def wait_for_readers(self) -> None:
        """Wait until no bytes are used any more; `end` was called."""
        with self._changed:
            while self._readers:
                self._changed.wait()


class Download(Reading):
    """The same into staging: carriers write parts in any order, and one follower hashes them in theirs.

    Attributes:
        part_size: Bytes of each part but the last.
        staged: Where the bytes go.
        resumed: Parts that an earlier run has written, until they turn out wrong.
    """

    def __init__(
        self,
        digest: str,
        size: int,
        *,
        part_size: int,
        staged: StagedBlob,
        changed: threading.Condition,
        window: int,
    ) -> None:
        """Start with the parts that are there.

        Args:
            digest: The blob.
            size: Its size in bytes.
            part_size: Bytes of each part but the last.
            staged: Where the bytes go.
            changed: Notified, and its lock held, when anything changes.
            window: How many bytes the parts may be ahead of the hash, so that it reads them from memory.
        """
        super().__init__(digest, size, changed)
        self.part_size = part_size
        self.staged = staged
        self.resumed: set[int] = set(staged.known)
        self._parts_ahead: Final = max(window // part_size, 1)
        count = -(-size // part_size)
        self._written = bytearray(number in self.resumed for number in range(count))
        self._next = 0
        self._again: list[int] = []
        self._hashed = 0

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self._written)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first byte of a part, and the one after its last."""
        start = number * self.part_size
        return start, min(start + self.part_size, self.size)

    def take(self) -> int | None:
        """Return a part to fetch, or None if there is none now. With the lock held."""
        if self._over:
            return None
        if self._again:
            return self._again.pop()
        while self._next < self.parts and self._written[self._next]:
            self._next += 1
        if self._next >= self.parts or self._next - self._hashed >= self._parts_ahead:
            return None
        self._next += 1
        return self._next - 1

    def take_all(self) -> None:
        """Leave nothing for others to take."""
        self._next = self.parts

    def written(self, number: int) -> None:
        """Take note that a part is in the file."""
        with self._changed:
            self._written[number] = 1
            self._changed.notify_all()

    def hashed(self, number: int) -> None:
        """Take note that the hash is through a part."""
        with self._changed:
            self._hashed = number + 1
            self._changed.notify_all()

    def wrong(self, number: int) -> None:
        """Have a part of an earlier run fetched again."""
        with self._changed:
            self.resumed.discard(number)
            self._written[number] = 0
            if number < self._next:  # else it is taken in its turn, and must not be taken twice
                self._again.append(number)
            self._changed.notify_all()

    def wait_for(self, number: int) -> None:
        """Wait until a part is in the file.

        Raises:
            Over: It never will be.
        """
        with self._changed:
            while not self._written[number]:
                if self._over:
                    raise Over
                self._changed.wait()
            if self._over:
                raise Over
