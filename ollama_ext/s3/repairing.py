"""Putting good bytes in the place of bad ones: in a store from a bucket, in a bucket from a store."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from .bucket_errors import Conditional, Missing, Unsupported
from .download import Over
from .engine import Engine
from .errors import BlobMissing, BucketError, MirrorError, TransferInterrupted
from .publication import publish
from .uploads import Sender

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ollama_ext.cancel import CancelToken
    from ollama_ext.names import ModelName

    from .bucket_source import BucketSource
    from .limits import TransferSettings
    from .manifests import Manifest
    from .reporting import Tracker
    from .source import Source
    from .store import LocalStore

_TELL_SECONDS: Final = 0.1


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
    stopping = threading.Event()
    hook = cancel.attach(stopping.set) if cancel is not None else 0
    verdicts: dict[str, MirrorError | None] = {}
    with ThreadPoolExecutor(settings.connections, "mirror-part") as connections:
        sender = Sender(
            store, target, settings=settings, tracker=tracker, stopping=stopping, connections=connections
        )
        try:
            for digest, size in bad.items():
                verdicts[digest] = _sent_anew(sender, digest, size)
                tracker.tell()
        except Over:
            raise TransferInterrupted("the repair was cancelled") from None
        finally:
            stopping.set()
            if cancel is not None:
                cancel.detach(hook)
    return verdicts


def _sent_anew(sender: Sender, digest: str, size: int) -> MirrorError | None:
    try:
        sender.send(digest, size, renew_before=datetime.now(UTC), anew=True)
    except MirrorError as error:
        return error
    except (Conditional, Missing, Unsupported) as error:
        return BucketError(str(error))
    return None
