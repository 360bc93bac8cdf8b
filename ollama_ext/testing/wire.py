"""One HTTP/1.1 connection, seen from the server: reading requests, writing bytes, noticing a leave.

Input is bounded as Go's server bounds it: a head of at most 1 MiB, and a body that is hashed and
counted while only its beginning is kept. Every wait ends when the socket is shut down, which is how
the server stops.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import select
import socket
import struct
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import attrs

from .delivery import reason
from .requests import Headers

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_HEAD_BYTES = 1 << 20
KEPT_BODY_BYTES = 16 << 20
_READ_BYTES = 1 << 16
_MAX_EARLY_BYTES = 1 << 20  # read ahead of the next request while an answer is still being sent
_MAX_CHUNK_LINE = 4096
_RESET_PATIENCE = 5.0  # seconds for a client to take what was sent before a reset

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"[\x21-\x7e\x80-\xff]+")  # no control characters
_DIGITS = re.compile(r"[0-9]{1,18}")
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{1,15}")


class ClientLeft(Exception):
    """The other side closed or reset the connection.

    Attributes:
        reset: Whether by a reset, which is what closing with unread bytes amounts to.
    """

    def __init__(self, *, reset: bool = False) -> None:
        """Take how it left."""
        super().__init__("the client left")
        self.reset = reset


class Refused(Exception):
    """The request is not HTTP as we speak it; answered with this status, then closed."""

    def __init__(self, status: int, why: str = "") -> None:
        """Take the status and, where Go's server gives one, the explanation."""
        super().__init__(why)
        self.status = status
        self.why = why

    def answer(self) -> bytes:
        """Return the whole answer, in the form of Go's server."""
        line = f"{self.status} {reason(self.status)}"
        text = f"{line}: {self.why}" if self.why else line
        return (
            f"HTTP/1.1 {line}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text}"
        ).encode()


@attrs.frozen
class RequestHead:
    """Request line and headers. ``length`` is None for a chunked body."""

    method: str
    path: str
    query: str
    headers: Headers
    length: int | None

    @property
    def close(self) -> bool:
        """Whether the client wants the connection closed after the answer."""
        return "close" in self.headers.get("connection", "").lower()

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a go-ahead before it sends the body."""
        return "expect" in self.headers and self.length != 0


@attrs.define
class ReceivedBody:
    """A body as far as it has come."""

    kept: bytearray = attrs.field(factory=bytearray)
    size: int = 0
    complete: bool = False
    _hash: _Hash = attrs.field(factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what has come, in hexadecimal."""
        return self._hash.hexdigest()

    def add(self, data: bytes) -> None:
        """Count and hash more bytes; keep them while there is room."""
        self.kept += data[: KEPT_BODY_BYTES - len(self.kept)]
        self.size += len(data)
        self._hash.update(data)


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class Wire:
    """An accepted socket and what was read from it ahead of time."""

    def __init__(self, sock: socket.socket) -> None:
        """Take the socket; the caller closes it."""
        with suppress(OSError):  # already reset
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each write on its own
        self._socket = sock
        self._buffer = bytearray()

    def read_head(self) -> RequestHead:
        """Read the next request up to its body.

        Raises:
            ClientLeft: There is none, or not all of it.
            Refused: It is malformed, or longer than `MAX_HEAD_BYTES`.
        """
        room = MAX_HEAD_BYTES
        lines: list[str] = []
        while True:
            raw = self._line(room, too_long=431)
            room -= len(raw)
            line = raw.rstrip(b"\r\n").decode("latin-1")
            if line:
                lines.append(line)
            elif lines:  # empty lines before the request line are skipped, as RFC 9112 says
                return _parse_head(lines)

    def read_body(self, head: RequestHead, body: ReceivedBody) -> None:
        """Read the body into ``body``, which holds what had come if this raises.

        Raises:
            ClientLeft: It is not all there.
            Refused: The chunks are malformed.
        """
        if head.expects_continue:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        pieces = self._chunks() if head.length is None else self._exactly(head.length)
        for piece in pieces:
            body.add(piece)
        body.complete = True

    def send(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            ClientLeft: The client closed the connection, before or meanwhile.
        """
        self._look(0.0)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ClientLeft(reset=True) from error

    def wait(self, seconds: float) -> None:
        """Be silent, yet notice when the client leaves.

        Raises:
            ClientLeft: It did.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._look(min(left, 3600.0))  # poll() has no infinity that is also a number

    def close(self) -> None:
        """End with FIN: the client gets all that was sent, then the end.

        Closing with unread bytes would send a reset, so whatever still comes is read away.
        """
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(_READ_BYTES):
                pass

    def reset(self) -> None:
        """End with RST, once the client's machine has taken what was sent."""
        end = time.monotonic() + _RESET_PATIENCE
        with suppress(OSError, ClientLeft):
            while self._unsent() and time.monotonic() < end:
                self._look(0.001)
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)  # on, for no time: close() drops the connection
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def _unsent(self) -> int:
        """Return how many bytes the other side's machine has not acknowledged."""
        answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])

    def _look(self, seconds: float) -> None:
        """Wait for the client to send or leave; keep what it sends for later."""
        poll = select.poll()
        room = len(self._buffer) < _MAX_EARLY_BYTES
        poll.register(self._socket, select.POLLIN if room else 0)  # 0: only hang-ups are reported
        if poll.poll(seconds * 1000):
            if not room:
                raise ClientLeft(reset=True)
            self._receive()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as error:
            raise ClientLeft(reset=True) from error
        if not data:
            raise ClientLeft
        self._buffer += data

    def _line(self, limit: int, *, too_long: int) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched, limit)
            if end >= 0:
                return self._take(end + 1)
            if len(self._buffer) >= limit:
                raise Refused(too_long)
            searched = len(self._buffer)
            self._receive()

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _exactly(self, count: int) -> Iterator[bytes]:
        missing = count
        while missing:
            if not self._buffer:
                self._receive()
            piece = self._take(missing)
            missing -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size_text = self._line(_MAX_CHUNK_LINE, too_long=400).partition(b";")[0].strip()
            if not _HEXADECIMAL.fullmatch(size_text):
                raise Refused(400)
            size = int(size_text, 16)
            if size == 0:
                break
            yield from self._exactly(size)
            if self._line(2, too_long=400).strip():
                raise Refused(400)
        room = MAX_HEAD_BYTES
        while trailer := self._line(room, too_long=431).strip():
            room -= len(trailer)


def _parse_head(lines: list[str]) -> RequestHead:
    words = lines[0].split(" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]):  # noqa: PLR2004 - method target version
        raise Refused(400)
    method, target, version = words
    if not _TARGET.fullmatch(target):
        raise Refused(400)
    if version != "HTTP/1.1":
        raise Refused(505, "this server speaks HTTP/1.1 only")
    headers = Headers(tuple(_parse_header(line) for line in lines[1:]))
    if "host" not in headers:
        raise Refused(400, "missing required Host header")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise Refused(417)
    if not target.startswith("/") and target != "*":
        target = _path_of(target)
    path, _, query = target.partition("?")
    return RequestHead(method, path, query, headers, _body_length(headers))


def _path_of(url: str) -> str:
    """Return path and query of an absolute URL, which is what a proxy's client sends."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Refused(400) from error
    if not parts.scheme or not parts.netloc:
        raise Refused(400)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _parse_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name):
        raise Refused(400)
    return name, value.strip(" \t")


def _body_length(headers: Headers) -> int | None:
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None:  # two ways to frame: how requests are smuggled
            raise Refused(400)
        if coding.lower() != "chunked":
            raise Refused(501, "Unsupported transfer encoding")
        return None
    if length is None:
        return 0
    if not _DIGITS.fullmatch(length):
        raise Refused(400)
    return int(length)
