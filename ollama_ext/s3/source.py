"""What models are read from: a bucket or a directory, with one face."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from .directories import failures_of
from .errors import BlobMissing, BucketAnswerRefused, ModelMissing
from .layout import blob_path
from .manifests import MOST_MANIFEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from ollama_ext.names import ModelName

    from .store import LocalStore

_PIECE: Final = 256 << 10


class RangeReader(Protocol):
    """Bytes of a blob that arrive."""

    @property
    def version(self) -> str | None:
        """What tells this version of the object from another, or None."""
        ...

    def read(self) -> bytes | memoryview:
        """Return the next bytes as they arrive, 256 KiB at most, and none only at the end of the range.

        They may be others after the next call.
        """
        ...

    def abort(self) -> None:
        """End a `read` that another thread waits in; it raises, or returns nothing."""
        ...


class Source(Protocol):
    """Where models are read from. For any number of threads."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    def manifest(self, name: ModelName) -> bytes:
        """Return the bytes of a manifest.

        Raises:
            ModelMissing: There is no such model.
        """
        ...

    def open(
        self, digest: str, size: int, start: int, end: int, version: str | None
    ) -> AbstractContextManager[RangeReader]:
        """Open the bytes from ``start`` up to, not including, ``end`` of a blob of ``size`` bytes.

        Args:
            digest: The blob.
            size: Its size, which is checked.
            start: The first byte.
            end: The byte after the last.
            version: The version that it must be, or None for any.
        """
        ...


class DirectorySource:
    """A model directory to read from, such as one that was exported to a disk."""

    def __init__(self, store: LocalStore) -> None:
        """Take the directory."""
        self._store = store
        self.name: str = str(store.path)

    def manifest(self, name: ModelName) -> bytes:
        """Return the bytes of a manifest.

        Raises:
            ModelMissing: There is no such model.
            StoreRefused: It cannot be read.
        """
        content = self._store.read_manifest(name)
        if content is None:
            raise ModelMissing(f"{self.name} has no model {name.short!r}", model=name.short)
        return content[: MOST_MANIFEST_BYTES + 1]

    @contextmanager
    def open(
        self, digest: str, size: int, start: int, end: int, version: str | None
    ) -> Generator[_FileReader]:
        """Open some bytes of a blob."""
        del version  # a file is hashed after it was read, whatever it was
        path = self._store.path / blob_path(digest)
        try:
            descriptor = self._store.open_blob(digest)
        except FileNotFoundError:
            raise BlobMissing(f"{path} is missing", digest=digest, where=self.name) from None
        try:
            with failures_of(path):
                found = os.fstat(descriptor).st_size
                if found != size:
                    problem = f"{path} has {found:,} bytes, and its manifest says {size:,}"
                    raise BucketAnswerRefused(problem)
                yield _FileReader(descriptor, start, end)
        finally:
            os.close(descriptor)


class _FileReader:
    """Some bytes of a file."""

    version: str | None = None

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor = descriptor
        self._position = start
        self._end = end

    def read(self) -> bytes:
        piece = os.pread(self._descriptor, min(_PIECE, self._end - self._position), self._position)
        self._position += len(piece)
        return piece

    def abort(self) -> None:
        self._end = self._position
