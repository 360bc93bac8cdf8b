"""A TCP proxy on the loopback interface that does to a link what networks do: cuts, resets, silence.

One thread moves all bytes; it knows nothing of AMQP. What a test asks for has happened when the call returns.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from rabbitmq import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60.0  # seconds; against a hang only
PIECE = 64 * 1024  # bytes received at once
HELD = 4 * PIECE  # bytes that wait for a slow reader before the proxy stops reading for it

Ending = Literal["reset", "close"]


@dataclass(frozen=True)
class Connection:
    """What became of a connection so far.

    Attributes:
        number: From 0, in the order of their coming.
        to_server: Bytes passed on to the server.
        to_client: Bytes passed on to the client.
        ended: Empty while it is open; else by whom: "client", "server", "reset" (by the proxy, as it was
            told), "cut" (by `AmqpProxy.cut_next`), "unreachable" (no server listened), "closed" (with the
            proxy).
    """

    number: int
    to_server: int = 0
    to_client: int = 0
    ended: str = ""

    @property
    def open(self) -> bool:
        """Whether it is open."""
        return not self.ended


class AmqpProxy:
    """Listens on a free port while it is entered, and passes on to a port of 127.0.0.1."""

    def __init__(self, target_port: int) -> None:
        """Take the port of the server; nothing listens yet."""
        self._target = ("127.0.0.1", target_port)
        self._changed = threading.Condition()
        self._seen: list[Connection] = []
        self._links: dict[int, _Link] = {}
        self._cuts: deque[_Cut] = deque()
        self._silent: set[int] = set()  # numbers of connections; what is in there is neither read nor written
        self._all_silent = False
        self._dice = random.Random()  # noqa: S311 - to be repeatable, not to be secret
        self._every: float | None = None
        self._next_reset = 0.0
        self._posted: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._stopping = False
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        """Listen."""
        self.port = free_ports(1)[0]  # one that stays ours while nothing listens there: see `refuse`
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._listener: socket.socket | None = None
        self._listen()
        self._thread = threading.Thread(target=self._run, name="amqp-proxy", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Reset every connection that is open, and end the thread.

        Raises:
            BaseException: What went wrong in the thread, if nothing did in the block.
        """
        if self._thread.is_alive():
            with suppress(RuntimeError):
                self._do(self._stop)
        self._thread.join()
        for each in (self._waker, self._woken, self._listener):
            if each is not None:
                each.close()
        self._selector.close()
        if self._error is not None and exception[0] is None:
            raise self._error

    def through(self, url: str) -> str:
        """Return an address of the server as one that leads through the proxy."""
        host = f"{urlsplit(url).hostname}:{urlsplit(url).port or 5672}"
        assert url.count(host) == 1, f"no {host} to replace in {url}"
        return url.replace(host, f"127.0.0.1:{self.port}")

    # -- what the link does

    def pass_through(self) -> None:
        """End every fault: listen, move bytes (also those that a `blackhole` held back), forget cuts."""
        self._do(self._heal)

    def blackhole(self, number: int | None = None) -> None:
        """Read and write nothing more, and close nothing, on one connection or on all, new ones included.

        New ones are accepted by the operating system and never answered.
        """
        self._do(lambda: self._silence(number))

    def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED); those that are open go on."""
        self._do(self._close_listener)

    def reset_all(self) -> int:
        """Reset every open connection on both sides; return how many it were. New ones are fine."""
        return int(self._do(lambda: sum(self._end(link, "reset") for link in list(self._links.values()))))

    def reset(self, number: int) -> None:
        """Reset one connection on both sides."""
        self._do(lambda: self._end(self._links[number], "reset"))

    def reset_at_random(self, seed: int, every: float = 0.5) -> None:
        """Reset one connection now and then, until `pass_through`.

        Args:
            seed: Of what is chosen: the times, and which of the open connections.
            every: Seconds between two resets on average; each wait is between none and twice that.
        """

        def begin() -> None:
            self._dice, self._every = random.Random(seed), every  # noqa: S311 - to be repeatable
            self._next_reset = time.monotonic() + self._dice.uniform(0, 2 * every)

        self._do(begin)

    def cut_next(
        self, *, to_server: int | None = None, to_client: int | None = None, how: Ending = "reset"
    ) -> None:
        """End a connection that is yet to come, on both sides, as soon as so many bytes were passed on.

        The first call is for the next connection, a second call for the one after it, and so on.

        Args:
            to_server: Bytes from the client that reach the server, not one more; 0 cuts at once.
            to_client: Bytes from the server that reach the client, not one more.
            how: By a TCP reset, or as a program closes that ends in good order.
        """
        self._do(lambda: self._cuts.append(_Cut((to_server, to_client), how)))

    # -- what came

    @property
    def connections(self) -> list[Connection]:
        """Every connection that came, open or not, in order."""
        with self._changed:
            return list(self._seen)

    @property
    def open_connections(self) -> list[Connection]:
        """Those that are open."""
        return [each for each in self.connections if each.open]

    def wait_until(self, true: Callable[[list[Connection]], object]) -> None:
        """Wait until this is so of the connections; it is asked again whenever one got further."""
        with self._changed:
            assert self._changed.wait_for(lambda: true(list(self._seen)), PATIENCE), self._seen

    # -- for the caller's thread

    def _do(self, action: Callable[[], Any]) -> Any:
        done: Future[Any] = Future()
        self._posted.append((action, done))
        if not self._thread.is_alive():
            raise RuntimeError("the proxy has ended") from self._error
        self._waker.send(b"!")
        return done.result(PATIENCE)

    # -- in the proxy's thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._watch()
                wait = None if self._every is None else max(0.0, self._next_reset - time.monotonic())
                for key, events in self._selector.select(wait):
                    self._handle(key.fileobj, key.data, events)
                if self._every is not None and time.monotonic() >= self._next_reset:
                    self._reset_one(self._every)
        except BaseException as error:  # noqa: BLE001 - raised again at the end of the block
            self._error = error
        finally:
            for link in list(self._links.values()):
                self._end(link, "closed")
            while self._posted:
                self._posted.popleft()[1].set_exception(RuntimeError("the proxy has ended"))

    def _handle(self, ready: Any, link: _Link | None, events: int) -> None:
        if ready is self._woken:
            self._woken.recv(PIECE)
            while self._posted:
                action, done = self._posted.popleft()
                try:
                    done.set_result(action())
                except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
                    done.set_exception(error)
        elif ready is self._listener:
            self._accept()
        elif link is not None and link.number in self._links and not self._is_silent(link):
            side = link.sockets.index(ready)
            if events & selectors.EVENT_READ:
                self._receive(link, side)
            if events & selectors.EVENT_WRITE and link.number in self._links:
                self._send(link, 1 - side)

    def _accept(self) -> None:
        assert self._listener is not None
        client, _ = self._listener.accept()
        with self._changed:
            number = len(self._seen)
            self._seen.append(Connection(number))
            self._changed.notify_all()
        try:
            server = socket.create_connection(self._target, PATIENCE)
        except OSError:
            _reset(client)
            self._record(number, ended="unreachable")
            return
        for each in (client, server):
            each.settimeout(0)  # never blocks
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(number, (client, server), self._cuts.popleft() if self._cuts else _Cut())
        self._links[number] = link
        self._cut_if_due(link)

    def _receive(self, link: _Link, side: int) -> None:
        try:
            data = link.sockets[side].recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._end(link, "client" if side == 0 else "server", how="reset")
            return
        if data:
            link.held[side].extend(data)
        else:
            link.finished[side] = True
        self._send(link, side)

    def _send(self, link: _Link, side: int) -> None:
        """Pass on what came from a side."""
        other, held = link.sockets[1 - side], link.held[side]
        limit = link.cut.after[side]
        allowed = len(held) if limit is None else min(len(held), limit - link.passed[side])
        try:
            sent = other.send(held[:allowed]) if allowed else 0
        except BlockingIOError:
            return
        except OSError:
            self._end(link, "server" if side == 0 else "client", how="reset")
            return
        del held[:sent]
        if sent:
            link.passed[side] += sent
            self._record(link.number, to_server=link.passed[0], to_client=link.passed[1])
        if self._cut_if_due(link):
            return
        if link.finished[side] and not held and not link.told[side]:
            link.told[side] = True
            with suppress(OSError):
                other.shutdown(socket.SHUT_WR)
            link.first_to_end = link.first_to_end or ("client" if side == 0 else "server")
            if all(link.told):
                self._end(link, link.first_to_end, how="close")

    def _cut_if_due(self, link: _Link) -> bool:
        due = any(
            limit is not None and passed >= limit
            for limit, passed in zip(link.cut.after, link.passed, strict=True)
        )
        return due and self._end(link, "cut", how=link.cut.how)

    def _end(self, link: _Link, by: str, *, how: Ending = "reset") -> bool:
        if self._links.pop(link.number, None) is None:
            return False
        for each in link.sockets:
            with suppress(KeyError):
                self._selector.unregister(each)
            if how == "reset":
                _reset(each)
            else:
                each.close()
        self._silent.discard(link.number)
        self._record(link.number, ended=by)
        return True

    def _record(self, number: int, **changes: Any) -> None:
        with self._changed:
            self._seen[number] = replace(self._seen[number], **changes)
            self._changed.notify_all()

    def _watch(self) -> None:
        """Tell the selector what each socket is waited for."""
        for link in self._links.values():
            for side, each in enumerate(link.sockets):
                events = 0
                if not self._is_silent(link):
                    if not link.finished[side] and len(link.held[side]) < HELD:
                        events |= selectors.EVENT_READ
                    if link.held[1 - side]:
                        events |= selectors.EVENT_WRITE
                self._wait_for(each, events, link)
        if self._listener is not None:
            self._wait_for(self._listener, 0 if self._all_silent else selectors.EVENT_READ, None)

    def _wait_for(self, each: socket.socket, events: int, data: _Link | None) -> None:
        try:
            known = self._selector.get_key(each)
        except KeyError:
            if events:
                self._selector.register(each, events, data)
            return
        if not events:
            self._selector.unregister(each)
        elif events != known.events:
            self._selector.modify(each, events, data)

    def _is_silent(self, link: _Link) -> bool:
        return self._all_silent or link.number in self._silent

    # -- what is asked for, in the proxy's thread

    def _heal(self) -> None:
        self._all_silent, self._every = False, None
        self._silent.clear()
        self._cuts.clear()
        for link in self._links.values():
            link.cut = _Cut()
        if self._listener is None:
            self._listen()

    def _silence(self, number: int | None) -> None:
        if number is None:
            self._all_silent = True
        else:
            assert number in self._links, f"connection {number} is not open"
            self._silent.add(number)

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)

    def _close_listener(self) -> None:
        if self._listener is not None:
            with suppress(KeyError):
                self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _reset_one(self, every: float) -> None:
        if self._links:
            self._end(self._links[self._dice.choice(sorted(self._links))], "reset")
        self._next_reset = time.monotonic() + self._dice.uniform(0, 2 * every)

    def _stop(self) -> None:
        self._stopping = True
        self._close_listener()


@dataclass
class _Cut:
    """After how many bytes to the server and to the client a connection ends, and how."""

    after: tuple[int | None, int | None] = (None, None)
    how: Ending = "reset"


@dataclass
class _Link:
    """A connection; of each pair the first is the client's, the second the server's."""

    number: int
    sockets: tuple[socket.socket, socket.socket]
    cut: _Cut
    held: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    passed: list[int] = field(default_factory=lambda: [0, 0])
    finished: list[bool] = field(default_factory=lambda: [False, False])  # it will send no more
    told: list[bool] = field(default_factory=lambda: [False, False])  # and the other side knows
    first_to_end: str = ""


def _reset(each: socket.socket) -> None:
    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no FIN, and nothing kept
    each.close()
