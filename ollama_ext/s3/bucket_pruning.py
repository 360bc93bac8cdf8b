"""Removing from a bucket what no model there names, without harm to a publication that is under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from .bucket_errors import Missing, Unsupported
from .crew import Crew
from .errors import BucketError, MirrorError
from .layout import BLOBS, MANIFESTS, digest_of_blob, named_by
from .manifests import parse_manifest
from .results import PruneResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .bucket_objects import ObjectInfo
    from .bucket_source import BucketSource

_REQUESTS: Final = 16


def prune_bucket(source: BucketSource, *, grace: float, dry_run: bool) -> PruneResult:
    """Remove blobs that no manifest names, and uploads that nobody finished.

    The blobs are listed first and the manifests read then, so a blob whose manifest comes in between is
    either not listed or named. What is younger than the grace stays: a publication sends blobs before the
    manifest, and makes those young that it finds there.

    Raises:
        BucketError: The bucket cannot be read, or not be written. Or a manifest cannot be read or trusted, so
            what it names is not known, and nothing was removed.
            Or a model that was published meanwhile has lost a blob: the message says which, and what to do.
    """
    with Crew(_REQUESTS, "mirror-prune") as crew:
        return _Prune(source, crew, datetime.now(UTC) - timedelta(seconds=grace), dry_run=dry_run).run()


class _Prune:
    """One run."""

    def __init__(self, source: BucketSource, crew: Crew, old: datetime, *, dry_run: bool) -> None:
        self._source = source
        self._bucket = source.bucket
        self._crew = crew
        self._blobs = f"{source.prefix}{BLOBS}/"
        self._manifests = f"{source.prefix}{MANIFESTS}/"
        self._old = old
        self._dry_run = dry_run

    def run(self) -> PruneResult:
        """Do it, in the order that matters."""
        blobs = {info: self._digest_of(info.key) for info in self._bucket.list(self._blobs)}
        uploads = self._uploads()
        manifests = self._list_manifests()
        try:
            named = self._named_by(manifests)
        except BucketError as error:
            raise BucketError(f"nothing was pruned, as {error}") from None
        unused = [info for info, digest in blobs.items() if digest is not None and digest not in named]
        gone = {
            info: how for info, how in zip(unused, self._crew.map(self._remove, unused), strict=True) if how
        }
        removed = [info for info, how in gone.items() if how == "removed"]
        if not self._dry_run:
            self._look_again({str(blobs[info]) for info in removed}, manifests)
        aborted = [self._abort(*upload) for upload in uploads]
        return PruneResult(
            dry_run=self._dry_run,
            removed=(*(str(blobs[info]) for info in removed), *(each for each in aborted if each)),
            bytes_freed=sum(info.size for info in removed),
            spared=len(gone) - len(removed) + aborted.count(""),
        )

    def _uploads(self) -> list[tuple[str, str, datetime]]:
        try:
            found = list(self._bucket.uploads(self._blobs))
        except (Missing, Unsupported):  # some servers, as rclone, tell of none
            return []
        return [upload for upload in found if self._digest_of(upload[0]) is not None]

    def _digest_of(self, key: str) -> str | None:
        return digest_of_blob(key.removeprefix(self._blobs))

    def _list_manifests(self) -> set[ObjectInfo]:
        return {info for info in self._bucket.list(self._manifests) if not info.key.endswith("/")}

    def _named_by(self, manifests: Iterable[ObjectInfo]) -> set[str]:
        return set().union(*self._crew.map(self._blobs_of, manifests))

    def _blobs_of(self, manifest: ObjectInfo) -> set[str]:
        where = f"{self._bucket.name}/{manifest.key}"
        try:
            content = self._source.manifest(named_by(manifest.key.removeprefix(self._manifests)))
            return set(parse_manifest(content, where=where).blobs)
        except MirrorError as error:
            problem = f"it is not known which blobs {where} names: {error}; mend or remove it"
            raise BucketError(problem) from None

    def _remove(self, info: ObjectInfo) -> Literal["removed", "spared"] | None:
        """Remove a blob that is old even now: it may have been made young since it was listed."""
        now = info if self._dry_run or info.modified > self._old else self._bucket.head(info.key)
        if now is None:
            return None
        if now.modified > self._old:
            return "spared"
        if not self._dry_run:
            self._bucket.delete(info.key)
        return "removed"

    def _look_again(self, removed: set[str], before: set[ObjectInfo]) -> None:
        """Look whether a model was published meanwhile that has a blob of those that were removed.

        S3 has no way to remove an object on condition that nobody has made it young. So a publication that
        comes between the last look and the removal loses a blob, and is told that all is well.
        """
        if not removed:
            return
        for manifest in self._list_manifests() - before:
            lost = [
                digest
                for digest in sorted(self._blobs_of(manifest) & removed)
                if self._bucket.head(self._source.blob_key(digest)) is None
            ]
            if lost:
                raise BucketError(
                    f"{self._bucket.name}/{manifest.key} was published during the prune and has lost "
                    f"{', '.join(lost)} to it: publish that model again"
                )

    def _abort(self, key: str, upload: str, began: datetime) -> str:
        """End an upload that is old; return what to call it, or nothing if it is young."""
        if began > self._old:
            return ""
        if not self._dry_run:
            self._bucket.abort_upload(key, upload)
        return f"unfinished upload of {self._digest_of(key)}"
