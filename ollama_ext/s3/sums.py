"""What a blob on this machine adds up to, and whether that proves what a bucket has. No network."""

from __future__ import annotations

import hashlib
import os
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bucket_objects import ObjectInfo

_PIECE: Final = 256 << 10


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the bytes of one file, all of the same reading.

    Attributes:
        digest: The SHA-256, as ``sha256:<hex>``.
        crc32: The CRC-32.
        md5: The MD5 in hexadecimal digits, if asked for.
        parts_md5: The MD5 of the MD5s of its parts, if asked for: what S3 makes an entity tag of.
    """

    digest: str
    crc32: int
    md5: str = ""
    parts_md5: str = ""


def add_up(
    descriptor: int, size: int, *, part_size: int, with_md5: bool, on_piece: Callable[[int], None]
) -> Sums:
    """Read a file once and add it up.

    Args:
        descriptor: The open file.
        size: Bytes to read.
        part_size: Bytes of the parts that ``parts_md5`` is about.
        with_md5: Whether MD5 is wanted, which costs as much again.
        on_piece: Called with the length of each piece that was read; what it raises ends the reading.
    """
    sha256, crc = hashlib.sha256(), 0
    md5, part, parts = (hashlib.md5(usedforsecurity=False) for _ in range(3))
    buffer, position = memoryview(bytearray(_PIECE)), 0
    while position < size:
        # No piece reaches into the next part.
        most = min(_PIECE, size - position, part_size - position % part_size)
        count = os.preadv(descriptor, [buffer[:most]], position)
        if not count:
            break
        piece = buffer[:count]
        sha256.update(piece)
        crc = zlib.crc32(piece, crc)
        position += count
        if with_md5:
            md5.update(piece)
            part.update(piece)
            if position % part_size == 0 or position == size:
                parts.update(part.digest())
                part = hashlib.md5(usedforsecurity=False)
        on_piece(count)
    return Sums(
        digest=f"sha256:{sha256.hexdigest()}",
        crc32=crc,
        md5=md5.hexdigest() if with_md5 else "",
        parts_md5=parts.hexdigest() if with_md5 else "",
    )


def needs_md5(info: ObjectInfo | None) -> bool:
    """Whether only an entity tag could prove what a bucket has."""
    return info is not None and not info.sha256 and info.crc32 is None


def proven(info: ObjectInfo, sums: Sums, size: int) -> bool:
    """Whether a bucket has these very bytes, as far as the server itself has proven it.

    By a SHA-256 or a CRC-32 of the whole that the server has checked, or by an entity tag that is an MD5.
    """
    if info.size != size:
        return False
    if info.sha256:
        return f"sha256:{info.sha256}" == sums.digest
    if info.crc32 is not None:
        return info.crc32 == sums.crc32
    whole, dash, _ = info.etag.partition("-")
    return bool(whole) and whole == (sums.parts_md5 if dash else sums.md5)
