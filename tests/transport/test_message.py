"""Answers as values: any split gives the same, and no bytes do anything but fail in a known way."""

from __future__ import annotations

from typing import Any

import pytest
from httptools.parser import errors as httptools_errors
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.transport.message import MalformedAnswer, Message

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: 1\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n4\r\n you\r\n0\r\nT: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


def read(data: bytes, sizes: list[int], method: str = "POST") -> tuple[Any, ...]:
    """Feed an answer in pieces of these sizes, the last one with all the rest."""
    message, body, start = Message(method), b"", 0
    for size in [*sizes, len(data)]:
        if start < len(data):
            message.feed(data[start : start + size])
            body += message.take()
            start += size
    return message.status, message.headers, body, message.complete, message.reusable


@given(st.sampled_from(ANSWERS), st.lists(st.integers(1, 9), max_size=60))
def test_any_split_of_the_bytes_gives_the_same_answer(data: bytes, sizes: list[int]) -> None:
    assert read(data, sizes) == read(data, [])


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
    assert sum(map(len, message.headers)) < 300_000


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            overwritten,
            st.sampled_from(ANSWERS),
            st.integers(0, 100),
            st.binary(max_size=4),
        ),
    ),
    st.lists(st.integers(0, 40), max_size=5),
    st.sampled_from(["GET", "HEAD"]),
)
def test_no_bytes_do_anything_but_fail_in_a_known_way(data: bytes, sizes: list[int], method: str) -> None:
    swallow(data, sizes, method)


def test_the_headers_of_a_server_that_never_ends_them_are_not_kept_for_ever() -> None:
    message = Message("GET")
    message.feed(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(MalformedAnswer, match="headers are longer than"):
        feed_often(message, b"X: " + b"a" * 1000 + b"\r\n")


def feed_often(message: Message, data: bytes) -> None:
    """Feed the same bytes ten thousand times."""
    for _ in range(10_000):
        message.feed(data)


def test_interim_answers_for_ever_are_refused_as_well() -> None:
    message = Message("GET")
    with pytest.raises(MalformedAnswer, match="headers are longer than"):
        feed_often(message, b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 1000 + b"\r\n\r\n")


def test_what_came_before_the_garbage_is_there_and_then_the_fault() -> None:
    message = Message("GET")
    message.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nno chunk")
    assert message.take() == b"hello"
    with pytest.raises(MalformedAnswer):
        message.feed(b"more")
    assert not message.reusable


def test_nobody_changes_the_protocol() -> None:
    message = Message("GET")
    with pytest.raises(MalformedAnswer, match="another protocol"):
        message.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")


def test_every_error_of_the_parser_is_one_that_is_caught() -> None:
    classes = [
        each
        for each in vars(httptools_errors).values()
        if isinstance(each, type) and issubclass(each, Exception)
    ]
    assert len(classes) >= 6
    caught = (httptools_errors.HttpParserError, httptools_errors.HttpParserUpgrade)
    for each in classes:
        assert issubclass(each, caught)
