"""Answers that many tests script, whole or falling silent for ever, and hosts that do not even listen."""

from __future__ import annotations

import math
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from streams import chunk

from ollama_ext.testing import Json, Lines, Response

if TYPE_CHECKING:
    from collections.abc import Generator

    from ollama_ext import Client

ResponseT = TypeVar("ResponseT", bound=Response)

CHAT, GENERATE, EMBED = "/api/chat", "/api/generate", "/api/embed"
PULL, PUSH, CREATE = "/api/pull", "/api/push", "/api/create"

#: A chat of three chunks, and the same as one reply.
STREAM = Lines(chunk("a"), chunk("b"), chunk("c", done=True))
REPLY = Json(chunk("abc", done=True))
#: A pull, push or create of three steps.
STEPS = Lines(
    {"status": "preparing"},
    {"status": "moving aa", "digest": "sha256:aa", "total": 10, "completed": 4},
    {"status": "success"},
)

#: The methods that tell their progress, by path.
TRANSFERS = {PULL: "pull_model", PUSH: "push_model", CREATE: "create_model"}
#: A call that waits for the whole, and one that streams.
BOTH_WAYS = ("chat", "chat_stream")

_ARGUMENTS = {
    **dict.fromkeys(("chat", "generate", "embed"), ("m", "hi")),
    **dict.fromkeys(("pull_model", "push_model", "show_model"), ("m",)),
    "create_model": ("m", "n"),
}


def silent_after(answer: ResponseT, pieces: int) -> ResponseT:
    """Return an answer that falls silent for ever after so many of its pieces (0: after its headers)."""
    return answer.stall(math.inf, at=sum(map(len, answer.pieces[:pieces])))


def started(client: Client, method: str, **call: Any) -> Any:
    """Call a method with what it needs, and with these options."""
    return getattr(client, method)(*_ARGUMENTS.get(method.removesuffix("_stream"), ()), **call)


def finished(client: Client, method: str, **call: Any) -> Any:
    """Do the same and return the reply; a stream is read to its end."""
    outcome = started(client, method, **call)
    return outcome.finish() if method.endswith("_stream") else outcome


@contextmanager
def host_that_takes_no_connection() -> Generator[str]:
    """Yield the URL of a listener whose queue is full: who connects is kept waiting for ever."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # one or two find room
            waiting = opened.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def host_that_reads_nothing() -> Generator[str]:
    """Yield the URL of a listener that takes connections and nothing that is sent on them."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class SlowReader:
    """A server that lacks every blob, and reads nothing of one that is sent until it is told to go on.

    Attributes:
        url: Where it listens.
        missing: Bytes of the blob that never came, once the client has left.
    """

    def __init__(self) -> None:
        """Listen, with a small buffer: the rest of a blob waits on the client's side."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.missing = 0
        self._go_on = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read on to the end, which is that of the client."""
        self._go_on.set()
        self._thread.join(20)
        self._listener.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        accepted, _ = self._listener.accept()
        with accepted, accepted.makefile("rb") as lines:
            for line in lines:  # the question whether the blob is there
                if line == b"\r\n":
                    break
            accepted.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n")
            for line in lines:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    self.missing = int(value)
                if line == b"\r\n":
                    break
            self._go_on.wait(20)
            with suppress(ConnectionResetError):
                while data := lines.read1(65536):
                    self.missing -= len(data)
