"""The scripted server: a listening socket, a thread per connection, and a script."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from .catalog import catalog
from .delivery import End, Send, Wait, steps
from .journal import Journal
from .recordings import VERSIONS, check_version
from .requests import RecordedRequest
from .script import Script
from .unscripted import Unscripted
from .wire import ClientLeft, ReceivedBody, Refused, RequestHead, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from .responses import Response

_BACKLOG = 128


class FakeOllama:
    """A server that answers like Ollama, or as a test scripts it, on a real socket of 127.0.0.1.

    Use it as a context manager, or `start` and `stop` it::

        with FakeOllama() as server:
            server.on("POST", "/api/chat", Recording("chat-stream").cut(at=500))
            client = Client(server.url)

    It speaks HTTP/1.1 with connections kept alive, bodies with Content-Length and in chunks, and
    ``Expect: 100-continue``. What a script says is sent byte for byte.

    **What no script covers** is answered like the server of the chosen version, from recordings:

    * Unknown paths and wrong methods: its 404 and 405 in plain text; a trailing slash: a redirect.
    * ``/``, ``/api/version``, ``/api/status``, ``/api/tags``, ``/api/ps``: as recorded.
    * Bodies that are empty or no JSON: its 400.
    * The models known are those in the recordings: ``smollm2:135m``, ``gemma3:270m`` (newest
      version only), ``all-minilm:l6-v2`` (embeddings), ``smol-tools`` and ``smol-think`` (newest
      version only); names match in any case, with or without ``:latest``. Other models get the 404
      in the words of that endpoint.
    * ``/api/chat`` and ``/api/generate``: a recorded reply that fits the request's ``stream``,
      ``tools``, ``think``, ``format``, ``logprobs``, with the model's name as it was asked for; the
      text has nothing to do with the prompt. ``smol-tools`` calls a tool whenever tools are offered
      and the last message is not a tool's result. Where only a stream was recorded, a plain reply
      is made by joining it, as the server does. Thinking, tools, images and chat asked of a model
      that is not capable of it are refused in the recorded words.
    * ``/api/embed``: as many recorded vectors as there are texts; ``/api/show``: as recorded.
    * Blobs are live: what was pushed is there, and a wrong digest is refused.
    * ``/api/copy`` and ``/api/delete`` succeed for known models, and change nothing.
    * The rest (pull, push, create, ...): the recorded answer to the very same request.
    * Nothing recorded fits: status 501 and an ``error`` that says what to script.

    Where an error or an empty answer was recorded of the newest version alone, the others use it.

    Attributes:
        version: The server version that it plays.
    """

    def __init__(self, version: str = VERSIONS[0], *, aliases: Mapping[str, str] | None = None) -> None:
        """Choose the server version.

        Args:
            version: One of ``"v0.33.0-rc2"``, ``"v0.24.0"``, ``"v0.9.6"``.
            aliases: Other names of the known models, such as ``{"llama3.2": "smollm2:135m"}``: what
                no script covers is answered for them as well.

        Raises:
            InvalidArgument: There are no recordings of that version, or of a model in ``aliases``.
        """
        self.version: str = check_version(version)
        self._catalog = catalog(self.version).with_aliases(aliases or {})
        self._script = Script()
        self._journal = Journal()
        self._unscripted = Unscripted(self._catalog)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepted = 0
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._acceptor: threading.Thread | None = None

    # -- life

    def start(self) -> Self:
        """Listen on a free port of 127.0.0.1 and return the server itself.

        Raises:
            RuntimeError: It is running.
        """
        if self._listener is not None:
            raise RuntimeError(f"this server is running already, at {self.url}")
        self._stopping.clear()
        self._unscripted = Unscripted(self._catalog)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._waker, woken = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept,
            args=(self._listener, woken),
            name=f"FakeOllama {self._listener.getsockname()[1]}",
            daemon=True,
        )
        self._acceptor.start()
        return self

    def stop(self) -> None:
        """Close every connection, whatever it is doing, and wait for all threads to end.

        Stopping twice, or before the start, does nothing. What was scripted and received stays; a
        new `start` gets a new port.
        """
        listener, waker, acceptor = self._listener, self._waker, self._acceptor
        if listener is None or waker is None or acceptor is None:
            return
        self._stopping.set()
        waker.close()
        acceptor.join()
        listener.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):  # it may be gone already
                    sock.shutdown(socket.SHUT_RDWR)  # wakes whoever reads, writes or waits
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._listener = self._waker = self._acceptor = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, such as ``"http://127.0.0.1:40217"``.

        Raises:
            RuntimeError: It is not running.
        """
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            RuntimeError: It is not running.
        """
        if self._listener is None:
            raise RuntimeError("this server is not running: use `with FakeOllama() as server:`")
        return int(self._listener.getsockname()[1])

    # -- script

    def on(self, method: str, path: str, *responses: Response) -> None:
        """Script the answers to a method and path, in place of any before.

        Args:
            method: Such as ``"POST"``.
            path: Such as ``"/api/chat"``, without a query; it need not be one that Ollama has.
            responses: The first request gets the first, and so on; the last is repeated.

        Raises:
            InvalidArgument: No response, or something else than one, or no such path.
        """
        self._script.on(method, path, *responses)

    # -- what came

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, in the order in which they were complete."""
        return self._journal.requests

    @property
    def connections(self) -> int:
        """How many connections were accepted so far."""
        with self._lock:
            return self._accepted

    def wait_for_request(self, count: int = 1, timeout: float = 5.0) -> RecordedRequest:
        """Wait until ``count`` requests have come, and return the last of these.

        Args:
            count: How many, counted from the making of the server.
            timeout: The limit in seconds.

        Raises:
            TimeoutError: Fewer came; the message lists them.
            InvalidArgument: ``count`` is not positive, or ``timeout`` is negative.
        """
        return self._journal.wait_for_request(count, timeout)

    def wait_for_disconnect(self, count: int = 1, timeout: float = 5.0) -> RecordedRequest:
        """Wait until ``count`` clients have left early, and return the request of the last.

        A client is seen leaving while the server has something left to send: script a ``stall`` or
        a ``delay`` to be sure of it. See `RecordedRequest.disconnected`.

        Args:
            count: How many, counted from the making of the server.
            timeout: The limit in seconds.

        Raises:
            TimeoutError: Fewer left.
            InvalidArgument: ``count`` is not positive, or ``timeout`` is negative.
        """
        return self._journal.wait_for_disconnect(count, timeout)

    # -- threads

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(woken, select.POLLIN)
        with woken:
            while not self._stopping.is_set():
                poll.poll()
                if self._stopping.is_set():
                    break
                try:
                    sock, _ = listener.accept()
                except OSError:  # the client gave up in the queue
                    continue
                self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        sock.settimeout(None)  # whatever socket.setdefaulttimeout() says
        with self._lock:
            self._accepted += 1
            number = self._accepted
            self._open.add(sock)
        thread = threading.Thread(
            target=self._serve,
            args=(sock, number),
            name=f"FakeOllama {self.port}, connection {number}",
            daemon=True,
        )
        # Those that ended are forgotten here, not by themselves: stop() joins to the very end.
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        """Answer the requests of one connection until it ends."""
        wire = Wire(sock)
        try:
            self._converse(wire, number)
        except Refused as refusal:
            with suppress(ClientLeft):
                wire.send(refusal.answer())
                wire.close()
        except ClientLeft:
            pass  # noted where it matters
        finally:
            with self._lock:  # before the close: a closed socket's number may be another's
                self._open.remove(sock)
            sock.close()

    def _converse(self, wire: Wire, number: int) -> None:
        before: RecordedRequest | None = None
        ending = "keep"
        while ending == "keep":
            try:
                head = wire.read_head()
            except ClientLeft as leave:
                # All was sent. A reset says that the client closed with some of it unread.
                if leave.reset and before is not None:
                    self._note_disconnect(before)
                raise
            before = self._receive(wire, head, number)
            try:
                ending = self._send(wire, head, self._response(before))
            except ClientLeft:
                self._note_disconnect(before)
                raise
        if ending == "reset":
            wire.reset()
        else:
            wire.close()

    def _receive(self, wire: Wire, head: RequestHead, number: int) -> RecordedRequest:
        body = ReceivedBody()
        try:
            wire.read_body(head, body)
        except (ClientLeft, Refused):  # half a request is worth seeing, too
            self._note_disconnect(self._note_request(head, body, number))
            raise
        return self._note_request(head, body, number)

    def _note_request(self, head: RequestHead, body: ReceivedBody, number: int) -> RecordedRequest:
        request = RecordedRequest(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            body=bytes(body.kept),
            body_size=body.size,
            body_sha256=body.sha256,
            complete=body.complete,
            connection=number,
        )
        self._journal.add(request)
        return request

    def _note_disconnect(self, request: RecordedRequest) -> None:
        if not self._stopping.is_set():  # else it is the server that left
            self._journal.note_disconnect(request)

    def _response(self, request: RecordedRequest) -> Response:
        scripted = self._script.take(request.method, request.path)
        return self._unscripted.answer(request) if scripted is None else scripted

    @staticmethod
    def _send(wire: Wire, head: RequestHead, response: Response) -> str:
        """Take the steps of an answer; return how the connection goes on."""
        ending = "close"
        for step in steps(response, method=head.method, close=head.close):
            match step:
                case Send(data=data):
                    wire.send(data)
                case Wait(seconds=seconds):
                    wire.wait(seconds)
                case End(how=how):
                    ending = how
        return ending
