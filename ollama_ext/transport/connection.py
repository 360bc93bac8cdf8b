"""One connection: a socket that is ours, so that every wait has a limit and any thread can end it."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: What one read takes at most: a token has some 150 bytes, a reply to `embed` megabytes.
READ_SIZE: Final = 65536

#: Seconds after which the kernel asks whether a silent peer is still there, and how often. While the server
#: loads a model nothing is sent, and a router in between may forget a connection like that.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}

#: The least that a limit can be: to the kernel, zero means for ever.
_SHORTEST: Final = 0.001


class Connection:
    """A connected socket and its limits. One thread uses it; only `shut_down` is for others.

    Attributes:
        reused: Whether an answer was read from it before.
        idle_since: When it was last put aside, by `time.monotonic`.
    """

    __slots__ = (
        "_encrypted",
        "_poll",
        "_read_limit",
        "_recv",
        "_send",
        "_socket",
        "_write_limit",
        "idle_since",
        "reused",
    )

    def __init__(self, connected: socket.socket) -> None:
        """Take over a connected socket."""
        self._socket = connected
        self._encrypted = isinstance(connected, ssl.SSLSocket)
        self._recv: Callable[[int], bytes] = connected.recv
        self._send: Callable[[memoryview | bytes], int] = connected.send
        self._read_limit: float | None = None
        self._write_limit: float | None = None
        self._poll: select.poll | None = None
        self.reused: bool = False
        self.idle_since: float = 0.0
        connected.settimeout(None)

    def receive(self, limit: float | None) -> bytes:
        """Wait for bytes and return them; none at the end.

        Raises:
            TimeoutError: Nothing came within the limit, in seconds.
            OSError: The connection broke.
        """
        if limit != self._read_limit:
            self._set_read_limit(limit)
        try:
            return self._recv(READ_SIZE)
        except BlockingIOError:  # what the kernel's limit looks like
            raise TimeoutError from None

    def send(self, data: bytes | memoryview, limit: float | None) -> int:
        """Send some of the data; return how much.

        Raises:
            TimeoutError: The peer took nothing within the limit, in seconds.
            OSError: The connection broke.
        """
        if limit != self._write_limit:
            self._set_write_limit(limit)
        try:
            return self._send(data)
        except BlockingIOError:
            raise TimeoutError from None

    def _set_read_limit(self, limit: float | None) -> None:
        # With a time-out of its own Python polls before every read: one system call more for every token. The
        # kernel keeps the same limit for nothing. Not with TLS, where Python would start over for ever.
        self._read_limit = limit
        if self._encrypted:
            self._write_limit = limit
            self._socket.settimeout(None if limit is None else max(limit, _SHORTEST))
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(limit))

    def _set_write_limit(self, limit: float | None) -> None:
        if self._encrypted:
            self._set_read_limit(limit)
        else:
            self._write_limit = limit
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(limit))

    def is_stale(self) -> bool:
        """Whether an idle connection was closed by the server, or says something that nobody asked for."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
        return bool(self._poll.poll(0))

    def shut_down(self) -> None:
        """End it from another thread: whoever waits in `receive` or `send` is woken at once."""
        with suppress(OSError):  # it has ended by itself
            # Not the method of an SSLSocket, which would also change what the other thread is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; the server then stops generating."""
        with suppress(OSError):
            self._socket.close()


def dial(
    host: str, port: int, limit: float | None, tls: ssl.SSLContext | None, server_name: str
) -> Connection:
    """Connect, trying each address of a name in turn.

    The limit is on everything together, name resolution included as far as the system lets us: it cannot be
    interrupted, so it is counted afterwards.

    Raises:
        TimeoutError: It took longer than ``limit`` seconds.
        OSError: It failed; `ssl.SSLError` where TLS did.
    """
    end = None if limit is None else monotonic() + limit
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a part of the name is empty, or too long
        raise socket.gaierror(socket.EAI_NONAME, f"not a host name: {error}") from error
    failure: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        # A dead first address must not eat the time of those after it.
        share = None if end is None else (end - monotonic()) / (len(addresses) - number)
        if share is not None and share <= 0:
            raise TimeoutError
        try:
            connected = _connected(socket.socket(family, kind, protocol), address, share)
        except OSError as error:  # such as a family of addresses that this machine does not have
            failure = error
        else:
            return _prepare(connected, end, tls, server_name)
    raise failure or OSError(f"no address for {host}")


def _connected(connecting: socket.socket, address: Any, limit: float | None) -> socket.socket:
    try:
        connecting.settimeout(limit)
        connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _prepare(
    connected: socket.socket, end: float | None, tls: ssl.SSLContext | None, server_name: str
) -> Connection:
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                connected.setsockopt(socket.IPPROTO_TCP, option, value)
        if tls is not None:
            connected.settimeout(None if end is None else max(end - monotonic(), _SHORTEST))
            connected = tls.wrap_socket(connected, server_hostname=server_name)
        return Connection(connected)
    except BaseException:
        connected.close()
        raise


def _timeval(limit: float | None) -> bytes:
    if limit is None:
        return struct.pack("@ll", 0, 0)
    limit = max(limit, _SHORTEST)
    return struct.pack("@ll", int(limit), int(limit % 1 * 1_000_000))
