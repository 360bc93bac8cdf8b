"""The bytes of an upload: how many, their SHA-256, and the bytes themselves as often as they are needed.

Ollama wants the digest of a blob before its bytes, and an upload that failed is sent again, so content is
read more than once: to hash it, then for each sending. Memory is constant: nothing is held but the piece
at hand, and what the caller gave as bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from .errors import InvalidArgument, OllamaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from .cancel import CancelToken


class BinaryReader(Protocol):
    """Whatever is open for reading in binary mode, such as a file or ``sys.stdin.buffer``."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, and none only at the end."""
        ...


#: What can be uploaded: a file, bytes, or something that the caller opened.
Content = Path | bytes | bytearray | memoryview | BinaryReader

_PIECE: Final = 1 << 20  # bytes of one read; larger ones are not faster


def open_blob(content: Content, argument: str = "content") -> Blob:
    """Open what is to be uploaded; nothing is read yet.

    Args:
        content: A path, bytes, or an open binary file, which is read from where it stands and is not
            closed. A regular file of the caller keeps its position and may be closed at once; what can be
            read once only, such as a pipe, is needed until it is hashed. Bytes that can change, those of
            a bytearray, must not.
        argument: The name of the parameter, for messages.

    Raises:
        InvalidArgument: It is none of these, or cannot be read.
        OllamaError: It can be read once only, and no temporary file for a copy can be made.
    """
    if isinstance(content, Path):
        return Blob(_at(content, argument), argument)
    if isinstance(content, bytes | bytearray | memoryview):
        return Blob(_Memory(_flat(content, argument)), argument)
    if isinstance(content, str):
        problem = f"is the text {content!r:.80}: for a file pass a pathlib.Path, for text its .encode()"
        raise _refused(argument, problem)
    return Blob(_given(content, argument), argument)


class Blob:
    """Content to upload; a context manager that closes what it opened. For one thread at a time."""

    def __init__(self, source: _Source, argument: str) -> None:
        """Take a source of bytes; `open_blob` makes them."""
        self._source = source
        self._argument = argument
        self._digest = ""
        self._closed = False

    @property
    def size(self) -> int:
        """The number of bytes; of a pipe it is known once it is hashed, which this does if need be."""
        if self._source.size is None:
            self.hash()
        return self._source.size or 0

    @property
    def digest(self) -> str:
        """``sha256:`` and 64 hexadecimal digits; hashes the content if that was not done before."""
        return self.hash()

    def hash(
        self,
        on_progress: Callable[[int, int], None] | None = None,
        cancel: CancelToken | None = None,
    ) -> str:
        """Hash the content, the first time, and return its digest.

        What can be read once only, such as a pipe, is copied into a temporary file on the way.

        Args:
            on_progress: Called after each read with the bytes hashed so far and those in all, which is 0
                where it is not known.
            cancel: Looked at before each read.

        Raises:
            Cancelled: By the token. The content can be hashed anew, unless it can be read once only.
            InvalidArgument: It cannot be read, or changes meanwhile.
            OllamaError: There is no room for the copy.
        """
        if self._digest:
            return self._digest
        self._check_open()
        sha256, done, total = hashlib.sha256(), 0, self._source.size or 0
        pieces = self._source.pieces()
        while True:
            if cancel is not None:
                cancel.raise_if_cancelled()
            if not (piece := next(pieces, b"")):
                break
            sha256.update(piece)  # lets other threads run
            done += len(piece)
            if on_progress is not None:
                on_progress(done, total)
        if isinstance(self._source, _Stream):
            self._source = self._source.copied()
        self._digest = f"sha256:{sha256.hexdigest()}"
        return self._digest

    def pieces(self) -> Iterator[bytes]:
        """Yield the content from its start, in pieces of at most 1 MiB; each call starts anew.

        Raises:
            InvalidArgument: It cannot be read, or is no longer what it was when it was opened. Never is
                less than `size` yielded without that.
        """
        self._check_open()
        if self._source.size is None:
            self.hash()
        for piece in self._source.pieces():
            yield piece
            self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise _refused(self._argument, "was closed: open it anew with open_blob()")

    def close(self) -> None:
        """Close what was opened here; a file of the caller stays open. May be called again."""
        self._closed = True
        self._source.close()

    def __enter__(self) -> Self:
        """Return the blob itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do as `close` does."""
        self.close()


class _Source(Protocol):
    @property
    def size(self) -> int | None:
        """Bytes, or None while that is not known."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Yield the content from its start."""
        ...

    def close(self) -> None:
        """Close what is ours."""
        ...


class _Memory:
    """Bytes that the caller holds."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.size = len(view)

    def pieces(self) -> Iterator[bytes]:
        for start in range(0, self.size, _PIECE):
            yield bytes(self._view[start : start + _PIECE])

    def close(self) -> None:
        self._view.release()  # until then the caller cannot resize a bytearray


class _File:
    """A regular file, from some place of it on, read with a descriptor of our own.

    Every read says where, so that no position is shared with the caller or between two readings.
    """

    def __init__(self, file: io.FileIO, name: str, argument: str, start: int = 0) -> None:
        self._file = file
        self._name = name
        self._argument = argument
        self._start = start
        self._version = self._version_now()
        self.size = max(self._version[0] - start, 0)

    def _version_now(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    def pieces(self) -> Iterator[bytes]:
        done = 0
        while True:
            try:
                # fileno() of a closed file raises; its bare number could be another file's by now.
                piece = os.pread(self._file.fileno(), _PIECE, self._start + done)
                version = self._version_now()
            except (OSError, ValueError) as error:
                raise _unreadable(self._argument, self._name, error) from None
            done += len(piece)
            # Looked at after the read, so that no piece is of after a change and those before it are not.
            # Of what the kernel makes up, as in /proc, the size is wrong though nothing changed.
            if version != self._version or done > self.size or (not piece and done < self.size):
                problem = f"changed since it was opened, with {self.size:,} bytes then: {self._name}"
                raise _refused(self._argument, f"{problem}; try again when nothing writes to it")
            if not piece:
                return
            yield piece

    def close(self) -> None:
        self._file.close()


class _Stream:
    """What can be read once only, such as a pipe: copied into a temporary file as it is read."""

    size: int | None = None

    def __init__(self, file: Any, name: str, argument: str) -> None:
        self._file = file
        self._name = name
        self._argument = argument
        self._begun = False
        try:
            # Unbuffered, so that lack of room shows at the write and not at some later time.
            self._copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as we do
        except OSError as error:
            raise self._no_room(error) from None

    def pieces(self) -> Iterator[bytes]:
        if self._begun:
            problem = f"was read in part and cannot be read again: {self._name}; open it anew"
            raise _refused(self._argument, problem)
        self._begun = True
        while piece := self._read():
            self._write(piece)
            yield piece

    def _read(self) -> bytes:
        try:
            # read1() returns what is there, where read() waits for the whole piece.
            piece = getattr(self._file, "read1", self._file.read)(_PIECE)
        except (OSError, ValueError) as error:
            raise _unreadable(self._argument, self._name, error) from None
        if piece is None:
            problem = f"has no bytes yet and does not wait for them: make {self._name} a blocking file"
            raise _refused(self._argument, problem)
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise _refused(self._argument, _in_text_mode(self._name))
        return bytes(piece)

    def _write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._copy.write(rest) :]
        except OSError as error:
            raise self._no_room(error) from None

    def _no_room(self, error: OSError) -> OllamaError:
        return OllamaError(
            f"{self._argument}: {self._name} can be read once only, and the copy that is needed to send it "
            f"cannot be written: {error.strerror or error}; set TMPDIR to a directory with room, or pass "
            "the path of a file"
        )

    def copied(self) -> _File:
        """Return the copy of all that was read."""
        return _File(self._copy, f"the copy of {self._name}", self._argument)

    def close(self) -> None:
        self._copy.close()


class _OwnStream(_Stream):
    """The same of what we opened: a named pipe."""

    def copied(self) -> _File:
        self._file.close()
        return super().copied()

    def close(self) -> None:
        self._file.close()
        super().close()


def _at(path: Path, argument: str) -> _Source:
    """Open a path."""
    try:
        file = path.open("rb", buffering=0)
    except IsADirectoryError:
        raise _refused(argument, f"is the directory {path}: pass a file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise _unreadable(argument, str(path), error) from None
    try:
        kind = _File if _is_regular(file) else _OwnStream
        return kind(file, str(path), argument)
    except BaseException:
        file.close()
        raise


def _given(file: Any, argument: str) -> _Source:
    """Take a file that the caller opened."""
    if isinstance(inner := getattr(file, "file", None), io.IOBase):
        file = inner  # of a NamedTemporaryFile, which is a wrapper around it
    if not callable(getattr(file, "read", None)):
        kind = type(file).__name__
        problem = f"must be a pathlib.Path, bytes or an open binary file, not {kind} ({file!r:.80})"
        raise _refused(argument, problem)
    name = _name_of(file)
    if isinstance(file, io.TextIOBase):
        raise _refused(argument, _in_text_mode(name))
    if getattr(file, "closed", False):
        raise _refused(argument, f"is a closed file, {name}: keep it open")
    if isinstance(file, io.IOBase) and not file.readable():
        raise _refused(argument, f"is open for writing only, {name}: open it in mode 'rb'")
    if type(file) is io.BytesIO:
        return _Memory(memoryview(file.getvalue())[file.tell() :])  # getvalue() does not copy
    try:
        if _is_plain(file) and _is_regular(file):
            file.flush()  # what a file open for both still holds back
            start = file.tell()
            return _File(io.FileIO(os.dup(file.fileno())), name, argument, start)
    except OSError as error:
        raise _unreadable(argument, name, error) from None
    return _Stream(file, name, argument)


def _is_plain(file: Any) -> bool:
    """Whether reading it gives what is in its descriptor, as reading a GzipFile, say, does not."""
    raw = file.raw if type(file) in {io.BufferedReader, io.BufferedRandom} else file
    return type(raw) is io.FileIO


def _is_regular(file: Any) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _flat(content: bytes | bytearray | memoryview, argument: str) -> memoryview:
    try:
        view = memoryview(content)
    except ValueError:
        raise _refused(argument, "is a memoryview that was released: pass one that is not") from None
    try:
        return view.cast("B")
    except TypeError:  # with gaps between its items, or none, or items of a kind that is not cast
        return memoryview(view.tobytes())


def _name_of(file: Any) -> str:
    name = getattr(file, "name", None)
    if isinstance(name, int):
        return f"file descriptor {name}"
    return name if isinstance(name, str) and name else f"a {type(file).__name__}"


def _in_text_mode(name: str) -> str:
    return f"is a file in text mode, {name}: open it in mode 'rb', or pass its .buffer"


def _unreadable(argument: str, name: str, error: Exception) -> InvalidArgument:
    problem = getattr(error, "strerror", None) or str(error)
    remedy = "check that it is there and that this user may read it"
    return _refused(argument, f"cannot be read: {name}: {problem}; {remedy}")


def _refused(argument: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"{argument} {problem}", argument=argument)
