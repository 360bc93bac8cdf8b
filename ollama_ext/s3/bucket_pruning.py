"""Removing from a bucket what no model there names, without harm to a publication that is under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from .bucket_errors import Missing, Unsupported
from .crew import Crew
from .errors import BucketError, MirrorError
from .layout import BLOBS, MANIFESTS, digest_of_blob, named_by
from .manifests import parse_manifest
from .results import PruneResult

if TYPE_CHECKING:
    from .bucket_objects import ObjectInfo
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
    prune = _Prune(source, datetime.now(UTC) - timedelta(seconds=grace), dry_run=dry_run)
    prune.run()
    return PruneResult(
        dry_run=dry_run, removed=tuple(prune.removed), bytes_freed=prune.freed, spared=prune.spared
    )


class _Prune:
    """One run, and what it has done."""

    def __init__(self, source: BucketSource, old: datetime, *, dry_run: bool) -> None:
        self._source = source
        self._bucket = source.bucket
        self._prefix = f"{source.prefix}{BLOBS}/"
        self._old = old
        self._dry_run = dry_run
        self.removed: list[str] = []
        self.freed = 0
        self.spared = 0

    def run(self) -> None:
        blobs = list(self._bucket.list(self._prefix))
        uploads = self._uploads()
        named = _named(self._source)
        for info in blobs:
            digest = self._digest_of(info.key)
            if digest is not None and digest not in named:
                self._remove(info, digest)
        for key, upload, began in uploads:
            if (digest := self._digest_of(key)) is not None:
                self._abort(key, upload, began, digest)

    def _uploads(self) -> list[tuple[str, str, datetime]]:
        try:
            return list(self._bucket.uploads(self._prefix))
        except (Missing, Unsupported):  # some servers, as rclone, tell of none
            return []

    def _digest_of(self, key: str) -> str | None:
        return digest_of_blob(key.removeprefix(self._prefix))

    def _remove(self, info: ObjectInfo, digest: str) -> None:
        # It may have been made young since it was listed.
        now = info if self._dry_run or info.modified > self._old else self._bucket.head(info.key)
        if now is None:
            return
        if now.modified > self._old:
            self.spared += 1
            return
        if not self._dry_run:
            self._bucket.delete(info.key)
        self.removed.append(digest)
        self.freed += info.size

    def _abort(self, key: str, upload: str, began: datetime, digest: str) -> None:
        if began > self._old:
            self.spared += 1
            return
        if not self._dry_run:
            self._bucket.abort_upload(key, upload)
        self.removed.append(f"unfinished upload of {digest}")


def _named(source: BucketSource) -> set[str]:
    prefix = f"{source.prefix}{MANIFESTS}/"
    keys = [info.key for info in source.bucket.list(prefix) if not info.key.endswith("/")]
    named: set[str] = set()
    with Crew(_READERS, "mirror-manifest") as crew:
        for blobs in crew.map(partial(_blobs_of, source, prefix), keys):
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
