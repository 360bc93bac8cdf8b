"""The mirror: the models of a bucket, and how they get from there into a store and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from .bucket import Bucket
from .bucket_client import Access, Credentials
from .bucket_pruning import prune_bucket
from .bucket_source import BucketSource
from .comparing import compare
from .errors import SettingRefused
from .importing import import_models
from .layout import checked_prefix
from .limits import CONNECTIONS, TransferSettings
from .listing import list_bucket
from .pruning import check_grace
from .publishing import Publication
from .repairing import verify_model
from .reporting import Tracker
from .store import LocalStore, checked_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ollama_ext.cancel import CancelToken

    from .reporting import TransferProgress
    from .results import Difference, Listing, PruneResult, TransferResult, VerifyResult, Way

#: How old in seconds a blob in a bucket must be for a prune to remove it: a publication may take that long.
BUCKET_PRUNE_GRACE: Final = 86400.0


class Mirror:
    """The models below a prefix of a bucket, and a store on this machine.

    For any number of threads. A context manager; nothing is sent before a method is called.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "ollama/models",
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        store: LocalStore | Path | str | None = None,
        profile: str | None = None,
        credentials: Credentials | None = None,
        anonymous: bool = False,
        ca_bundle: str | None = None,
        expected_owner: str | None = None,
        allow_link_local: bool = False,
        connections: int = CONNECTIONS,
        limit_rate: float | None = None,
        start_jitter: float = 0.0,
        reserve: int = 1 << 30,
        stall: float = 30.0,
        trust_present: bool = False,
        allow_remote: bool = False,
        prune_grace: float = BUCKET_PRUNE_GRACE,
        allow_short_grace: bool = False,
    ) -> None:
        """Take note of where things are. Credentials are found as boto3 finds them, unless they are given.

        Args:
            bucket: The name of the bucket.
            prefix: What its keys begin with; a ``/`` at the end is dropped, and empty means the root.
            endpoint_url: The server, as ``https://host:port``; left out, that of the environment or AWS.
            region: The region; left out, that of the environment or the profile.
            store: The model directory; left out, the one that an Ollama of this user has, which is looked for
                when a method needs it.
            profile: The profile of the AWS configuration.
            credentials: Keys to use.
            anonymous: Whether to ask without any credentials.
            ca_bundle: A file of certificates that are trusted, instead of those that usually are.
            expected_owner: The account that must own the bucket.
            allow_link_local: Whether the endpoint may be an address that metadata services have.
            connections: Connections at most, over all blobs of all models, from 1 to 256; left out 16, or
                four for each processor if that is less.
            limit_rate: Bytes a second at most, over all connections.
            start_jitter: A transfer begins after up to this many seconds, by chance, for fleets.
            reserve: Bytes that an import leaves free on the disk.
            stall: Seconds without a byte after which a connection is replaced.
            trust_present: Whether to take blobs that the store has, with the right size, for good unhashed.
            allow_remote: Whether models are taken that send their prompts to another host.
            prune_grace: Seconds for which `prune_bucket` spares a blob, and of which `publish_model` uses no
                more than half. All who use a bucket must have the same.
            allow_short_grace: Whether it may be less than a day.

        Raises:
            ExtraMissing: boto3 is not installed.
            SettingRefused: A setting cannot be right.
            BucketForbidden: There is no such profile.
        """
        check_grace(prune_grace)
        if prune_grace < BUCKET_PRUNE_GRACE and not allow_short_grace:
            raise SettingRefused(
                f"prune_grace of {prune_grace:g} s is less than a day ({BUCKET_PRUNE_GRACE:g}): a "
                "publication that takes longer could lose blobs; allow_short_grace=True if none does",
                argument="prune_grace",
            )
        self._settings = TransferSettings(
            connections=connections,
            limit_rate=limit_rate,
            start_jitter=start_jitter,
            reserve=reserve,
            stall=stall,
            trust_present=trust_present,
        )
        self._grace = prune_grace
        self._allow_remote = allow_remote
        self._store = LocalStore(store) if isinstance(store, Path | str) else store
        self._source = BucketSource(
            Bucket(
                bucket,
                Access(
                    endpoint_url=endpoint_url,
                    region=region,
                    profile=profile,
                    credentials=credentials,
                    anonymous=anonymous,
                    ca_bundle=ca_bundle,
                    expected_owner=expected_owner,
                    allow_link_local=allow_link_local,
                    connections=connections,
                    stall=stall,
                ),
            ),
            checked_prefix(prefix),
        )

    @property
    def store(self) -> LocalStore:
        """The model directory on this machine.

        Raises:
            StoreRefused: None was given, and two may be meant.
        """
        if self._store is None:
            self._store = LocalStore()
        return self._store

    def __repr__(self) -> str:
        """Show where things are, and no credentials."""
        return f"<Mirror {self._source.name} {self._store or 'and the store of this user'}>"

    def close(self) -> None:
        """Close the connections; may be called again."""
        self._source.bucket.close()

    def __enter__(self) -> Self:
        """Return the mirror itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Do as `close` does."""
        self.close()

    def list_models(self, *, details: bool = False) -> Listing:
        """List the models of the bucket, of every host and namespace, by name.

        One request for each 1,000 models; with details one more for each model.

        Args:
            details: Whether to read each manifest for its digest and its size.

        Raises:
            BucketError: It cannot be listed.
        """
        return list_bucket(self._source, details=details)

    def import_model(
        self,
        model: str,
        *,
        dry_run: bool = False,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> TransferResult:
        """Bring a model from the bucket into the store. Ollama need not run, and sees it at once if it does.

        Only blobs that the store lacks are fetched, and each is hashed before anything is seen of it. The
        model appears, or changes, when all of them are there. A crash at any point leaves the store as it
        was, and what was fetched is used by the next import.

        Args:
            model: Its name.
            dry_run: Whether to tell only what would be done; what the store has is not hashed for that.
            on_progress: Called by this thread with each step.
            cancel: Ends it.

        Raises:
            NameRefused: That is no name of a model, or the store has one that differs in case only.
            ModelMissing: The bucket has no such model.
            ManifestRefused: The model is not to be trusted.
            DigestMismatch: The bucket has other bytes than it says, twice.
            NoSpace: There is no room.
            StoreRefused: The store cannot be read or written.
            BucketError: The bucket cannot be read.
            TransferInterrupted: By the token.
        """
        result = self.import_models([model], dry_run=dry_run, on_progress=on_progress, cancel=cancel)[0]
        if result.error is not None:
            raise result.error
        return result

    def import_models(
        self,
        models: Sequence[str],
        *,
        dry_run: bool = False,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> list[TransferResult]:
        """Do as `import_model` does with several models at once, over the same connections.

        Returns:
            One result for each name, in order. What went wrong with one model is in its ``error``, and stops
            no other.

        Raises:
            SettingRefused: ``models`` is text.
            TransferInterrupted: By the token.
        """
        return self._import(
            self.store,
            models,
            way="bucket to store",
            dry_run=dry_run,
            on_progress=on_progress,
            cancel=cancel,
        )

    def export_models(
        self,
        models: Sequence[str],
        directory: LocalStore | Path | str,
        *,
        dry_run: bool = False,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> list[TransferResult]:
        """Bring models from the bucket into a directory of the same layout, which is made if need be.

        Such a directory is a store like any other, and `LocalStore.import_models` reads it without a bucket.

        Returns:
            As `import_models`.

        Raises:
            SettingRefused: ``models`` is text.
            TransferInterrupted: By the token.
        """
        target = directory if isinstance(directory, LocalStore) else LocalStore(directory)
        return self._import(
            target,
            models,
            way="bucket to directory",
            dry_run=dry_run,
            on_progress=on_progress,
            cancel=cancel,
        )

    def _import(
        self,
        target: LocalStore,
        models: Sequence[str],
        *,
        way: Way,
        dry_run: bool,
        on_progress: Callable[[TransferProgress], object] | None,
        cancel: CancelToken | None,
    ) -> list[TransferResult]:
        return import_models(
            self._source,
            target,
            checked_models(models),
            way=way,
            settings=self._settings,
            allow_remote=self._allow_remote,
            dry_run=dry_run,
            on_progress=on_progress,
            cancel=cancel,
        )

    def publish_model(
        self,
        model: str,
        *,
        dry_run: bool = False,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> TransferResult:
        """Bring a model from the store into the bucket.

        Each blob is hashed here, and the server is made to prove that it has the same bytes. What it has
        already, and proves, is not sent; an upload that was cut off goes on. The manifest goes last, byte for
        byte.

        Args:
            model: Its name.
            dry_run: Whether to tell only what would be sent, by size; nothing is hashed for that.
            on_progress: Called by this thread with each step.
            cancel: Ends it.

        Raises:
            NameRefused: That is no name of a model.
            ModelMissing: The store has no such model.
            ManifestRefused: The model is not to be trusted.
            BlobMissing: The store lacks a blob.
            DigestMismatch: A blob of the store is not what its name says; the bucket has nothing of it.
            StoreRefused: The store cannot be read.
            BucketError: The bucket cannot be written.
            TransferInterrupted: By the token.
        """
        publication = Publication(
            self.store,
            self._source,
            model,
            settings=self._settings,
            prune_grace=self._grace,
            allow_remote=self._allow_remote,
            on_progress=on_progress,
            cancel=cancel,
        )
        return publication.run(dry_run=dry_run)

    def verify_model(
        self,
        model: str,
        *,
        where: Literal["store", "bucket"] = "store",
        repair: bool = False,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> VerifyResult:
        """Read and hash every blob of a model.

        Args:
            model: Its name.
            where: Which copy.
            repair: Whether to replace bad and missing blobs with those of the other side.
            on_progress: Called by this thread with each step.
            cancel: Ends it.

        Returns:
            What is good, and in ``errors`` what is bad and was not repaired.

        Raises:
            NameRefused: That is no name of a model.
            ModelMissing: There is no such model.
            ManifestRefused: Its manifest is not to be trusted.
            StoreRefused: The store cannot be read, or not be repaired.
            BucketError: The bucket cannot be read.
            SettingRefused: ``where`` is something else.
            TransferInterrupted: By the token.
        """
        if where not in {"store", "bucket"}:
            raise SettingRefused(f"where must be 'store' or 'bucket'; not {where!r:.80}", argument="where")
        return verify_model(
            self._source,
            self.store,
            model,
            where=where,
            repair=repair,
            settings=self._settings,
            tracker=Tracker(on_progress),
            cancel=cancel,
        )

    def diff(self, model: str) -> Difference:
        """Compare the copies of a model in bucket and store, by their manifests and the sizes of their blobs.

        Raises:
            NameRefused: That is no name of a model.
            ManifestRefused: A manifest is not to be trusted.
            StoreRefused: The store cannot be read.
            BucketError: The bucket cannot be read.
        """
        return compare(self._source, self.store, model)

    def prune_bucket(self, *, dry_run: bool = False) -> PruneResult:
        """Remove from the bucket blobs that no model there names, and uploads that nobody finished.

        What is younger than ``prune_grace`` stays. A publication that is under way loses nothing, as long as
        all who use the bucket have the same ``prune_grace``.

        Args:
            dry_run: Whether to tell only what would be removed.

        Raises:
            BucketError: A manifest cannot be read or trusted, so what it names is not known; nothing was
                removed. Or the bucket cannot be read or written.
        """
        return prune_bucket(self._source, grace=self._grace, dry_run=dry_run)
