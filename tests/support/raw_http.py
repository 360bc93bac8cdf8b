"""A client that hides nothing: raw sockets, every byte, and how the connection ended.

For the tests of the scripted server. A library would repair, retry or join what they must see.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any, Literal, Self

TIMEOUT = 20.0  # against a hang only; no test measures with it


@dataclass(frozen=True)
class Answer:
    """One HTTP answer taken apart."""

    status: int
    headers: list[tuple[str, str]]
    chunks: list[bytes]
    """The HTTP chunks in order, the last possibly cut; one piece for any other body."""
    complete: bool
    """Whether the framing says that nothing is missing."""
    rest: bytes = field(default=b"")
    """What followed the answer."""

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)

    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Capture:
    """All that came on a connection until its end."""

    data: bytes
    ended: Literal["closed", "reset"]

    def answer(self, method: str = "GET") -> Answer:
        """Return the first answer."""
        return parse(self.data, method)


class RawConnection:
    """A connection to 127.0.0.1."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the socket; with unread bytes, that is a reset."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.sendall(data)

    def read(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise EOFError(f"{count} bytes wanted, {len(data)} came: {data!r}")
            data += more
        return data

    def read_until(self, end: bytes) -> bytes:
        """Read up to and including ``end``, byte by byte, so that nothing more is taken."""
        data = b""
        while not data.endswith(end):
            data += self.read(1)
        return data

    def read_all(self) -> Capture:
        """Read until the connection ends."""
        data = b""
        while True:
            try:
                more = self._socket.recv(1 << 16)
            except ConnectionResetError:
                return Capture(data, "reset")
            if not more:
                return Capture(data, "closed")
            data += more


def request(method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> bytes:
    """Return the bytes of a request: a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    named = {"Host": "127.0.0.1", **(headers or {})}
    if body is not None:
        named["Content-Length"] = str(len(data))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


def converse(port: int, data: bytes) -> Capture:
    """Send bytes on a connection of their own and return all that comes back."""
    with RawConnection(port) as connection:
        connection.send(data)
        return connection.read_all()


def ask(port: int, method: str, path: str, body: object = None) -> Answer:
    """Make one request, asking for the connection to be closed, and return its answer."""
    sent = request(method, path, body, {"Connection": "close"})
    return converse(port, sent).answer(method)


def parse(data: bytes, method: str = "GET") -> Answer:
    """Take an answer apart."""
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        headers.append((name, value))
    named = {name.lower(): value for name, value in headers}
    if method == "HEAD":
        return Answer(status, headers, [], complete=True, rest=rest)
    if named.get("transfer-encoding") == "chunked":
        chunks, rest, complete = _chunks(rest)
        return Answer(status, headers, chunks, complete, rest)
    length = int(named["content-length"]) if "content-length" in named else len(rest)
    body, after = rest[:length], rest[length:]
    return Answer(status, headers, [body] if body else [], len(body) == length, after)


def _chunks(data: bytes) -> tuple[list[bytes], bytes, bool]:
    chunks: list[bytes] = []
    rest = data
    while rest:
        size_text, newline, rest = rest.partition(b"\r\n")
        if not newline:
            raise ValueError(f"cut within the size of a chunk: {size_text!r}")
        size = int(size_text, 16)
        if size == 0:
            if not rest.startswith(b"\r\n"):
                raise ValueError(f"the last chunk is not followed by an empty line: {rest!r}")
            return chunks, rest[2:], True
        piece, rest = rest[:size], rest[size:]
        if piece:
            chunks.append(piece)
        if len(piece) == size:
            if not rest.startswith(b"\r\n"):
                raise ValueError(f"a chunk of {size} bytes does not end where it should: {rest!r}")
            rest = rest[2:]
    return chunks, rest, False
