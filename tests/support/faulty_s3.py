"""A front for an S3 server: passes everything on, except that it fails as it is told to.

What a network, a proxy, or a bucket in wrong hands can do to a transfer, done to the request that a test
names. Behind the front is a real server, so that everything else is right. The front speaks plain HTTP/1.1,
keeps connections, and hands on the client's ``Host``, which is what the client signed.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
from contextlib import closing, suppress
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import unquote, urlsplit

from s3_faults import Before, Body, Close, Headers, Request, Reset, Rule, Stall, Status, Throttle, WholeBody

from ollama_ext.testing.wire import ClientLeft, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from s3_faults import Fault

PATIENCE = 60.0  # seconds; against a hang only
PIECE = 64 * 1024  # bytes read and written at once
DRIPS_PER_SECOND = 20  # writes of a `Throttle`

_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect"}  # never passed on


class FaultyFront:
    """Listens on a free port while it is entered; one thread for each connection.

    Args:
        target_url: The server behind, ``http://host:port``.
    """

    def __init__(self, target_url: str) -> None:
        """Take the server; nothing listens yet."""
        host = urlsplit(target_url)
        assert host.scheme == "http"
        assert host.hostname is not None
        self.target = (host.hostname, host.port or 80)
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._rules: list[Rule] = []
        self._requests: list[Request] = []
        self._errors: list[BaseException] = []
        self._connections = 0

    def __enter__(self) -> Self:
        """Listen."""
        self._listener = _Listener(self)
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End every connection and every thread.

        Raises:
            BaseException: What a callback of `Before` raised, or the server behind, if the block did not.
        """
        self.stopping.set()
        self._listener.shutdown()
        self._thread.join()
        self._listener.hang_up()
        self._listener.server_close()  # waits for the threads of the connections
        if self._errors and exception[0] is None:
            raise self._errors[0]

    # -- what shall fail

    def fail(
        self,
        fault: Fault,
        *,
        method: str = "GET",
        path_ends: str = "",
        range_starts: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Do this to the next requests that fit, once unless told; with None, to every one.

        Of several faults that fit a request, the one that was asked for first is done, alone.

        Args:
            fault: What goes wrong.
            method: Of the request.
            path_ends: How its path ends, percent-decoded.
            range_starts: The first byte of its ``Range``; None for any, and for none.
            times: How often.
        """
        with self._changed:
            self._rules.append(Rule(fault, method, path_ends, range_starts, times))

    def fail_at_random(self, fault: Fault, rate: float, seed: int) -> None:
        """Do this to a fraction of the GETs; the same seed chooses the same ones of the same sequence."""
        with self._changed:
            dice = random.Random(seed)  # noqa: S311 - to be repeatable, not to be secret
            self._rules.append(Rule(fault, "GET", "", None, None, rate, dice))

    def heal(self) -> None:
        """Forget what shall fail; a request that fails right now goes on to."""
        with self._changed:
            self._rules.clear()

    # -- what came

    @property
    def requests(self) -> list[Request]:
        """What came, in order, as far as each has got."""
        with self._changed:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        with self._changed:
            return self._connections

    def wait_until(self, true: Callable[[list[Request]], object]) -> None:
        """Wait until this is so of the requests; it is asked again whenever one got further."""
        with self._changed:
            assert self._changed.wait_for(lambda: true(self._requests), PATIENCE), self._requests

    # -- for the threads of the connections

    def accepted(self) -> None:
        """Count a connection."""
        with self._changed:
            self._connections += 1

    def began(self, request: Request) -> tuple[int, Fault | None]:
        """Record a request; return its number and what shall be done to it."""
        with self._changed:
            fault = next((rule.fault for rule in self._rules if rule.applies(request)), None)
            self._requests.append(replace(request, fault=fault))
            self._changed.notify_all()
            return len(self._requests) - 1, fault

    def got_further(self, number: int, *, status: int | None = None, sent: int = 0) -> None:
        """Record what was sent to the client."""
        with self._changed:
            last = self._requests[number]
            self._requests[number] = replace(last, status=status or last.status, sent=last.sent + sent)
            self._changed.notify_all()

    def ended(self, number: int) -> None:
        """Record that nothing more will be sent."""
        with self._changed:
            self._requests[number] = replace(self._requests[number], over=True)
            self._changed.notify_all()

    def went_wrong(self, error: BaseException) -> None:
        """Keep what no test expects, for the end."""
        with self._changed:
            self._errors.append(error)


class _Listener(ThreadingMixIn, TCPServer):
    """Accepts connections, and knows which are open."""

    daemon_threads = False  # so that server_close() waits for them
    request_queue_size = 128

    def __init__(self, front: FaultyFront) -> None:
        self.front = front
        self._open: set[Any] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        self.front.accepted()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Not as the base class does, which sends FIN first: then no RST can follow.
        with self._lock:
            self._open.discard(request)
            self.close_request(request)

    def hang_up(self) -> None:
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - of the base class
        error = sys.exception()
        if error is not None and not self.front.stopping.is_set():
            self.front.went_wrong(error)


class _Connection(BaseHTTPRequestHandler):
    """Passes the requests of one connection on, each over a connection of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._front = cast("_Listener", self.server).front

    def handle(self) -> None:
        with suppress(OSError, ClientLeft):  # what the client sees is what tests look at
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of the base class
        """Say nothing: the front records what came."""

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        request = Request(self.command, unquote(path), query, self.headers.get("Range"))
        number, fault = self._front.began(request)
        try:
            if isinstance(fault, Status):
                for _ in self._body():
                    pass
                headers = {**fault.headers, "Content-Length": str(len(fault.body))}
                pieces = [] if self.command == "HEAD" else [fault.body]
                self._send(number, (fault.code, None), headers.items(), pieces)
            else:
                self._pass_on(number, fault)
        finally:
            self._front.ended(number)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - names of the base class

    def _pass_on(self, number: int, fault: Fault | None) -> None:
        if isinstance(fault, Before):
            self._call(fault.callback)
        with closing(HTTPConnection(*self._front.target, timeout=PATIENCE)) as target:
            response = self._ask(target, {"range"} if isinstance(fault, WholeBody) else set())
            headers = {
                name: value for name, value in response.getheaders() if name.lower() not in _OF_ONE_CONNECTION
            }
            pieces = _pieces(response)
            if isinstance(fault, Body):
                headers = _changed(headers, {"Content-Length": str(len(fault.content))})
                pieces = iter([] if self.command == "HEAD" else [fault.content])
            elif response.length is None:  # chunked: a listing, never an object
                content = b"".join(pieces)
                headers = _changed(headers, {"Content-Length": str(len(content))})
                pieces = iter([content])
            if isinstance(fault, Headers):
                headers = _changed(headers, fault.changes)
                self.close_connection |= "content-length" in {name.lower() for name in fault.changes}
            self._deliver(number, response, headers, pieces, fault)

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:
            self._front.went_wrong(error)
            raise ClientLeft from error  # it shall not wait for an answer

    def _ask(self, target: HTTPConnection, without: set[str]) -> HTTPResponse:
        """Pass the request on; return the answer, of which the head has come."""
        try:
            target.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _OF_ONE_CONNECTION | without:
                    target.putheader(name, value)
            if self._chunked:
                target.putheader("Transfer-Encoding", "chunked")
            target.putheader("Connection", "close")
            target.endheaders()
            for piece in self._body():
                target.send(piece)
            return target.getresponse()
        except (OSError, HTTPException) as error:
            raise RuntimeError(f"no answer to {self.requestline!r} from behind the front") from error

    @property
    def _chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _body(self) -> Iterator[bytes]:
        """Yield the body of the request as it is to be sent on: chunks stay chunks."""
        left = int(self.headers.get("Content-Length", "0"))
        while left:
            piece = self._received(self.rfile.read1, min(left, PIECE))
            left -= len(piece)
            yield piece
        while self._chunked:
            line = self._received(self.rfile.readline, PIECE)
            size = int(line.partition(b";")[0], 16)
            if size:
                yield line + self._received(self.rfile.read, size + 2)
                continue
            yield line
            while (trailer := self._received(self.rfile.readline, PIECE)).strip():
                yield trailer
            yield trailer
            return

    @staticmethod
    def _received(read: Callable[[int], bytes], size: int) -> bytes:
        try:
            data = read(size)
        except OSError as error:
            raise ClientLeft from error
        if not data:
            raise ClientLeft
        return data

    def _deliver(
        self,
        number: int,
        response: HTTPResponse,
        headers: Mapping[str, str],
        pieces: Iterable[bytes],
        fault: Fault | None,
    ) -> None:
        cut = fault if isinstance(fault, Reset | Close | Stall) else None
        if cut is not None:
            pieces = _first(pieces, cut.after or 0)
        elif isinstance(fault, Throttle):
            pieces = self._dripping(pieces, fault.bytes_per_second)
        if cut is None or cut.after is not None:
            self._send(number, (response.status, response.reason), headers.items(), pieces)
        if cut is None:
            return
        self.close_connection = True
        if isinstance(cut, Reset):
            Wire(self.connection).reset()
        elif isinstance(cut, Stall):
            while self.connection.recv(PIECE):
                pass

    def _dripping(self, pieces: Iterable[bytes], rate: int) -> Iterator[bytes]:
        size = max(1, rate // DRIPS_PER_SECOND)
        for piece in pieces:
            for start in range(0, len(piece), size):
                drip = piece[start : start + size]
                yield drip
                if self._front.stopping.wait(len(drip) / rate):
                    raise ClientLeft

    def _send(
        self,
        number: int,
        status: tuple[int, str | None],
        headers: Iterable[tuple[str, str]],
        pieces: Iterable[bytes],
    ) -> None:
        self.send_response_only(*status)
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self._front.got_further(number, status=status[0])
        for piece in pieces:
            self.wfile.write(piece)
            self._front.got_further(number, sent=len(piece))


def _pieces(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := response.read(PIECE):
            yield piece
        if response.length:  # read() says nothing of an end that came too early
            raise IncompleteRead(b"", response.length)
    except (OSError, HTTPException) as error:
        raise RuntimeError("the answer from behind the front broke off") from error


def _first(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Yield that many bytes, and read no piece that is not needed for it."""
    left = count
    if not left:
        return
    for piece in pieces:
        yield piece[:left]
        left -= len(piece[:left])
        if not left:
            return


def _changed(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    named = {name.lower() for name in changes}
    kept = {name: value for name, value in headers.items() if name.lower() not in named}
    return kept | {name: value for name, value in changes.items() if value is not None}
