"""Sockets: which address of a name is dialled, what limits do, and what another thread can do."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

import pytest
from background import background
from byte_server import ByteServer, Play
from sockets import nothing_left_behind

from ollama_ext import Client, ConnectionFailed, ConnectTimeout, Timeouts
from ollama_ext.transport.connection import Connection, dial

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = Play.of(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"version":"9"}')
NAME = "gpu1.example"


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    with nothing_left_behind():
        yield


def addresses(monkeypatch: pytest.MonkeyPatch, *given: tuple[socket.AddressFamily, Any]) -> None:
    """Let a name have these addresses, in this order."""
    rows = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in given]

    def look_up(*_: object, **__: object) -> list[Any]:
        return rows

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture
def dead_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def full_port() -> Iterator[int]:
    """Return a port that takes no connection: its queue is full, so that connecting goes on for ever."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.settimeout(0.0)
            each.connect_ex(address)
        yield address[1]
        for each in waiting:
            each.close()


# -- dialling


def test_the_next_address_is_tried_when_the_first_refuses(
    monkeypatch: pytest.MonkeyPatch, dead_port: int
) -> None:
    with ByteServer(VERSION) as server, Client(f"http://{NAME}:{server.port}") as client:
        addresses(
            monkeypatch,
            (socket.AF_INET, ("127.0.0.1", dead_port)),
            (socket.AF_INET, ("127.0.0.1", server.port)),
        )
        assert client.server_version() == "9"
        assert server.requests[0].header("host") == f"{NAME}:{server.port}"


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, full_port: int
) -> None:
    with ByteServer(VERSION) as server, Client(f"http://{NAME}:{server.port}", retry=None) as client:
        addresses(
            monkeypatch,
            (socket.AF_INET, ("127.0.0.1", full_port)),
            (socket.AF_INET, ("127.0.0.1", server.port)),
        )
        assert client.server_version(timeout=Timeouts(connect=0.5)) == "9"


def test_an_address_of_a_family_that_this_machine_lacks_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.socket

    def without_ipv6(family: int = -1, *arguments: Any, **options: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *arguments, **options)

    with ByteServer(VERSION) as server, Client(f"http://{NAME}:{server.port}", retry=None) as client:
        addresses(
            monkeypatch,
            (socket.AF_INET6, ("::1", server.port, 0, 0)),
            (socket.AF_INET, ("127.0.0.1", server.port)),
        )
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", without_ipv6)
            assert client.server_version() == "9"


def test_the_last_failure_is_told_when_no_address_answers(
    monkeypatch: pytest.MonkeyPatch, dead_port: int, full_port: int
) -> None:
    refused = (socket.AF_INET, ("127.0.0.1", dead_port))
    silent = (socket.AF_INET, ("127.0.0.1", full_port))
    with Client(NAME, retry=None) as client:
        addresses(monkeypatch, silent, refused)
        with pytest.raises(ConnectionFailed, match="refused"):
            client.server_version(timeout=Timeouts(connect=0.1))
        addresses(monkeypatch, refused, silent)
        with pytest.raises(ConnectTimeout):
            client.server_version(timeout=Timeouts(connect=0.1))
        addresses(monkeypatch)
        with pytest.raises(ConnectionFailed, match=f"no address for {NAME}"):
            client.server_version()


def test_an_ipv6_address_is_dialled_and_named_in_brackets() -> None:
    with ByteServer(VERSION, address="::1") as server, Client(server.url) as client:
        assert client.server_version() == "9"
        assert server.requests[0].header("host") == f"[::1]:{server.port}"


def test_a_name_that_does_not_exist_is_a_failed_connection() -> None:
    with (
        Client("http://no-such-host.invalid:1", retry=None) as client,
        pytest.raises(ConnectionFailed, match="no such host name is known: is the address right"),
    ):
        client.server_version()


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example", ".example", "x" * 300])
def test_a_name_that_cannot_be_is_one_that_does_not_exist(name: str) -> None:
    with pytest.raises(socket.gaierror):
        dial(name, 1, 5.0, None, name)


# -- limits


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """Return a connection and what is at its other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    connection = Connection(ours)
    yield connection, theirs
    connection.close()
    theirs.close()


Pair = tuple[Connection, socket.socket]


@pytest.mark.parametrize("limit", [0.0, 1e-9, 0.0005, 0.02])
def test_a_limit_on_reading_is_kept_and_never_means_for_ever(pair: Pair, limit: float) -> None:
    connection, theirs = pair
    with pytest.raises(TimeoutError) as caught:
        connection.receive(limit)
    assert caught.value.errno is None
    theirs.send(b"x")
    assert connection.receive(limit) == b"x"  # it goes on afterwards


def test_limits_may_change_from_read_to_read(pair: Pair) -> None:
    connection, theirs = pair
    for limit in (0.01, None, 0.02, 0.01, 1000.0):
        theirs.send(b"x")
        assert connection.receive(limit) == b"x"
    with pytest.raises(TimeoutError):
        connection.receive(0.01)


def test_a_limit_on_writing_is_kept(pair: Pair) -> None:
    connection, _ = pair
    assert connection.send(b"x" * 65536, 0.02) > 0
    with pytest.raises(TimeoutError):
        fill(connection)


def fill(connection: Connection) -> None:
    """Send more than anybody takes."""
    while True:
        connection.send(b"x" * 65536, 0.02)


def test_the_end_is_no_bytes_and_a_reset_is_an_error() -> None:
    for then in ("cut", "reset"):
        with ByteServer(Play.of(b"x", then)) as server:
            connection = dial("127.0.0.1", server.port, 5.0, None, "")
            connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 5.0)
            server.wait_until(lambda it: it.open_connections == 0)
            assert connection.receive(5.0) == b"x"
            if then == "cut":
                assert connection.receive(5.0) == b""
            else:
                with pytest.raises(ConnectionResetError):
                    connection.receive(5.0)
            connection.close()


def test_another_thread_can_wake_who_reads(pair: Pair) -> None:
    connection, _ = pair
    with background(lambda: connection.receive(None)) as call:
        connection.shut_down()
        assert call.result(20) == b""
    connection.shut_down()  # again, and after the end
    connection.close()
    connection.shut_down()
    connection.close()


def test_an_idle_connection_is_stale_once_the_other_side_closed_it_or_spoke(pair: Pair) -> None:
    connection, theirs = pair
    assert not connection.is_stale()
    theirs.send(b"x")
    assert connection.is_stale()
    connection.receive(1.0)
    assert not connection.is_stale()
    theirs.close()
    assert connection.is_stale()


def test_a_connection_is_told_to_send_at_once_and_to_notice_a_dead_peer() -> None:
    with ByteServer() as server:
        connection = dial("127.0.0.1", server.port, None, None, "")
        ours: socket.socket = connection._socket  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - to look at it
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        connection.close()
