"""Models from a store into a bucket: each blob sent or proven to be there, then the manifest, then a look."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from .bucket_errors import Conditional, Missing, Unsupported
from .download import Over
from .errors import BlobMissing, BucketError, ManifestRefused, MirrorError, TransferInterrupted
from .layout import blob_path, model_name
from .manifests import MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, check_config
from .reporting import Tracker
from .results import TransferResult
from .uploads import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ollama_ext.cancel import CancelToken
    from ollama_ext.names import ModelName

    from .bucket_source import BucketSource
    from .limits import TransferSettings
    from .manifests import Manifest
    from .reporting import TransferProgress
    from .store import LocalStore

_TELL_SECONDS: Final = 0.1
_SENDERS: Final = 8
_ROUNDS: Final = 3
_MEDIA_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"


class Publication:
    """One model on its way from a store into a bucket."""

    def __init__(
        self,
        store: LocalStore,
        target: BucketSource,
        model: str,
        *,
        settings: TransferSettings,
        prune_grace: float,
        allow_remote: bool,
        on_progress: Callable[[TransferProgress], object] | None,
        cancel: CancelToken | None,
    ) -> None:
        """Read the manifest, and look at the config.

        Raises:
            ModelMissing: The store has no such model.
            MirrorError: The model is not to be trusted, or cannot be read.
        """
        self._store = store
        self._target = target
        self._name: ModelName = model_name(model)
        self._manifest: Manifest = store.manifest(model)
        self._settings = settings
        self._grace = prune_grace
        self._tracker = Tracker(on_progress)
        self._cancel = cancel
        self._started = monotonic()
        self._sent: set[str] = set()
        self._check_config(allow_remote=allow_remote)
        for digest, size in self._manifest.blobs.items():
            self._tracker.plan(self._name.short, digest, size)

    def _check_config(self, *, allow_remote: bool) -> None:
        config = self._manifest.config
        path = self._store.path / blob_path(config.digest)
        if config.size > MOST_CONFIG_BYTES:
            raise ManifestRefused(
                f"the config {path} has {config.size:,} bytes, more than {MOST_CONFIG_BYTES:,}"
            )
        content = self._store.read_blob(config.digest, MOST_CONFIG_BYTES)
        if content is None:
            raise BlobMissing(
                f"{path} is missing: the model is broken", digest=config.digest, where=str(path)
            )
        check_config(content, where=str(path), allow_remote=allow_remote)

    def run(self, *, dry_run: bool) -> TransferResult:
        """Publish it, or say what that would do.

        Raises:
            MirrorError: It is not published, or not known to be whole.
            TransferInterrupted: By the token; what was sent is used by the next publication.
        """
        key = self._target.manifest_key(self._name)
        before = self._read(key)
        if dry_run:
            return self._would_do(before)
        stopping = threading.Event()
        hook = self._cancel.attach(stopping.set) if self._cancel is not None else 0
        senders = ThreadPoolExecutor(_SENDERS, "mirror-send")
        connections = ThreadPoolExecutor(self._settings.connections, "mirror-part")
        try:
            self._settings.pause_at_start(stopping.wait)
            sender = Sender(
                self._store,
                self._target,
                settings=self._settings,
                tracker=self._tracker,
                stopping=stopping,
                connections=connections,
            )
            self._send(sender, senders, self._manifest.blobs)
            self._tracker.model(self._name.short, "publishing", self._manifest.size)
            self._tracker.tell()
            if before != self._manifest.content:
                content = self._manifest.content
                self._target.bucket.put(key, content, len(content), media_type=_MEDIA_TYPE)
            for _ in range(_ROUNDS):
                missing = self._missing(senders)
                if not missing:
                    break
                self._send(sender, senders, missing)
            else:
                where = self._target.name
                raise BlobMissing(
                    f"blobs vanish from {where} as soon as they are there: what removes them?", where=where
                )
        except (Conditional, Missing, Unsupported) as error:
            raise BucketError(str(error)) from None
        finally:
            stopping.set()
            senders.shutdown(wait=True, cancel_futures=True)
            connections.shutdown(wait=True, cancel_futures=True)
            if self._cancel is not None:
                self._cancel.detach(hook)
        self._tracker.model(self._name.short, "done", self._manifest.size)
        self._tracker.tell(finished=True)
        return self._result(changed=before != self._manifest.content)

    def _read(self, key: str) -> bytes | None:
        try:
            return self._target.bucket.read(key, MOST_MANIFEST_BYTES)
        except Missing:
            return None

    def _send(self, sender: Sender, senders: ThreadPoolExecutor, blobs: Mapping[str, int]) -> None:
        """Have blobs in the bucket; the first that fails ends the others."""
        # What is that old could be removed by a prune before our manifest names it.
        renew_before = datetime.now(UTC) - timedelta(seconds=self._grace / 2)
        running: dict[Future[bool], str] = {}
        for digest, size in sorted(blobs.items(), key=lambda item: -item[1]):
            running[senders.submit(sender.send, digest, size, renew_before=renew_before)] = digest
        left = set(running)
        while left:
            done, left = wait(left, _TELL_SECONDS, FIRST_COMPLETED)
            if self._cancel is not None and self._cancel.cancelled:
                raise TransferInterrupted(
                    "the publication was cancelled; the next one goes on where this one stopped"
                )
            for future in done:
                self._take_note(future, running[future])
            self._tracker.tell()

    def _take_note(self, future: Future[bool], digest: str) -> None:
        try:
            sent = future.result()
        except MirrorError as error:
            self._tracker.state(digest, "failed")
            self._tracker.tell()
            error.model = error.model or self._name.short
            raise
        except Over:
            return  # it was cancelled, which is looked at next
        if sent:
            self._sent.add(digest)
        self._tracker.state(digest, "done" if sent else "present")

    def _missing(self, senders: ThreadPoolExecutor) -> dict[str, int]:
        """Return the blobs that the bucket lacks; those that it had may have fallen to a prune."""
        blobs = self._manifest.blobs
        found = senders.map(self._target.bucket.head, map(self._target.blob_key, blobs))
        return {
            digest: size
            for (digest, size), info in zip(blobs.items(), found, strict=True)
            if info is None or info.size != size
        }

    def _would_do(self, before: bytes | None) -> TransferResult:
        with ThreadPoolExecutor(_SENDERS, "mirror-head") as heads:
            missing = self._missing(heads)
        self._sent = set(missing)
        changed = before != self._manifest.content
        result = self._result(changed=changed)
        return msgspec.structs.replace(result, dry_run=True, bytes_sent=sum(missing.values()))

    def _result(self, *, changed: bool) -> TransferResult:
        blobs = self._manifest.blobs
        return TransferResult(
            model=self._name.short,
            way="store to bucket",
            digest=self._manifest.digest,
            changed=changed,
            blobs_sent=len(self._sent),
            blobs_skipped=len(blobs) - len(self._sent),
            bytes_sent=self._tracker.transferred,
            bytes_reused=sum(size for digest, size in blobs.items() if digest not in self._sent),
            seconds=monotonic() - self._started,
        )
