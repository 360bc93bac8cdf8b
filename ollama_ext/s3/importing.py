"""Models from a source into a store: planned, fetched, and each published when all of its blobs are there."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from time import monotonic
from typing import TYPE_CHECKING, Final

from .carrying import Carrier
from .crew import Crew
from .download import Over, Reading
from .engine import Engine
from .errors import BlobMissing, DigestMismatch, ManifestRefused, MirrorError, NoSpace, TransferInterrupted
from .layout import blob_path, manifest_path, model_name
from .manifests import MOST_CONFIG_BYTES, Layer, Manifest, check_config, parse_manifest
from .publication import check_case, publish
from .reporting import Tracker
from .results import BlobError, TransferResult, Way
from .staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ollama_ext.cancel import CancelToken
    from ollama_ext.names import ModelName

    from .directories import Directory
    from .fetching import Outcome
    from .limits import TransferSettings
    from .reporting import TransferProgress
    from .source import Source
    from .store import LocalStore

_TELL_SECONDS: Final = 0.1
_PLANNERS: Final = 8
_TOUCH_SECONDS: Final = 300.0  # a model may take hours, and what it waits for must stay young
_ROUNDS: Final = 3


class _Model:
    """One model on its way."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.name: ModelName | None = None
        self.manifest: Manifest | None = None
        self.before: bytes | None = None  # the manifest that the store has
        self.blobs: dict[str, int] = {}
        self.waiting: set[str] = set()
        self.staged: set[str] = set()
        self.rounds = 0
        self.errors: list[BlobError] = []
        self.error: MirrorError | None = None
        self.seconds = 0.0

    @property
    def short(self) -> str:
        return self.name.short if self.name is not None else self.text


def import_models(
    source: Source,
    store: LocalStore,
    models: Sequence[str],
    *,
    way: Way,
    settings: TransferSettings,
    allow_remote: bool,
    dry_run: bool,
    on_progress: Callable[[TransferProgress], object] | None,
    cancel: CancelToken | None,
) -> list[TransferResult]:
    """Bring models from a source into a store; see `Mirror.import_models`."""
    run = _Import(
        source,
        store,
        way=way,
        settings=settings,
        tracker=Tracker(on_progress),
        cancel=cancel,
        allow_remote=allow_remote,
    )
    wanted = {text: _Model(text) for text in models}
    try:
        run.plan(list(wanted.values()))
        if not dry_run:
            planned = [model for model in wanted.values() if model.error is None]
            run.fetch(planned, whole=len(planned) == len(wanted))
    finally:
        run.close()
    results = {text: run.result(model, dry_run=dry_run) for text, model in wanted.items()}
    return [results[text] for text in models]


class _Import:
    """One run over some models."""

    def __init__(
        self,
        source: Source,
        store: LocalStore,
        *,
        way: Way,
        settings: TransferSettings,
        tracker: Tracker,
        cancel: CancelToken | None,
        allow_remote: bool,
    ) -> None:
        self._source = source
        self._store = store
        self._way: Way = way
        self._settings = settings
        self._tracker = tracker
        self._cancel = cancel
        self._allow_remote = allow_remote
        self._stopping = threading.Event()
        self._started = self._tell_at = self._touch_at = monotonic()
        self._carrier = Carrier(source, settings, tracker, self._stopping)
        self._present: set[str] = set()  # blobs that the store had at the start, by their sizes
        self._fetched_for: dict[str, _Model] = {}  # each counts for the model that had it first
        if cancel is not None:
            self._hook = cancel.attach(self._stopping.set)

    def close(self) -> None:
        self._stopping.set()
        if self._cancel is not None:
            self._cancel.detach(self._hook)

    def plan(self, models: Sequence[_Model]) -> None:
        """Read the manifests, look whether they can be trusted, and whether there is room."""
        self._settings.pause_at_start(self._stopping.wait)
        with Crew(_PLANNERS, "mirror-plan") as crew:
            left: set[Future[None]] = {crew.submit(self._plan_one, model) for model in models}
            while left:
                done, left = wait(left, _TELL_SECONDS, FIRST_COMPLETED)
                self._check_cancelled()
                for each in done:
                    each.result()  # raises what nobody thought of
        self._check_sizes([model for model in models if model.error is None])
        self._check_space([model for model in models if model.error is None])
        for model in models:
            if model.error is not None:
                self._tracker.model(model.short, "failed")
            for digest, size in model.blobs.items() if model.error is None else ():
                self._tracker.plan(model.short, digest, size)
        self._tracker.tell()

    def _plan_one(self, model: _Model) -> None:
        try:
            model.name = model_name(model.text)
            content = self._source.manifest(model.name)
            where = f"{self._source.name}/{manifest_path(model.name)}"
            manifest = parse_manifest(content, where=where)
            model.manifest, model.blobs = manifest, manifest.blobs
            model.before = self._store.read_manifest(model.name)
            try:
                with self._store.open() as root:
                    check_case(root, model.name)
            except FileNotFoundError:
                pass  # the store is made by the first import
            self._check_config(manifest)
        except MirrorError as error:
            model.error = error
        except Over:
            pass  # it is cancelled, which is told by whoever waits for us

    def _check_config(self, manifest: Manifest) -> None:
        """Look at the config before anything large is fetched: it may forbid all of it."""
        config = manifest.config
        where = f"{self._source.name}/{blob_path(config.digest)}"
        if config.size > MOST_CONFIG_BYTES:
            problem = f"it has {config.size:,} bytes, more than {MOST_CONFIG_BYTES:,}"
            raise ManifestRefused(f"the config {where} is refused: {problem}")
        content = self._store.read_blob(config.digest, config.size)
        if content is None or _digest_of(content) != config.digest:
            content = self._read_config(config)
            if (got := _digest_of(content)) != config.digest:
                problem = f"{where} is {got}, and its name says {config.digest}: publish it anew"
                raise DigestMismatch(problem, digest=config.digest, got=got, where=where)
        check_config(content, where=where, allow_remote=self._allow_remote)

    def _read_config(self, config: Layer) -> bytes:
        content = bytearray(config.size)

        def take(piece: bytes | memoryview, position: int) -> None:
            content[position : position + len(piece)] = piece

        self._carrier.carry(Reading(config.digest, config.size), 0, config.size, take)
        return bytes(content)

    def _check_sizes(self, models: Sequence[_Model]) -> None:
        """Look whether two models differ on the size of a blob: one of them is wrong."""
        sizes: dict[str, int] = {}
        for model in models:
            for digest, size in model.blobs.items():
                if sizes.setdefault(digest, size) != size:
                    model.error = ManifestRefused(
                        f"the manifest of {model.short!r} gives {digest} {size:,} bytes, and that of another "
                        f"model {sizes[digest]:,}: import them one by one to see which is wrong",
                        model=model.short,
                    )
                    break

    def _check_space(self, models: Sequence[_Model]) -> None:
        """Look whether there is room for each model beside those before it."""
        existing = self._store.path
        while not existing.is_dir() and existing != existing.parent:
            existing = existing.parent
        status = os.statvfs(existing)
        free, needed = status.f_bavail * status.f_frsize, 0
        counted: set[str] = set()
        for model in models:
            try:
                blobs = {digest: size for digest, size in model.blobs.items() if digest not in counted}
                more = self._missing_bytes(blobs)
            except MirrorError as error:
                model.error = error
                continue
            if more and needed + more + self._settings.reserve > free:
                model.error = NoSpace(
                    f"{existing} has {free:,} bytes free: {model.short!r} needs {needed + more:,}, and "
                    f"{self._settings.reserve:,} are to stay free; make room, choose another store, or lower "
                    "the reserve",
                    needed=needed + more,
                    free=free,
                    reserve=self._settings.reserve,
                    model=model.short,
                )
                continue
            needed += more
            counted.update(model.blobs)

    def _missing_bytes(self, blobs: Mapping[str, int]) -> int:
        """Return how much room blobs still take."""
        present = self._store.has(blobs)
        self._present |= present
        missing = {digest: size for digest, size in blobs.items() if digest not in present}
        try:
            with self._store.open() as root, Staging(root) as staging:
                return sum(size - staging.staged_bytes(digest, size) for digest, size in missing.items())
        except FileNotFoundError:
            return sum(missing.values())

    def fetch(self, models: Sequence[_Model], *, whole: bool) -> None:
        """Have all blobs fetched, and publish each model as soon as all of its blobs are there.

        Args:
            models: Those that can be had.
            whole: Whether these are all that are wanted.
        """
        if not models:
            return
        wanted_by: dict[str, list[_Model]] = {}
        for model in models:
            model.waiting = set(model.blobs)
            for digest in model.blobs:
                wanted_by.setdefault(digest, []).append(model)
        with (
            self._store.open(create=True) as root,
            Staging(root) as staging,
            Engine(self._source, self._store.open(), self._tracker, self._settings) as engine,
        ):
            for digest, wanting in wanted_by.items():
                engine.add(digest, wanting[0].blobs[digest])
            while any(model.waiting for model in models):
                self._keep_up(models, staging)
                try:
                    digest, outcome = engine.settled.get(timeout=_TELL_SECONDS)
                except queue.Empty:
                    continue
                for model in wanted_by.get(digest, ()):  # none where it was dropped too late
                    self._settle(model, digest, outcome, root, engine)
                if isinstance(outcome, MirrorError):
                    self._drop_unwanted(wanted_by, engine)
        self._tracker.tell(finished=whole and all(model.error is None for model in models))

    def _keep_up(self, models: Sequence[_Model], staging: Staging) -> None:
        """Do what is due from time to time."""
        self._check_cancelled()
        now = monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            self._tracker.tell()
        if now >= self._touch_at:
            self._touch_at = now + _TOUCH_SECONDS
            for digest in set().union(*(model.staged for model in models)):
                staging.touch_whole(digest)

    def _drop_unwanted(self, wanted_by: dict[str, list[_Model]], engine: Engine) -> None:
        for digest in [
            digest for digest, wanting in wanted_by.items() if all(each.error for each in wanting)
        ]:
            engine.drop(digest)
            del wanted_by[digest]

    def _settle(self, model: _Model, digest: str, outcome: Outcome, root: Directory, engine: Engine) -> None:
        """Take note of what became of a blob of a model, which may be its last."""
        if digest not in model.waiting:
            return
        if isinstance(outcome, MirrorError):
            outcome.model = outcome.model or model.short
            model.errors.append(BlobError(digest=digest, error=outcome))
            self._fail(model, outcome)
            return
        model.waiting.discard(digest)
        if outcome == "staged":
            model.staged.add(digest)
        if model.waiting or model.name is None or model.manifest is None:
            return
        try:
            self._tracker.model(model.short, "publishing", model.manifest.size)
            self._tracker.tell()
            missing = publish(root, model.name, model.manifest, staged=model.staged)
        except MirrorError as error:
            self._fail(model, error)
            return
        for each in model.staged:
            self._fetched_for.setdefault(each, model)
        model.staged.clear()
        model.rounds += 1
        if not missing:
            self._tracker.model(model.short, "done", model.manifest.size)
            model.seconds = monotonic() - self._started
        elif model.rounds < _ROUNDS:
            model.waiting = set(missing)
            for each in missing:
                engine.add(each, model.blobs[each])
        else:
            problem = f"blobs of {model.short!r} vanish from {self._store.path} as soon as they are there"
            self._fail(model, BlobMissing(f"{problem}: what removes them?", where=str(self._store.path)))

    def _fail(self, model: _Model, error: MirrorError) -> None:
        model.waiting.clear()
        model.error = error
        self._tracker.model(model.short, "failed")
        self._tracker.tell()

    def _check_cancelled(self) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            raise TransferInterrupted(
                "the transfer was cancelled; the next one goes on where this one stopped"
            )

    def result(self, model: _Model, *, dry_run: bool) -> TransferResult:
        """Return what was done with a model, or would be."""
        if model.manifest is None:
            return TransferResult(model=model.short, way=self._way, dry_run=dry_run, error=model.error)
        if dry_run:
            fetched = set(model.blobs) - self._present
            bytes_fetched = sum(model.blobs[digest] for digest in fetched)
        else:
            fetched = {digest for digest in model.blobs if self._fetched_for.get(digest) is model}
            own = fetched if model.error is None else set(model.blobs) - self._fetched_for.keys()
            bytes_fetched = sum(map(self._tracker.transferred_of, own))
        return TransferResult(
            model=model.short,
            way=self._way,
            digest=model.manifest.digest,
            dry_run=dry_run,
            changed=model.error is None and model.before != model.manifest.content,
            blobs_fetched=len(fetched),
            blobs_skipped=len(model.blobs) - len(fetched) if model.error is None else 0,
            bytes_fetched=bytes_fetched,
            bytes_reused=max(model.manifest.size - bytes_fetched, 0) if model.error is None else 0,
            seconds=model.seconds or monotonic() - self._started,
            errors=tuple(model.errors),
            error=model.error,
        )


def _digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
