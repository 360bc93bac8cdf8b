"""A small real proxy: it forwards requests for http, opens tunnels for https (CONNECT), and can refuse to."""

from __future__ import annotations

import base64
import selectors
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl


class Proxy:
    """Listens on a free port of 127.0.0.1 from the start; a context manager.

    Whatever host is asked for is found on this machine: there is no need for names that exist.

    Args:
        behind: The port of the server that stands for every host, or 0 for none.
        user: ``name:password`` that clients must send, or None.
        refuse: A status that every request is answered with, or 0.
        silent: Whether it takes requests and then does nothing.
        context: For clients that talk to it over TLS, or None.

    Attributes:
        asked: The request line of each request, in order.
        sent: The heads of the requests as they came.
    """

    def __init__(
        self,
        behind: int,
        *,
        user: str | None = None,
        refuse: int = 0,
        silent: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Listen."""
        self._behind = behind
        self._user = user
        self._refuse = refuse
        self._silent = silent
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.asked: list[str] = []
        self.sent: list[bytes] = []
        self._asked_once = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, user: str = "") -> str:
        """Return where it listens, with ``name:password`` if given."""
        scheme = "http" if self._context is None else "https"
        host = "127.0.0.1" if self._context is None else "localhost"
        return f"{scheme}://{user}@{host}:{self.port}" if user else f"{scheme}://{host}:{self.port}"

    def wait_until_asked(self) -> None:
        """Wait for the first request."""
        assert self._asked_once.wait(20)

    def __enter__(self) -> Self:
        """Return the proxy itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every connection and every thread."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    # -- threads

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:  # the end
                return
            thread = threading.Thread(target=self._serve, args=(accepted,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        with suppress(OSError, ValueError), near:
            self._opened(near)
            if self._context is None:
                self._answer(near)
            else:
                with self._context.wrap_socket(near, server_side=True) as secure:
                    self._opened(secure)
                    self._answer(secure)

    def _opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def _answer(self, near: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = near.recv(65536)
            if not more:
                return
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        self.sent.append(head)
        self.asked.append(head.partition(b"\r\n")[0].decode())
        self._asked_once.set()
        if self._silent:
            near.recv(1)
        elif self._refuse or not self._admits(head):
            near.sendall(_refusal(self._refuse or 407))
            near.shutdown(socket.SHUT_WR)
            near.recv(1)
        else:
            self._pass_on(near, head, rest)

    def _admits(self, head: bytes) -> bool:
        if self._user is None:
            return True
        wanted = b"proxy-authorization: basic " + base64.b64encode(self._user.encode()).lower()
        return wanted in head.lower().split(b"\r\n")

    def _pass_on(self, near: socket.socket, head: bytes, rest: bytes) -> None:
        method, target, _ = self.asked[-1].split(" ")
        with socket.create_connection(("127.0.0.1", self._behind)) as far:
            self._opened(far)
            if method == "CONNECT":
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = urlsplit(target).path
                far.sendall(head.replace(target.encode(), path.encode(), 1) + b"\r\n\r\n" + rest)
            _pipe(near, far)


def _refusal(status: int) -> bytes:
    words = {403: "Forbidden", 407: "Proxy Authentication Required"}.get(status, "No")
    return f"HTTP/1.1 {status} {words}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


def _pipe(near: socket.socket, far: socket.socket) -> None:
    """Hand over what either side sends, until one ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(near, selectors.EVENT_READ, far)
        selector.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in selector.select():
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not data:
                    return
                key.data.sendall(data)
