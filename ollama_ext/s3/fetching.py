"""What becomes of one blob: it is in the store already, or staged, or it is fetched, hashed and staged."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, Final, Literal

from ollama_ext.digests import blob_file_name

from .directories import failures_of
from .download import Download, Over
from .errors import BlobMissing, DigestMismatch, MirrorError, ObjectChanged
from .journal import sampled_crc
from .layout import BLOBS, blob_path
from .limits import GIB, memory_limit, part_size_of
from .staging import StagedBlob

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .carrying import Carrier
    from .directories import Directory
    from .limits import TransferSettings
    from .reporting import State, Tracker
    from .staging import BlobLock, Staging

#: What became of a blob: it was there, or is staged now, or why it is not.
Outcome = Literal["present", "staged"] | MirrorError

_PIECE: Final = 256 << 10


class LockedElsewhere(Exception):
    """Another process works on the blob: it is to be looked at again in a moment."""


class Blob:
    """One blob that is wanted.

    Attributes:
        digest: Its digest.
        size: Its size in bytes.
        anew: Whether what the store has of it is known to be bad.
        bad: The file in the store that was hashed and is not the blob, or None.
    """

    def __init__(self, digest: str, size: int, *, anew: bool) -> None:
        """Take what is wanted."""
        self.digest = digest
        self.size = size
        self.anew = anew
        self.bad: tuple[int, int, int] | None = None

    @property
    def large(self) -> bool:
        """Whether it is fetched in parts."""
        return self.size > part_size_of(self.size)


class Fetcher:
    """Obtains blobs, for any number of threads."""

    def __init__(
        self,
        root: Directory,
        staging: Staging,
        *,
        where: str,
        carrier: Carrier,
        offered: Callable[[Download], AbstractContextManager[None]],
        changed: threading.Condition,
        tracker: Tracker,
        settings: TransferSettings,
        stopping: threading.Event,
    ) -> None:
        """Take the parts of an engine.

        Args:
            root: The open model directory.
            staging: Its staging.
            where: What to call the source in messages.
            carrier: Reads from it.
            offered: While it is entered, carriers take the parts of a download.
            changed: What downloads wait with.
            tracker: Is told how far everything is.
            settings: What may be taken.
            stopping: Set when everything is to end.
        """
        self._root = root
        self._staging = staging
        self._where = where
        self._carrier = carrier
        self._offered = offered
        self._changed = changed
        self._tracker = tracker
        self._settings = settings
        self._stopping = stopping
        memory = memory_limit()
        self._window = min(2 * GIB, memory // 4)
        self._scarce = memory // 2

    def obtain(self, blob: Blob) -> Outcome:
        """Have a blob in the store or in staging, proven.

        Raises:
            LockedElsewhere: Not now.
            Over: It is no longer wanted.
        """
        try:
            return self._obtain(blob)
        except (Over, LockedElsewhere):
            raise
        except MirrorError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, the import waits to hear of this blob
            return wrapped(error)

    def _obtain(self, blob: Blob) -> Outcome:
        if self._is_present(blob):
            return "present"
        lock = self._staging.lock(blob.digest)
        if lock is None:
            raise LockedElsewhere
        try:
            # Whoever had it may have left it whole, and whoever found it so may have published it.
            if self._is_staged(blob):
                return "staged"
            if self._is_present(blob):
                return "present"
            try:
                self._fetch(blob, lock)
            except (DigestMismatch, ObjectChanged):
                self._tracker.restart(blob.digest)
                self._fetch(blob, lock)
            return "staged"
        finally:
            lock.release()

    def _is_present(self, blob: Blob) -> bool:
        """Whether the store has the blob, proven by its hash unless the caller trusts it."""
        name = blob_file_name(blob.digest)
        try:
            with self._root.enter(BLOBS) as blobs:
                if blob.anew or blobs.size_of(name) != blob.size:
                    return False
                descriptor = blobs.open_file(name)
        except FileNotFoundError:
            return False
        try:
            if self._settings.trust_present:
                return True
            status = os.fstat(descriptor)
            seen = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
            if blob.bad != seen:
                if self._hash_is_right(blob, descriptor, "verifying"):
                    return True
                blob.bad = seen
            return False
        finally:
            os.close(descriptor)

    def _is_staged(self, blob: Blob) -> bool:
        """Whether another run, or another process, has left the blob whole."""
        if self._staging.whole_size(blob.digest) is None:
            return False
        try:
            descriptor = self._staging.open_whole(blob.digest)
        except FileNotFoundError:  # published this very moment
            return False
        try:
            if self._hash_is_right(blob, descriptor, "resuming"):
                return True
        finally:
            os.close(descriptor)
        self._staging.remove_whole(blob.digest)
        return False

    def _hash_is_right(self, blob: Blob, descriptor: int, state: State) -> bool:
        self._tracker.restart(blob.digest)
        self._tracker.state(blob.digest, state)
        sha256, buffer, position = hashlib.sha256(), memoryview(bytearray(_PIECE)), 0
        with failures_of(self._root.path / blob_path(blob.digest)):
            while count := os.preadv(descriptor, [buffer], position):
                if self._stopping.is_set():
                    raise Over
                sha256.update(buffer[:count])
                position += count
                self._tracker.advance(blob.digest, count, transferred=False)
        if f"sha256:{sha256.hexdigest()}" == blob.digest:
            return True
        self._tracker.restart(blob.digest)
        return False

    def _fetch(self, blob: Blob, lock: BlobLock) -> None:
        """Fetch a blob into staging, or what is still missing of it.

        Raises:
            DigestMismatch: The bytes are not what was promised; they are gone.
            ObjectChanged: The object was replaced meanwhile; what there was is gone.
            MirrorError: It cannot be had; what there is stays for the next run.
            Over: Everything ends, or the blob is no longer wanted.
        """
        part_size = part_size_of(blob.size) if blob.large else blob.size
        staged = StagedBlob(self._staging, lock, digest=blob.digest, size=blob.size, part_size=part_size)
        download = Download(
            blob.digest,
            blob.size,
            part_size=part_size,
            staged=staged,
            changed=self._changed,
            window=self._window,
        )
        try:
            got = self._hash_behind(download) if blob.large else self._hash_inline(download)
            self._check(blob.digest, got)
            staged.finish()
        except (DigestMismatch, ObjectChanged):
            staged.discard()
            raise
        finally:
            staged.close()

    def _check(self, digest: str, got: str) -> None:
        if got != digest:
            where = f"{self._where}/{blob_path(digest)}"
            raise DigestMismatch(
                f"{where} is {got}, and its name says {digest}: nothing of it was published; publish it anew",
                digest=digest,
                got=got,
                where=where,
            )

    def _hash_inline(self, download: Download) -> str:
        """Fetch a small blob by this thread, and hash it on the way."""
        sha256 = hashlib.sha256()

        def take(piece: bytes | memoryview, position: int) -> None:
            sha256.update(piece)
            download.staged.write(piece, position)

        self._tracker.state(download.digest, "downloading")
        download.take_all()
        with self._offered(download):
            self._carrier.carry(download, 0, download.size, take)
        return f"sha256:{sha256.hexdigest()}"

    def _hash_behind(self, download: Download) -> str:
        """Have a large blob fetched by carriers, and hash it meanwhile."""
        self._tracker.state(download.digest, "resuming" if download.resumed else "downloading")
        last_resumed = max(download.resumed, default=-1)
        sha256 = hashlib.sha256()
        with self._offered(download):
            for number in range(download.parts):
                sha256 = self._hash_part(download, number, sha256)
                start, end = download.bounds(number)
                if number == last_resumed:
                    self._tracker.state(download.digest, "downloading")
                if download.size > self._scarce:
                    download.staged.forget(start, end - start)
                download.hashed(number)
        return f"sha256:{sha256.hexdigest()}"

    def _hash_part(self, download: Download, number: int, sha256: Any) -> Any:
        """Return the hash after a part; an earlier run's that differs from its record is fetched again."""
        start, end = download.bounds(number)
        buffer = memoryview(bytearray(_PIECE))
        while True:
            download.wait_for(number)
            resumed = number in download.resumed
            after, crc, position = sha256.copy(), 0, start
            while position < end:
                count = download.staged.read(buffer[: end - position], position)
                if not count:
                    raise MirrorError("a staged file became shorter while it was written: start anew")
                if resumed:
                    crc = sampled_crc(buffer[:count], position, crc)
                after.update(buffer[:count])
                position += count
            if not resumed:
                return after
            if download.staged.known[number] == (end - start, crc):
                self._tracker.advance(download.digest, end - start, transferred=False)
                return after
            download.wrong(number)

    def carry_part(self, download: Download, number: int) -> None:
        """Fetch one part of a download.

        Raises:
            Over: It is no longer wanted.
            MirrorError: It cannot be had.
        """
        start, end = download.bounds(number)
        crc = 0

        def take(piece: bytes | memoryview, position: int) -> None:
            nonlocal crc
            crc = sampled_crc(piece, position, crc)
            download.staged.write(piece, position)

        self._carrier.carry(download, start, end, take)
        download.staged.start_writing_back(start, end - start)
        download.staged.record(number, end - start, crc)
        download.written(number)


def wrapped(error: Exception) -> MirrorError:
    """Return an error that nothing has translated as one of ours."""
    ours: MirrorError
    if isinstance(error, FileNotFoundError):
        ours = BlobMissing(f"a file vanished: {error.filename or error}")
    else:
        ours = MirrorError(f"the transfer failed: {error if isinstance(error, OSError) else repr(error)}")
    ours.__cause__ = error
    return ours
