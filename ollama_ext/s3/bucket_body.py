"""The body of an S3 answer: whether it is what was asked for, and its bytes as they arrive."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from http.client import HTTPResponse
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .bucket_errors import translated
from .errors import BucketAnswerRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_PIECE: Final = 256 << 10
_SHORT: Final = 64 << 10  # several times what the standard library may read ahead
_MOMENT: Final = 0.1  # seconds for which bytes are gathered
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)


class BodyReader:
    """The body of an answer, as its bytes arrive.

    Attributes:
        version: The entity tag of the object, or None.
    """

    def __init__(self, body: Any, what: str, version: str | None) -> None:
        """Take botocore's body."""
        # Under botocore's body lies urllib3's answer, and under that the response of the standard library.
        self._answer: Any = getattr(body, "_raw_stream", body)
        self._what = what
        self.version = version
        self._ended = False
        self._failure: Exception | None = None  # to be raised by the next read
        # The reads of botocore wait until all that was asked for is there: a byte a second would never look
        # slow. Those of urllib3 do not, but over TLS they cost three times as much.
        response = getattr(self._answer, "_fp", None)
        known = isinstance(response, HTTPResponse) and response.length is not None and not response.chunked
        self._response: HTTPResponse | None = response if known else None
        self._buffer = memoryview(bytearray(_PIECE if known else 0))
        self._receive: Callable[[memoryview], int] | None = None  # of the socket, once that may be read

    def read(self) -> bytes | memoryview:
        """Return the next bytes, 256 KiB at most, and none only at the end; the next call may change them.

        Raises:
            BucketUnreachable: The connection failed.
        """
        try:
            piece = self._read_some() if self._response is None else self._gather(self._response)
        except Exception:
            with translated(self._what):
                raise
        self._ended = self._ended or not piece
        return piece

    def _read_some(self) -> bytes:
        some: bytes = getattr(self._answer, "read1", self._answer.read)(_PIECE)
        return some

    def _gather(self, response: HTTPResponse) -> memoryview:
        """Return what arrives within a moment: TLS gives no more than 16 KiB at once."""
        if self._failure is not None:
            raise self._failure
        file: Any = response.fp
        receive: Callable[[memoryview], int] = self._receive or file.readinto1
        left = response.length or 0
        filled, most, until = 0, min(left, _PIECE), monotonic() + _MOMENT
        while filled < most:
            try:
                count = receive(self._buffer[filled:most])
            except Exception as error:
                if not filled:
                    raise
                self._failure = error.with_traceback(None)  # what has arrived before it is good
                break
            if self._receive is None and most - filled >= _SHORT:
                # A read that long has emptied what the file took with the head: the rest is in the socket.
                receive = self._receive = self._from_socket() or receive
            filled += count
            if not count or monotonic() > until:
                break
        response.length = left - filled
        return self._buffer[:filled]

    def _from_socket(self) -> Callable[[memoryview], int] | None:
        """Return what reads from the connection itself; None where it was handed over to the response."""
        connection: Any = getattr(self._answer, "connection", None)
        return getattr(getattr(connection, "sock", None), "recv_into", None)

    def abort(self) -> None:
        """End a `read` of another thread."""
        with _ignoring_all():
            self._answer.shutdown()

    def close(self) -> None:
        """Give the connection back if the body is at its end, else close it."""
        with _ignoring_all():
            whole = self._ended if self._response is None else self._response.length == 0
            if whole and hasattr(self._answer, "drain_conn"):
                self._answer.drain_conn()
            else:
                self._answer.close()  # what is left may never end


@contextmanager
def _ignoring_all() -> Generator[None]:
    """Ignore what goes wrong at the end of a connection: nothing is wanted of it any more."""
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever it is
        logging.getLogger(__name__).debug("a connection could not be closed in order")


def check_range(about: Any, what: str, start: int, end: int, size: int) -> None:
    """Look whether an answer is the range that was asked for; rclone says 200 to one, which is all right.

    Args:
        about: What botocore says of the answer beside its content.
        what: What it is of, for messages.
        start: The first byte that was asked for.
        end: The byte after the last.
        size: Bytes of the whole object.

    Raises:
        BucketAnswerRefused: It is another range, of an object of another size, or encoded.
    """
    headers = about["HTTPHeaders"]
    check_encoding(about, what)
    told = headers.get("content-range")
    length = headers.get("content-length")
    if told is not None:
        match = _RANGE.fullmatch(told)
        got = tuple(map(int, match.groups())) if match else None
        if got and got[2] != size:
            raise BucketAnswerRefused(
                f"{what} has {got[2]:,} bytes, and its manifest says {size:,}: publish it anew"
            )
        if got != (start, end - 1, size):
            problem = f"asked for bytes {start}-{end - 1}/{size}, the server answers {told!r:.80}"
            raise BucketAnswerRefused(f"{what}: {problem}")
    elif length is not None and (start, end) == (0, size) and length.isdecimal() and int(length) != size:
        raise BucketAnswerRefused(
            f"{what} has {int(length):,} bytes, and its manifest says {size:,}: publish it anew"
        )
    elif (start, end) != (0, size):
        problem = f"asked for bytes {start}-{end - 1}/{size}, the server answers all of it"
        raise BucketAnswerRefused(f"{what}: {problem}")
    if length != str(end - start):
        problem = f"asked for {end - start:,} bytes, the server announces {length or 'no length'}"
        raise BucketAnswerRefused(f"{what}: {problem}")


def check_encoding(about: Any, what: str) -> None:
    """Look whether the bytes of an answer are those of the object.

    Raises:
        BucketAnswerRefused: They are compressed, or otherwise encoded.
    """
    encoding = about["HTTPHeaders"].get("content-encoding", "")
    if encoding.strip().lower() not in {"", "identity", "aws-chunked"}:
        problem = f"it is stored with the content encoding {encoding!r:.60}; store it as it is"
        raise BucketAnswerRefused(f"{what}: {problem}")
