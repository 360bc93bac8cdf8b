"""How the copies of a model in a bucket and in a store compare."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from .crew import Crew
from .errors import ModelMissing
from .layout import model_name
from .listing import bucket_manifest
from .results import Difference

if TYPE_CHECKING:
    from .bucket_source import BucketSource
    from .manifests import Manifest
    from .results import Comparison
    from .store import LocalStore

_READERS: Final = 16


def compare(source: BucketSource, store: LocalStore, model: str) -> Difference:
    """Compare the copies of a model by their manifests and the sizes of their blobs; see `Mirror.diff`."""
    there, here = _of_bucket(source, model), _of_store(store, model)
    there_blobs = there.blobs if there else {}
    here_blobs = here.blobs if here else {}
    with Crew(_READERS, "mirror-head") as crew:
        answers = crew.map(partial(_is_there, source), (there_blobs | here_blobs).items())
    in_bucket = {digest for digest in answers if digest is not None}
    in_store = store.has(there_blobs | here_blobs)
    return Difference(
        model=model_name(model).short,
        comparison=_compared(there, here),
        bucket_digest=there.digest if there else None,
        store_digest=here.digest if here else None,
        to_fetch=sum(size for digest, size in there_blobs.items() if digest not in in_store),
        to_send=sum(size for digest, size in here_blobs.items() if digest not in in_bucket),
        missing_in_store=tuple(digest for digest in here_blobs if digest not in in_store),
        missing_in_bucket=tuple(digest for digest in there_blobs if digest not in in_bucket),
    )


def _of_bucket(source: BucketSource, model: str) -> Manifest | None:
    try:
        return bucket_manifest(source, model)
    except ModelMissing:
        return None


def _of_store(store: LocalStore, model: str) -> Manifest | None:
    try:
        return store.manifest(model)
    except ModelMissing:
        return None


def _compared(there: Manifest | None, here: Manifest | None) -> Comparison:
    if there is None:
        return "only in store" if here else "in neither"
    if here is None:
        return "only in bucket"
    return "same" if there.content == here.content else "different"


def _is_there(source: BucketSource, blob: tuple[str, int]) -> str | None:
    """Return the digest of a blob that the bucket has, with the right size."""
    digest, size = blob
    info = source.bucket.head(source.blob_key(digest))
    return digest if info is not None and info.size == size else None
