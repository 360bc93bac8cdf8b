"""What a stranger's message can do to the AMQP client."""

from __future__ import annotations

from struct import pack

import pika
import pytest
from pika import frame

from ollama_ext.fleet.channels import Channel

#: A time in milliseconds, where AMQP has seconds: Python has no such year.
NO_SUCH_YEAR = b"\x04when" + b"T" + pack(">Q", 1_764_100_000_000)
UNKNOWN_KIND = b"\x04what" + b"?" + bytes(8)
CUT_SHORT = b"\x04text" + b"S" + pack(">I", 1_000_000)


def deep(levels: int) -> bytes:
    """Return a table in a table, and so on."""
    table = b""
    for _ in range(levels):
        table = b"\x01t" + b"F" + pack(">I", len(table)) + table
    return table


def properties_of(table: bytes) -> pika.BasicProperties:
    """Return what pika makes of a message with these headers, and a correlation id behind them."""
    told = pika.BasicProperties()
    flags = pika.BasicProperties.FLAG_HEADERS | pika.BasicProperties.FLAG_CORRELATION_ID
    told.decode(pack(">H", flags) + pack(">I", len(table)) + table + b"\x02id")
    return told


@pytest.mark.parametrize(
    "table",
    [NO_SUCH_YEAR, UNKNOWN_KIND, CUT_SHORT, deep(3000)],
    ids=["a year that is none", "an unknown kind", "cut short", "very deep"],
)
def test_headers_that_cannot_be_read_are_none_and_do_not_end_the_connection(table: bytes) -> None:
    told = properties_of(table)
    assert told.correlation_id == "id"


def test_headers_that_can_be_read_are_read() -> None:
    assert Channel.__module__ == "ollama_ext.fleet.channels"  # that module makes pika forgiving
    sent = pika.BasicProperties(headers={"x-delivery-count": 2, "nested": {"a": "b"}}, correlation_id="id")
    whole = frame.Header(1, 0, sent).marshal()
    decoded = frame.decode_frame(whole)[1]
    assert isinstance(decoded, frame.Header)
    assert decoded.properties.headers == {"x-delivery-count": 2, "nested": {"a": "b"}}
