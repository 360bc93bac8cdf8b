"""Where blobs are put together before a model shows them: beside ``blobs/`` and ``manifests/``, not in them.

Ollama looks through both of these when it starts, and removes or trips over what it does not know there. Each
blob has up to four files here, named by its digest:

    <hex>.lock    held by the process that works on the blob, and removed by it; never renamed
    <hex>.part    its bytes so far
    <hex>.parts   the journal: which parts of it were written
    <hex>.whole   all of its bytes, hashed once; they are hashed again by a process that finds them

Nothing here is believed: what another process has left is hashed before it is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import stat
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from .directories import NO_LOCKS, Directory, failures_of
from .errors import StoreRefused
from .journal import Journal, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGING: Final = ".ollama-ext-staging"

# One call writes many pieces of 32 KiB: of larger ones the kernel makes large folios, which cost three to six
# times as much in a virtual machine whose host has taken the memory back.
_WRITE_BYTES: Final = 32 << 10


class Staging:
    """The staging directory of one store, for any number of threads; a context manager that closes it."""

    def __init__(self, root: Directory) -> None:
        """Take the model directory. Nothing is made before it is needed: a store can be read-only."""
        self._root = root
        self._lock = threading.Lock()
        self._directory: Directory | None = None

    @property
    def directory(self) -> Directory:
        """The directory, made for nobody but its owner to read.

        Raises:
            StoreRefused: It cannot be made.
        """
        with self._lock:
            if self._directory is None:
                self._directory = self._root.enter(STAGING, create=True, mode=0o700)
            return self._directory

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        with contextlib.suppress(FileNotFoundError), self._lock:
            if self._directory is None:
                self._directory = self._root.enter(STAGING)
        return self._directory is not None

    def lock(self, digest: str) -> BlobLock | None:
        """Take the right to work on a blob, or return None while another has it."""
        name = _hex(digest)
        while True:
            descriptor = self.directory.open_file(f"{name}.lock", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError as error:
                os.close(descriptor)
                if error.errno not in NO_LOCKS:
                    raise
                # A network file system without locks: a name of our own, and nothing to resume.
                self.directory.remove(f"{name}.lock")
                return BlobLock(self.directory, f"{name}.{secrets.token_hex(4)}", -1)
            if self._is_still(f"{name}.lock", descriptor):
                return BlobLock(self.directory, name, descriptor)
            os.close(descriptor)  # its last holder removed it between our open and our lock

    def is_locked(self, digest: str) -> bool:
        """Whether somebody works on a blob; unlike `lock` this changes nothing."""
        try:
            descriptor = self.directory.open_file(f"{_hex(digest)}.lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        finally:
            os.close(descriptor)
        return False

    def _is_still(self, name: str, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=self.directory.descriptor, follow_symlinks=False)
            return os.path.samestat(found, os.fstat(descriptor))
        return False

    def whole_size(self, digest: str) -> int | None:
        """Return the size of the staged blob that is waiting to be published, or None."""
        return self.directory.size_of(f"{_hex(digest)}.whole")

    def open_whole(self, digest: str) -> int:
        """Open it and return the descriptor."""
        return self.directory.open_file(f"{_hex(digest)}.whole")

    def remove_whole(self, digest: str) -> None:
        """Remove it."""
        self.directory.remove(f"{_hex(digest)}.whole")

    def touch_whole(self, digest: str) -> None:
        """Make it young, so that no prune takes it for something that nobody waits for."""
        self.directory.touch(f"{_hex(digest)}.whole")

    def move_whole(self, digest: str, to: Directory, name: str) -> None:
        """Move it to where it is to be seen.

        Raises:
            FileNotFoundError: It is not here.
            StoreRefused: It is something else than a file.
        """
        self.whole_size(digest)  # refuses what is no file
        self.directory.move(f"{_hex(digest)}.whole", to, name)

    def staged_bytes(self, digest: str, size: int) -> int:
        """Return how many bytes of disk a blob has here already, so that they need no room."""
        for suffix in ("whole", "part") if self.exists else ():
            with contextlib.suppress(FileNotFoundError):
                name = f"{_hex(digest)}.{suffix}"
                found = os.stat(name, dir_fd=self.directory.descriptor, follow_symlinks=False)
                return min(found.st_blocks * 512, size)
        return 0

    def leftovers(self) -> Iterator[tuple[str, str, os.stat_result]]:
        """Yield what is here: the hexadecimal digest, the name and the status of each file and directory."""
        for name, status in self.directory.entries() if self.exists else ():
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                yield name.partition(".")[0], name, status

    def close(self) -> None:
        """Close it; may be called again."""
        if self._directory is not None:
            self._directory.close()

    def __enter__(self) -> Self:
        """Return the staging itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do as `close` does."""
        self.close()


class BlobLock:
    """The right to work on one blob; ends with the process that has it.

    Attributes:
        stem: What the names of the blob's files begin with.
        resumable: Whether what lies under these names can be an earlier run's.
    """

    def __init__(self, directory: Directory, stem: str, descriptor: int) -> None:
        """Take the open and locked file, or -1 where there are no locks."""
        self.stem = stem
        self.resumable: bool = descriptor >= 0
        self._directory = directory
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the right back; may be called again."""
        if self._descriptor >= 0:
            # Before it is unlocked: who has it open sees that, and makes a new one.
            self._directory.remove(f"{self.stem}.lock")
            os.close(self._descriptor)
            self._descriptor = -1


class StagedBlob:
    """The bytes of one blob while they arrive. `write` and `record` are for any number of threads.

    Attributes:
        known: The parts that an earlier run says to have written, by number.
    """

    def __init__(self, staging: Staging, lock: BlobLock, *, digest: str, size: int, part_size: int) -> None:
        """Open what there is of the blob, or make room for it.

        Raises:
            NoSpace: There is no room for all of it.
        """
        self._directory = staging.directory
        self._lock = lock
        self._digest = digest
        self._size = size
        self._part_size = part_size
        self._journal: Journal | None = None
        # The kernel lets one write into a file at a time; who waits for that in the kernel burns a processor.
        self._writing = threading.Lock()
        name = f"{lock.stem}.part"
        self._path = self._directory.path / name
        self._descriptor = self._directory.open_file(name, os.O_RDWR | os.O_CREAT)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        with failures_of(self._path):
            if os.fstat(self._descriptor).st_size != self._size:
                os.ftruncate(self._descriptor, 0)
                self._directory.remove(f"{self._lock.stem}.parts")
                allocate(self._descriptor, self._size)
        self.known: dict[int, Part] = {}
        if self._size > self._part_size:
            sizes = {"size": self._size, "part_size": self._part_size}
            name = f"{self._lock.stem}.parts"
            with failures_of(self._directory.path / name):
                self._journal = Journal(self._directory, name, digest=self._digest, **sizes)
            self.known = self._journal.parts

    def write(self, piece: bytes | memoryview, position: int) -> None:
        """Write some bytes at a position."""
        view = memoryview(piece)
        with failures_of(self._path), self._writing:
            while view:
                pieces = [view[start : start + _WRITE_BYTES] for start in range(0, len(view), _WRITE_BYTES)]
                written = os.pwritev(self._descriptor, pieces, position)
                view, position = view[written:], position + written

    def read(self, buffer: memoryview, position: int) -> int:
        """Read bytes back from a position; return how many."""
        with failures_of(self._path):
            return os.preadv(self._descriptor, [buffer], position)

    def record(self, number: int, length: int, crc: int) -> None:
        """Take note that a part is written."""
        if self._journal is not None:
            with failures_of(self._directory.path / f"{self._lock.stem}.parts"):
                self._journal.add(number, length, crc)

    def start_writing_back(self, start: int, length: int) -> None:
        """Have the disk begin with some bytes that are written, so that the wait at the end is short."""
        # For bytes that are still to be written this advice means just that; they stay in memory meanwhile.
        self.forget(start, length)

    def forget(self, start: int, length: int) -> None:
        """Tell the kernel, where it listens, that some bytes will not be read again soon."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, start, length, os.POSIX_FADV_DONTNEED)

    def finish(self) -> None:
        """Have the whole blob on the disk, as one that waits to be published; its hash was right."""
        name = f"{self._lock.stem}.part"
        with failures_of(self._directory.path / name):
            self._directory.make_public(self._descriptor)
            os.fsync(self._descriptor)
        if not os.path.samestat(self._directory.status_of(name), os.fstat(self._descriptor)):
            problem = "is no longer the file that was written: see who else writes there"
            raise StoreRefused(f"{self._directory.path / name} {problem}")
        self._directory.move(name, self._directory, f"{_hex(self._digest)}.whole")
        self._end(remove=True)

    def discard(self) -> None:
        """Throw away what there is: its hash was wrong."""
        self._directory.remove(f"{self._lock.stem}.part")
        self._end(remove=True)

    def close(self) -> None:
        """Leave what there is to a later run; may be called again. No thread may still write."""
        if not self._lock.resumable:
            self._directory.remove(f"{self._lock.stem}.part")
        self._end(remove=not self._lock.resumable)

    def _end(self, *, remove: bool) -> None:
        if self._journal is not None:
            self._journal.close(remove=remove)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def allocate(descriptor: int, size: int) -> None:
    """Give a file its size and, where the file system can, all of its disk space at once.

    Not by ``posix_fallocate``, which writes into every block where the file system cannot (as over NFS).
    """
    function = getattr(_libc(), "fallocate", None)
    if function is not None:
        if function(descriptor, 0, ctypes.c_int64(0), ctypes.c_int64(size)) == 0:
            return
        number = ctypes.get_errno()
        if number not in {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
            raise OSError(number, os.strerror(number))
    os.ftruncate(descriptor, size)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
