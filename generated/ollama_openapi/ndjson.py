r"""Newline-delimited JSON: bytes in, lines out, and a stream of typed chunks on top.

This is the only place that cuts a body into lines. A line ends at ``\n`` and nowhere else: U+0085 and
U+2028, at which `str.splitlines` (and `httpx.Response.iter_lines`) would cut, are text in JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class LineSplitter:
    r"""Cuts bytes into lines, however they were split on the way. No I/O.

    Blank lines are dropped, the ``\n`` is not part of a line. Cost is linear in the bytes, also for one
    very long line that arrives in many small reads.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines that they complete."""
        *lines, last = data.split(b"\n")
        if lines and self._rest:
            self._rest.append(lines[0])
            lines[0] = b"".join(self._rest)
            self._rest.clear()
        if last:
            self._rest.append(last)
        return [line for line in lines if line and not line.isspace()]

    def finish(self) -> list[bytes]:
        """Return the last line if nothing terminated it; afterwards the splitter is as new."""
        line = b"".join(self._rest)
        self._rest.clear()
        return [line] if line and not line.isspace() else []


class ChunkStream(Generic[T]):
    """The chunks of an open response: an iterator and a context manager.

    Leaving the ``with`` block, or reaching the end, closes the connection. What ``parse`` raises for a
    line (an error that the server reports inside the stream, a line that is not JSON) comes out of the
    iteration, and closes too.
    """

    def __init__(
        self, reads: Iterable[bytes], close: Callable[[], None], parse: Callable[[bytes], T]
    ) -> None:
        self._close = close
        self._chunks = self._iterate(reads, parse)

    def _iterate(self, reads: Iterable[bytes], parse: Callable[[bytes], T]) -> Generator[T]:
        lines = LineSplitter()
        try:
            for data in reads:
                for line in lines.feed(data):
                    yield parse(line)
            for line in lines.finish():
                yield parse(line)
        finally:
            self._close()

    def __iter__(self) -> Iterator[T]:
        return self._chunks

    def __next__(self) -> T:
        return next(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the iteration is over."""
        self._chunks.close()
        self._close()
