"""The model directory of an Ollama on this machine, and any directory of the same layout. Needs no boto3.

It is read and written beside a running Ollama, by its own rules: see `ollama_ext.s3.publication`.
"""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ollama_ext.digests import blob_file_name

from .directories import Directory
from .errors import ManifestRefused, ModelMissing, NameRefused, SettingRefused, StoreRefused
from .importing import import_models
from .layout import BLOBS, MANIFESTS, manifest_path, model_name, named_by, shown_name
from .limits import TransferSettings
from .location import default_store
from .manifests import MOST_MANIFEST_BYTES, Manifest, parse_manifest
from .pruning import PRUNE_GRACE, prune_store
from .reporting import Tracker
from .results import Listing, ModelEntry, Refusal
from .source import DirectorySource
from .verification import verify

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ollama_ext.cancel import CancelToken
    from ollama_ext.names import ModelName

    from .reporting import TransferProgress
    from .results import PruneResult, TransferResult, VerifyResult, Way

_LEVELS: Final = 4


class LocalStore:
    """A model directory: ``manifests/`` and ``blobs/``.

    Nothing is opened before it is needed, and nothing is held open in between. For any number of threads, and
    beside other processes, Ollama among them.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        """Take a directory, or find the one that an Ollama of this user has.

        Args:
            path: The directory, which the first import makes; left out, that of this user's Ollama.

        Raises:
            StoreRefused: None was given, and two may be meant.
            SettingRefused: It is no path.
        """
        self.path: Path = default_store() if path is None else Path(path)
        if "\0" in str(self.path):
            raise SettingRefused(f"{str(self.path)!r:.100} is no path of a directory", argument="path")

    def __repr__(self) -> str:
        """Show the directory."""
        return f"LocalStore({str(self.path)!r})"

    def open(self, *, create: bool = False) -> Directory:
        """Open the directory.

        Raises:
            FileNotFoundError: There is none, and it is not to be made.
            StoreRefused: It cannot be opened or made.
        """
        return Directory.at(self.path, create=create)

    def read_manifest(self, name: ModelName) -> bytes | None:
        """Return the bytes of a manifest as they are, but at most one more than 16 MiB; None without one.

        Raises:
            StoreRefused: It cannot be read.
        """
        *levels, tag = manifest_path(name).split("/")
        try:
            with self.open() as root, root.descend(levels) as directory:
                return directory.read(tag, MOST_MANIFEST_BYTES)
        except FileNotFoundError:
            return None

    def read_blob(self, digest: str, most: int) -> bytes | None:
        """Return the bytes of a blob, but at most one more than ``most``; None without one.

        Raises:
            StoreRefused: It cannot be read.
        """
        try:
            with self.open() as root, root.enter(BLOBS) as blobs:
                return blobs.read(blob_file_name(digest), most)
        except FileNotFoundError:
            return None

    def open_blob(self, digest: str) -> int:
        """Open a blob and return its descriptor.

        Raises:
            FileNotFoundError: There is none.
            StoreRefused: It is no regular file, or cannot be opened.
        """
        with self.open() as root, root.enter(BLOBS) as blobs:
            return blobs.open_file(blob_file_name(digest))

    def has(self, blobs: Mapping[str, int]) -> set[str]:
        """Return which of some blobs the store has, with the right size; they are not hashed.

        Raises:
            StoreRefused: It cannot be read.
        """
        try:
            with self.open() as root, root.enter(BLOBS) as directory:
                return {
                    digest
                    for digest, size in blobs.items()
                    if directory.size_of(blob_file_name(digest)) == size
                }
        except FileNotFoundError:
            return set()

    def manifest(self, model: str) -> Manifest:
        """Return what a model is made of.

        Raises:
            ModelMissing: There is no such model.
            NameRefused: That is no name of a model.
            ManifestRefused: Its manifest is not to be trusted.
            StoreRefused: It cannot be read.
        """
        name = model_name(model)
        content = self.read_manifest(name)
        if content is None:
            raise ModelMissing(f"{self.path} has no model {name.short!r}", model=name.short)
        return parse_manifest(content, where=str(self.path / manifest_path(name)))

    def list_models(self) -> Listing:
        """List all models of all hosts and namespaces, by name, with digest and size.

        Raises:
            StoreRefused: The directory cannot be read.
        """
        models: list[ModelEntry] = []
        refused: list[Refusal] = []
        for found in self.manifests():
            if isinstance(found, Refusal):
                refused.append(found)
                continue
            name, modified, manifest = found
            models.append(
                ModelEntry(
                    name=shown_name(name), modified=modified, digest=manifest.digest, size=manifest.size
                )
            )
        models.sort(key=lambda entry: entry.name)
        return Listing(models, refused)

    def manifests(self) -> Iterator[tuple[ModelName, datetime, Manifest] | Refusal]:
        """Yield the name of each model, when it was written, and its manifest; or what is no model, and why.

        Raises:
            StoreRefused: The directory cannot be read.
        """
        for path, status in self._files_of_manifests():
            try:
                name = named_by(path)
                manifest = self.manifest(name.full)
            except (NameRefused, ManifestRefused, ModelMissing, StoreRefused) as error:
                yield Refusal(path=f"{MANIFESTS}/{path}", reason=error.message)
            else:
                yield name, datetime.fromtimestamp(status.st_mtime, UTC), manifest

    def _files_of_manifests(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the path below ``manifests`` and the status of all that is no directory there."""
        try:
            with self.open() as root, root.enter(MANIFESTS) as manifests:
                yield from _walk(manifests, "")
        except FileNotFoundError:
            return

    def verify_model(
        self,
        model: str,
        *,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> VerifyResult:
        """Hash every blob of a model.

        Raises:
            ModelMissing: There is no such model.
            NameRefused: That is no name of a model.
            ManifestRefused: Its manifest is not to be trusted.
            StoreRefused: It cannot be read.
            TransferInterrupted: By the token.
        """
        name = model_name(model)
        manifest = self.manifest(model)
        return verify(
            DirectorySource(self),
            name.short,
            manifest,
            where="store",
            settings=TransferSettings(),
            tracker=Tracker(on_progress),
            cancel=cancel,
        )

    def import_models(
        self,
        models: Sequence[str],
        *,
        source: Path | str,
        settings: TransferSettings | None = None,
        allow_remote: bool = False,
        dry_run: bool = False,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> list[TransferResult]:
        """Copy models from a directory of the same layout, verified, as from a bucket.

        Args:
            models: Their names.
            source: The directory.
            settings: What the transfer may take.
            allow_remote: Whether models may be taken that send their prompts to another host.
            dry_run: Whether to tell only what would be done.
            on_progress: Called by this thread with each step.
            cancel: Ends it; what is staged is used by the next import.

        Returns:
            One result for each name, in order. What went wrong with one model is in its ``error``.

        Raises:
            SettingRefused: ``source`` is no directory, or this one.
            TransferInterrupted: By the token.
        """
        return _copy(
            LocalStore(source),
            self,
            models,
            "directory to store",
            settings=settings,
            allow_remote=allow_remote,
            dry_run=dry_run,
            on_progress=on_progress,
            cancel=cancel,
        )

    def export_models(
        self,
        models: Sequence[str],
        directory: Path | str,
        *,
        settings: TransferSettings | None = None,
        dry_run: bool = False,
        on_progress: Callable[[TransferProgress], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> list[TransferResult]:
        """Copy models into a directory of the same layout, verified; what is there already stays.

        Args:
            models: Their names.
            directory: The directory; it is made if need be.
            settings: What the transfer may take.
            dry_run: Whether to tell only what would be done.
            on_progress: Called by this thread with each step.
            cancel: Ends it; what is staged is used by the next export.

        Returns:
            One result for each name, in order. What went wrong with one model is in its ``error``.

        Raises:
            SettingRefused: ``directory`` is this one.
            TransferInterrupted: By the token.
        """
        return _copy(
            self,
            LocalStore(directory),
            models,
            "store to directory",
            settings=settings,
            allow_remote=True,  # they are here already
            dry_run=dry_run,
            on_progress=on_progress,
            cancel=cancel,
        )

    def prune(self, *, grace: float = PRUNE_GRACE, dry_run: bool = False) -> PruneResult:
        """Remove blobs that no model of the store names, and what transfers have left staged.

        Args:
            grace: Seconds for which a file is spared after it was last written or used; pulls of Ollama, and
                other imports, write blobs before the manifests that name them.
            dry_run: Whether to tell only what would be removed.

        Raises:
            StoreRefused: A manifest cannot be read or trusted, so which blobs it names is not known; nothing
                was removed. Or the store cannot be read or written.
            SettingRefused: ``grace`` is no number of seconds.
        """
        return prune_store(self, grace=grace, dry_run=dry_run)


def _copy(
    source: LocalStore,
    target: LocalStore,
    models: Sequence[str],
    way: Way,
    *,
    settings: TransferSettings | None,
    allow_remote: bool,
    dry_run: bool,
    on_progress: Callable[[TransferProgress], object] | None,
    cancel: CancelToken | None,
) -> list[TransferResult]:
    if not source.path.is_dir():
        problem = f"{source.path} is no directory with models: name one that holds manifests/ and blobs/"
        raise SettingRefused(problem, argument="source")
    if target.path.exists() and source.path.samefile(target.path):
        raise SettingRefused(f"{source.path} is the same directory as {target.path}", argument="directory")
    return import_models(
        DirectorySource(source),
        target,
        checked_models(models),
        way=way,
        settings=settings or TransferSettings(),
        allow_remote=allow_remote,
        dry_run=dry_run,
        on_progress=on_progress,
        cancel=cancel,
    )


def checked_models(models: Sequence[str]) -> Sequence[str]:
    """Refuse one name where a list of names is wanted: its letters are no names.

    Raises:
        SettingRefused: It is text.
    """
    if isinstance(models, str):
        raise SettingRefused(f"models must be a list of names, such as [{models!r:.100}]", argument="models")
    return models


def _walk(directory: Directory, path: str) -> Iterator[tuple[str, os.stat_result]]:
    for name, status in directory.entries():
        below = f"{path}/{name}" if path else name
        if stat.S_ISDIR(status.st_mode) and below.count("/") < _LEVELS - 1:
            with directory.enter(name) as entered:
                yield from _walk(entered, below)
        else:
            yield below, status
