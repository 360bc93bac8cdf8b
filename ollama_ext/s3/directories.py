"""Directories that are held open, and files in them that are never reached through a symbolic link.

A model store may lie where others can write, and what a path leads to can change between a look and a use.
So every level below the store is opened from the one above it, by one checked name, without following links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from typing import TYPE_CHECKING, Final, Self

from .errors import NoSpace, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

#: What Ollama gives its files and directories; the umask changes neither.
FILE_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o755

#: Who owns what is created, as user and group; None leaves it to the operating system.
Owner = tuple[int, int] | None

#: What file systems that have no locks say to those who want one.
NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Directory:
    """An open directory; a context manager that closes it.

    Attributes:
        path: Where it is, for messages.
        descriptor: The open file descriptor.
    """

    def __init__(self, descriptor: int, path: Path, owner: Owner = None) -> None:
        """Take an open descriptor, which is closed by `close`."""
        self.descriptor: int = descriptor
        self.path = path
        self._owner: Owner = owner

    @classmethod
    def at(cls, path: Path, *, create: bool = False) -> Self:
        """Open a directory by its path, which may lead through links; the caller chose it.

        Raises:
            StoreRefused: There is none, or it cannot be opened or made.
        """
        with failures_of(path):
            if create:
                _make(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        # What root makes in the store of another user that user must be able to remove.
        owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
        return cls(descriptor, path, owner)

    def enter(self, name: str, *, create: bool = False, mode: int = DIRECTORY_MODE) -> Directory:
        """Open a directory in this one, which must be no link.

        Raises:
            FileNotFoundError: There is none, and it is not to be made.
            StoreRefused: It is something else, or cannot be opened or made.
        """
        path = self.path / name
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with failures_of(path):
            made = False
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, mode, dir_fd=self.descriptor)
                    made = True
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
            directory = Directory(descriptor, path, self._owner)
            if made:
                os.fchmod(descriptor, mode)
                directory.give_to_owner(descriptor)
                self.sync()
        return directory

    def reach(self, levels: Sequence[str]) -> tuple[Directory, Sequence[str]]:
        """Open the directory as far below this one as the levels go; return the levels that are missing."""
        here = Directory(os.dup(self.descriptor), self.path, self._owner)
        for depth, level in enumerate(levels):
            try:
                below = here.enter(level)
            except FileNotFoundError:
                return here, levels[depth:]
            except BaseException:
                here.close()
                raise
            here.close()
            here = below
        return here, ()

    def descend(self, levels: Iterable[str], *, create: bool = False) -> Directory:
        """Open a directory some levels below this one, as `enter` does level by level."""
        here = self
        try:
            for level in levels:
                below = here.enter(level, create=create)
                if here is not self:
                    here.close()
                here = below
        except BaseException:
            if here is not self:
                here.close()
            raise
        return here

    def open_file(self, name: str, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """Open a regular file in this directory and return its descriptor.

        Raises:
            FileNotFoundError: There is none, and it is not to be made.
            StoreRefused: It is no regular file, or cannot be opened.
        """
        path = self.path / name
        with failures_of(path):
            # Without O_NONBLOCK the open of a named pipe would wait for somebody at its other end.
            flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(name, flags, mode, dir_fd=self.descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                os.close(descriptor)
                raise StoreRefused(f"{path} is no regular file: move it away")
            if flags & os.O_CREAT and status.st_nlink == 1:  # of two names one may be elsewhere
                self.give_to_owner(descriptor)
        return descriptor

    def read(self, name: str, most: int) -> bytes:
        """Read a file, but no more than one byte more than ``most``.

        Raises:
            FileNotFoundError: There is none.
            StoreRefused: It is no regular file, or cannot be read.
        """
        descriptor = self.open_file(name)
        with failures_of(self.path / name), os.fdopen(descriptor, "rb") as file:
            return file.read(most + 1)

    def status_of(self, name: str) -> os.stat_result:
        """Return the status of what has a name here, without following a link.

        Raises:
            FileNotFoundError: There is none.
        """
        with failures_of(self.path / name):
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def size_of(self, name: str) -> int | None:
        """Return the size of a regular file in bytes, or None without one.

        Raises:
            StoreRefused: There is something else of this name.
        """
        try:
            status = self.status_of(name)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise StoreRefused(
                f"{self.path / name} is {_kind(status.st_mode)}, not a regular file: move it away"
            )
        return status.st_size

    def names(self) -> list[str]:
        """Return the names in this directory, sorted."""
        with failures_of(self.path):
            return sorted(os.listdir(self.descriptor))  # noqa: PTH208 - a Path cannot list an open directory

    def entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the names here, each with its own status; those that vanish meanwhile are left out."""
        for name in self.names():
            with contextlib.suppress(FileNotFoundError):
                yield name, os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

    def touch(self, name: str) -> None:
        """Set the time of a file to now, if it is there and can be changed."""
        with contextlib.suppress(OSError):
            os.utime(name, dir_fd=self.descriptor, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file; it is no failure if there is none."""
        with contextlib.suppress(FileNotFoundError), failures_of(self.path / name):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_tree(self, name: str) -> None:
        """Remove a directory and what is in it; it is no failure if there is none."""
        with contextlib.suppress(FileNotFoundError), failures_of(self.path / name):
            with self.enter(name) as directory:
                for entry, status in directory.entries():
                    if stat.S_ISDIR(status.st_mode):
                        directory.remove_tree(entry)
                    else:
                        directory.remove(entry)
            os.rmdir(name, dir_fd=self.descriptor)

    def move(self, name: str, to: Directory, new_name: str) -> None:
        """Move a file into another directory of the same file system, in place of what is there.

        A directory can take the place of an empty one only.

        Raises:
            FileNotFoundError: It is no longer here, or the other directory is gone.
            FileExistsError: It is a directory, and there is one of this name that is not empty.
        """
        with failures_of(to.path / new_name):
            try:
                os.rename(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=to.descriptor)
            except OSError as error:
                if error.errno == errno.ENOTEMPTY:
                    raise FileExistsError(errno.EEXIST, "there is one", new_name) from None
                raise

    def write(self, content: bytes) -> str:
        """Write a new file, safe on the disk, with the mode of Ollama's; return its name."""
        name = f"{secrets.token_hex(8)}.new"
        descriptor = self.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with failures_of(self.path / name), os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                self.make_public(descriptor)
                os.fsync(descriptor)
        except BaseException:
            self.remove(name)
            raise
        return name

    def write_below(self, levels: Iterable[str], file_name: str, content: bytes) -> str:
        """Write a new file in new directories, all safe on the disk; return the name of the first one."""
        name = f"{secrets.token_hex(8)}.new"
        try:
            with contextlib.ExitStack() as opened:
                here = opened.enter_context(self.enter(name, create=True))
                for level in levels:
                    here = opened.enter_context(here.enter(level, create=True))
                here.move(here.write(content), here, file_name)
                here.sync()
        except BaseException:
            self.remove_tree(name)
            raise
        return name

    def make_public(self, descriptor: int) -> None:
        """Give a file of ours the mode and the owner that Ollama expects."""
        os.fchmod(descriptor, FILE_MODE)
        self.give_to_owner(descriptor)

    def give_to_owner(self, descriptor: int) -> None:
        """Give a file of root's to the owner of the store."""
        if self._owner is not None:
            os.fchown(descriptor, *self._owner)

    @contextlib.contextmanager
    def locked(self, *, alone: bool) -> Generator[None]:
        """Hold a lock on this directory, which the operating system ends with the process.

        Args:
            alone: Whether nobody else may hold it, or all who do not want it alone.
        """
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        except OSError as error:
            if error.errno not in NO_LOCKS:  # of a network file system, where we do without
                raise
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def sync(self) -> None:
        """Have the names in this directory on the disk."""
        with failures_of(self.path):
            os.fsync(self.descriptor)

    def close(self) -> None:
        """Close it; may be called again."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        """Return the directory itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do as `close` does."""
        self.close()


def _make(path: Path) -> None:
    """Make a directory and those above it, as Ollama would have them and for the owner of what is there."""
    if path.is_dir():
        return
    _make(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        path.chmod(DIRECTORY_MODE)
        if os.geteuid() == 0:
            above = path.parent.stat()
            os.chown(path, above.st_uid, above.st_gid)


@contextlib.contextmanager
def failures_of(path: Path) -> Generator[None]:
    """Turn what the operating system refuses into our errors.

    `FileNotFoundError` and `FileExistsError` stay what they are: callers know what they mean.

    Raises:
        NoSpace: There is no room, or no quota.
        StoreRefused: Anything else.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise _failure(error, path) from None


def _failure(error: OSError, path: Path) -> NoSpace | StoreRefused:
    words = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_ROOM:
        return NoSpace(f"{path} cannot be written: {words}; free some space, or choose another store")
    if error.errno in _NO_RIGHT:
        return StoreRefused(
            f"{path} cannot be used: {words}; run this as the user of Ollama, or choose another store"
        )
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return StoreRefused(
            f"{path} is a symbolic link or no directory, and nothing below a model directory is reached "
            "through links: put what it leads to in its place, or mount it there"
        )
    if error.errno == errno.EXDEV:
        return StoreRefused(
            f"{path} is on another file system than the model directory: mount the whole directory"
        )
    return StoreRefused(f"{path} cannot be used: {words}")


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a pipe, a socket or a device"
