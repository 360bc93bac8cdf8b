"""TLS in front of a server: what a client sends is passed on, and so is the end of a connection."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, Self

import trustme
from certificates import serving, trusting

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


class Server(Protocol):
    """What can stand behind: `FakeOllama`, for one."""

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        ...

    def stop(self) -> None:
        """End its connections."""
        ...


class TlsFront:
    """Listens on a port of its own while it is entered; one thread for each connection.

    Attributes:
        url: Where it listens.
        trusting: A context that trusts its certificate, for ``Client(verify=)``.
        authority: The certificate of who issued it, as PEM.
    """

    def __init__(self, behind: Server) -> None:
        """Take the server to pass everything on to."""
        authority = trustme.CA()
        self._context = serving(authority, "localhost")
        self.trusting = trusting(authority)
        self.authority: bytes = authority.cert_pem.bytes()
        self._behind = behind
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start to listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; connections end with those of the server behind, or with those of the client."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._behind.stop()
        for thread in self._threads:
            thread.join(20)
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self._start(self._serve, accepted)

    def _serve(self, accepted: socket.socket) -> None:
        with (
            accepted,
            suppress(OSError),  # either side has left
            self._context.wrap_socket(accepted, server_side=True) as near,
            socket.create_connection(("127.0.0.1", self._behind.port)) as far,
        ):
            while self._pass_on(near, far):
                pass

    @staticmethod
    def _pass_on(near: ssl.SSLSocket, far: socket.socket) -> bool:
        """Wait for bytes from either side and hand them over; return False at an end."""
        ready = [near] if near.pending() else select.select([near, far], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return False
            (far if source is near else near).sendall(data)
        return True
