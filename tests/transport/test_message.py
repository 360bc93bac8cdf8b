"""Answers as values: any split gives the same, and no bytes do anything but fail in a known way."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_ext.transport.message import MalformedAnswer, Message

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

ANSWERS = {
    "length": SIZED + b"X: 1\r\n\r\nhello",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
    "chunks": CHUNKED + b"5;a=b\r\nhello\r\n4\r\n you\r\n0\r\nT: 1\r\n\r\n",
    "no chunks": CHUNKED + b"0\r\n\r\n",
    "no body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "close": b"HTTP/1.0 103 Hints\r\nConnection: close\r\n\r\nHTTP/1.1 404 N\nContent-Length: 2\r\n"
    b"Connection: close\n\nno",
    "unframed": OK + b"\r\nhello",
}


def read(data: bytes, sizes: list[int], method: str = "POST", *, end: bool = False) -> tuple[Any, ...]:
    """Feed an answer in pieces of these sizes, the last one with all the rest."""
    message, body, start = Message(method), b"", 0
    for size in [*sizes, len(data)]:
        if start < len(data):
            message.feed(data[start : start + size])
            body += message.take()
            start += size
    if end:
        message.feed_end()
    return message.status, message.headers, body, message.complete, message.reusable


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("length", (200, b"hello", True, True)),
        ("interim", (201, b"", True, True)),
        ("chunks", (200, b"hello you", True, True)),
        ("no chunks", (200, b"", True, True)),
        ("no body", (204, b"", True, True)),
        ("close", (404, b"no", True, False)),
        ("unframed", (200, b"hello", False, False)),
    ],
)
def test_an_answer_is_read_as_it_is_meant(name: str, expected: tuple[Any, ...]) -> None:
    status, _, body, complete, reusable = read(ANSWERS[name], [])
    assert (status, body, complete, reusable) == expected


def test_headers_are_those_of_the_final_answer_and_trailers_are_none() -> None:
    data = b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"A:  1 \r\nb:\r\nA: \xe9\r\n"
    data += b"Transfer-Encoding: chunked\r\n\r\n0\r\nT: 1\r\n\r\n"
    assert read(data, [])[1] == [
        (b"A", b"1"),
        (b"b", b""),
        (b"A", b"\xe9"),
        (b"Transfer-Encoding", b"chunked"),
    ]
    message = Message("GET")
    message.feed(data)
    assert (message.header(b"a"), message.header(b"b"), message.header(b"c")) == ("1, \xe9", "", None)


@settings(max_examples=300)
@given(st.sampled_from(list(ANSWERS.values())), st.lists(st.integers(1, 9), max_size=60), st.booleans())
def test_any_split_of_the_bytes_gives_the_same_answer(data: bytes, sizes: list[int], head: bool) -> None:
    method = "HEAD" if head else "GET"
    assert read(data, sizes, method) == read(data, [], method) or (head and b"hello" in data)


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 50), max_size=30))
def test_any_body_comes_through_as_it_was_however_it_is_framed(chunks: list[bytes], sizes: list[int]) -> None:
    body = b"".join(chunks)
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    assert read(CHUNKED + framed + b"0\r\n\r\n", sizes)[2:] == (body, True, True)
    assert read(OK + b"Content-Length: %d\r\n\r\n%s" % (len(body), body), sizes)[2:] == (body, True, True)
    assert read(OK + b"\r\n" + body, sizes, end=True)[2:] == (body, True, False)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_ends_too_early_is_not_complete(name: str) -> None:
    data = ANSWERS[name]
    head = len(data) - len(data.partition(b"\r\n\r\n")[2]) if name == "unframed" else len(data)
    for at in range(head):
        message = Message("GET")
        if at:
            message.feed(data[:at])
        assert not message.complete
        with pytest.raises(EOFError):
            message.feed_end()


def test_the_end_of_a_connection_that_we_ended_ourselves_is_not_that_of_a_body() -> None:
    message = Message("GET")
    message.feed(ANSWERS["unframed"])
    with pytest.raises(EOFError):
        message.feed_end(by_us=True)


# -- HEAD


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (SIZED, True),
        (OK + b"Transfer-Encoding: chunked\r\n", True),
        (OK, True),
        (OK + b"Connection: keep-alive\r\n", True),
        (OK + b"Connection: Close\r\n", False),
        (OK + b"Connection: x, close\r\n", False),
        (OK + b"Connection: x\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED, True),
    ],
)
def test_an_answer_to_head_has_no_body_whatever_its_headers_say(head: bytes, reusable: bool) -> None:
    _, _, body, complete, again = read(head + b"\r\n", [], "HEAD")
    assert (body, complete, again) == (b"", True, reusable)


# -- what comes after


@pytest.mark.parametrize(
    ("data", "method"),
    [
        (SIZED + b"\r\nhello!", "GET"),
        (SIZED + b"\r\nhello" + SIZED + b"\r\nhello", "GET"),
        (CHUNKED + b"0\r\n\r\nx", "GET"),
        (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "GET"),
        (SIZED + b"Connection: close\r\n\r\nhello!", "GET"),
        (SIZED + b"\r\nhello", "HEAD"),
    ],
)
def test_bytes_after_the_answer_are_no_part_of_it_and_spoil_the_connection(data: bytes, method: str) -> None:
    status, headers, body, complete, reusable = read(data, [], method)
    assert (status in {200, 204}, complete, reusable) == (True, True, False)
    assert body in {b"", b"hello"}
    assert len(headers) == len(set(headers))


def test_what_came_before_the_garbage_is_there_and_then_the_fault() -> None:
    message = Message("GET")
    message.feed(CHUNKED + b"5\r\nhello\r\nno chunk")
    assert message.take() == b"hello"
    assert message.fault is not None
    with pytest.raises(MalformedAnswer):
        message.feed(b"more")
    assert not message.reusable


def test_nobody_changes_the_protocol() -> None:
    message = Message("GET")
    with pytest.raises(MalformedAnswer, match="another protocol"):
        message.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")


def test_nothing_is_read_after_the_end() -> None:
    message = Message("GET")
    message.release()
    with pytest.raises(MalformedAnswer, match="at its end"):
        message.feed(OK)


# -- limits


def feed_often(message: Message, data: bytes) -> None:
    """Feed the same bytes a thousand times."""
    for _ in range(1000):
        message.feed(data)
        message.take()


@pytest.mark.parametrize(
    ("before", "endless", "what"),
    [
        (OK, b"X: " + b"a" * 1000 + b"\r\n", "headers"),
        (OK + b"X: ", b"a" * 1000, "headers"),
        (OK, b"a" * 1000, "headers"),
        (b"HTTP/1.1 200 ", b"a" * 1000, "headers"),
        (b"\r\n", b"\r\n" * 500, "headers"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 1000 + b"\r\n\r\n", "headers"),
        (CHUNKED + b"0\r\n", b"T: " + b"a" * 1000 + b"\r\n", "trailers"),
        (CHUNKED + b"0\r\nT: ", b"a" * 1000, "trailers"),
        (CHUNKED + b"5;", b"a" * 1000, "chunk extensions"),
    ],
    ids=[
        "headers",
        "value",
        "name",
        "reason",
        "lines",
        "interim answers",
        "trailers",
        "trailer",
        "extension",
    ],
)
def test_what_never_comes_to_its_content_is_refused_in_bounded_memory(
    before: bytes, endless: bytes, what: str
) -> None:
    message = Message("GET")
    if before:
        message.feed(before)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedAnswer, match=f"{what}.* are longer than 102400 bytes"):
            feed_often(message, endless)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_a_long_stream_of_short_chunks_is_not_taken_for_one_without_content() -> None:
    message = Message("GET")
    message.feed(CHUNKED)
    for piece in (b"5\r\n", b"hello", b"\r\n") * 20_000:  # the network cuts where it likes
        message.feed(piece)
        message.take()
    message.feed(b"0\r\n\r\n")
    assert message.reusable


# -- any bytes


def overwritten(data: bytes, at: int, new: bytes) -> bytes:
    """Return bytes with others in their place from somewhere on."""
    return data[:at] + new + data[at + len(new) :]


def swallow(data: bytes, sizes: list[int], method: str) -> None:
    """Feed any bytes; what comes out is an answer, or one of two errors."""
    message, start = Message(method), 0
    try:
        for size in [*sizes, len(data)]:
            message.feed(data[start : start + size])
            message.take()
            start += size
        message.feed_end()
    except (MalformedAnswer, EOFError):
        pass


ANY_BYTES = st.one_of(
    st.binary(max_size=300),
    st.builds(
        overwritten, st.sampled_from(list(ANSWERS.values())), st.integers(0, 100), st.binary(max_size=4)
    ),
)


@settings(max_examples=500)
@given(ANY_BYTES, st.lists(st.integers(0, 40), max_size=5), st.sampled_from(["GET", "HEAD"]))
def test_no_bytes_do_anything_but_fail_in_a_known_way(data: bytes, sizes: list[int], method: str) -> None:
    swallow(data, sizes, method)


class Failing(Message):
    """A message in the middle of which something is raised, as the handler of a signal can."""

    def __init__(self, raised: type[BaseException]) -> None:
        """Take what is raised."""
        self.raised = raised
        super().__init__("GET")

    def on_headers_complete(self) -> None:
        """Raise it."""
        raise self.raised


def feed_in_a_handler(message: Message, data: bytes) -> None:
    """Feed bytes while another error is being handled."""
    try:
        int("no number")
    except ValueError:
        message.feed(data)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, MemoryError, MalformedAnswer])
def test_what_is_raised_within_the_parser_is_what_comes_out(raised: type[BaseException]) -> None:
    with pytest.raises(raised):
        Failing(raised).feed(ANSWERS["length"])


def test_ctrl_c_within_the_parser_is_not_lost_while_another_error_is_handled() -> None:
    """Python then shows the other error as the context of the parser's, and Ctrl-C nowhere."""
    with pytest.raises(KeyboardInterrupt):
        feed_in_a_handler(Failing(KeyboardInterrupt), ANSWERS["length"])


@given(ANY_BYTES)
def test_an_error_that_the_caller_is_handling_changes_nothing(data: bytes) -> None:
    seen: list[object] = []
    for feed in (Message.feed, feed_in_a_handler):
        message = Message("GET")
        try:
            feed(message, data)
        except MalformedAnswer as error:
            seen.append(str(error))
        seen.append((message.status, message.headers, message.pieces, message.complete, message.reusable))
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
