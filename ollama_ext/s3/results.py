"""What the methods of the mirror return: values that say what was done, and what was not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, overload

import msgspec

from .errors import MirrorError

#: How a model got to where it is.
Way = Literal[
    "bucket to store", "store to bucket", "directory to store", "store to directory", "bucket to directory"
]
#: How two copies of a model compare.
Comparison = Literal["same", "different", "only in bucket", "only in store", "in neither"]


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a listing.

    Attributes:
        name: As Ollama lists it, such as ``llama3.2:1b``.
        modified: When its manifest was written.
        digest: The digest of its manifest, as ``sha256:<hex>``; None if details were not asked for.
        size: Bytes of its blobs; None if details were not asked for.
    """

    name: str
    modified: datetime
    digest: str | None = None
    size: int | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Something below ``manifests/`` that is no model, and why.

    Attributes:
        path: The key or path.
        reason: What is wrong with it.
    """

    path: str
    reason: str


class Listing(Sequence[ModelEntry]):
    """The models of a bucket or a store, by name; a sequence of `ModelEntry`.

    Attributes:
        refused: What lies there and is not listed.
    """

    def __init__(self, models: Sequence[ModelEntry], refused: Sequence[Refusal] = ()) -> None:
        """Take both."""
        self._models = tuple(models)
        self.refused: tuple[Refusal, ...] = tuple(refused)

    @overload
    def __getitem__(self, index: int) -> ModelEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ModelEntry]: ...
    def __getitem__(self, index: int | slice) -> ModelEntry | Sequence[ModelEntry]:
        """Return one model, or some."""
        return self._models[index]

    def __len__(self) -> int:
        """Return how many models there are."""
        return len(self._models)

    def __iter__(self) -> Iterator[ModelEntry]:
        """Yield the models."""
        return iter(self._models)

    def __repr__(self) -> str:
        """Show the models, and how much was refused."""
        return f"<Listing of {len(self._models)} models, {len(self.refused)} refused>"


class BlobError(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong with one blob.

    Attributes:
        digest: The blob.
        error: What happened.
    """

    digest: str
    error: MirrorError


class TransferResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an import, an export or a publication did with one model.

    Of a dry run the numbers say what would have been done.

    Attributes:
        model: The name, as Ollama lists it.
        digest: The digest of its manifest; None if that could not be read.
        way: From where to where.
        dry_run: Whether nothing was changed.
        changed: Whether the model there is another than before.
        blobs_fetched: How many blobs were read from the source and written.
        blobs_skipped: How many were there already and proven (or trusted, where that was asked for).
        blobs_sent: How many were sent to the bucket.
        bytes_fetched: Bytes that were read from the source in this run.
        bytes_reused: Bytes that an earlier run had left staged, or the target had.
        bytes_sent: Bytes that were sent to the bucket in this run.
        seconds: How long it took, from the start of the call to the end of this model.
        errors: What went wrong, blob by blob. One of them is also ``error``.
        error: Why the model is not there; None on success.
    """

    model: str
    way: Way
    digest: str | None = None
    dry_run: bool = False
    changed: bool = False
    blobs_fetched: int = 0
    blobs_skipped: int = 0
    blobs_sent: int = 0
    bytes_fetched: int = 0
    bytes_reused: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    errors: tuple[BlobError, ...] = ()
    error: MirrorError | None = None

    @property
    def ok(self) -> bool:
        """Whether the model is there."""
        return self.error is None


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found.

    Attributes:
        model: The name, as Ollama lists it.
        digest: The digest of its manifest.
        where: The place that was looked at.
        blobs_good: How many blobs are what their name says.
        blobs_repaired: How many were not, and were replaced.
        bytes_read: Bytes that were hashed.
        seconds: How long it took.
        errors: The blobs that are bad or missing, and were not repaired.
    """

    model: str
    digest: str
    where: Literal["store", "bucket"]
    blobs_good: int = 0
    blobs_repaired: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    errors: tuple[BlobError, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every blob is good now."""
        return not self.errors


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How the copies of a model in bucket and store compare.

    Attributes:
        model: The name, as Ollama lists it.
        comparison: In one word or three.
        bucket_digest: The digest of the manifest in the bucket, or None without one.
        store_digest: The digest of the manifest in the store, or None without one.
        to_fetch: Bytes that an import would read: blobs that the bucket's model has and the store lacks.
        to_send: Bytes that a publication would send: blobs that the store's model has and the bucket lacks.
        missing_in_store: Blobs that the store's own model names and the store lacks: it is broken.
        missing_in_bucket: The same of the bucket.
    """

    model: str
    comparison: Comparison
    bucket_digest: str | None = None
    store_digest: str | None = None
    to_fetch: int = 0
    to_send: int = 0
    missing_in_store: tuple[str, ...] = ()
    missing_in_bucket: tuple[str, ...] = ()


class PruneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a prune removed, or would have removed.

    Attributes:
        dry_run: Whether nothing was changed.
        removed: The blobs that no manifest names, as ``sha256:<hex>``, and left-overs of transfers.
        bytes_freed: Their size.
        spared: How many had no use either and were spared, being younger than the grace.
    """

    dry_run: bool = False
    removed: tuple[str, ...] = ()
    bytes_freed: int = 0
    spared: int = 0
