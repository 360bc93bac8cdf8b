"""Content to upload: hashed once, read as often as needed, and never short in silence."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import os
import sys
import tempfile
import threading
import tracemalloc
from array import array
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_ext import blobs
from ollama_ext.blobs import Blob, open_blob
from ollama_ext.cancel import CancelToken
from ollama_ext.errors import Cancelled, InvalidArgument, OllamaError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 2 + b"the end"  # a little more than two pieces


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(DATA)
    return file


@contextmanager
def pipe_with(data: bytes) -> Generator[BinaryIO]:
    """Run a thread that writes data into a pipe; give the end to read from."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as end:
        yield end
    writer.join()


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


# -- every kind of content


def assert_is(blob: Blob, data: bytes) -> None:
    """Assert that a blob is this data, however often it is read."""
    with blob:
        assert blob.digest == digest_of(data)
        assert blob.size == len(data)
        for _ in range(2):
            pieces = list(blob.pieces())
            assert b"".join(pieces) == data
            assert all(0 < len(piece) <= MIB for piece in pieces)


def test_a_path_is_read_whole_as_often_as_asked(path: Path) -> None:
    assert_is(open_blob(path), DATA)


@pytest.mark.parametrize("data", [b"", b"x", DATA])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_of_every_kind_are_content(kind: Callable[[bytes], Any], data: bytes) -> None:
    assert_is(open_blob(kind(data)), data)


@pytest.mark.parametrize(
    "view",
    [
        memoryview(b"abcdef")[::2],
        memoryview(array("i", [1, -2, 3])),
        memoryview(array("d", [1.5])).cast("B").cast("B", (2, 4)),
        memoryview(b"")[::2],
    ],
)
def test_a_memoryview_of_any_shape_is_its_bytes(view: memoryview) -> None:
    assert_is(open_blob(view), view.tobytes())


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("start", [0, 7, len(DATA), len(DATA) + 100])
def test_an_open_file_is_read_from_where_it_stands_and_stays_there(
    path: Path, start: int, buffering: int
) -> None:
    with path.open("rb", buffering=buffering) as file:
        file.seek(start)
        assert_is(open_blob(file), DATA[start:])
        assert file.tell() == start
        assert file.read() == DATA[start:]


def test_a_file_of_which_a_buffer_was_read_ahead_starts_where_the_reader_is(path: Path) -> None:
    with path.open("rb") as file:
        assert file.read(3) == DATA[:3]
        assert_is(open_blob(file), DATA[3:])


def test_a_regular_file_may_be_closed_as_soon_as_it_is_opened_as_a_blob(path: Path) -> None:
    with path.open("rb") as file:
        blob = open_blob(file)
    assert_is(blob, DATA)


def test_what_a_file_open_for_both_still_holds_back_is_no_later_change(path: Path) -> None:
    with path.open("rb+") as file:
        file.write(b"new")
        blob = open_blob(file)
    assert_is(blob, DATA[3:])


def test_a_named_temporary_file_is_a_file() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(DATA)
        file.seek(0)
        with no_copies():
            assert_is(open_blob(file), DATA)


@pytest.mark.parametrize("opened", [gzip.open, bz2.open], ids=["gzip", "bz2"])
def test_a_compressed_file_is_what_is_in_it_not_what_is_on_disk(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    with opened(tmp_path / "packed", "wb") as packed:
        packed.write(DATA)
    with opened(tmp_path / "packed", "rb") as file:
        file.read(5)
        assert_is(open_blob(file), DATA[5:])


def test_a_spooled_temporary_file_is_read_from_where_it_stands() -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(DATA)
        file.seek(2)
        assert_is(open_blob(file), DATA[2:])


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_a_pipe_is_copied_so_that_it_can_be_sent_again(data: bytes) -> None:
    with pipe_with(data) as pipe:
        assert_is(open_blob(pipe), data)
        assert not pipe.closed


def test_a_pipe_is_not_needed_once_it_is_hashed() -> None:
    with pipe_with(DATA) as pipe:
        blob = open_blob(pipe)
        blob.hash()
    assert_is(blob, DATA)


def size_of(blob: Blob) -> int:
    return blob.size


def first_piece_of(blob: Blob) -> bytes:
    return next(blob.pieces())


@pytest.mark.parametrize("ask", [size_of, first_piece_of])
def test_a_pipe_that_was_not_hashed_is_when_that_is_needed(ask: Callable[[Blob], object]) -> None:
    with pipe_with(DATA) as pipe:
        blob = open_blob(pipe)
        ask(blob)
        assert_is(blob, DATA)


def test_a_named_pipe_is_copied_too(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=[DATA])
    writer.start()
    assert_is(open_blob(fifo), DATA)
    writer.join()


def test_a_named_pipe_is_closed_though_it_was_not_read(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = open_descriptors()
    end = os.open(fifo, os.O_RDWR)  # waits for nobody
    open_blob(fifo).close()
    os.close(end)
    assert open_descriptors() == before


class Drops:
    """An object that has read() and nothing else, and gives a little at a time."""

    def __init__(self, data: bytes) -> None:
        """Hold the data."""
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        """Return fewer bytes than were asked for."""
        return self._data.read(min(size, 100_000))


def test_any_object_with_read_is_a_file() -> None:
    assert_is(open_blob(Drops(DATA)), DATA)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 210), st.integers(1, 64))
def test_pieces_add_up_to_the_content_whatever_its_size(data: bytes, start: int, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile() as file:
        patch.setattr(blobs, "_PIECE", piece)
        file.write(data)
        file.seek(start)
        for content in (file, data[start:], Drops(data[start:])):
            with open_blob(content) as blob:
                assert blob.digest == digest_of(data[start:])
                assert b"".join(blob.pieces()) == data[start:]
                assert blob.size == len(data[start:])


# -- hashed once, in constant memory


@contextmanager
def no_copies() -> Generator[None]:
    """Make every temporary file that is asked for a failure."""

    def refuse(**_options: object) -> None:
        raise AssertionError("a copy was made")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", refuse)
        yield


def test_what_can_be_read_again_is_not_copied(path: Path) -> None:
    with no_copies(), path.open("rb") as file:
        for content in (path, DATA, io.BytesIO(DATA), file):
            assert_is(open_blob(content), DATA)


def test_content_is_hashed_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, sha256 = list[object](), hashlib.sha256
    reported = list[tuple[int, int]]()

    def counting() -> Any:
        made.append(None)
        return sha256()

    def report(done: int, total: int) -> None:
        reported.append((done, total))

    monkeypatch.setattr(hashlib, "sha256", counting)
    with open_blob(path) as blob:
        assert blob.size == len(DATA)
        assert made == []  # not before it is needed
        blob.hash(report)
        blob.hash(report)
        list(blob.pieces())
        list(blob.pieces())
        assert blob.digest == blob.hash()
    assert len(made) == 1
    assert reported == [(MIB, len(DATA)), (2 * MIB, len(DATA)), (len(DATA), len(DATA))]


def test_the_progress_of_a_pipe_has_no_total() -> None:
    reported = list[tuple[int, int]]()

    def report(done: int, total: int) -> None:
        reported.append((done, total))

    with pipe_with(DATA) as pipe, open_blob(pipe) as blob:
        blob.hash(report)
    assert reported[-1] == (len(DATA), 0)
    assert {total for _, total in reported} == {0}
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)


@contextmanager
def memory_below(limit: int) -> Generator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit


def test_memory_is_constant_for_a_file_of_any_size(tmp_path: Path) -> None:
    size = 128 * MIB
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(size)
    with memory_below(5 * MIB), open_blob(tmp_path / "sparse") as blob:
        blob.hash()
        assert sum(map(len, blob.pieces())) == size


def test_memory_is_constant_for_a_pipe(tmp_path: Path) -> None:
    size = 32 * MIB
    with (tmp_path / "sparse").open("wb+", buffering=0) as file:
        file.truncate(size)
        with memory_below(5 * MIB), open_blob(Once(file)) as blob:
            blob.hash()
            assert sum(map(len, blob.pieces())) == size


class Once:
    """A file without all that would show that it can be read again."""

    def __init__(self, file: BinaryIO) -> None:
        """Take over one method."""
        self.read = file.read


# -- content that changes


def hashed(path: Path) -> Blob:
    blob = open_blob(path)
    blob.hash()
    return blob


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, len(DATA) - 1)


def rewrite(path: Path) -> None:
    before = path.stat().st_mtime_ns
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(before + 1, before + 1))  # the clock of a file system may be coarse


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


CHANGES = [grow, shrink, rewrite, touch]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_it_was_hashed_is_refused_before_a_byte_is_sent(
    path: Path, change: Callable[[Path], None]
) -> None:
    with hashed(path) as blob:
        change(path)
        with pytest.raises(InvalidArgument, match=r"content changed since it was opened.*model\.gguf"):
            next(blob.pieces())


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_sent_is_refused_at_the_next_piece(
    path: Path, change: Callable[[Path], None]
) -> None:
    with hashed(path) as blob:
        pieces = blob.pieces()
        assert next(pieces) == DATA[:MIB]
        change(path)
        with pytest.raises(InvalidArgument, match="changed"):
            next(pieces)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_hashed_is_refused(
    path: Path, change: Callable[[Path], None]
) -> None:
    with open_blob(path) as blob:

        def meanwhile(done: int, _total: int) -> None:
            if done == MIB:
                change(path)

        with pytest.raises(InvalidArgument, match="changed"):
            blob.hash(meanwhile)


def test_a_file_that_is_replaced_or_deleted_is_sent_as_it_was(path: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"other")
    with hashed(path) as blob:
        (tmp_path / "new").replace(path)
        assert b"".join(blob.pieces()) == DATA
        path.unlink()
        assert_is(blob, DATA)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_file_whose_size_is_a_lie_is_refused() -> None:
    with open_blob(Path("/proc/version")) as blob, pytest.raises(InvalidArgument, match="changed"):
        blob.hash()


def test_a_file_that_ends_before_its_size_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread

    def ends_early(number: int, size: int, start: int) -> bytes:
        return b"" if start else pread(number, size, start)

    with hashed(path) as blob:
        monkeypatch.setattr(os, "pread", ends_early)
        with pytest.raises(InvalidArgument, match="changed"):
            list(blob.pieces())


def test_a_bytearray_cannot_be_resized_until_the_blob_is_closed() -> None:
    content = bytearray(b"abc")
    with open_blob(content) as blob:
        blob.hash()
        with pytest.raises(BufferError):
            content.append(0)
    content.append(0)


# -- cancelling


def test_cancelling_ends_the_hashing_between_two_reads_and_it_can_begin_anew(path: Path) -> None:
    token, reads = CancelToken(), list[int]()

    def cancel(done: int, _total: int) -> None:
        reads.append(done)
        token.cancel()

    with open_blob(path) as blob:
        with pytest.raises(Cancelled):
            blob.hash(cancel, token)
        assert reads == [MIB]
        assert_is(blob, DATA)


def test_a_token_that_was_cancelled_before_reads_nothing() -> None:
    token = CancelToken()
    token.cancel()
    with pipe_with(DATA) as pipe, open_blob(pipe) as blob:
        with pytest.raises(Cancelled):
            blob.hash(cancel=token)
        assert blob.hash(cancel=CancelToken()) == digest_of(DATA)


def test_a_pipe_that_was_read_in_part_is_refused_and_not_taken_as_whole() -> None:
    token = CancelToken()

    def cancel(_done: int, _total: int) -> None:
        token.cancel()

    with open_blob(Drops(DATA)) as blob:
        with pytest.raises(Cancelled):
            blob.hash(cancel, token)
        with pytest.raises(InvalidArgument, match="read in part"):
            blob.hash()
        with pytest.raises(InvalidArgument, match="read in part"):
            next(blob.pieces())


def test_cancelling_does_not_wait_for_a_pipe_to_fill_a_piece() -> None:
    reading, writing = os.pipe()
    token = CancelToken()

    def cancel(_done: int, _total: int) -> None:
        token.cancel()

    with (
        os.fdopen(reading, "rb") as pipe,
        os.fdopen(writing, "wb", buffering=0) as end,
        open_blob(pipe) as blob,
    ):
        end.write(b"a little")  # and the pipe stays open
        with pytest.raises(Cancelled):
            blob.hash(cancel, token)


# -- what is refused


def refused(content: object, *words: str, argument: str = "content") -> None:
    """Assert that content is refused, by an error that has these words."""
    before = open_descriptors()
    with pytest.raises(InvalidArgument) as caught, open_blob(content, argument) as blob:  # type: ignore[arg-type]
        blob.hash()
    assert caught.value.argument == argument
    for word in (argument, *words):
        assert word in str(caught.value)
    assert open_descriptors() == before


def test_a_string_is_no_path() -> None:
    refused("model.gguf", "'model.gguf'", "pathlib.Path")


@pytest.mark.parametrize("content", [None, 5, ["a"], {"path": "x"}, object, iter([b"a"])])
def test_what_is_no_content_is_refused_with_what_it_is(content: object) -> None:
    refused(content, "pathlib.Path", type(content).__name__)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "none.gguf", "none.gguf", "No such file", argument="files")


def test_a_directory_is_named(tmp_path: Path) -> None:
    refused(tmp_path, str(tmp_path), "directory", "a file in it")


def test_a_name_that_no_file_can_have_is_refused() -> None:
    refused(Path("a\0b"), "null byte")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_a_file_that_cannot_be_opened_is_refused_with_the_reason(
    path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", fail)  # root may read everything
    refused(path, "model.gguf", os.strerror(number))


def test_a_process_with_too_many_open_files_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_number: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "dup", fail)
    with path.open("rb") as file:
        refused(file, "model.gguf", "Too many open files")


def test_a_file_that_cannot_be_read_on_is_refused_with_the_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    refused(path, "model.gguf", "Input/output error")


def test_a_pipe_that_cannot_be_read_is_refused_with_the_reason() -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _buffer: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

    refused(Broken(), "Broken", "Input/output error")


def test_a_file_in_text_mode_is_refused_with_the_mode_to_use(path: Path) -> None:
    with path.open(encoding="latin-1") as file:
        refused(file, "model.gguf", "'rb'")
    with tempfile.NamedTemporaryFile("w+") as file:
        refused(file, "'rb'")
    refused(io.StringIO("text"), "StringIO", "'rb'")


def test_an_object_that_gives_text_is_refused() -> None:
    class Text:
        def read(self, _size: int) -> str:
            return "text"

    refused(Text(), "Text", "'rb'")


def test_a_file_for_writing_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        refused(file, "out", "writing", "'rb'")


def test_a_closed_file_is_refused(path: Path) -> None:
    with path.open("rb") as file:
        pass
    refused(file, "model.gguf", "closed")


def test_a_released_memoryview_is_refused() -> None:
    view = memoryview(b"abc")
    view.release()
    refused(view, "released")


def test_a_pipe_that_does_not_wait_is_refused() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as pipe, os.fdopen(writing, "wb"):
        refused(pipe, f"file descriptor {reading}", "blocking")


# -- no room for the copy


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_told_with_where_to_copy_to_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    full = list[io.FileIO]()

    def on_a_full_disk(*, buffering: int) -> io.FileIO:
        assert buffering == 0
        full.append(io.FileIO("/dev/full", "r+"))
        return full[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", on_a_full_disk)
    with open_blob(Drops(DATA)) as blob:
        with pytest.raises(OllamaError, match=r"No space left on device; set TMPDIR") as caught:
            blob.hash()
        assert not isinstance(caught.value, InvalidArgument)
        assert "Drops" in str(caught.value)
    assert full[0].closed


def test_a_machine_without_a_temporary_directory_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(**_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    end = os.open(fifo, os.O_RDWR)  # so that opening it waits for nobody
    before = open_descriptors()
    for content in (Drops(DATA), fifo):
        with pytest.raises(OllamaError, match="No usable temporary directory"):
            open_blob(content)
    assert open_descriptors() == before
    os.close(end)


def test_a_copy_is_written_whole_by_a_disk_that_takes_a_little_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Slow(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(data[:70_000])

    def slow(*, buffering: int) -> io.FileIO:
        assert buffering == 0
        return Slow(tmp_path / "copy", "w+")

    monkeypatch.setattr(tempfile, "TemporaryFile", slow)
    assert_is(open_blob(Drops(DATA)), DATA)


# -- closing


@pytest.mark.parametrize("kind", ["path", "bytes", "pipe", "file"])
@pytest.mark.parametrize("hash_first", [False, True])
def test_closing_leaves_nothing_open_and_ends_a_reading(path: Path, kind: str, hash_first: bool) -> None:
    with path.open("rb") as file:
        before = open_descriptors()
        contents: dict[str, Any] = {"path": path, "bytes": DATA, "pipe": Drops(DATA), "file": file}
        with open_blob(contents[kind]) as blob:
            if hash_first:
                blob.hash()
            pieces = blob.pieces()
            assert next(pieces)
        with pytest.raises(InvalidArgument, match="was closed"):
            next(pieces)
        with pytest.raises(InvalidArgument, match="was closed"):
            next(blob.pieces())
        blob.close()
        assert open_descriptors() == before
        assert not file.closed


def test_the_digest_and_size_stay_known_after_closing(path: Path) -> None:
    with hashed(path) as blob:
        pass
    assert (blob.digest, blob.size) == (digest_of(DATA), len(DATA))
    with open_blob(path) as blob:
        pass
    with pytest.raises(InvalidArgument, match="was closed"):
        blob.hash()


def test_two_readings_of_one_blob_do_not_disturb_each_other(path: Path) -> None:
    with hashed(path) as blob:
        assert all(one == other for one, other in zip(blob.pieces(), blob.pieces(), strict=True))
