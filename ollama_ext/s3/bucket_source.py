"""A bucket to read models from."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .bucket_errors import Missing
from .errors import BlobMissing, ModelMissing
from .layout import blob_path, manifest_path
from .manifests import MOST_MANIFEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator

    from ollama_ext.names import ModelName

    from .bucket import Bucket
    from .source import RangeReader


class BucketSource:
    """The models below a prefix of a bucket.

    Attributes:
        name: What to call it in messages.
        bucket: The bucket.
        prefix: What its keys begin with: empty, or with a ``/`` at its end.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        """Take a bucket and a checked prefix."""
        self.bucket = bucket
        self.prefix = prefix
        self.name: str = f"{bucket.name}/{prefix}".rstrip("/")

    def manifest_key(self, name: ModelName) -> str:
        """Return the key of a manifest."""
        return f"{self.prefix}{manifest_path(name)}"

    def blob_key(self, digest: str) -> str:
        """Return the key of a blob."""
        return f"{self.prefix}{blob_path(digest)}"

    def manifest(self, name: ModelName) -> bytes:
        """Return the bytes of a manifest.

        Raises:
            ModelMissing: There is no such model.
            BucketError: It cannot be read.
        """
        try:
            return self.bucket.read(self.manifest_key(name), MOST_MANIFEST_BYTES)
        except Missing:
            raise ModelMissing(f"{self.name} has no model {name.short!r}", model=name.short) from None

    @contextmanager
    def open(
        self, digest: str, size: int, start: int, end: int, version: str | None
    ) -> Generator[RangeReader]:
        """Open some bytes of a blob; see `Source.open`."""
        key = self.blob_key(digest)
        try:
            with self.bucket.open_range(key, size, start, end, version) as reader:
                yield reader
        except Missing:
            where = f"{self.bucket.name}/{key}"
            raise BlobMissing(
                f"{where} is missing: publish the model anew", digest=digest, where=where
            ) from None
