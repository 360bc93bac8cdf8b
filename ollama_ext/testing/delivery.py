"""From a response to the steps of sending it: exact bytes, silences, and how it ends.

Pure: the server takes the steps, the tests read them.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .responses import Pause, Response


@attrs.frozen
class Send:
    """Write these bytes."""

    data: bytes


@attrs.frozen
class Wait:
    """Be silent for this long."""

    seconds: float


@attrs.frozen
class End:
    """Be done: keep the connection for the next request, close it, or reset it."""

    how: Literal["keep", "close", "reset"]


Step = Send | Wait | End


def steps(response: Response, *, method: str = "GET", close: bool = False) -> Iterator[Step]:
    """Yield what to do, in order; the last step, and only that, is an `End`.

    Args:
        response: What is answered.
        method: Of the request; the answer to HEAD has no body.
        close: Whether the client asked for the connection to be closed.
    """
    if response.wait:
        yield Wait(response.wait)
    cut = response.ending
    limit = len(response.body) if cut is None else cut.at
    cut_clean = cut is not None and cut.how == "clean"
    if response.status is not None:
        yield Send(_head(response, length=limit if cut_clean else None, close=close))
    if method != "HEAD" or response.status is None:
        yield from _body(response, limit)
        if response.chunked and (cut is None or cut_clean):
            yield Send(b"0\r\n\r\n")
    if cut is not None and cut.how != "clean":
        yield End(cut.how)
    else:
        whole = method == "HEAD" or cut_clean or _framed(response)
        keep = whole and response.status is not None and not close and not _says_close(response)
        yield End("keep" if keep else "close")


def reason(status: int) -> str:
    """Return the words of a status line, for unknown codes those that Go's server writes."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status code {status}"


def _head(response: Response, *, length: int | None, close: bool) -> bytes:
    status = response.status or 0
    lines = [f"HTTP/1.1 {status} {reason(status)}"]
    for name, value in response.headers:
        shown = value
        if length is not None and name.lower() == "content-length":
            shown = str(length)
        lines.append(f"{name}: {shown}")
    if close and not _says_close(response):
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _body(response: Response, limit: int) -> Iterator[Step]:
    """Yield the first ``limit`` bytes, with the silences among them."""
    pauses = sorted(response.pauses, key=_position)
    clean = response.ending is not None and response.ending.how == "clean"
    start = 0
    for piece in response.pieces:
        if start >= limit:
            break
        yield from _due(pauses, start)
        shown = piece[: limit - start] if clean else piece
        yield from _piece(shown, start, limit, pauses, chunked=response.chunked)
        start += len(shown)
    yield from _due(pauses, limit)


def _piece(piece: bytes, start: int, limit: int, pauses: list[Pause], *, chunked: bool) -> Iterator[Step]:
    """Yield one piece, framed if chunked, divided where a silence or the cut falls within it."""
    pending = f"{len(piece):x}\r\n".encode() if chunked else b""
    done = 0
    end = min(len(piece), limit - start)
    while pauses and pauses[0].at < start + end:
        upto = pauses[0].at - start
        yield Send(pending + piece[done:upto])
        pending, done = b"", upto
        yield from _due(pauses, start + upto)
    finished = b"\r\n" if chunked and end == len(piece) else b""
    yield Send(pending + piece[done:end] + finished)


def _due(pauses: list[Pause], at: int) -> Iterator[Wait]:
    while pauses and pauses[0].at <= at:
        yield Wait(pauses.pop(0).seconds)


def _position(pause: Pause) -> int:
    return pause.at


def _framed(response: Response) -> bool:
    """Return whether a client can tell from the headers where this very body ends."""
    if response.chunked or response.status in {204, 304}:
        return True
    lengths = [value for name, value in response.headers if name.lower() == "content-length"]
    return lengths == [str(len(response.body))]


def _says_close(response: Response) -> bool:
    return any(name.lower() == "connection" and "close" in value.lower() for name, value in response.headers)
