"""`spec/known-differences.yaml`: which differences were looked at and accepted, and why.

The file has two lists, `file` and `server`, for the two ways to compare. An entry is

    - reason: Why it is right that we differ.
      differences:            # names, exactly as the report prints them
        - "GET /api/new: missing upstream"
      patterns:               # `*` stands for any text; the number is how many it covers
        "* status 4XX: missing upstream": 12

and in `server`, where what is found depends on the server, a pattern has no number and an entry may
say `before: "0.16.2"`: then it holds only for servers older than that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drift.document import CannotCompare, is_mapping, is_sequence, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from drift.difference import Difference

_FIELDS = {"reason", "differences", "patterns", "before"}


@dataclass(frozen=True, slots=True)
class Known:
    """A name, or a pattern of names, that is accepted.

    Attributes:
        text: The name or pattern as the file has it.
        reason: Why.
        is_pattern: Whether `*` stands for any text.
        count: How many differences it must cover; None for any number, also none.
        before: The server version from which on it no longer holds.
    """

    text: str
    reason: str
    is_pattern: bool
    count: int | None
    before: tuple[int, ...] | None = None

    def covers(self, name: str) -> bool:
        """Whether a difference of this name is accepted."""
        if not self.is_pattern:
            return name == self.text
        parts = (re.escape(part) for part in self.text.split("*"))
        return re.fullmatch(".*".join(parts), name) is not None


@dataclass(frozen=True, slots=True)
class Stale:
    """An entry of the file that no longer says what is."""

    known: Known
    covered: tuple[str, ...]

    @property
    def what(self) -> str:
        """What is wrong with it."""
        if not self.covered:
            return "is gone"
        return f"covers {len(self.covered)} differences, not {self.known.count}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Differences, told apart by whether they are known."""

    new: tuple[Difference, ...]
    known: tuple[tuple[Difference, Known], ...]
    stale: tuple[Stale, ...]

    @property
    def nothing_new(self) -> bool:
        """Whether the file says exactly what is."""
        return not self.new and not self.stale


def judge(
    differences: Iterable[Difference],
    entries: Iterable[Known],
    server_version: str | None = None,
) -> Outcome:
    """Tell new differences from known ones, and find entries that no longer hold.

    Args:
        differences: What was found.
        entries: What is accepted.
        server_version: The version of the server that was asked, for entries with `before`.
    """
    found = list(differences)
    names = [difference.name for difference in found]
    holding = [entry for entry in entries if _holds_for(entry, server_version)]
    covered = {entry: tuple(name for name in names if entry.covers(name)) for entry in holding}
    first: dict[str, Known] = {}
    for entry, its_names in covered.items():
        for name in its_names:
            first.setdefault(name, entry)
    return Outcome(
        new=tuple(difference for difference in found if difference.name not in first),
        known=tuple((difference, first[difference.name]) for difference in found if difference.name in first),
        stale=tuple(
            Stale(entry, its_names)
            for entry, its_names in covered.items()
            if entry.count is not None and len(its_names) != entry.count
        ),
    )


def load_known(path: Path, section: str) -> list[Known]:
    """Read one list of the file.

    Args:
        path: The file.
        section: `file` or `server`.

    Raises:
        CannotCompare: The file cannot be read, or an entry is not complete.
    """
    root = read_yaml(path)
    entries = root.get(section) if is_mapping(root) else None
    if not is_sequence(entries):
        raise CannotCompare(f"{path}: has no list `{section}`.")
    found: list[Known] = []
    for position, entry in enumerate(entries, start=1):
        place = f"{path}: entry {position} of `{section}`"
        if not is_mapping(entry):
            raise CannotCompare(f"{place} is not a mapping.")
        found.extend(_entry(entry, place, counted=section == "file"))
    texts = [known.text for known in found]
    for text in texts:
        if texts.count(text) > 1:
            raise CannotCompare(f"{path}: {text!r} is listed twice in `{section}`.")
    return found


def parse_version(text: str) -> tuple[int, ...] | None:
    """The numbers of a version; None where there are none or the server was built without one."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    numbers = tuple(int(part) for part in match[1].split(".")) if match else ()
    return numbers if any(numbers) else None


def _holds_for(entry: Known, server_version: str | None) -> bool:
    if entry.before is None:
        return True
    version = parse_version(server_version or "")
    return version is not None and version < entry.before


def _entry(entry: Mapping[str, object], place: str, *, counted: bool) -> list[Known]:
    unknown = set(entry) - _FIELDS
    if unknown:
        raise CannotCompare(f"{place} has {min(unknown)!r}, which means nothing here.")
    reason = entry.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise CannotCompare(f"{place} has no `reason`.")
    reason = " ".join(reason.split())
    before = parse_version(str(entry["before"])) if "before" in entry else None
    if "before" in entry and (before is None or counted):
        raise CannotCompare(f"{place} has `before`, which needs a version and a server.")
    names = entry.get("differences", [])
    if not is_sequence(names) or not all(isinstance(name, str) for name in names):
        raise CannotCompare(f"{place}: `differences` is not a list of names.")
    found = [
        Known(str(name), reason, is_pattern=False, count=1 if counted else None, before=before)
        for name in names
    ]
    found += [
        Known(text, reason, is_pattern=True, count=count, before=before)
        for text, count in _patterns(entry, place, counted=counted).items()
    ]
    if not found:
        raise CannotCompare(f"{place} names no difference.")
    return found


def _patterns(entry: Mapping[str, object], place: str, *, counted: bool) -> dict[str, int | None]:
    """The patterns of an entry, with how many differences each must cover."""
    patterns = entry.get("patterns", {} if counted else [])
    if not counted:
        if not is_sequence(patterns):
            raise CannotCompare(f"{place}: `patterns` is not a list of patterns.")
        return {str(text): None for text in patterns}
    if not is_mapping(patterns):
        raise CannotCompare(f"{place}: `patterns` is not a mapping from patterns to numbers.")
    found: dict[str, int | None] = {}
    for text, count in patterns.items():
        if not isinstance(count, int) or count < 1:
            raise CannotCompare(f"{place}: {text!r} needs the number of differences it covers.")
        found[text] = count
    return found
