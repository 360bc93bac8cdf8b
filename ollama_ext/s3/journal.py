"""The record of which parts of a staged blob were written: saves work after a crash, and vouches for nothing.

A file of a 256-byte header and one 16-byte record a part, appended after the last byte of the part was
written: its number, its length, the CRC-32 of a sample of it, and the CRC-32 of these three, each 4 bytes,
little end first. Whatever it says, the bytes of the blob are read and hashed again; a part whose CRC differs
from its record is fetched again. Torn records and those of another blob are ignored.

The sample is one byte of every 512: after a loss of power whole sectors lack, and no less. Where it sees
nothing of a damage the hash does, and then all of the blob is fetched again. Of every byte the CRC would take
a tenth of an import's processor time, to save work in a case that is rare.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from .directories import Directory

_HEADER_BYTES: Final = 256
_RECORD = struct.Struct("<IIII")
_SECTOR: Final = 512  # bytes that a disk writes whole or not at all


class Part(NamedTuple):
    """What a record says of a part."""

    length: int
    crc: int


def sampled_crc(piece: bytes | memoryview, position: int, crc: int = 0) -> int:
    """Go on with the CRC of a part, whose pieces come in their order; how it is cut makes no difference.

    Args:
        piece: The next bytes.
        position: Where they lie in the blob.
        crc: That of the pieces before.
    """
    return zlib.crc32(bytes(memoryview(piece)[-position % _SECTOR :: _SECTOR]), crc)


class Journal:
    """The open journal of one blob; for any number of threads.

    Attributes:
        parts: What an earlier run has left, by the number of the part.
    """

    def __init__(self, directory: Directory, name: str, *, digest: str, size: int, part_size: int) -> None:
        """Open a journal; one of another blob, or cut in other parts, is begun anew."""
        self._directory = directory
        self._name = name
        self._lock = threading.Lock()
        told = {"version": 2, "digest": digest, "size": size, "part_size": part_size}
        header = json.dumps(told).encode().ljust(_HEADER_BYTES - 1) + b"\n"
        self._descriptor = directory.open_file(name, os.O_RDWR | os.O_CREAT)
        with open(self._descriptor, "rb", closefd=False) as file:
            found = file.read()
        self.parts: dict[int, Part] = {}
        self._end = _HEADER_BYTES
        if found[:_HEADER_BYTES] != header:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, header, 0)
            return
        for start in range(_HEADER_BYTES, len(found) - _RECORD.size + 1, _RECORD.size):
            number, length, crc, check = _RECORD.unpack_from(found, start)
            if zlib.crc32(found[start : start + 12]) == check:
                self.parts[number] = Part(length, crc)
            self._end = start + _RECORD.size

    def add(self, number: int, length: int, crc: int) -> None:
        """Record a part whose bytes are written."""
        told = struct.pack("<III", number, length, crc)
        with self._lock:
            os.pwrite(self._descriptor, told + struct.pack("<I", zlib.crc32(told)), self._end)
            self._end += _RECORD.size

    def close(self, *, remove: bool = False) -> None:
        """Close it, and remove it where the blob is whole or given up."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if remove:
            self._directory.remove(self._name)
