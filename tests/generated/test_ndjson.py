"""Bytes to lines to chunks, without a connection."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama_openapi.ndjson import ChunkStream, LineSplitter

if TYPE_CHECKING:
    from collections.abc import Iterable

lines_of_bytes = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=6)


def lines_in(reads: Iterable[bytes]) -> list[bytes]:
    """Return the lines of a body that comes in these reads."""
    splitter = LineSplitter()
    lines = [line for read in reads for line in splitter.feed(read)]
    return lines + splitter.finish()


@given(lines=lines_of_bytes, cuts=st.lists(st.integers(0, 80)), ended=st.booleans())
def test_any_split_into_reads_gives_the_same_lines(lines: list[bytes], cuts: list[int], ended: bool) -> None:
    body = b"\n".join(lines) + b"\n" * ended
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    reads = [body[start:end] for start, end in zip(places, [*places[1:], len(body)], strict=True)]

    assert lines_in(reads) == [line for line in lines if line.strip()]
    assert lines_in([body]) == lines_in(reads)


@given(text=st.text())
def test_a_line_of_json_comes_out_as_it_went_in(text: str) -> None:
    line = json.dumps(text, ensure_ascii=False).encode(errors="surrogatepass")
    assert lines_in([line + b"\n", line]) == [line, line]


@pytest.mark.parametrize(
    "character", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"]
)
def test_only_a_newline_ends_a_line(character: str) -> None:
    line = f'"a{character}b"'.encode()
    assert lines_in([line + b"\n" + line]) == [line, line]


def test_blank_lines_are_no_lines() -> None:
    assert lines_in([b"\n\n \r\n", b"a\n", b"\n", b"\t"]) == [b"a"]


def test_a_line_comes_with_the_read_that_ends_it() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"a") == []
    assert splitter.feed(b"") == []
    assert splitter.feed(b"b\nc\nd") == [b"ab", b"c"]
    assert splitter.finish() == [b"d"]
    assert splitter.finish() == []


def test_a_splitter_is_as_new_after_the_end() -> None:
    splitter = LineSplitter()
    splitter.feed(b"left over")
    splitter.finish()
    assert splitter.feed(b"a\n") == [b"a"]


def test_a_long_line_is_not_copied_again_with_every_read() -> None:
    splitter, read = LineSplitter(), b"x" * 1000
    tracemalloc.start()
    try:
        copied = 0
        for _ in range(1000):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            splitter.feed(read)
            copied += tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()

    assert (
        copied < 2_000_000
    )  # of the 1,000,000 bytes that came; anew at each read it would be 500 times that
    assert splitter.feed(b"\n") == [read * 1000]


def test_a_stream_closes_once_it_is_at_its_end() -> None:
    closed: list[str] = []
    stream = ChunkStream([b"1\n2", b"3\n4"], lambda: closed.append("closed"), int)
    assert next(stream) == 1
    assert closed == []
    assert list(stream) == [23, 4]
    assert closed == ["closed"]


def test_a_stream_closes_when_a_line_cannot_be_read() -> None:
    closed: list[str] = []
    stream = ChunkStream([b"1\nx\n2\n"], lambda: closed.append("closed"), int)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        next(stream)
    assert closed == ["closed"]
    assert list(stream) == []


def test_a_stream_reads_no_further_than_it_is_asked() -> None:
    taken: list[bytes] = []

    def reads() -> Iterable[bytes]:
        for read in (b"1\n", b"2\n", b"3\n"):
            taken.append(read)
            yield read

    with ChunkStream(reads(), lambda: None, int) as stream:
        assert taken == []
        assert next(stream) == 1
        assert taken == [b"1\n"]
    assert list(stream) == []
    assert taken == [b"1\n"]
