"""The result of a comparison, for a person and for a program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drift.difference import Difference
    from drift.known import Outcome, Stale


@dataclass(frozen=True, slots=True)
class Result:
    """What was compared, and what came out.

    Attributes:
        spec: Path of our spec.
        known_file: Path of the list of known differences.
        other: The file or server that it was compared with.
        by_server: Whether `other` is a server.
        version: The version of that server.
        outcome: The differences, new and known.
        notes: What a reader should know about how much was looked at.
    """

    spec: str
    known_file: str
    other: str
    by_server: bool
    version: str
    outcome: Outcome
    notes: Sequence[str]


def as_text(result: Result, *, show_known: bool) -> str:
    """The report for a person.

    Args:
        result: What came out.
        show_known: Whether to print the known differences too, each with its reason.
    """
    return "\n".join(_lines(result, show_known=show_known)) + "\n"


def as_json(result: Result) -> str:
    """The report for a program: one JSON object."""
    outcome = result.outcome
    content = {
        "spec": result.spec,
        "compared_with": result.other,
        "mode": "server" if result.by_server else "file",
        "server_version": result.version or None,
        "nothing_new": outcome.nothing_new,
        "new": [{**_fields(new), "remedy": _remedy(result, new)} for new in outcome.new],
        "stale": [
            {
                "entry": stale.known.text,
                "what": stale.what,
                "reason": stale.known.reason,
                "covers": list(stale.covered),
                "remedy": _stale_remedy(result, stale),
            }
            for stale in outcome.stale
        ],
        "known": [{**_fields(difference), "reason": entry.reason} for difference, entry in outcome.known],
        "notes": list(result.notes),
    }
    return json.dumps(content, indent=2) + "\n"


def _fields(difference: Difference) -> dict[str, str]:
    return {
        "name": difference.name,
        "where": difference.where,
        "what": difference.what,
        "kind": difference.kind,
        "side": difference.side,
        "place": difference.home,
        "detail": difference.detail,
    }


def _lines(result: Result, *, show_known: bool) -> Iterator[str]:
    outcome = result.outcome
    other = f"{result.other} (Ollama {result.version})" if result.by_server else result.other
    yield f"{result.spec} compared with {other}:"
    yield (
        f"{len(outcome.new)} new differences, {len(outcome.stale)} entries of the known list that "
        f"no longer hold, {len(outcome.known)} known differences."
    )
    for note in result.notes:
        yield f"Note: {note}"
    if outcome.new:
        yield from ("", "New:")
    for difference in outcome.new:
        yield f"  {difference.name}"
        if difference.detail:
            yield f"      ({difference.detail})"
        yield f"      {_remedy(result, difference)}"
    if outcome.stale:
        yield from ("", "No longer as listed:")
    for stale in outcome.stale:
        yield f"  {stale.known.text}"
        yield f"      {stale.what}. {_stale_remedy(result, stale)}"
    if show_known and outcome.known:
        yield from ("", "Known:")
        for difference, entry in outcome.known:
            yield f"  {difference.name}"
            yield f"      {entry.reason}"
    if outcome.new or outcome.stale:
        yield ""
        yield f"After an edit of {result.spec}, run `tox -e generate` and the tests. A difference"
        yield f"that is right as it is goes into {result.known_file}, by the name printed here,"
        yield "with its reason."


def _remedy(result: Result, difference: Difference) -> str:
    """What to do about a new difference."""
    place = f"`{difference.home}` in {result.spec}"
    if difference.kind == "answer":
        return f"Look at the server's log; our side of it is {place}."
    if result.by_server and difference.kind == "operation":
        return f"If Ollama dropped the route, delete {place}."
    advice = {
        ("operation", "upstream"): f"Add the operation under {place}.",
        ("parameter", "upstream"): f"Add the parameter to {place}.",
        ("body", "upstream"): f"Add the content type under {place}.",
        ("status", "upstream"): f"Add the status to {place}.",
        ("field", "upstream"): f"Add the field to {place}.",
        ("fields", "upstream"): f"Add these fields to {place}.",
        ("required", "here"): f"Take it out of {place}, unless every server sends or needs it.",
        ("required", "upstream"): f"Add it to {place} if every server sends or needs it.",
        ("enum", "upstream"): f"Add the value at {place}, if the server knows it.",
        ("null", "upstream"): f'Add the type "null" at {place}, if the server sends null.',
    }
    if (difference.kind, difference.side) in advice:
        return advice[difference.kind, difference.side]
    if difference.kind in {"type", "enum", "null"}:
        return f"Change {place}, if the server does it the other way."
    return f"Delete {place} if the server no longer has it."


def _stale_remedy(result: Result, stale: Stale) -> str:
    if stale.covered:
        return f"If that is right, correct the number in {result.known_file}; `--all` prints what it covers."
    return f"Delete it from {result.known_file}, and look whether our spec still needs it."
