"""Gets blobs into the staging directory of a store: all at once, verified, over one pool of connections.

Two kinds of threads share the work. *Carriers*, one for each connection, fetch parts of large blobs, and
small blobs whole. A *follower*, one for each of the large blobs in work, looks what there is of its blob, has
the rest carried, and hashes the bytes behind the carriers: it reads them back from the file (from memory, as
carriers stay near), so the digest is that of the bytes on the disk. Memory does not grow with the blobs.

What becomes of each blob is put into a queue for the thread that owns the engine.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from .carrying import Carrier
from .download import Over
from .errors import MirrorError
from .fetching import Blob, Fetcher, LockedElsewhere, Outcome, wrapped
from .limits import part_size_of
from .staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .directories import Directory
    from .download import Download
    from .limits import TransferSettings
    from .reporting import Tracker
    from .source import Source

_MOST_FOLLOWERS: Final = 4
_LOCK_POLL: Final = 0.2  # seconds until a blob that another process works on is looked at again
_JOIN: Final = 1.0  # seconds for threads to end; one that waits for an answer is left behind


class Engine:
    """Fetches blobs. A context manager; its end ends every transfer, and what is staged stays.

    Attributes:
        settled: Gets the digest of each blob and what became of it.
    """

    def __init__(self, source: Source, root: Directory, tracker: Tracker, settings: TransferSettings) -> None:
        """Take where blobs come from and where they go; nothing starts before `add`.

        Args:
            source: Where they come from.
            root: The open model directory, which the engine closes when its last thread has ended.
            tracker: Is told how far everything is.
            settings: What it may take.
        """
        self.settled: queue.SimpleQueue[tuple[str, Outcome]] = queue.SimpleQueue()
        self._root = root
        self._staging = Staging(root)
        self._tracker = tracker
        self._connections = settings.connections
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._fetcher = Fetcher(
            root,
            self._staging,
            where=source.name,
            carrier=Carrier(source, settings, tracker, self._stopping),
            offered=self._offered,
            changed=self._changed,
            tracker=tracker,
            settings=settings,
            stopping=self._stopping,
        )
        self._large: list[Blob] = []
        self._small: deque[Blob] = deque()
        self._locked_out: list[tuple[float, Blob]] = []
        self._active: list[Download] = []
        self._carriers: list[threading.Thread] = []
        self._followers: list[threading.Thread] = []
        self._users = 1  # of the directories: the owner of the engine, and each thread

    def add(self, digest: str, size: int, *, anew: bool = False) -> None:
        """Want a blob; ``anew`` where the store's copy is known to be bad."""
        blob = Blob(digest, size, anew=anew)
        jobs = 1
        with self._changed:
            if blob.large:
                self._large.append(blob)
                self._large.sort(key=lambda each: each.size)  # the largest is taken first, from the end
                self._start_threads(self._followers, 1, _MOST_FOLLOWERS, self._take_large)
                jobs = -(-size // part_size_of(size))
            else:
                self._small.append(blob)
            self._start_threads(self._carriers, jobs, self._connections, self._take_any)
            self._changed.notify_all()

    def drop(self, digest: str) -> None:
        """No longer want a blob."""
        with self._changed:
            self._large = [blob for blob in self._large if blob.digest != digest]
            self._small = deque(blob for blob in self._small if blob.digest != digest)
            self._locked_out = [entry for entry in self._locked_out if entry[1].digest != digest]
            active = [download for download in self._active if download.digest == digest]
        for download in active:
            download.end()

    def close(self) -> None:
        """End all transfers; afterwards no thread can write any more. May be called again."""
        with self._changed:
            if self._stopping.is_set():
                return
            self._stopping.set()
            active = list(self._active)
            self._changed.notify_all()
        for download in active:
            download.end()
        for download in active:
            download.wait_for_readers()
        deadline = monotonic() + _JOIN
        for thread in (*self._followers, *self._carriers):
            thread.join(max(deadline - monotonic(), 0.0))
        self._leave()

    def __enter__(self) -> Self:
        """Return the engine itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do as `close` does."""
        self.close()

    def _start_threads(
        self,
        threads: list[threading.Thread],
        more: int,
        most: int,
        take: Callable[[], Callable[[], None] | None],
    ) -> None:
        def run() -> None:
            try:
                self._work(take)
            finally:
                self._leave()

        for _ in range(min(more, most - len(threads)) if not self._stopping.is_set() else 0):
            # Daemons, as one may wait for an answer that nothing ends. It does no harm: it may not write.
            thread = threading.Thread(target=run, name=f"mirror-transfer-{self._users}", daemon=True)
            threads.append(thread)
            self._users += 1
            thread.start()

    def _leave(self) -> None:
        """Close the directories behind the last who uses them."""
        with self._changed:
            self._users -= 1
            last = self._users == 0
        if last:
            self._staging.close()
            self._root.close()

    @contextmanager
    def _offered(self, download: Download) -> Generator[None]:
        """Have carriers take parts of a download; afterwards none of them can write to it any more."""
        with self._changed:
            if self._stopping.is_set():
                raise Over
            self._active.append(download)
            self._changed.notify_all()
        try:
            yield
        except Over:
            if download.error is not None:
                raise download.error from download.error.__cause__
            raise
        finally:
            download.end()
            download.wait_for_readers()
            with self._changed:
                self._active.remove(download)

    def _work(self, take: Callable[[], Callable[[], None] | None]) -> None:
        """Do what there is to do, until everything ends."""
        while (job := self._next(take)) is not None:
            job()

    def _take_large(self) -> Callable[[], None] | None:
        """What a follower does: one large blob after the other."""
        return partial(self._obtain, self._large.pop()) if self._large else None

    def _take_any(self) -> Callable[[], None] | None:
        """What a carrier does: parts of large blobs, and small blobs."""
        for download in self._active:
            if (number := download.take()) is not None:
                return partial(self._carry, download, number)
        return partial(self._obtain, self._small.popleft()) if self._small else None

    def _carry(self, download: Download, number: int) -> None:
        try:
            self._fetcher.carry_part(download, number)
        except Over:
            pass
        except MirrorError as error:
            download.end(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the follower waits for this part
            download.end(wrapped(error))

    def _next(self, take: Callable[[], Callable[[], None] | None]) -> Callable[[], None] | None:
        """Wait for something to do; None when everything ends."""
        with self._changed:
            while not self._stopping.is_set():
                delay = self._readmit()
                if (job := take()) is not None:
                    return job
                self._changed.wait(delay)
            return None

    def _readmit(self) -> float | None:
        """Want blobs again that another process had; return the seconds until there are more such."""
        now = monotonic()
        for entry in [entry for entry in self._locked_out if entry[0] <= now]:
            self._locked_out.remove(entry)
            blob = entry[1]
            (self._large if blob.large else self._small).append(blob)
            self._changed.notify_all()
        return min((at - now for at, _ in self._locked_out), default=None)

    def _obtain(self, blob: Blob) -> None:
        try:
            outcome = self._fetcher.obtain(blob)
        except Over:
            return
        except LockedElsewhere:
            with self._changed:
                self._locked_out.append((monotonic() + _LOCK_POLL, blob))
                self._changed.notify_all()
            return
        if self._stopping.is_set():
            return
        if isinstance(outcome, MirrorError):
            self._tracker.state(blob.digest, "failed")
        else:
            self._tracker.state(blob.digest, "present" if outcome == "present" else "done")
        self.settled.put((blob.digest, outcome))
