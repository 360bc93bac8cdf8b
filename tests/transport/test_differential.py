"""Our transport beside the stock one of httpx, over real sockets: the same, or a known difference."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from byte_server import ByteServer, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_ext.httpx_transport import HTTPTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = OK + b"Content-Length: 5\r\n"
ERRORS = (httpx.RemoteProtocolError, httpx.ReadError, httpx.DecodingError)


def outcome(transport: httpx.BaseTransport, server: ByteServer, method: str, path: str) -> Any:
    """Return all that a user sees of an answer and whether the connection served the next request, too."""
    before = server.connections
    with httpx.Client(transport=transport, trust_env=False) as client:
        try:
            answer = client.request(method, server.url + path)
            seen: Any = (answer.status_code, sorted(answer.headers.multi_items()), answer.content)
        except ERRORS:
            seen = "error"
        server.settle()
        client.get(server.url + "/next")
    return seen, server.connections - before


def both(play: Play, method: str = "GET") -> tuple[Any, Any]:
    """Return what the stock transport makes of an answer, and what ours does."""
    with ByteServer() as server:
        server.on("/", play)
        return (
            outcome(httpx.HTTPTransport(), server, method, "/"),
            outcome(HTTPTransport(), server, method, "/"),
        )


SAME: dict[str, tuple[bytes, str]] = {
    "length": (SIZED + b"\r\nhello", "GET"),
    "length 0": (OK + b"Content-Length: 0\r\n\r\n", "GET"),
    "chunks": (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", "GET"),
    "chunk extensions": (CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n', "GET"),
    "chunk sizes with zeros and capitals": (
        CHUNKED + b"0005\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "GET",
    ),
    "spaces after a chunk size": (CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n", "GET"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", "GET"),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED + b"\r\nhello", "GET"),
    "103 with headers, twice": (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 2 + SIZED + b"\r\nhello",
        "GET",
    ),
    "HEAD": (SIZED + b"\r\n", "HEAD"),
    "HEAD without length": (OK + b"X: 1\r\n\r\n", "HEAD"),
    "HEAD that would be chunked": (CHUNKED, "HEAD"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
    "304": (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", "GET"),
    "repeated headers": (SIZED + b"X: 1\r\nx: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nhello", "GET"),
    "empty header": (SIZED + b"X:\r\nY:   \r\n\r\nhello", "GET"),
    "spaces around a value": (SIZED + b"X:   1 2\t \r\n\r\nhello", "GET"),
    "value beyond ASCII": (SIZED + "X: caf\xe9\r\n".encode("latin-1") + b"\r\nhello", "GET"),
    "connection close": (SIZED + b"Connection: close\r\n\r\nhello", "GET"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    "odd reason": (b"HTTP/1.1 200 All is: well\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    "600": (b"HTTP/1.1 600 Odd\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    "500": (b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    "gzip": (
        OK
        + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(b"hello", mtime=0))
        + gzip.compress(b"hello", mtime=0),
        "GET",
    ),
    "deflate": (
        OK
        + b"Content-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(zlib.compress(b"hello"))
        + zlib.compress(b"hello"),
        "GET",
    ),
    "lines that end with LF alone": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "GET"),
    "long headers": (SIZED + b"X: " + b"a" * 60_000 + b"\r\n\r\nhello", "GET"),
    "several lengths that differ": (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "GET"),
    "no number for a length": (OK + b"Content-Length: five\r\n\r\nhello", "GET"),
    "negative length": (OK + b"Content-Length: -5\r\n\r\nhello", "GET"),
    "no number for a chunk": (CHUNKED + b"xyz\r\nhello\r\n0\r\n\r\n", "GET"),
    "chunk longer than it says": (CHUNKED + b"3\r\nhello\r\n0\r\n\r\n", "GET"),
    "no HTTP": (b"220 mail.example ESMTP\r\n\r\n", "GET"),
    "status of two digits": (b"HTTP/1.1 99 Odd\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    "status of four digits": (b"HTTP/1.1 1000 Odd\r\nContent-Length: 5\r\n\r\nhello", "GET"),
    "space before a colon": (SIZED + b"X : 1\r\n\r\nhello", "GET"),
    "zero in a header": (SIZED + b"X: a\x00b\r\n\r\nhello", "GET"),
}


@pytest.mark.parametrize("name", SAME)
def test_both_make_the_same_of_an_answer(name: str) -> None:
    data, method = SAME[name]
    stock, ours = both(Play.of(data, "keep" if name not in CLOSING else "close"), method)
    assert ours == stock


#: After these a client waits for more, which does not come.
CLOSING = {"no HTTP", "status of two digits", "status of four digits"}

ENDED: dict[str, bytes] = {
    "until the end of the connection": OK + b"\r\nhello",
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "half the headers": SIZED,
    "half a body": SIZED + b"\r\nhel",
    "half a chunk": CHUNKED + b"5\r\nhel",
    "no last chunk": CHUNKED + b"5\r\nhello\r\n",
    "half the trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX: 1",
}


@pytest.mark.parametrize("name", ENDED)
@pytest.mark.parametrize("then", ["close", "reset"])
def test_both_make_the_same_of_a_connection_that_ends(name: str, then: Any) -> None:
    stock, ours = both(Play.of(ENDED[name], then))
    if (name, then) == ("until the end of the connection", "reset"):
        assert ours[0] == stock[0] == "error"
        return
    assert ours == stock


#: Where they differ: what stock does, what ours does, and why.
DIFFERENT: dict[str, tuple[bytes, Callable[[Any], bool], Callable[[Any], bool], str]] = {
    "folded header": (
        SIZED + b"X: 1\r\n  2\r\n\r\nhello",
        lambda seen: seen[0] == 200,
        lambda seen: seen == "error",
        "obsolete since RFC 7230, which lets a client refuse it; hardly any server sends one",
    ),
    "length and chunks": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        lambda seen: seen[0] == 200,
        lambda seen: seen == "error",
        "how answers are smuggled past proxies (RFC 9112, section 6.3): refused",
    ),
    "the same length twice": (
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        lambda seen: seen[0] == 200,
        lambda seen: seen == "error",
        "RFC 9112 lets a client refuse it, and llhttp does",
    ),
    "empty line first": (
        b"\r\n" + SIZED + b"\r\nhello",
        lambda seen: seen == "error",
        lambda seen: seen[0] == 200,
        "llhttp skips it, as servers do before a request",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_known_difference_is_one(name: str) -> None:
    data, of_stock, of_ours, _reason = DIFFERENT[name]
    (stock, _), (ours, _) = both(Play.of(data))
    assert of_stock(stock), stock
    assert of_ours(ours), ours


@pytest.mark.parametrize("surplus", [b"garbage", SIZED + b"\r\nhello"])
def test_a_connection_on_which_more_than_the_answer_came_is_not_used_again(surplus: bytes) -> None:
    # The stock transport does use it, and takes what is left over for the next answer.
    with ByteServer() as server:
        server.on("/", Play.of(SIZED + b"\r\nhello" + surplus))
        (status, _, content), connections = outcome(HTTPTransport(), server, "GET", "/")
    assert (status, content, connections) == (200, b"hello", 2)


def test_headers_beyond_the_limit_are_refused_by_both() -> None:
    stock, ours = both(Play.of(SIZED + b"X: " + b"a" * 300_000 + b"\r\n\r\nhello", "close"))
    assert ours[0] == stock[0] == "error"


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    for transport in (httpx.HTTPTransport(), HTTPTransport()):
        with ByteServer() as server, httpx.Client(transport=transport, trust_env=False) as client:
            client.get(server.url)
            server.hang_up()
            assert client.get(server.url).content == b"ok"
            assert server.connections == 2


def pieces() -> Iterable[bytes]:
    """Yield a body of unknown length."""
    yield b"hel"
    yield b""
    yield b"lo"


@pytest.mark.parametrize(("content", "length"), [(b"hello", "5"), (pieces, None), (b"", "0")])
def test_both_send_the_same_request(content: Any, length: str | None) -> None:
    sent: list[Any] = []
    for transport in (httpx.HTTPTransport(), HTTPTransport()):
        with ByteServer() as server, httpx.Client(transport=transport, trust_env=False) as client:
            body: Any = content() if callable(content) else content
            client.post(server.url + "/a%20b?c=d", content=body, headers={"X-Custom": "1", "Host": "h"})
            (asked,) = server.requests
            assert asked.header("content-length") == length
            sent.append((asked.method, asked.path, sorted(asked.headers), asked.body, asked.complete))
    assert sent[0] == sent[1]


FRAGMENTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"\r\n",
        b"\n",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"5",
        b"hello",
        b"0",
        b":",
        b" ",
        b"x",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FRAGMENTS, max_size=14).map(b"".join))
def test_whatever_bytes_come_ours_reads_no_more_into_them_than_the_stock_transport(data: bytes) -> None:
    (stock, _), (ours, _) = both(Play.of(data, "close"))
    if ours != "error" and stock != "error":
        assert ours == stock
