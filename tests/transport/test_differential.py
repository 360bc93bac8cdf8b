"""Our transport beside the stock one of httpx, over real sockets: the same, or a known difference."""

from __future__ import annotations

import gzip
import ssl
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from byte_server import ByteServer, Play
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_ext.httpx_transport import HTTPTransport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from byte_server import Then

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = OK + b"Content-Length: 5\r\n"
END = b"0\r\n\r\n"


#: Making one takes longer than all the rest of a case.
TLS = ssl.create_default_context()


def stock_transport() -> httpx.HTTPTransport:
    """Return the transport of httpx."""
    return httpx.HTTPTransport(verify=TLS)


class Outcome(NamedTuple):
    """What a user sees of a request.

    Attributes:
        seen: Status, headers and body, or the family of the error.
        connections: How many this request and the next one took: 1 if the connection could be used again.
    """

    seen: Any
    connections: int


#: The families of errors of httpx that users catch; of a break, httpx has one class or the other by chance.
FAMILIES = (httpx.TimeoutException, httpx.DecodingError, httpx.TransportError)


def outcome(
    transport: httpx.BaseTransport, server: ByteServer, method: str = "GET", **options: Any
) -> Outcome:
    """Make a request and then another one, whose answer is plain."""
    before = server.connections
    with httpx.Client(transport=transport, trust_env=False, timeout=20.0) as client:
        try:
            answer = client.request(method, server.url + "/case", **options)
            seen: Any = (answer.status_code, sorted(answer.headers.multi_items()), answer.content)
        except httpx.HTTPError as error:
            seen = next(each.__name__ for each in FAMILIES if isinstance(error, each))
        server.settle()
        assert client.get(server.url + "/next").content == b"ok"
    return Outcome(seen, server.connections - before)


@pytest.fixture(scope="module")
def server() -> Iterator[ByteServer]:
    """Run one server for all cases."""
    with ByteServer() as running:
        yield running


def both(server: ByteServer, play: Play, method: str = "GET", **options: Any) -> tuple[Outcome, Outcome]:
    """Return what the stock transport makes of an answer, and what ours does."""
    server.on("/case", play)
    return (
        outcome(stock_transport(), server, method, **options),
        outcome(HTTPTransport(), server, method, **options),
    )


#: Each with "keep" after it, which must not change anything where the answer says where it ends.
SAME: dict[str, bytes] = {
    "length": SIZED + b"\r\nhello",
    "length 0": OK + b"Content-Length: 0\r\n\r\n",
    "length with zeros and spaces": OK + b"Content-Length:  0005 \r\n\r\nhello",
    "chunks": CHUNKED + b"5\r\nhello\r\n" + END,
    "chunk extensions": CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n',
    "chunk extension with a semicolon in quotes": CHUNKED + b'5;a="b;c"\r\nhello\r\n' + END,
    "spaces around a chunk extension": CHUNKED + b"5 ; a=b\r\nhello\r\n" + END,
    "chunk sizes with zeros and capitals": CHUNKED + b"0005\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n",
    "spaces after a chunk size": CHUNKED + b"5  \r\nhello\r\n0 \r\n\r\n",
    "chunk size of LF alone": CHUNKED + b"5\nhello\r\n" + END,
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    "no chunks at all": CHUNKED + END,
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED + b"\r\nhello",
    "102 with headers": b"HTTP/1.1 102 Processing\r\nA: b\r\n\r\n" + SIZED + b"\r\nhello",
    "103 three times": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + SIZED + b"\r\nhello",
    "100 that says close": b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + SIZED + b"\r\nhello",
    "100 of HTTP/1.0": b"HTTP/1.0 100 Continue\r\n\r\n" + SIZED + b"\r\nhello",
    "100 with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\n" + SIZED + b"\r\nhello",
    "offer to upgrade": SIZED + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\nhello",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "204 that would be chunked": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    "repeated headers": SIZED + b"X: 1\r\nx: 2\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nhello",
    "names in any case": OK + b"cOnTeNt-LeNgTh: 5\r\nx-y: 1\r\nX-Y: 2\r\n\r\nhello",
    "empty header": SIZED + b"X:\r\nY:   \r\n\r\nhello",
    "spaces around a value": SIZED + b"X:   1 2\t \r\n\r\nhello",
    "tabs in a value": SIZED + b"X:\t1\t2\r\n\r\nhello",
    "value in Latin-1": SIZED + b"X: caf\xe9\xff\r\n\r\nhello",
    "value in UTF-8": SIZED + "X: caf\u00e9\r\n\r\nhello".encode(),
    "connection close": SIZED + b"Connection: close\r\n\r\nhello",
    "connection close among others": SIZED + b"Connection: x, Close\r\n\r\nhello",
    "connection close in a second header": SIZED + b"Connection: x\r\nConnection: close\r\n\r\nhello",
    "connection keep-alive": SIZED + b"Connection: keep-alive\r\n\r\nhello",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    "empty reason": b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
    "odd reason": b"HTTP/1.1 200 All is: well! \xc3\xa9\r\nContent-Length: 5\r\n\r\nhello",
    "500": b"HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nhello",
    "600": b"HTTP/1.1 600 Odd\r\nContent-Length: 5\r\n\r\nhello",
    "999": b"HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\nhello",
    "lines that end with LF alone": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "long headers": SIZED + b"X: " + b"a" * 60_000 + b"\r\n\r\nhello",
    "many headers": SIZED + b"X: a\r\n" * 2000 + b"\r\nhello",
}


@pytest.mark.parametrize("name", SAME)
def test_both_make_the_same_of_an_answer(server: ByteServer, name: str) -> None:
    stock, ours = both(server, Play.of(SAME[name]))
    assert ours == stock
    assert ours.seen[0] != "TransportError"


@pytest.mark.parametrize("name", SAME)
def test_both_make_the_same_of_an_answer_after_which_the_server_closes(server: ByteServer, name: str) -> None:
    stock, ours = both(server, Play.of(SAME[name], "close"))
    assert ours == stock


HEADS: dict[str, bytes] = {
    "length": SIZED + b"\r\n",
    "length 0": OK + b"Content-Length: 0\r\n\r\n",
    "neither": OK + b"X: 1\r\n\r\n",
    "chunked": CHUNKED,
    "close": SIZED + b"Connection: x, close\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "100 first": b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED + b"\r\n",
    "compressed": OK + b"Content-Encoding: gzip\r\nContent-Length: 25\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_both_make_the_same_of_an_answer_to_head(server: ByteServer, name: str) -> None:
    stock, ours = both(server, Play.of(HEADS[name]), "HEAD")
    assert ours == stock
    assert ours.seen[0] in {200, 204}


PACKED = {
    "gzip": gzip.compress(b"hello" * 1000, mtime=0),
    "deflate": zlib.compress(b"hello" * 1000),
    "identity": b"hello",
}


@pytest.mark.parametrize("coding", PACKED)
def test_both_make_the_same_of_a_compressed_answer(server: ByteServer, coding: str) -> None:
    body = PACKED[coding]
    head = OK + f"Content-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    stock, ours = both(server, Play.of(head + body))
    assert ours == stock
    assert ours.seen[2].startswith(b"hello")
    for half in (
        body[:20],
        b"x" + body,
    ):  # httpx unpacks both; where it fails, only ours keeps the connection
        head = OK + f"Content-Encoding: {coding}\r\nContent-Length: {len(half)}\r\n\r\n".encode()
        stock, ours = both(server, Play.of(head + half))
        assert ours.seen == stock.seen


#: Answers that neither takes; the server closes, for one or the other would wait for more.
REFUSED: dict[str, bytes] = {
    "several lengths that differ": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "no number for a length": OK + b"Content-Length: five\r\n\r\nhello",
    "empty length": OK + b"Content-Length:\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "length with a plus": OK + b"Content-Length: +5\r\n\r\nhello",
    "length in hexadecimal": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "enormous length": OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "no number for a chunk": CHUNKED + b"xyz\r\nhello\r\n" + END,
    "negative chunk": CHUNKED + b"-5\r\nhello\r\n" + END,
    "chunk in C's hexadecimal": CHUNKED + b"0x5\r\nhello\r\n" + END,
    "space before a chunk size": CHUNKED + b" 5\r\nhello\r\n" + END,
    "empty chunk size": CHUNKED + b"\r\nhello\r\n" + END,
    "enormous chunk": CHUNKED + b"fffffffffffffffff\r\nhello\r\n" + END,
    "chunk longer than it says": CHUNKED + b"3\r\nhello\r\n" + END,
    "trailer that is none": CHUNKED + b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
    "identity for a transfer encoding": OK + b"Transfer-Encoding: identity\r\n\r\nhello",
    "unknown transfer encoding": OK + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n" + END,
    "space before a colon": SIZED + b"X : 1\r\n\r\nhello",
    "space in a name": SIZED + b"X Y: 1\r\n\r\nhello",
    "no name": SIZED + b": 1\r\n\r\nhello",
    "odd name": SIZED + b"X(: 1\r\n\r\nhello",
    "no colon": SIZED + b"nonsense\r\n\r\nhello",
    "folded line first": OK + b" X: 1\r\nContent-Length: 5\r\n\r\nhello",
    "zero in a header": SIZED + b"X: a\x00b\r\n\r\nhello",
    "carriage return in a header": SIZED + b"X: a\rb\r\n\r\nhello",
    "enormous headers": SIZED + b"X: " + b"a" * 300_000 + b"\r\n\r\nhello",
    "enormously many headers": SIZED + b"X: a\r\n" * 100_000 + b"\r\nhello",
    "status of two digits": b"HTTP/1.1 99 Odd\r\nContent-Length: 5\r\n\r\nhello",
    "status of four digits": b"HTTP/1.1 1000 Odd\r\nContent-Length: 5\r\n\r\nhello",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "protocol in lower case": b"http/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "another protocol": b"220 mail.example ESMTP\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "HTML alone": b"<html></html>\n",
    "zeros": b"\x00" * 1000,
    "only interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    "another protocol from now on": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse_an_answer(server: ByteServer, name: str) -> None:
    stock, ours = both(server, Play.of(REFUSED[name], "close"))
    assert ours == stock == ("TransportError", 2)


ENDED: dict[str, bytes] = {
    "until the end of the connection": OK + b"\r\nhello",
    "until the end, of HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
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
def test_both_make_the_same_of_a_connection_that_ends(server: ByteServer, name: str, then: Then) -> None:
    stock, ours = both(server, Play.of(ENDED[name], then))
    assert ours == stock
    assert (ours.seen == "TransportError") == (then == "reset" or not name.startswith("until"))


@pytest.mark.parametrize(
    "data",
    [
        SIZED + b"X: 1\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"5;a\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n",
    ],
    ids=["length", "chunks", "no body"],
)
def test_both_make_the_same_of_an_answer_that_ends_anywhere(server: ByteServer, data: bytes) -> None:
    for at in range(len(data)):
        stock, ours = both(server, Play.of(data[:at], "close"))
        assert ours == stock, data[:at]
        if at < len(data) - 5:
            assert ours.seen == "TransportError"


@pytest.mark.parametrize("name", SAME)
def test_where_the_network_cuts_an_answer_in_two_does_not_matter(server: ByteServer, name: str) -> None:
    data = SAME[name]
    _, whole = both(server, Play.of(data))
    for at in (1, len(data) // 3, len(data) // 2, len(data) - 1):
        server.on("/case", Play((data[:at], data[at:])))
        assert outcome(HTTPTransport(), server) == whole


class Difference(NamedTuple):
    """An answer of which the two make something else: what each does (status or family), and why."""

    data: bytes
    stock: Any
    ours: Any
    why: str


LENIENT = "llhttp takes it, and nothing in it is ambiguous"
STRICT = "RFC 9112 lets a client refuse it, and llhttp does; no server of today sends it"

DIFFERENT: dict[str, Difference] = {
    "folded header": Difference(SIZED + b"X: 1\r\n  2\r\n\r\nhello", 200, "TransportError", STRICT),
    "control character in a header": Difference(
        SIZED + b"X: a\x01b\r\n\r\nhello", 200, "TransportError", STRICT
    ),
    "length and chunks": Difference(
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + END,
        200,
        "TransportError",
        "how answers are smuggled past proxies (RFC 9112, section 6.3): refused",
    ),
    "the same length twice": Difference(
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200, "TransportError", STRICT
    ),
    "the same length twice in a list": Difference(
        OK + b"Content-Length: 5, 5\r\n\r\nhello", 200, "TransportError", STRICT
    ),
    "HTTP/1.2": Difference(
        b"HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "TransportError", STRICT
    ),
    "empty line first": Difference(b"\r\n" + SIZED + b"\r\nhello", "TransportError", 200, LENIENT),
    "chunk size of 25 digits": Difference(
        CHUNKED + b"0" * 24 + b"5\r\nhello\r\n" + END, "TransportError", 200, LENIENT
    ),
    "chunk that ends with LF alone": Difference(
        CHUNKED + b"5\r\nhello\n" + END, "TransportError", 200, LENIENT
    ),
    "transfer encoding said twice": Difference(
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + END,
        "TransportError",
        200,
        LENIENT,
    ),
    "transfer encoding that compresses": Difference(
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n" + END,
        "TransportError",
        200,
        "no client asks for it (TE); the content is handed on as it is, and is no JSON",
    ),
    "status below 100": Difference(
        b"HTTP/1.1 099 Odd\r\nContent-Length: 5\r\n\r\nhello",
        "TransportError",
        99,
        "handed on; `Client` takes every status but 2xx for an error",
    ),
    "101 without a protocol": Difference(
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "TransportError",
        101,
        "the same: no protocol is named to change to",
    ),
    "RTSP": Difference(
        b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "TransportError",
        200,
        "llhttp reads the status lines of its relatives too; their servers do not answer HTTP",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_known_difference_is_one(server: ByteServer, name: str) -> None:
    row = DIFFERENT[name]
    for outcome_, expected in zip(
        both(server, Play.of(row.data, "close")), (row.stock, row.ours), strict=True
    ):
        assert (outcome_.seen if isinstance(outcome_.seen, str) else outcome_.seen[0]) == expected, row.why


def test_http_1_0_that_offers_to_keep_the_connection_is_taken_at_its_word(server: ByteServer) -> None:
    # The stock transport closes it; Ollama behind an old proxy would pay a connection for every call.
    data = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
    stock, ours = both(server, Play.of(data))
    assert stock.seen == ours.seen
    assert (stock.connections, ours.connections) == (2, 1)


def test_http_2_0_in_text_is_read_and_the_connection_closed(server: ByteServer) -> None:
    stock, ours = both(server, Play.of(b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
    assert stock.seen == ours.seen
    assert (stock.connections, ours.connections) == (1, 2)


SURPLUS = {
    "garbage": (SIZED + b"\r\nhellogarbage", "GET"),
    "another answer": ((SIZED + b"\r\nhello") * 2, "GET"),
    "after chunks": (CHUNKED + b"5\r\nhello\r\n" + END + b"garbage", "GET"),
    "after the answer that says close": (SIZED + b"Connection: close\r\n\r\nhello" + SIZED, "GET"),
    "after nothing": (b"HTTP/1.1 204 No Content\r\n\r\nhello", "GET"),
    "the body of HEAD": (SIZED + b"\r\nhello", "HEAD"),
}


@pytest.mark.parametrize("name", SURPLUS)
def test_a_connection_on_which_more_than_the_answer_came_is_not_used_again(
    server: ByteServer, name: str
) -> None:
    # The stock transport does use it, and takes what is left over for the next answer.
    data, method = SURPLUS[name]
    server.on("/case", Play.of(data))
    (status, _, content), connections = outcome(HTTPTransport(), server, method)
    assert (status in {200, 204}, connections) == (True, 2)
    assert content == (b"hello" if method == "GET" and status == 200 else b"")


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    for transport in (stock_transport(), HTTPTransport()):
        with ByteServer() as server, httpx.Client(transport=transport, trust_env=False) as client:
            client.get(server.url)
            server.hang_up()
            assert client.get(server.url).content == b"ok"
            assert server.connections == 2


# -- requests


def pieces() -> Iterable[bytes]:
    """Yield a body of unknown length."""
    yield b"hel"
    yield b""
    yield b"lo"


@pytest.mark.parametrize(
    ("method", "options", "framing"),
    [
        ("GET", {}, (None, None)),
        ("POST", {}, ("0", None)),
        ("POST", {"content": b"hello"}, ("5", None)),
        ("POST", {"content": pieces}, (None, "chunked")),
        ("POST", {"content": pieces, "headers": {"Content-Length": "5"}}, ("5", None)),
        ("POST", {"json": {"a": "\u00e9"}}, ("10", None)),
        ("POST", {"files": {"f": b"x" * 100_000}}, None),
        ("PUT", {"content": b"x" * 3_000_000}, ("3000000", None)),
        ("DELETE", {"headers": [(b"X-Custom", b"caf\xe9")]}, (None, None)),
        ("PATCH", {"headers": [("X", "1"), ("X", "2"), ("Host", "h")]}, ("0", None)),
    ],
)
def test_both_send_the_same_request(
    server: ByteServer, method: str, options: dict[str, Any], framing: tuple[str | None, str | None] | None
) -> None:
    sent: list[Any] = []
    server.on("/a%20b", Play.of(SIZED + b"\r\nhello"))
    for transport in (stock_transport(), HTTPTransport()):
        given: dict[str, Any] = {
            name: value() if callable(value) else value for name, value in options.items()
        }
        with httpx.Client(transport=transport, trust_env=False) as client:
            request = client.build_request(method, server.url + "/a%20b?c=d", **given)
            if "multipart" in request.headers.get("content-type", ""):
                request.headers["content-type"] = "multipart/form-data; boundary=b"
            assert client.send(request).content == b"hello"
        asked = server.requests[-1]
        if framing is not None:
            assert (asked.header("content-length"), asked.header("transfer-encoding")) == framing
        body = len(asked.body) if framing is None else asked.body  # with a boundary of its own in it
        sent.append((asked.method, asked.path, sorted(asked.headers), body, asked.complete))
    assert sent[0] == sent[1]


@pytest.mark.parametrize("content", [b"x" * 300_000, pieces], ids=["length", "chunks"])
def test_both_hand_on_an_answer_that_comes_before_the_request_was_read(
    server: ByteServer, content: Any
) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nhello"
    play = Play((refusal,), "stall", read="head")
    server.on("/case", play)
    for transport in (stock_transport(), HTTPTransport()):
        with httpx.Client(transport=transport, trust_env=False, timeout=20.0) as client:
            body: Any = content() if callable(content) else content
            answer = client.post(server.url + "/case", content=body)
            assert (answer.status_code, answer.content) == (413, b"hello")


# -- generated answers


def lines(*parts: bytes) -> st.SearchStrategy[bytes]:
    """Return one of these."""
    return st.sampled_from(parts)


def composed(interim: bytes, status: bytes, headers: list[bytes], body: bytes) -> bytes:
    """Return the bytes of an answer."""
    return b"".join((interim, status, *headers, b"\r\n", body))


ANSWERS = st.builds(
    composed,
    lines(b"", b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"),
    lines(OK, OK, b"HTTP/1.1 204 No\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 404\r\n", b"HTTP/1.1 304 N\r\n"),
    st.lists(
        lines(
            b"Content-Length: 5\r\n",
            b"Content-Length: 0\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: close\r\n",
            b"X: 1\r\n",
            b"x:\r\n",
        ),
        max_size=3,
    ),
    lines(
        b"",
        b"hello",
        b"5\r\nhello\r\n" + END,
        b"3;a=b\r\nhel\r\n2\r\nlo\r\n" + END,
        b"5\r\nhello\r\n0\r\nT: 1\r\n\r\n",
        b"hellohello",
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=ANSWERS)
def test_what_a_grammar_makes_up_both_read_alike(server: ByteServer, data: bytes) -> None:
    stock, ours = both(server, Play.of(data, "close"))
    if ours.seen != stock.seen:
        # One of them refuses it, and only where two headers say how long it is.
        assert "TransportError" in (ours.seen, stock.seen)
        assert data.lower().count(b"content-length") + data.lower().count(b"transfer-encoding") > 1


def mutated(data: bytes, at: int, new: bytes) -> bytes:
    """Return bytes with others in their place from somewhere on."""
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.builds(mutated, ANSWERS, st.integers(0, 200), st.binary(min_size=1, max_size=2)))
def test_whatever_bytes_come_ours_reads_nothing_else_into_them(server: ByteServer, data: bytes) -> None:
    stock, ours = both(server, Play.of(data, "close"))
    if not isinstance(ours.seen, str) and not isinstance(stock.seen, str):
        assert ours.seen == stock.seen
