"""Nothing foreign escapes: whatever the HTTP stack raises, and wherever, leaves as an error of ours.

The classes are those that the stack has, not a list of our own: a new one in a newer version is tested as
well, and fails if nobody has thought of it.
"""

from __future__ import annotations

import builtins
import errno
import inspect
import socket
import ssl
import zlib
from typing import TYPE_CHECKING, Any

import httptools
import httpx
import pytest
from byte_server import ByteServer, Play
from httptools.parser import errors as parser_errors
from ollama_openapi.types import Request
from sockets import nothing_left_behind

from ollama_ext import (
    ConnectionFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    InvalidResponse,
    OllamaError,
    OllamaTimeout,
    Timeouts,
    parse_host,
)
from ollama_ext.httpx_transport import HTTPTransport
from ollama_ext.transport import Transport, TransportSettings, direct
from ollama_ext.transport.connection import Connection
from ollama_ext.transport.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

HEAD = b"HTTP/1.1 200 OK\r\n"
HALF = Play.of(HEAD + b"Content-Length: 5\r\n\r\nhe", "stall")
ASKED = Request(method="POST", path="/", content=b"hello")


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture(params=["ours", "httpx"])
def through(request: pytest.FixtureRequest) -> str:
    """Return which of the two ways to use the transport is meant."""
    name: str = request.param
    return name


def classes_of(module: ModuleType, root: type[BaseException] = Exception) -> list[type[Any]]:
    """Return the exceptions of a module, those that it only passes on as well."""
    found = {each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, root)}
    return sorted(found, key=lambda each: each.__name__)


def made(kind: type[Any]) -> Any:
    """Return an exception of a class."""
    if kind is httpx.HTTPStatusError:
        response = httpx.Response(500)
        return httpx.HTTPStatusError("x", request=httpx.Request("GET", "http://x"), response=response)
    if issubclass(kind, UnicodeDecodeError):
        return kind("idna", b"x", 0, 1, "x")
    if issubclass(kind, UnicodeEncodeError):
        return kind("idna", "x", 0, 1, "x")
    if issubclass(kind, UnicodeTranslateError):
        return kind("x", 0, 1, "x")
    try:
        return kind("x")
    except TypeError:
        return kind()


OS_ERRORS = [
    *(made(each) for each in classes_of(builtins, OSError)),
    *(made(each) for each in classes_of(ssl, OSError) if each.__module__ == "ssl"),
    *(made(each) for each in classes_of(socket, OSError) if each.__module__ == "socket"),
    *(OSError(code, "x") for code in (errno.ETIMEDOUT, errno.ENETUNREACH, errno.EMFILE, errno.ECONNRESET)),
]
UNICODE_ERRORS = [made(each) for each in classes_of(builtins, UnicodeError)]


def named(value: object) -> str:
    """Return the identifier of a parametrised test."""
    return f"{type(value).__name__}{getattr(value, 'errno', None) or ''}"


def ask(server: ByteServer, through: str) -> Exception:
    """Return the error that a request ends with."""
    if through == "httpx":
        with httpx.Client(transport=HTTPTransport(), timeout=5.0) as client:
            with pytest.raises(httpx.TransportError) as theirs:
                client.post(server.url, content=b"hello")
            assert isinstance(theirs.value.__cause__, OllamaError)
            return theirs.value.__cause__
    transport = Transport(parse_host(server.url), TransportSettings())
    with pytest.raises(OllamaError) as ours:
        transport.send(ASKED, {}, Limits(Timeouts()))
    transport.close()
    return ours.value


def is_a_limit(error: BaseException) -> bool:
    """Return whether it is ours, of a limit; the system has one of the same class, with a number."""
    return isinstance(error, TimeoutError) and error.errno is None


@pytest.mark.parametrize("error", OS_ERRORS, ids=named)
def test_whatever_fails_in_connecting_is_a_failed_connection(
    error: OSError, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dial(*_: object) -> Connection:
        raise error

    monkeypatch.setattr(direct, "dial", dial)
    with ByteServer() as server:
        raised = ask(server, through)
    assert type(raised) is (ConnectTimeout if is_a_limit(error) else ConnectionFailed)
    assert getattr(raised, "stage", "connect") == "connect"
    assert is_a_limit(error) or "x" in str(raised)


@pytest.mark.parametrize("error", [*UNICODE_ERRORS, socket.gaierror(-2, "x")], ids=named)
def test_whatever_is_wrong_with_a_name_is_a_failed_connection(
    error: Exception, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*_: object, **__: object) -> Any:
        raise error

    with ByteServer() as server, monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        raised = ask(server, through)
    assert type(raised) is ConnectionFailed
    assert "no such host name is known" in str(raised)


@pytest.mark.parametrize("error", OS_ERRORS, ids=named)
def test_whatever_fails_in_sending_is_a_failed_connection(
    error: OSError, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Connection, *_: object) -> int:
        connection.shut_down()
        raise error

    monkeypatch.setattr(Connection, "send", fail)
    with ByteServer() as server:
        raised = ask(server, through)
    assert isinstance(raised, ConnectionFailed)
    assert raised.stage == "send"


@pytest.mark.parametrize("error", OS_ERRORS, ids=named)
@pytest.mark.parametrize("part", ["head", "body"])
def test_whatever_fails_in_receiving_is_a_failed_connection(
    error: OSError, through: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Connection.receive
    reads = [part == "body"]

    def fail(connection: Connection, limit: float | None) -> bytes:
        if reads.pop():
            reads.append(False)
            return receive(connection, limit)
        raise error

    monkeypatch.setattr(Connection, "receive", fail)
    with ByteServer(HALF) as server:
        raised = ask(server, through)
    limit = FirstByteTimeout if part == "head" else IdleTimeout
    assert type(raised) is (limit if is_a_limit(error) else ConnectionFailed)
    assert getattr(raised, "stage", "") in {"", "send" if part == "head" else "receive"}


def test_the_parser_has_no_errors_that_nobody_knows_of() -> None:
    known = (httptools.HttpParserError, httptools.HttpParserUpgrade)
    assert all(issubclass(each, known) for each in classes_of(parser_errors))


@pytest.mark.parametrize("kind", classes_of(parser_errors))
@pytest.mark.parametrize("late", [False, True], ids=["at once", "after a piece of the body"])
def test_whatever_the_parser_finds_is_an_invalid_response(
    kind: type[Exception], late: bool, through: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = httptools.HttpResponseParser

    class Parser:
        """Finds something, when it has taken the bytes or without."""

        def __init__(self, protocol: Any) -> None:
            self._real = real(protocol)

        def feed_data(self, data: bytes) -> None:
            """Find something."""
            if late:
                self._real.feed_data(data)
            raise kind("x")

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    monkeypatch.setattr(httptools, "HttpResponseParser", Parser)
    with ByteServer(HALF) as server:
        raised = ask(server, through)
    assert type(raised) is InvalidResponse


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip"])
@pytest.mark.parametrize(
    "packed", [b"plain", zlib.compress(b"hello")[:-1] + b"x", zlib.compress(b"hello")[:4]]
)
def test_whatever_is_wrong_with_a_compressed_body_is_an_invalid_response(coding: str, packed: bytes) -> None:
    head = HEAD + f"Content-Encoding: {coding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with ByteServer(Play.of(head + packed)) as server:
        raised = ask(server, "ours")
    assert type(raised) is InvalidResponse
    assert "compressed" in str(raised)


# -- through a proxy

EXPECTED: dict[type[Any], type[OllamaError]] = {
    httpx.ConnectTimeout: ConnectTimeout,
    httpx.WriteTimeout: IdleTimeout,
    httpx.TimeoutException: OllamaTimeout,
    httpx.ProtocolError: InvalidResponse,
    httpx.DecodingError: InvalidResponse,
    Exception: ConnectionFailed,
}


def expected(error: Exception) -> type[OllamaError]:
    """Return what an error of httpx has to become."""
    return next(ours for theirs, ours in EXPECTED.items() if isinstance(error, theirs))


class Failing(httpx.SyncByteStream):
    """A body that breaks after a piece."""

    def __init__(self, error: Exception) -> None:
        """Take what to raise."""
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        """Yield a piece, then fail."""
        yield b"he"
        raise self._error


@pytest.mark.parametrize("part", ["send", "receive"])
@pytest.mark.parametrize(
    "error", [made(each) for each in classes_of(httpx)] + UNICODE_ERRORS + OS_ERRORS, ids=named
)
def test_whatever_httpx_raises_on_the_way_through_a_proxy_is_one_of_ours(
    error: Exception, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(_client: httpx.Client, request: httpx.Request, **_: Any) -> httpx.Response:
        if part == "send":
            raise error
        return httpx.Response(200, request=request, stream=Failing(error))

    monkeypatch.setattr(httpx.Client, "send", send)
    transport = Transport(parse_host("gpu1.example"), TransportSettings(proxy="http://127.0.0.1:1"))
    with pytest.raises(OllamaError) as caught:
        transport.send(ASKED, {}, Limits(Timeouts()))
    transport.close()
    assert isinstance(caught.value, expected(error))
    assert isinstance(caught.value, OllamaTimeout) == isinstance(error, httpx.TimeoutException)
    assert caught.value.__cause__ is error


def test_a_url_that_httpx_refuses_is_one_of_ours() -> None:
    transport = Transport(parse_host("gpu1.example"), TransportSettings(proxy="http://127.0.0.1:1"))
    with pytest.raises(OllamaError):
        transport.send(Request(method="GET", path="/" + "x" * 70_000), {}, Limits(Timeouts()))
    transport.close()
