"""A server that answers each request with exactly these bytes: what HTTP/1.1 servers do, or should not.

`FakeOllama` answers as Ollama would; this one as nobody should. Connections are kept, so that tests see which
answers leave a connection that can be used again.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from ollama_ext.testing.wire import ClientLeft, ReceivedBody, Refused, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

Then = Literal["keep", "close", "cut", "reset", "stall", "deaf"]

PATIENCE = 20.0  # against a hang only; no test measures with it


@dataclass(frozen=True)
class Play:
    """What happens when a request comes.

    Attributes:
        pieces: Each is one write.
        then: How it goes on: wait for the next request (keep), end with FIN (close; with TLS, take leave
            first), end with FIN alone (cut), end with RST (reset), stay silent until the client goes (stall),
            or read and write nothing until the server stops (deaf).
        read: How much of the request is read before the answer: all, or only its head.
    """

    pieces: tuple[bytes, ...]
    then: Then = "keep"
    read: Literal["all", "head"] = "all"

    @classmethod
    def of(cls, data: bytes, then: Then = "keep") -> Self:
        """Return one that sends everything at once."""
        return cls((data,), then)


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    complete: bool
    connection: int

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None."""
        return next((value for key, value in self.headers if key.lower() == name), None)


OK = Play.of(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@dataclass
class _State:
    plays: dict[str, list[Play]] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)
    sockets: dict[int, socket.socket] = field(default_factory=dict)
    quiet: set[int] = field(default_factory=set)  # connections that wait for a request, or are over
    accepted: int = 0
    names: list[str | None] = field(default_factory=list)


class ByteServer:
    """Listens on a free port from the start; a context manager.

    Args:
        plays: What is played to requests for a path that `on` says nothing of; the last is repeated.
        address: Where to listen.
        context: For TLS.
    """

    def __init__(
        self, *plays: Play, address: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
    ) -> None:
        """Listen."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=64)
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self._context = context
        self._changed = threading.Condition()
        self._state = _State({"": list(plays or (OK,))})
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self._state.names.append(name)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    # -- what tests see

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'http' if self._context is None else 'https'}://{host}:{self.port}"

    @property
    def requests(self) -> list[Asked]:
        """Those that came, in order; one that was cut is not complete."""
        with self._changed:
            return list(self._state.requests)

    @property
    def connections(self) -> int:
        """How many were accepted."""
        with self._changed:
            return self._state.accepted

    @property
    def open_connections(self) -> int:
        """How many are still there."""
        with self._changed:
            return len(self._state.sockets)

    @property
    def names(self) -> list[str | None]:
        """The host names that TLS clients asked for (SNI)."""
        return self._state.names

    def on(self, path: str, *plays: Play) -> None:
        """Play these to the next requests for a path, the last to all that follow."""
        with self._changed:
            self._state.plays[path] = list(plays)

    def wait_until(self, true: Callable[[ByteServer], bool]) -> None:
        """Wait until this is so; it is asked again whenever something has changed."""
        with self._changed:
            assert self._changed.wait_for(lambda: true(self), PATIENCE), "the server waited in vain"

    def settle(self) -> None:
        """Wait until every connection is over, or waits for its next request."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self._state.sockets.keys() <= self._state.quiet, PATIENCE
            ), "a connection is still busy"

    def hang_up(self) -> None:
        """Close the connections that are open, with FIN, and wait until they are over."""
        with self._changed:
            for each in self._state.sockets.values():
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self.wait_until(lambda server: server.open_connections == 0)

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """End every connection and every thread."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        with self._changed:
            for each in self._state.sockets.values():
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    # -- threads

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # stopped
                return
            with self._changed:
                self._state.accepted += 1
                number = self._state.accepted
                self._state.sockets[number] = accepted
                self._changed.notify_all()
            thread = threading.Thread(target=self._serve, args=(accepted, number), daemon=True)
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()

    def _serve(self, accepted: socket.socket, number: int) -> None:
        try:
            if self._context is not None:
                accepted = self._context.wrap_socket(
                    accepted, server_side=True, do_handshake_on_connect=False
                )
                with self._changed:
                    self._state.sockets[number] = accepted
                accepted.do_handshake()
            self._converse(accepted, Wire(accepted), number)
        except (OSError, ClientLeft, Refused):
            pass  # what the client sees is what tests look at
        finally:
            accepted.close()
            with self._changed:
                del self._state.sockets[number]
                self._changed.notify_all()

    def _converse(self, accepted: socket.socket, wire: Wire, number: int) -> None:
        then = "keep"
        while then == "keep":
            self._mark(number, quiet=True)
            play = self._receive(wire, number)
            for piece in play.pieces:
                accepted.sendall(piece)  # not of Wire, which would notice that the client has gone
            then = play.then
        if then == "reset":
            wire.reset()
        elif then == "stall":
            self._mark(number, quiet=True)
            while accepted.recv(65536):
                pass
        elif then == "deaf":
            self._mark(number, quiet=True)
            self._stopping.wait()
        elif then == "close" and isinstance(accepted, ssl.SSLSocket):
            accepted.unwrap()

    def _receive(self, wire: Wire, number: int) -> Play:
        head, body = wire.read_head(), ReceivedBody()
        self._mark(number, quiet=False)
        with self._changed:
            plays = self._state.plays.get(head.path, self._state.plays[""])
            play = plays.pop(0) if len(plays) > 1 else plays[0]
        try:
            if play.read == "all":
                wire.read_body(head, body)
        finally:
            with self._changed:
                self._state.requests.append(
                    Asked(head.method, head.path, head.headers.pairs, bytes(body.kept), body.complete, number)
                )
                self._changed.notify_all()
        return play

    def _mark(self, number: int, *, quiet: bool) -> None:
        with self._changed:
            (self._state.quiet.add if quiet else self._state.quiet.discard)(number)
            self._changed.notify_all()
