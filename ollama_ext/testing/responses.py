"""What a scripted server answers: immutable values that say which bytes, in which pieces, and when.

Nothing here does I/O. `delivery` turns a response into the steps that the server then takes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import attrs
import msgspec

from ollama_ext.errors import InvalidArgument

from .checks import chunk_sizes, duration, header_pairs, whole_number
from .recordings import VERSIONS, RecordedAnswer, RecordedExchange, find_recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: How a cut answer ends; `Response.cut` explains each.
Ending = Literal["clean", "close", "reset"]

_BODILESS = (204, 304)


@attrs.frozen
class Cut:
    """An end after so many bytes of the body."""

    at: int
    how: Ending


@attrs.frozen
class Pause:
    """A silence once so many bytes of the body were sent."""

    at: int
    seconds: float


@attrs.frozen(repr=False)
class Response:
    """A scripted answer. Make one with `Json`, `Lines`, `Body`, `Recording` or `Raw`.

    Every method returns a new response, so that they combine and a response can be shared:
    ``Recording("chat-stream").split([1]).cut(at=100, how="reset")``.

    Attributes:
        status: The HTTP status; None for `Raw`, which has no head.
        headers: Pairs of name and value as they are sent. ``Connection: close`` is added when the
            client asked for it.
        pieces: The body, in the pieces it is sent in.
        pauses: Silences within the body.
        wait: Seconds before the first byte.
        ending: The cut, or None for a whole answer.
    """

    status: int | None
    headers: tuple[tuple[str, str], ...]
    pieces: tuple[bytes, ...]
    pauses: tuple[Pause, ...] = ()
    wait: float = 0.0
    ending: Cut | None = None
    _recorded: RecordedExchange | None = None

    @property
    def body(self) -> bytes:
        """The whole body, as if it was not cut."""
        return b"".join(self.pieces)

    @property
    def chunked(self) -> bool:
        """Whether the body is sent in HTTP chunks."""
        return any(name.lower() == "transfer-encoding" for name, _ in self.headers)

    def cut(self, at: int, how: Ending = "close") -> Self:
        """End after ``at`` bytes of the body; a second cut replaces the first.

        Args:
            at: Bytes of the body that are still sent, from 0 (after the headers) to its length.
                Bytes of a chunked body are counted without the framing of the chunks.
            how: ``"clean"``: the body properly ends there, in its last chunk or by a
                Content-Length to match, and the connection lives on. ``"close"``: the connection is
                closed with the framing unfinished. ``"reset"``: the same by a TCP reset, once the
                client's machine has the bytes.

        Raises:
            InvalidArgument: The body is shorter, or there is no such ending.
        """
        if how not in get_args(Ending):
            raise InvalidArgument(f'how must be "clean", "close" or "reset", not {how!r}', argument="how")
        return self._with(ending=Cut(self._position(at), how))

    def stall(self, seconds: float, at: int = 0) -> Self:
        """Be silent for a time, once ``at`` bytes of the body were sent; stalls add up.

        ``at=0`` is after the headers, the length of the body is before its end is marked. The
        silence ends early when the server stops or the client leaves, so ``math.inf`` is fine.

        Raises:
            InvalidArgument: The body is shorter, or ``seconds`` is negative.
        """
        pause = Pause(self._position(at), duration(seconds, "seconds"))
        return self._with(pauses=(*self.pauses, pause))

    def delay(self, seconds: float) -> Self:
        """Be silent before the first byte of the status line; delays add up.

        Raises:
            InvalidArgument: ``seconds`` is negative.
        """
        return self._with(wait=self.wait + duration(seconds, "seconds"))

    def split(self, sizes: Iterable[int]) -> Self:
        """Send the body in pieces of these sizes, in turn and from the start again.

        A piece is one HTTP chunk of a chunked body, one write of any other; the network may join or
        divide writes.

        Args:
            sizes: Sizes in bytes, each at least 1: ``[1]`` is byte by byte.

        Raises:
            InvalidArgument: A size is not a positive integer, or there is none.
        """
        wanted = chunk_sizes(sizes, "sizes")
        body, pieces, start = self.body, list[bytes](), 0
        while start < len(body):
            size = wanted[len(pieces) % len(wanted)]
            pieces.append(body[start : start + size])
            start += size
        return self._with(pieces=tuple(pieces))

    def __repr__(self) -> str:
        """Say what is answered, not every byte of it."""
        status = "" if self.status is None else f" {self.status},"
        end = "" if self.ending is None else f", cut at {self.ending.at} ({self.ending.how})"
        return f"<{type(self).__name__}{status} {len(self.body)} bytes{end}>"

    def _position(self, at: object) -> int:
        length = sum(map(len, self.pieces))
        position = whole_number(at, "at")
        if position > length:
            raise InvalidArgument(
                f"at={position} is past the end of the body, which has {length} bytes",
                argument="at",
            )
        return position

    def _with(self, **changes: Any) -> Self:
        changed = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(changed, name, value)
        return changed


class Json(Response):
    """One JSON value, with Content-Length, as Ollama sends what is not a stream."""

    __slots__ = ()

    def __init__(
        self,
        body: object,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the value.

        Args:
            body: Anything that JSON can express, None included (``null``).
            status: From 200 to 999.
            headers: More headers; they replace those of the same name.

        Raises:
            InvalidArgument: The value is no JSON, or an argument is of the wrong kind.
        """
        data = _encoded(body, "body")
        super().__init__(*_whole(data, status, "application/json; charset=utf-8", headers))


class Lines(Response):
    """NDJSON: one JSON value per line and one HTTP chunk per line, as Ollama streams."""

    __slots__ = ()

    def __init__(
        self,
        *objects: object,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the values, one per line.

        Args:
            objects: Anything that JSON can express; none at all is an empty body.
            status: From 200 to 999.
            headers: More headers; they replace those of the same name.

        Raises:
            InvalidArgument: A value is no JSON, or an argument is of the wrong kind.
        """
        pieces = tuple(_encoded(each, "objects") + b"\n" for each in objects)
        sent = _merged((("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")), headers)
        super().__init__(_status(status, bodiless=False), sent, pieces)


class Body(Response):
    """Any body, with Content-Length: HTML of a proxy, compressed bytes, nothing at all.

    A ``Content-Length`` among the headers is sent as it is, right or wrong; the connection closes
    after a body that it does not fit.
    """

    __slots__ = ()

    def __init__(
        self,
        content: bytes | str = b"",
        status: int = 200,
        content_type: str | None = "text/html; charset=utf-8",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take the body.

        Args:
            content: Bytes, or text to be sent as UTF-8.
            status: From 200 to 999.
            content_type: The Content-Type header, or None to send none.
            headers: More headers; they replace those of the same name.

        Raises:
            InvalidArgument: An argument is of the wrong kind.
        """
        data = _bytes(content, "content")
        super().__init__(*_whole(data, status, content_type, headers))


class Raw(Response):
    """Bytes that need not be HTTP, sent as they are; then the connection closes.

    ``Raw(b"")`` closes without an answer, ``Raw(b"").cut(at=0, how="reset")`` resets. All that is
    said of a body elsewhere is true of these bytes.
    """

    __slots__ = ()

    def __init__(self, data: bytes | str) -> None:
        """Take the bytes, or text to be sent as UTF-8.

        Raises:
            InvalidArgument: It is neither.
        """
        sent = _bytes(data, "data")
        super().__init__(None, (), (sent,) if sent else ())


class Recording(Response):
    """A recorded exchange: status, headers, body and chunks as a real server sent them.

    Two headers are not repeated blindly. ``Connection: close`` was what the recorder had asked for
    and is sent to clients that ask for it; a Content-Length that disagrees with the recorded body
    (one error text was shortened after recording) is corrected. A recording that ended with the
    connection is cut at the same place.
    """

    __slots__ = ()

    def __init__(self, name: str, version: str = VERSIONS[0], *, timing: bool = False) -> None:
        """Take the name of the recording.

        Args:
            name: Such as ``"chat-stream"``; `recordings` lists them.
            version: The server version, one of `VERSIONS`.
            timing: Whether to take as long as the real server did, in all and between chunks.

        Raises:
            InvalidArgument: There is no such recording; the message names close matches.
        """
        exchange = find_recording(name, version)
        answer = exchange.response
        super().__init__(
            answer.status,
            _replayed_headers(exchange),
            tuple(chunk.data for chunk in answer.chunks),
            _recorded_pauses(answer) if timing else (),
            answer.first_byte_ms / 1000 if timing else 0.0,
            None if answer.clean_end else Cut(len(answer.body), "close"),
            exchange,
        )

    @property
    def exchange(self) -> RecordedExchange:
        """What was recorded, request included."""
        assert self._recorded is not None  # noqa: S101 - set in __init__; tells the type checker
        return self._recorded


def _replayed_headers(exchange: RecordedExchange) -> tuple[tuple[str, str], ...]:
    length = str(len(exchange.response.body))
    correct = exchange.request.method != "HEAD"  # whose length is of the body it does not have
    return tuple(
        (name, length if correct and name.lower() == "content-length" else value)
        for name, value in exchange.response.headers
        if name.lower() != "connection"
    )


def _recorded_pauses(answer: RecordedAnswer) -> tuple[Pause, ...]:
    pauses: list[Pause] = []
    at, before = 0, answer.first_byte_ms
    for chunk in answer.chunks:
        if chunk.milliseconds > before:
            pauses.append(Pause(at, (chunk.milliseconds - before) / 1000))
        at, before = at + len(chunk.data), chunk.milliseconds
    return tuple(pauses)


def _whole(
    data: bytes, status: int, content_type: str | None, headers: Mapping[str, str] | None
) -> tuple[int, tuple[tuple[str, str], ...], tuple[bytes, ...]]:
    own = () if content_type is None else tuple(header_pairs({"Content-Type": content_type}))
    if status not in _BODILESS:  # which have no length either
        own = (*own, ("Content-Length", str(len(data))))
    return _status(status, bodiless=not data), _merged(own, headers), (data,) if data else ()


def _merged(
    own: tuple[tuple[str, str], ...], headers: Mapping[str, str] | None
) -> tuple[tuple[str, str], ...]:
    given = header_pairs(headers)
    replaced = {name.lower() for name, _ in given}
    if "transfer-encoding" in replaced:
        raise InvalidArgument(
            "Transfer-Encoding is not a free choice: Lines sends chunks, Body and Json a "
            "Content-Length, Raw whatever you write",
            argument="headers",
        )
    if "content-length" in replaced and any(name == "Transfer-Encoding" for name, _ in own):
        raise InvalidArgument(
            "Content-Length and chunks exclude each other; use Body or Raw", argument="headers"
        )
    return tuple(pair for pair in own if pair[0].lower() not in replaced) + given


def _status(status: object, *, bodiless: bool) -> int:
    number = whole_number(status, "status", least=200, most=999)
    if number in _BODILESS and not bodiless:
        raise InvalidArgument(f"an answer with status {number} has no body", argument="status")
    return number


def _bytes(value: object, argument: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"{argument} is not text: {error}", argument=argument) from error
    if isinstance(value, bytes):
        return value
    raise InvalidArgument(f"{argument} must be bytes or text, not {type(value).__name__}", argument=argument)


def _encoded(value: object, argument: str) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{argument} is not JSON: {error}", argument=argument) from error
