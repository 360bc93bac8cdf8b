"""One answer as HTTP/1.1 frames it: bytes in, status, headers and body out. No I/O.

The grammar is httptools' (llhttp, the parser of Node.js). Here is what a client adds to it: interim answers
are skipped, an answer to HEAD has no body, and what comes after the answer is not part of it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes that may come without content: a head (what the stock stack of httpx allows), chunk extensions,
#: trailers. Without a limit they could fill the memory, or go on for ever.
_MOST_WITHOUT_CONTENT: Final = 100 * 1024

_SWITCHING_PROTOCOLS: Final = 101
_INTERIM: Final = range(100, 200)


class MalformedAnswer(Exception):
    """The bytes are no HTTP answer."""


class Message:
    """Takes the bytes of one answer.

    Attributes:
        status: Of the final answer, once `head_done`.
        headers: Name and value of each, as they came.
        head_done: Whether status and headers are there.
        complete: Whether the body is, too.
        pieces: What has arrived of the body and was not taken yet.
        fault: What is wrong with the bytes that follow those pieces, or None.
    """

    __slots__ = (
        "_has_body",
        "_keeps_alive",
        "_parser",
        "_since_content",
        "_surplus",
        "complete",
        "fault",
        "head_done",
        "headers",
        "on_body",
        "pieces",
        "status",
    )

    def __init__(self, method: str) -> None:
        """Expect the answer to a request with this method."""
        self.status: int = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_done: bool = False
        self.complete: bool = False
        self.pieces: list[bytes] = []
        self._has_body = method != "HEAD"
        self.on_body: Callable[[bytes], None] = self.pieces.append if self._has_body else self._on_surplus
        self._keeps_alive = False
        self._surplus = False
        self.fault: MalformedAnswer | None = None
        self._since_content = 0
        # It calls the methods of this object, so the two hold each other until `release`.
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # As other clients do, for the servers that they were made for. What follows an answer that closes is
        # seen to here: after an interim one it is the answer, else it is surplus.
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
            lenient_keep_alive=True,
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            MalformedAnswer: They do not go on as an answer. If a part of them did, this is left in `fault`,
                for what arrived before may be all that matters.
        """
        if self._parser is None:
            raise MalformedAnswer("it is at its end")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise MalformedAnswer("it changes to another protocol, which nobody asked for") from None
        except httptools.HttpParserCallbackError as error:
            raised = error.__context__
        except httptools.HttpParserError as error:
            self._surplus = True
            if not self.complete:  # else it is what follows that is wrong
                self.fault = MalformedAnswer(str(error))
                if not self.pieces:
                    raise self.fault from None
            return
        else:
            if self.pieces:
                self._since_content = 0
                return
            self._since_content += len(data)
            if self._since_content > _MOST_WITHOUT_CONTENT:
                part = "chunk extensions or trailers" if self.head_done else "headers"
                raise MalformedAnswer(f"its {part} are longer than {_MOST_WITHOUT_CONTENT} bytes")
            return
        self._surplus = True
        self._raise_again(raised)

    def _raise_again(self, raised: BaseException | None) -> None:
        """Raise what a method of ours raised when the parser called it, unless that an answer is surplus.

        It can be Ctrl-C. The parser makes an error of its own of it, and where the caller is handling an
        error, Python shows that one as the context, and this one is lost.
        """
        if raised is not None and raised is sys.exception():
            raised = None if self.complete else KeyboardInterrupt()
        if raised is not None and not isinstance(raised, MalformedAnswer | httptools.HttpParserError):
            raise raised
        if not self.complete:
            raise MalformedAnswer(str(raised))

    def feed_end(self, *, by_us: bool = False) -> None:
        """Take note that the connection was closed, which is the end of a body of no other.

        Args:
            by_us: Whether it was not the server who closed it.

        Raises:
            EOFError: Something is missing.
        """
        self._surplus = True
        if by_us or not self.head_done or self._is_framed():
            raise EOFError
        self.complete = True

    def _is_framed(self) -> bool:
        return self.header(b"content-length") is not None or self.header(b"transfer-encoding") is not None

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, given in lower case; several are joined by commas."""
        values = [value for key, value in self.headers if key.lower() == name]
        return b", ".join(values).decode("latin-1") if values else None

    def take(self) -> bytes:
        """Return what has arrived of the body since the last look."""
        pieces = self.pieces
        if len(pieces) == 1:
            return pieces.pop()
        data = b"".join(pieces)
        pieces.clear()
        return data

    @property
    def reusable(self) -> bool:
        """Whether the connection can serve another request after this answer."""
        return self.complete and self._keeps_alive and not self._surplus

    def spoil(self) -> None:
        """Take note that the connection must not be used again, whatever the answer says."""
        self._surplus = True

    def release(self) -> None:
        """Let go of the parser."""
        self._parser = None

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """Refuse an answer after the answer."""
        if self.complete:
            self._surplus = True
            raise MalformedAnswer("another answer follows, to no request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that follow the body are dropped."""
        if not self.head_done:
            self.headers.append((name, value.strip()))

    def on_headers_complete(self) -> None:
        """Take note of the status."""
        if self._parser is None:
            return
        self.status = self._parser.get_status_code()
        if self.status in _INTERIM and self.status != _SWITCHING_PROTOCOLS:
            return
        self.head_done = True
        if not self._has_body:
            # The parser waits for a body that does not come.
            self.complete = True
            self._keeps_alive = (
                self._parser.get_http_version() == "1.1"
                and "close" not in (self.header(b"connection") or "").lower()
            )

    def _on_surplus(self, _data: bytes) -> None:
        self._surplus = True

    def on_message_complete(self) -> None:
        """Take note that the body is there."""
        if not self.head_done:
            self.headers.clear()
        elif self._parser is not None and not self.complete:
            self._keeps_alive = self._parser.should_keep_alive()  # only now does it know
            self.complete = True
