"""Removing what no model names: from a store here, from a bucket in `ollama_ext.s3.bucket_pruning`."""

from __future__ import annotations

import contextlib
import re
import stat
import time
from typing import TYPE_CHECKING, Final

from .errors import SettingRefused, StoreRefused
from .layout import BLOBS, digest_of_blob
from .results import PruneResult, Refusal
from .staging import STAGING, Staging

if TYPE_CHECKING:
    from .directories import Directory
    from .store import LocalStore

#: How old in seconds a file must be for a prune of a store to remove it; Ollama's own has the same grace.
PRUNE_GRACE: Final = 3600.0
_LONGEST_GRACE: Final = 1_000_000_000  # 31 years: dates before that would not be dates

# What a pull of Ollama's leaves behind when it is ended: the bytes so far, and a file for each of its parts.
_PARTIAL = re.compile(r"sha256-[0-9a-f]{64}-partial(-\d+)?", re.ASCII)


def prune_store(store: LocalStore, *, grace: float, dry_run: bool) -> PruneResult:
    """Remove what no model of a store names; see `LocalStore.prune`."""
    check_grace(grace)
    try:
        root = store.open()
    except FileNotFoundError:
        return PruneResult(dry_run=dry_run)
    with root:
        return _Prune(store, root, grace, dry_run=dry_run).run()


def check_grace(grace: float) -> None:
    """Refuse what is no time.

    Raises:
        SettingRefused: It is negative, no number, or too large for a date.
    """
    if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace <= _LONGEST_GRACE:
        raise SettingRefused(
            f"grace must be a number of seconds from 0 to {_LONGEST_GRACE:,}; not {grace!r:.80}",
            argument="grace",
        )


class _Prune:
    def __init__(self, store: LocalStore, root: Directory, grace: float, *, dry_run: bool) -> None:
        self._store = store
        self._root = root
        self._grace = grace
        self._dry_run = dry_run
        self._removed: list[str] = []
        self._freed = 0
        self._spared = 0

    def run(self) -> PruneResult:
        """Look at the blobs first and at the manifests then: what a new manifest names is young."""
        try:
            blobs = self._root.enter(BLOBS)
        except FileNotFoundError:
            blobs = None
        if blobs is not None:
            # Locked from the look at the manifests on: a model shown after that could use what is removed.
            with blobs, contextlib.nullcontext() if self._dry_run else blobs.locked(alone=True):
                candidates = [name for name, status in blobs.entries() if stat.S_ISREG(status.st_mode)]
                named = self._named()
                for name in candidates:
                    digest = digest_of_blob(name)
                    if (digest and digest not in named) or _PARTIAL.fullmatch(name):
                        self._remove(blobs, name, digest or name)
        self._remove_leftovers()
        return PruneResult(
            dry_run=self._dry_run, removed=tuple(self._removed), bytes_freed=self._freed, spared=self._spared
        )

    def _named(self) -> set[str]:
        named: set[str] = set()
        for found in self._store.manifests():
            if isinstance(found, Refusal):
                where = self._store.path / found.path
                raise StoreRefused(
                    f"nothing was pruned, as it is not known which blobs {where} names: {found.reason}"
                )
            named.update(found[2].blobs)
        return named

    def _remove_leftovers(self) -> None:
        with Staging(self._root) as staging:
            leftovers = list(staging.leftovers())
            locks = {digest for digest, name, _ in leftovers if name.endswith(".lock")}
            files = [each for each in leftovers if not each[1].endswith(".lock")]
            if any(staging.is_locked(f"sha256:{digest}") for digest in locks):
                # A transfer is at one of its blobs, and needs those that it has finished, old as they may be.
                self._spared += len(files)
                return
            for digest, name, status in files:
                lock = None if self._dry_run else staging.lock(f"sha256:{digest}")
                if lock is None and not self._dry_run:  # one has begun
                    self._spared += 1
                    continue
                try:
                    self._remove(staging.directory, name, f"{STAGING}/{name}", status.st_blocks * 512)
                finally:
                    if lock is not None:
                        lock.release()
            for digest in () if self._dry_run else locks:
                if (lock := staging.lock(f"sha256:{digest}")) is not None:
                    lock.release()  # which removes it; left behind, it says nothing

    def _remove(self, directory: Directory, name: str, told: str, size: int | None = None) -> None:
        """Remove a file if it is old enough now: it may have been touched since it was listed."""
        try:
            status = directory.status_of(name)
        except FileNotFoundError:
            return
        if time.time() - status.st_mtime < self._grace:
            self._spared += 1
            return
        if not self._dry_run and stat.S_ISDIR(status.st_mode):
            directory.remove_tree(name)
        elif not self._dry_run:
            directory.remove(name)
        self._removed.append(told)
        self._freed += status.st_size if size is None else size
