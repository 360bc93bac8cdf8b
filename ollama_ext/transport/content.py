"""Bodies that a proxy compressed, although every request asks for none of that."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from .message import MalformedAnswer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

#: Bytes that one read may become, so that a few bytes cannot fill the memory at once.
_MOST_AT_ONCE: Final = 1 << 20

#: zlib's code for "gzip or zlib, whichever it is".
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32


def is_compressed(encoding: str | None) -> bool:
    """Whether a Content-Encoding says that the body is not as it should be read."""
    return encoding is not None and encoding.strip().lower() not in {"", "identity"}


def decompressed(encoding: str, reads: Iterable[bytes]) -> Generator[bytes]:
    """Yield a compressed body as it was, each piece as soon as it can be read.

    Raises:
        MalformedAnswer: It is compressed in a way that we do not know, or not as it says, or cut.
    """
    if encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        raise MalformedAnswer(
            f"it is compressed with {encoding[:40]!r}, which was not asked for: see the proxy in between"
        )
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    empty = True  # as of HEAD
    try:
        for data in reads:
            packed, empty = data, False
            while packed:
                if piece := unpacker.decompress(packed, _MOST_AT_ONCE):
                    yield piece
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise MalformedAnswer(f"it is not compressed as its headers say: {error}") from None
    if not (unpacker.eof or empty):
        raise MalformedAnswer("its compressed body ends too early")
