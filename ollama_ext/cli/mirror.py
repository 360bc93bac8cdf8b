"""mirror list, import, publish, verify, diff, prune, export: models in an S3 bucket, or in a directory."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer looks at it
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from ollama_ext.errors import InvalidArgument, OllamaError
from ollama_ext.s3 import (
    LocalStore,
    Mirror,
    MirrorError,
    ModelMissing,
    TransferResult,
    TransferSettings,
    VerifyResult,
)

from .app import FAILED, Session, app, verb
from .mirror_check import look_whether_it_is_seen, server_to_ask
from .mirror_options import Place, Reading, Sending, Writing
from .mirror_progress import Follower, interruptible
from .mirror_results import (
    note_refused,
    tell_differences,
    tell_listing,
    tell_pruned,
    tell_transfers,
    tell_verified,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ollama_ext.s3 import Listing

mirror_app: typer.Typer = typer.Typer(
    name="mirror",
    help="Ollama models in an S3 bucket: list, import, publish, verify, compare, prune, export.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(mirror_app)

_COMMON = ("json", "verbose")
_STAGED = "what is staged is used by the next {}"

_T = TypeVar("_T")


def _stored(incomplete: str) -> list[str]:
    """Return the models of the usual store that begin so, for the shell."""
    try:
        return [entry.name for entry in LocalStore().list_models() if entry.name.startswith(incomplete)]
    except OllamaError:
        return []


_Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Names.")]
_MaybeModels = Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Names.")]
_StoredModels = Annotated[
    list[str], typer.Argument(metavar="MODEL...", autocompletion=_stored, help="Names.")
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
_AllowRemote = Annotated[
    bool,
    typer.Option("--allow-remote", help="Take models, too, that send their prompts to another host."),
]


@verb("list", on=mirror_app, common=_COMMON)
@verb("ls", on=mirror_app, common=_COMMON, hidden=True)
def list_models(
    session: Session,
    place: Place,
    *,
    details: Annotated[bool, typer.Option("--details", help="Read digests and sizes, too.")] = False,
    store_only: Annotated[
        bool, typer.Option("--store-only", help="List the store; it always tells digests and sizes.")
    ] = False,
) -> None:
    """List the models of the bucket, or of the store."""
    if store_only:
        listing = place.local_store().list_models()
    else:
        with place.mirror() as mirror:
            listing = mirror.list_models(details=details)
    tell_listing(session.output, listing, details=details or store_only)


@verb("import", on=mirror_app, common=("host", *_COMMON))
def import_models(
    session: Session,
    place: Place,
    limits: Writing,
    models: _MaybeModels = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Import all that there are.")] = False,
    directory: Annotated[
        Path | None, typer.Option(help="Import from a directory of the same layout, and from no bucket.")
    ] = None,
    dry_run: _DryRun = False,
    allow_remote: _AllowRemote = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not ask the Ollama of this machine whether it sees them.")
    ] = False,
) -> None:
    """Bring models into the store of this machine. Ollama need not run."""
    if bool(models) == everything:
        raise InvalidArgument("say which models: either their names, or --all", argument="models")
    if directory is not None and place.bucket is not None:
        raise InvalidArgument("say from where: either --bucket or --directory", argument="directory")
    host = None if no_check or dry_run else server_to_ask(session.host)
    follower = Follower(session.output, trusting=limits.trust_present)
    with interruptible(session.output, _STAGED.format("import")), follower.follow() as follow:
        step = None if dry_run else follow
        if directory is not None:
            store = place.local_store()
            source = LocalStore(directory)
            results = store.import_models(
                models or _all_of(session, source.list_models(), str(directory)),
                source=directory,
                settings=TransferSettings(**limits.settings()),
                allow_remote=allow_remote,
                dry_run=dry_run,
                on_progress=step,
            )
        else:
            with place.mirror(allow_remote=allow_remote, **limits.settings()) as mirror:
                store = mirror.store
                results = mirror.import_models(
                    models or _all_of(session, mirror.list_models(), repr(mirror)),
                    dry_run=dry_run,
                    on_progress=step,
                )
    code = tell_transfers(session.output, follower, "import", results)
    imported = [result for result in results if result.ok]
    if host is not None and imported and not look_whether_it_is_seen(session, host, imported, store.path):
        code = FAILED
    _end(code)


@verb("publish", on=mirror_app, common=_COMMON)
def publish(
    session: Session,
    place: Place,
    limits: Sending,
    models: _StoredModels,
    *,
    dry_run: _DryRun = False,
    allow_remote: _AllowRemote = False,
) -> None:
    """Bring models of the store into the bucket."""
    follower = Follower(session.output)

    def send(model: str) -> TransferResult:
        with follower.follow(model) as step:
            return mirror.publish_model(model, dry_run=dry_run, on_progress=None if dry_run else step)

    with (
        interruptible(session.output, "what was sent is used by the next publish"),
        place.mirror(allow_remote=allow_remote, **limits.settings()) as mirror,
    ):
        tried = [_tried(send, model) for model in models]
    results = [
        TransferResult(model=model, way="store to bucket", dry_run=dry_run, error=done)
        if isinstance(done, MirrorError)
        else done
        for model, done in zip(models, tried, strict=True)
    ]
    _end(tell_transfers(session.output, follower, "publish", results))


@verb("verify", on=mirror_app, common=_COMMON)
def verify(
    session: Session,
    place: Place,
    limits: Reading,
    models: _StoredModels,
    *,
    where: Annotated[Literal["store", "bucket"], typer.Option(help="Which copy.")] = "store",
    directory: Annotated[
        Path | None, typer.Option(help="Look at a directory of the same layout instead.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Replace what is bad by what the other side has.")
    ] = False,
) -> None:
    """Hash every blob of models."""
    if directory is not None and (where == "bucket" or place.store is not None):
        problem = "--directory takes the place of --store, and is no bucket: leave one of them out"
        raise InvalidArgument(problem, argument="directory")
    if directory is not None and not directory.is_dir():
        raise InvalidArgument(f"--directory {str(directory)!r} is no directory", argument="directory")
    needs_bucket = where == "bucket" or repair
    if not needs_bucket and limits != Reading():
        problem = "--connections and --limit-rate are for what is read from a bucket: leave them out"
        raise InvalidArgument(problem, argument="limit_rate")
    follower = Follower(session.output)
    with (
        interruptible(session.output, "nothing is lost; the next verify begins anew"),
        _opened(place, limits, directory, needs_bucket=needs_bucket) as opened,
    ):

        def look(model: str) -> VerifyResult:
            with follower.follow(model) as step:
                if isinstance(opened, LocalStore):
                    return opened.verify_model(model, on_progress=step)
                return opened.verify_model(model, where=where, repair=repair, on_progress=step)

        looked = [(model, _tried(look, model)) for model in models]
    _end(tell_verified(session.output, looked))


@contextmanager
def _opened(
    place: Place, limits: Reading, directory: Path | None, *, needs_bucket: bool
) -> Generator[Mirror | LocalStore]:
    """Open what a verification needs: a directory, the bucket, or both."""
    if not needs_bucket:
        yield LocalStore(directory) if directory is not None else place.local_store()
        return
    with place.mirror(store=directory, **limits.settings()) as mirror:
        yield mirror


@verb("diff", on=mirror_app, common=_COMMON)
def diff(session: Session, place: Place, models: _MaybeModels = None) -> None:
    """Compare bucket and store: the models that are named, or all of both."""
    with place.mirror() as mirror:
        names = models or _all_names(session, mirror.list_models(), mirror.store.list_models())
        found = [(model, _tried(mirror.diff, model)) for model in names]
    _end(tell_differences(session.output, found))


@verb("prune", on=mirror_app, common=_COMMON)
def prune(
    session: Session,
    place: Place,
    *,
    where: Annotated[
        Literal["store", "bucket"] | None,
        typer.Option(help="Which side.", show_default="the store; must be said where a bucket is named"),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Spare what is younger; for the store only.", show_default="3600"
        ),
    ] = None,
    dry_run: _DryRun = False,
) -> None:
    """Remove blobs that no model names, and what transfers left behind."""
    if where is None and place.named_bucket is not None:
        raise InvalidArgument("say what to prune: --where store or --where bucket", argument="where")
    if where == "bucket":
        if grace is not None:
            problem = "--grace is for the store: all who use a bucket must have the same, which is a day"
            raise InvalidArgument(problem, argument="grace")
        with place.mirror() as mirror:
            result = mirror.prune_bucket(dry_run=dry_run)
    else:
        told: dict[str, float] = {} if grace is None else {"grace": grace}
        result = place.local_store().prune(dry_run=dry_run, **told)
    tell_pruned(session.output, result)


@verb("export", on=mirror_app, common=_COMMON)
def export(
    session: Session,
    place: Place,
    limits: Writing,
    models: _StoredModels,
    *,
    directory: Annotated[Path, typer.Option(help="Where to; it is made if need be.")],
    from_: Annotated[
        Literal["store", "bucket"] | None,
        typer.Option("--from", help="Which copy.", show_default="the bucket if one is named, else the store"),
    ] = None,
    dry_run: _DryRun = False,
    allow_remote: _AllowRemote = False,
) -> None:
    """Bring models into a directory of the same layout, to be carried elsewhere."""
    follower = Follower(session.output, trusting=limits.trust_present)
    settings = limits.settings()
    with interruptible(session.output, _STAGED.format("export")), follower.follow() as follow:
        step = None if dry_run else follow
        if (from_ or ("bucket" if place.named_bucket is not None else "store")) == "bucket":
            with place.mirror(allow_remote=allow_remote, **settings) as mirror:
                results = mirror.export_models(models, directory, dry_run=dry_run, on_progress=step)
        else:
            results = place.local_store().export_models(
                models, directory, settings=TransferSettings(**settings), dry_run=dry_run, on_progress=step
            )
    _end(tell_transfers(session.output, follower, "export", results))


# What the verbs have in common.


def _all_of(session: Session, listing: Listing, where: str) -> list[str]:
    """Return the names of a listing.

    Raises:
        ModelMissing: It has none, which is hardly what the caller wants.
    """
    note_refused(session.output, listing)
    if not listing:
        raise ModelMissing(f"{where} has no models: is the place right?")
    return [entry.name for entry in listing]


def _all_names(session: Session, *listings: Listing) -> list[str]:
    for listing in listings:
        note_refused(session.output, listing)
    return sorted({entry.name for listing in listings for entry in listing})


def _tried(work: Callable[[str], _T], model: str) -> _T | MirrorError:
    """Do something with a model; what fails with one stops no other."""
    try:
        return work(model)
    except MirrorError as error:
        return error


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)
