"""One request and its answer on one connection: waiting, failing and being cancelled."""

from __future__ import annotations

import threading
from contextlib import suppress
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Final

from ollama_ext.cancel import weakly
from ollama_ext.errors import Cancelled, ConnectionFailed, IdleTimeout, InvalidResponse, OllamaError

from .content import decompressed, is_compressed
from .forks import forked
from .message import MalformedAnswer, Message

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from ollama_ext.errors import Stage

    from .connection import Connection
    from .limits import Limits
    from .pool import Pool

#: Seconds that a finished stream waits for the end of its body, to use the connection again.
DRAIN_LIMIT: Final = 1.0

#: Bytes that are handed to the socket at a time, so that no deadline waits for a long body.
_SEND_SIZE: Final = 1 << 20


class Exchange:
    """An exchange in progress. Close it, or drop it: unless the answer is at its end, the connection ends.

    Attributes:
        status: The HTTP status, once `start` has returned.
        cancelled: Whether `cancel` was called.
    """

    def __init__(self, pool: Pool[Connection], url: str, limits: Limits, method: str) -> None:
        """Take a connection out of the pool.

        Raises:
            OllamaError: There is none to be had.
        """
        self._pool = pool
        self._url = url
        self._limits = limits
        # Held where the connection is taken away, or another thread uses it; reentrant, for the handler of a
        # signal may cancel what the very same thread is doing.
        self._lock = threading.RLock()
        self.cancelled: bool = False
        self._connection: Connection | None = None
        self._hook = 0
        self._message = Message(method)
        self._stage: Stage = "send"
        self.status: int = 0
        self._connection = connection = pool.take(limits)
        self._reused = connection.reused
        if limits.cancel is not None:
            self._hook = limits.cancel.attach(weakly(self.cancel))

    def cancel(self) -> None:
        """End it, from any thread: whoever waits for it gets `Cancelled`."""
        with self._lock:
            self.cancelled = True
            if self._connection is not None:
                self._connection.shut_down()

    # -- asking

    def start(self, head: bytes, body: bytes | Iterable[bytes]) -> None:
        """Send the request and wait for status and headers.

        Raises:
            OllamaError: There is no answer.
        """
        try:
            broken = self._send(head, body)
        except OllamaError as error:
            raise self._failed(error, None) from None
        except BaseException:  # Ctrl-C, or of the body's own making, such as a file that cannot be read
            self._abandon()
            raise
        if broken is not None:
            self._message.spoil()
        try:
            self._receive_head()
        except _FAILURES as error:
            # A server may close while we still send, and its answer come through all the same, or not.
            failure = broken if broken is not None and isinstance(error, OSError | EOFError) else error
            raise self._failed(failure, self._limits.timeouts.first_byte) from _cause(failure)
        except BaseException:  # Ctrl-C
            self._abandon()
            raise
        self.status = self._message.status

    def _send(self, head: bytes, body: bytes | Iterable[bytes]) -> OSError | None:
        """Send a request; return what broke the connection, for there may be an answer all the same."""
        if isinstance(body, bytes):
            pieces: Iterable[bytes] = (head + body,) if len(body) < _SEND_SIZE else (head, body)
        else:
            pieces = chain((head,), body)
        for piece in pieces:
            try:
                self._send_all(piece)
            except TimeoutError as error:
                if error.errno is not None:
                    return error
                limit = self._limits.timeouts.between
                if self._limits.ran_out(limit):
                    raise self._limits.total_timeout() from None
                problem = f"{self._url} took nothing of the request for {limit:g} s (Timeouts.between)"
                if self._open_connection().is_stale():  # it has answered without reading to the end
                    return OSError(problem)
                raise IdleTimeout(problem) from None
            except OSError as error:
                return error
        return None

    def _send_all(self, data: bytes) -> None:
        connection, limits = self._open_connection(), self._limits
        sent = connection.send(
            data[:_SEND_SIZE] if len(data) > _SEND_SIZE else data, limits.left(limits.timeouts.between)
        )
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            sent = connection.send(rest[:_SEND_SIZE], limits.left(limits.timeouts.between))
            rest = rest[sent:]

    def _receive_head(self) -> None:
        connection, limits, message = self._open_connection(), self._limits, self._message
        limit = limits.timeouts.first_byte
        end = None if limit is None else monotonic() + limit
        while not message.head_done:
            data = connection.receive(limits.left(limit))
            if not data:
                message.feed_end()
            self._stage = "receive"
            message.feed(data)
            if end is not None:
                limit = max(end - monotonic(), 0.0)

    # -- the answer

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer, their names in lower case; several of a name are joined by commas."""
        headers: dict[str, str] = {}
        for name, value in self._message.headers:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return headers

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as they came."""
        return self._message.headers

    def reads(self, limit: float | None) -> Iterator[bytes]:
        """Yield the body piece by piece, each as soon as it arrives; silence may last ``limit`` seconds.

        Raises:
            OllamaError: The rest does not come.
        """
        encoding = self._message.header(b"content-encoding")
        if encoding is None or not is_compressed(encoding):
            return self.raw_reads(limit)
        return self._unpacked(encoding, limit)

    def raw_reads(self, limit: float | None) -> Generator[bytes]:
        """Yield the body as it came, compressed if it is."""
        message, limits = self._message, self._limits
        try:
            if message.pieces:
                yield message.take()
            receive = self._open_connection().receive
            while not message.complete:
                if message.fault is not None:
                    # Now that what came before it was taken.
                    raise message.fault  # noqa: TRY301 - a call for every token would cost more
                data = receive(limit if limits.deadline is None else limits.left(limit))
                if data:
                    message.feed(data)
                else:
                    message.feed_end(by_us=self.cancelled or self._pool.closed)
                if message.pieces:
                    yield message.take()
        except _FAILURES as error:
            raise self._failed(error, limit) from _cause(error)
        except GeneratorExit:
            raise
        except BaseException:  # Ctrl-C
            self._abandon()
            raise
        self._put_back()

    def _unpacked(self, encoding: str, limit: float | None) -> Generator[bytes]:
        try:
            yield from decompressed(encoding, self.raw_reads(limit))
        except MalformedAnswer as error:
            raise self._failed(error, limit) from None

    def read(self, limit: float | None) -> bytes:
        """Return the whole body; silence may last ``limit`` seconds."""
        if self._message.complete and self._message.header(b"content-encoding") is None:  # it came at once
            self._put_back()
            return self._message.take()
        return b"".join(self.reads(limit))

    def drain(self) -> None:
        """Read the end of a body whose content is complete, so that the connection can be used again.

        Nothing depends on it: it gives up after a second, and no failure comes out of it.
        """
        try:
            if not (self.closed or self._message.complete or self._message.fault):
                connection = self._open_connection()
                self._message.feed(connection.receive(self._limits.left(DRAIN_LIMIT)))
        except (OllamaError, OSError, MalformedAnswer):
            pass  # the reply is whole; only the connection is lost
        finally:
            self.close()

    # -- the end

    @property
    def closed(self) -> bool:
        """Whether the connection is no longer ours."""
        return self._connection is None

    def close(self) -> None:
        """Close the connection, or hand it back if the answer was read to its end."""
        self._put_back()

    def _put_back(self) -> None:
        if (connection := self._let_go()) is not None:
            if self._message.reusable:
                self._pool.put_back(connection)
            else:
                self._pool.drop(connection)

    def _let_go(self) -> Connection | None:
        """Make sure that no other thread can reach the connection through us any more."""
        with self._lock:
            connection, self._connection = self._connection, None
            if self.cancelled and connection is not None:  # shut down, perhaps after the last byte
                self._message.spoil()
        if self._limits.cancel is not None and connection is not None:
            self._limits.cancel.detach(self._hook)
        self._message.release()
        return connection

    def __del__(self) -> None:
        """Close the connection of an answer that nobody waits for any more: the server then stops."""
        with suppress(Exception):  # nobody could catch it
            self.close()

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise ConnectionFailed(f"the connection to {self._url} was closed", stage=self._stage)
        return self._connection

    def _abandon(self) -> None:
        if (connection := self._let_go()) is not None:
            self._pool.drop(connection)

    def _failed(self, error: Exception, limit: float | None) -> OllamaError:
        """Close the connection; return the error that the caller should see."""
        closed_by_client = self._pool.closed
        self._abandon()
        if self._pool.forked:
            return forked()
        if self.cancelled or (self._limits.cancel is not None and self._limits.cancel.cancelled):
            return Cancelled("the call was cancelled")
        if isinstance(error, OllamaError):
            return error
        if isinstance(error, MalformedAnswer):
            status = self._message.status or None
            return InvalidResponse(f"the answer of {self._url} is not HTTP: {error}", status=status)
        if isinstance(error, TimeoutError) and error.errno is None:  # else the system gave the peer up
            return self._limits.silence(self._url, limit, answering=self._stage == "receive")
        problem = "this client was closed" if closed_by_client else str(error) or "the server closed it"
        failure = ConnectionFailed(
            f"the connection to {self._url} broke before the {_BROKEN[self._stage]}: {problem}",
            stage=self._stage,
            reused=self._reused,
        )
        failure.retryable = not closed_by_client
        return failure


#: What can go wrong on the way.
_FAILURES: Final = (OSError, EOFError, MalformedAnswer, OllamaError)

#: What was missing when a connection broke.
_BROKEN: Final = {"connect": "request was sent", "send": "answer began", "receive": "answer was whole"}


def _cause(error: BaseException) -> BaseException | None:
    """Return what to show as the cause of our error: what the system said, not what we raised ourselves."""
    return error if isinstance(error, OSError) else None
