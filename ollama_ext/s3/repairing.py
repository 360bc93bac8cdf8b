"""Putting good bytes in the place of bad ones: in a store from a bucket, in a bucket from a store."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Final, Literal

from .engine import Engine
from .errors import BlobMissing, MirrorError, TransferInterrupted
from .layout import model_name
from .listing import bucket_manifest
from .publication import publish
from .sending import sending
from .source import DirectorySource
from .verification import repaired, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ollama_ext.cancel import CancelToken
    from ollama_ext.names import ModelName

    from .bucket_source import BucketSource
    from .limits import TransferSettings
    from .manifests import Manifest
    from .reporting import Tracker
    from .results import VerifyResult
    from .source import Source
    from .store import LocalStore

_TELL_SECONDS: Final = 0.1


def verify_model(
    bucket: BucketSource,
    store: LocalStore,
    model: str,
    *,
    where: Literal["store", "bucket"],
    repair: bool,
    settings: TransferSettings,
    tracker: Tracker,
    cancel: CancelToken | None,
) -> VerifyResult:
    """Hash every blob of a model in one of the two, and repair it from the other if asked; see `Mirror`."""
    name = model_name(model)
    manifest = store.manifest(model) if where == "store" else bucket_manifest(bucket, model)
    source = DirectorySource(store) if where == "store" else bucket
    result = verify(
        source, name.short, manifest, where=where, settings=settings, tracker=tracker, cancel=cancel
    )
    if result.ok or not repair:
        return result
    bad = {each.digest: manifest.blobs[each.digest] for each in result.errors}
    if where == "bucket":
        verdicts = repair_bucket(bucket, store, bad, settings=settings, tracker=tracker, cancel=cancel)
    else:
        verdicts = repair_store(
            bucket, store, name, manifest, bad, settings=settings, tracker=tracker, cancel=cancel
        )
    return repaired(result, verdicts, tracker)


def repair_store(
    source: Source,
    store: LocalStore,
    name: ModelName,
    manifest: Manifest,
    bad: Mapping[str, int],
    *,
    settings: TransferSettings,
    tracker: Tracker,
    cancel: CancelToken | None,
) -> dict[str, MirrorError | None]:
    """Fetch blobs anew and put them in the place of what the store has of them; the manifest stays.

    Returns:
        For each digest why it could not be repaired, or None.

    Raises:
        TransferInterrupted: By the token; what is staged is used by the next repair or import.
        NoSpace: There is no room.
        StoreRefused: The store cannot be written.
    """
    verdicts: dict[str, MirrorError | None] = {}
    with store.open() as root, Engine(source, store.open(), tracker, settings) as engine:
        for digest, size in bad.items():
            engine.add(digest, size, anew=True)
        while len(verdicts) < len(bad):
            tracker.tell()
            if cancel is not None and cancel.cancelled:
                raise TransferInterrupted(
                    "the repair was cancelled; the next one goes on where this one stopped"
                )
            try:
                digest, outcome = engine.settled.get(timeout=_TELL_SECONDS)
            except queue.Empty:
                continue
            verdicts[digest] = outcome if isinstance(outcome, MirrorError) else None
        staged = [digest for digest, error in verdicts.items() if error is None]
        for digest in publish(root, name, manifest, staged=staged) & set(staged):
            verdicts[digest] = BlobMissing(
                f"{digest} vanishes from {store.path}: what removes it?", digest=digest
            )
    return verdicts


def repair_bucket(
    target: BucketSource,
    store: LocalStore,
    bad: Mapping[str, int],
    *,
    settings: TransferSettings,
    tracker: Tracker,
    cancel: CancelToken | None,
) -> dict[str, MirrorError | None]:
    """Send blobs anew in the place of what the bucket has of them; the manifest stays.

    Returns:
        For each digest why it could not be repaired, or None.

    Raises:
        TransferInterrupted: By the token.
    """
    with sending(store, target, settings=settings, tracker=tracker, cancel=cancel) as crew:
        return {
            digest: outcome if isinstance(outcome, MirrorError) else None
            for digest, outcome in crew.send(bad, grace=0.0, anew=True)
        }
