"""Removing from a bucket what no model there names, without harm to a publication that is under way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from .bucket_errors import Missing
from .errors import BucketError, MirrorError
from .layout import BLOBS, MANIFESTS, digest_of_blob, named_by
from .manifests import parse_manifest
from .results import PruneResult

if TYPE_CHECKING:
    from .bucket_source import BucketSource

_READERS: Final = 16


def prune_bucket(source: BucketSource, *, grace: float, dry_run: bool) -> PruneResult:
    """Remove blobs that no manifest names, and uploads that nobody finished.

    The blobs are listed first and the manifests read then, so a blob whose manifest comes in between is
    either not listed or named. What is younger than the grace stays: a publication sends blobs before the
    manifest, and makes those young that it finds there.

    Raises:
        BucketError: The bucket cannot be read, or not be written.
        MirrorError: A manifest cannot be read or trusted, so what it names is not known; nothing was removed.
    """
    old = datetime.now(UTC) - timedelta(seconds=grace)
    blobs = {info.key: info for info in source.bucket.list(f"{source.prefix}{BLOBS}/")}
    uploads = list(source.bucket.uploads(f"{source.prefix}{BLOBS}/"))
    named = _named(source)
    removed: list[str] = []
    freed, spared = 0, 0
    for key, info in blobs.items():
        digest = digest_of_blob(key.removeprefix(f"{source.prefix}{BLOBS}/"))
        if digest is None or digest in named:
            continue
        if info.modified > old:
            spared += 1
            continue
        if not dry_run:
            # It may have been made young since it was listed.
            now = source.bucket.head(key)
            if now is None or now.modified > old:
                spared += now is not None
                continue
            source.bucket.delete([key])
        removed.append(digest)
        freed += info.size
    for key, upload, began in uploads:
        digest = digest_of_blob(key.removeprefix(f"{source.prefix}{BLOBS}/"))
        if digest is None:
            continue
        if began > old:
            spared += 1
            continue
        if not dry_run:
            source.bucket.abort_upload(key, upload)
        removed.append(f"unfinished upload of {digest}")
    return PruneResult(dry_run=dry_run, removed=tuple(removed), bytes_freed=freed, spared=spared)


def _named(source: BucketSource) -> set[str]:
    prefix = f"{source.prefix}{MANIFESTS}/"
    keys = [info.key for info in source.bucket.list(prefix) if not info.key.endswith("/")]
    named: set[str] = set()
    with ThreadPoolExecutor(_READERS, "mirror-manifest") as pool:
        for blobs in pool.map(partial(_blobs_of, source, prefix), keys):
            named |= blobs
    return named


def _blobs_of(source: BucketSource, prefix: str, key: str) -> set[str]:
    where = f"{source.bucket.name}/{key}"
    try:
        content = source.manifest(named_by(key.removeprefix(prefix)))
        return set(parse_manifest(content, where=where).blobs)
    except (MirrorError, Missing) as error:
        raise BucketError(
            f"nothing was pruned, as it is not known which blobs {where} names: {error}; repair or remove it"
        ) from None
