"""Models from a store into a bucket: each blob sent or proven to be there, then the manifest, then a look."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from .bucket_errors import Conditional, Missing, Unsupported
from .errors import BlobMissing, BucketError, ManifestRefused, MirrorError
from .layout import blob_path, model_name
from .manifests import MOST_CONFIG_BYTES, MOST_MANIFEST_BYTES, check_config
from .reporting import Tracker
from .results import TransferResult
from .sending import sending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ollama_ext.cancel import CancelToken
    from ollama_ext.names import ModelName

    from .bucket_source import BucketSource
    from .limits import TransferSettings
    from .manifests import Manifest
    from .reporting import TransferProgress
    from .sending import Sending
    from .store import LocalStore

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
        try:
            with sending(
                self._store,
                self._target,
                settings=self._settings,
                tracker=self._tracker,
                cancel=self._cancel,
            ) as crew:
                before = crew.ask(self._read)
                if dry_run:
                    return self._would_do(crew, before)
                self._publish(crew, before)
        except (Conditional, Missing, Unsupported) as error:
            raise BucketError(str(error)) from None
        self._tracker.model(self._name.short, "done", self._manifest.size)
        self._tracker.tell(finished=True)
        return self._result(changed=before != self._manifest.content)

    def _read(self) -> bytes | None:
        try:
            return self._target.bucket.read(self._target.manifest_key(self._name), MOST_MANIFEST_BYTES)
        except Missing:
            return None

    def _publish(self, crew: Sending, before: bytes | None) -> None:
        """Have the blobs there, then the manifest, and then look whether the blobs are still there."""
        content = self._manifest.content
        self._send(crew, self._manifest.blobs)
        self._tracker.model(self._name.short, "publishing", self._manifest.size)
        self._tracker.tell()
        if before != content:
            key = self._target.manifest_key(self._name)
            crew.ask(partial(self._target.bucket.put, key, content, len(content), media_type=_MEDIA_TYPE))
        for _ in range(_ROUNDS):
            missing = self._missing(crew)
            if not missing:
                return
            self._send(crew, missing)
        where = self._target.name
        problem = f"blobs vanish from {where} as soon as they are there: what removes them?"
        raise BlobMissing(problem, where=where)

    def _send(self, crew: Sending, blobs: Mapping[str, int]) -> None:
        """Have blobs in the bucket; the first that fails ends the others."""
        for digest, outcome in crew.send(blobs, grace=self._grace):
            if isinstance(outcome, MirrorError):
                self._tracker.tell()
                outcome.model = outcome.model or self._name.short
                raise outcome
            if outcome:
                self._sent.add(digest)

    def _missing(self, crew: Sending) -> dict[str, int]:
        """Return the blobs that the bucket lacks; those that it had may have fallen to a prune."""
        blobs = self._manifest.blobs
        keys = [self._target.blob_key(digest) for digest in blobs]
        found = crew.ask(partial(crew.crew.map, self._target.bucket.head, keys))
        return {
            digest: size
            for (digest, size), info in zip(blobs.items(), found, strict=True)
            if info is None or info.size != size
        }

    def _would_do(self, crew: Sending, before: bytes | None) -> TransferResult:
        missing = self._missing(crew)
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
