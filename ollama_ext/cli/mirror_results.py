"""What is told of what the mirror has done: lines and tables for people, JSON for programs, an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ollama_ext.s3 import MirrorError, TransferResult, VerifyResult

from .app import FAILED, NOT_FOUND, UNREACHABLE, USAGE, exit_code
from .mirror_progress import span
from .output import moment, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollama_ext.s3 import Difference, Listing, PruneResult

    from .mirror_progress import Follower
    from .output import Output

#: Of several failures the exit code tells one: the first of these.
_WORST_FIRST: Final = (FAILED, UNREACHABLE, USAGE, NOT_FOUND)
_DONE: Final = {"import": "imported", "publish": "published", "export": "exported"}
_SHORT_ID: Final = 12


def tell_listing(output: Output, listing: Listing, *, details: bool) -> None:
    """Tell which models there are, and what lies there and is none."""
    note_refused(output, listing)
    if output.json:
        output.data(msgspec.to_builtins({"models": list(listing), "refused": listing.refused}))
    elif details:
        rows = [
            (entry.name, _short(entry.digest), size(entry.size or 0), moment(entry.modified.isoformat()))
            for entry in listing
        ]
        output.table(("NAME", "ID", "SIZE", "MODIFIED"), rows)
    else:
        output.table(
            ("NAME", "MODIFIED"), [(entry.name, moment(entry.modified.isoformat())) for entry in listing]
        )


def note_refused(output: Output, listing: Listing) -> None:
    """Tell what lies among the manifests and is none."""
    for refusal in listing.refused:
        output.note(f"left out: {refusal.path}: {refusal.reason}")


def tell_transfers(output: Output, follower: Follower, what: str, results: Sequence[TransferResult]) -> int:
    """Tell what became of each model and of all; return the exit code."""
    for result in results:
        if output.json:
            output.data({"result": _plain_result(result)})
        elif result.error is None:
            output.line(_told(result, what))
    errors = [(result.model, error) for result in results for error in _errors_of(result)]
    for model, error in errors:
        output.note(f"error: {model}: {error}")
    if not all(result.dry_run for result in results):
        output.line(follower.summary())
    return _worst([exit_code(error) for _, error in errors])


def _errors_of(result: TransferResult) -> list[MirrorError]:
    """Return what went wrong with a model: its blobs' errors, of which its own is one, or its own."""
    errors = [each.error for each in result.errors]
    if result.error is not None and result.error not in errors:
        errors.insert(0, result.error)
    return errors


def _told(result: TransferResult, what: str) -> str:
    moved, there = result.blobs_fetched + result.blobs_sent, result.blobs_skipped
    if not moved and not result.changed:
        return f"{result.model}: nothing to do, {_blobs(there)} there"
    words = f"would {what}" if result.dry_run else _DONE[what]
    carried = "sent" if what == "publish" else "fetched"
    amount = size(result.bytes_fetched + result.bytes_sent)
    return f"{result.model}: {words}, {_blobs(moved)} {carried} ({amount}), {_blobs(there)} there already"


def _blobs(count: int) -> str:
    return f"{count} blob{'' if count == 1 else 's'}"


def tell_verified(output: Output, looked: Sequence[tuple[str, VerifyResult | MirrorError]]) -> int:
    """Tell what verifications found, model by model; return the exit code."""
    codes: list[int] = []
    for model, found in looked:
        if output.json:
            output.data({"result": _plain(model, found)})
        errors = [found] if isinstance(found, MirrorError) else [each.error for each in found.errors]
        for error in errors:
            output.note(f"error: {model}: {error}")
        codes += map(exit_code, errors)
        if not isinstance(found, MirrorError) and found.ok:
            repaired = f", {_blobs(found.blobs_repaired)} repaired" if found.blobs_repaired else ""
            output.line(
                f"{found.model}: verified, {_blobs(found.blobs_good)} good{repaired}, "
                f"{size(found.bytes_read)} read in {span(found.seconds)}"
            )
    return _worst(codes)


def tell_differences(output: Output, compared: Sequence[tuple[str, Difference | MirrorError]]) -> int:
    """Tell how bucket and store compare, model by model; return the exit code."""
    if output.json:
        output.data([_plain(model, found) for model, found in compared])
    else:
        rows = [_row(found) for _, found in compared if not isinstance(found, MirrorError)]
        output.table(("NAME", "COMPARISON", "TO FETCH", "TO SEND", "BROKEN IN"), rows)
    failures = [(model, found) for model, found in compared if isinstance(found, MirrorError)]
    for model, error in failures:
        output.note(f"error: {model}: {error}")
    return _worst([exit_code(error) for _, error in failures])


def tell_pruned(output: Output, result: PruneResult) -> None:
    """Tell what a prune removed, or would have removed."""
    if output.json:
        output.data(_plain_result(result))
        return
    removed = "would be removed" if result.dry_run else "removed"
    for each in result.removed:
        output.line(f"{each} {removed}")
    count = f"{len(result.removed)} {removed}, {size(result.bytes_freed)}"
    output.line(f"{count}; {result.spared} spared as too young")


def _row(found: Difference) -> tuple[str, ...]:
    broken = {"store": found.missing_in_store, "bucket": found.missing_in_bucket}
    return (
        found.model,
        found.comparison,
        size(found.to_fetch),
        size(found.to_send),
        ", ".join(side for side, missing in broken.items() if missing),
    )


def _plain(model: str, found: msgspec.Struct | MirrorError) -> dict[str, Any]:
    if isinstance(found, MirrorError):
        return {"model": model, "ok": False, "error": _plain_error(found)}
    return _plain_result(found)


def _plain_result(result: msgspec.Struct) -> dict[str, Any]:
    """Return a result of the mirror as JSON can hold it, with errors as their class and their message."""
    plain = {name: _plain_value(value) for name, value in msgspec.structs.asdict(result).items()}
    return {**plain, "ok": result.ok} if isinstance(result, TransferResult | VerifyResult) else plain


def _plain_value(value: Any) -> Any:
    if isinstance(value, Exception):
        return _plain_error(value)
    if isinstance(value, msgspec.Struct):
        return _plain_result(value)
    if isinstance(value, tuple):
        return [_plain_value(each) for each in value]
    return value


def _plain_error(error: Exception) -> dict[str, str]:
    """Return an error as JSON can hold it."""
    return {"error": type(error).__name__, "message": str(error)}


def _worst(codes: Sequence[int]) -> int:
    return next((code for code in _WORST_FIRST if code in codes), 0)


def _short(digest: str | None) -> str:
    return (digest or "").removeprefix("sha256:")[:_SHORT_ID]
