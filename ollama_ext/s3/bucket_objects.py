"""What S3 says of objects, and how it writes entity tags and checksums. No I/O."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

import msgspec


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What S3 says of an object.

    Attributes:
        key: Its key.
        size: Bytes.
        etag: Its entity tag, without quotes; empty if there is none.
        modified: When it was written.
        sha256: The SHA-256 that the server has proven, in hexadecimal digits; empty if there is none.
        crc32: The CRC-32 of the whole that the server has proven, or None.
        metadata: What was stored with it, as names and values.
    """

    key: str
    size: int
    etag: str
    modified: datetime
    sha256: str = ""
    crc32: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()


def bare(etag: str | None) -> str:
    """Return an entity tag without its quotes, which some servers leave out."""
    return (etag or "").strip('"')


def encoded(crc32: int) -> str:
    """Return a CRC-32 as S3 writes it."""
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def number(told: str | None) -> int | None:
    """Return a CRC-32 as S3 tells it, or None if it tells none."""
    content = decoded(told)
    return int.from_bytes(content, "big") if len(content) == 4 else None  # noqa: PLR2004 - bytes of a CRC-32


def decoded(told: str | None) -> bytes:
    """Return a checksum as S3 tells it; empty if it tells none."""
    try:
        return base64.b64decode(told or "", validate=True)
    except (binascii.Error, ValueError):
        return b""
