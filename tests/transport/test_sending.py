"""Requests on their way out: bodies of any kind, servers that answer early, stop reading or break off."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from background import background, cancelled
from byte_server import ByteServer, Play
from ollama_openapi.types import Request
from sockets import nothing_left_behind

from ollama_ext import (
    CancelToken,
    ConnectionFailed,
    FirstByteTimeout,
    IdleTimeout,
    InvalidArgument,
    Timeouts,
    TotalTimeout,
    parse_host,
)
from ollama_ext.transport import Transport, TransportSettings
from ollama_ext.transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

REFUSAL = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch"
PIECE = b"x" * 65536
LARGE = 1000 * len(PIECE)  # more than all buffers in between hold


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture
def server() -> Iterator[ByteServer]:
    """Run a server that answers with two bytes."""
    with ByteServer() as running:
        yield running


@pytest.fixture
def transport(server: ByteServer) -> Iterator[Transport]:
    """Make a transport to it."""
    made = Transport(parse_host(server.url), TransportSettings())
    yield made
    made.close()


def send(transport: Transport, content: Any, cancel: CancelToken | None = None, **timeouts: Any) -> bytes:
    """Send content and return the body of the answer."""
    request = Request(method="POST", path="/", content=content)
    return transport.send(request, {}, Limits(Timeouts(**timeouts), cancel)).body


def many() -> Iterator[bytes]:
    """Yield a large body."""
    for _ in range(1000):
        yield PIECE


# -- bodies


@pytest.mark.parametrize(
    ("content", "body", "framing"),
    [
        (None, b"", ("0", None)),
        (b"", b"", ("0", None)),
        (b"hello", b"hello", ("5", None)),
        (b"x" * 3_000_000, b"x" * 3_000_000, ("3000000", None)),
        ([b"he", b"", b"llo"], b"hello", (None, "chunked")),
        ([], b"", (None, "chunked")),
        ([b"x" * 3_000_000] * 2, b"x" * 6_000_000, (None, "chunked")),
    ],
    ids=["none", "empty", "bytes", "long", "pieces", "no pieces", "long pieces"],
)
def test_a_body_of_any_kind_arrives_whole(
    server: ByteServer,
    transport: Transport,
    content: Any,
    body: bytes,
    framing: tuple[str | None, str | None],
) -> None:
    assert send(transport, content) == b"ok"
    (asked,) = server.requests
    assert asked.body == body
    assert (asked.header("content-length"), asked.header("transfer-encoding")) == framing
    assert send(transport, content if content is None else b"again") == b"ok"
    assert server.connections == 1


def test_a_body_of_known_length_is_sent_with_it(server: ByteServer, transport: Transport) -> None:
    request = Request(method="POST", path="/", content=iter([b"he", b"llo"]))
    request.headers["Content-Length"] = "5"
    transport.send(request, {}, Limits(Timeouts()))
    (asked,) = server.requests
    assert (asked.body, asked.header("content-length")) == (b"hello", "5")


# -- what the body itself raises


class Broken(OSError):
    """Of a disk, say: the same class as failures of sockets."""


@pytest.mark.parametrize(
    "failure", [Broken(), TimeoutError(), EOFError(), ValueError(), KeyboardInterrupt(), InvalidArgument("x")]
)
def test_what_a_body_raises_is_handed_on_as_it_is_and_the_connection_is_closed(
    server: ByteServer, transport: Transport, failure: BaseException
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise failure

    with pytest.raises(type(failure)) as caught:
        send(transport, pieces())
    assert caught.value is failure
    server.wait_until(lambda it: it.open_connections == 0 and it.requests != [])
    assert not server.requests[0].complete


# -- servers that do not read to the end


def test_an_answer_that_comes_before_the_body_is_sent_is_the_answer(
    server: ByteServer, transport: Transport
) -> None:
    server.on("/", Play((REFUSAL,), "stall", read="head"))
    assert send(transport, b"hello") == b"much"


def test_an_answer_of_a_server_that_then_hangs_up_comes_through(
    server: ByteServer, transport: Transport
) -> None:
    told: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield PIECE
        server.wait_until(lambda it: it.open_connections == 0)  # it has answered, and reset the connection
        for number in range(1000):
            told.append(number)
            yield PIECE

    server.on("/", Play((REFUSAL,), "cut", read="head"))
    assert send(transport, pieces()) == b"much"
    assert len(told) < 1000  # nobody sends the rest to nobody
    server.on("/", Play.of(REFUSAL))
    assert send(transport, b"again") == b"much"
    assert server.connections == 2


def test_the_answer_of_a_server_that_stops_reading_is_found(server: ByteServer, transport: Transport) -> None:
    server.on("/", Play((REFUSAL,), "deaf", read="head"))
    assert send(transport, many(), between=0.05) == b"much"
    server.on("/", Play.of(REFUSAL))
    assert send(transport, b"again") == b"much"
    assert server.connections == 2


def test_a_server_that_hangs_up_without_an_answer_is_a_failed_connection(
    server: ByteServer, transport: Transport
) -> None:
    server.on("/", Play((), "reset", read="head"))
    with pytest.raises(ConnectionFailed, match="broke before the answer began") as caught:
        send(transport, many())
    assert (caught.value.stage, caught.value.retryable, caught.value.reused) == ("send", True, False)


def test_half_an_answer_of_a_server_that_hangs_up_is_a_failed_connection(
    server: ByteServer, transport: Transport
) -> None:
    server.on("/", Play((REFUSAL[:-1],), "reset", read="head"))
    with pytest.raises(ConnectionFailed):
        send(transport, many())


@pytest.fixture
def deaf() -> Iterator[Transport]:
    """Make a transport to somebody who accepts connections and then neither reads nor writes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made = Transport(parse_host(f"127.0.0.1:{listener.getsockname()[1]}"), TransportSettings())
        yield made
        made.close()


@pytest.mark.parametrize("content", [many, lambda: b"x" * LARGE], ids=["pieces", "bytes"])
def test_a_server_that_takes_nothing_is_an_idle_timeout(
    deaf: Transport, content: Callable[[], bytes | Iterable[bytes]]
) -> None:
    with pytest.raises(IdleTimeout, match=r"took nothing of the request for 0\.05 s \(Timeouts\.between\)"):
        send(deaf, content(), between=0.05)
    with pytest.raises(TotalTimeout, match=r"0\.05 s"):
        send(deaf, content(), total=0.05)


def test_the_limit_on_the_answer_counts_from_the_end_of_the_request(deaf: Transport) -> None:
    with pytest.raises(FirstByteTimeout):
        send(deaf, b"hello", first_byte=0.05)


def test_cancelling_wakes_who_sends(deaf: Transport) -> None:
    token = CancelToken()
    begun: list[int] = []

    def pieces() -> Iterator[bytes]:
        for _ in range(1000):
            begun.append(1)
            yield PIECE

    with background(lambda: send(deaf, pieces(), token)) as call:
        while not begun:
            pass
        token.cancel()
        cancelled(call)
