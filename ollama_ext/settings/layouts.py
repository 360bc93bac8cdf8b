"""What a file or a mapping sets: the keys of ours, or the same ones below ``legion: ollama:``.

That is where lex-ollama has them, with ``host`` and ``models_path`` on their own, and an ``endpoint`` in
``s3``. What else lies below ``legion:`` is for others and not looked at.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .given import Given, Problem
from .keys import PATHS, SECTIONS, TOP
from .kinds import unknown

_SINGLE: Final = tuple(key.name for key in TOP)
_ELSEWHERE: Final = {path.rpartition(".")[2]: path for path in PATHS if "." in path}
_LEGION: Final = "legion.ollama"
#: Keys that lex-ollama has in another place or by another name, as they stand below ``legion: ollama:``.
_ALIASES: Final = {"host": "ollama.host", "models_path": "s3.store", "s3.endpoint": "s3.endpoint_url"}


class Entry(msgspec.Struct, frozen=True):
    """A value that a source sets, and its key as it stands there, for messages."""

    given: Given
    path: str


#: What a source sets, by the paths of `ollama_ext.settings.keys.PATHS`.
Source = dict[str, Entry]


def entries_of(tree: Given, problems: list[Problem]) -> Source:
    """Return what a file or a mapping sets; what is wrong with its keys is added to the problems."""
    if not isinstance(tree.value, dict):
        what = f"settings must be a mapping of sections ({', '.join(SECTIONS)}); not {tree.shown()}"
        problems.append(Problem(tree.origin, what))
        return {}
    legion = tree.value.get("legion")
    if legion is None or legion.value is None:
        return _entries({name: held for name, held in tree.value.items() if name != "legion"}, "", problems)
    ours = [name for name in (*SECTIONS, *_SINGLE) if name in tree.value]
    if ours:
        what = f"legion: and {ours[0]}: are both there: write the keys in one of the two layouts"
        problems.append(Problem(legion.origin, what))
        return {}
    for name, held in tree.value.items():
        if name != "legion":
            problems.append(Problem(held.origin, unknown(name, name, [*SECTIONS, *_SINGLE])))
    inside = _mapping(legion, "legion", problems).get("ollama")
    return {} if inside is None else _entries(_mapping(inside, _LEGION, problems), f"{_LEGION}.", problems)


def _entries(tree: dict[str, Given], prefix: str, problems: list[Problem]) -> Source:
    """Return the entries of a mapping that holds sections."""
    found: list[tuple[str, Entry]] = []
    aliases = _ALIASES if prefix else {}
    known = [*SECTIONS, *_SINGLE, *(alias for alias in aliases if "." not in alias)]
    for name, held in tree.items():
        path = f"{prefix}{name}"
        if name in SECTIONS:
            for key, value in _mapping(held, path, problems).items():
                found += _entry(f"{name}.{key}", Entry(value, f"{path}.{key}"), aliases, problems)
        elif name in known:
            found += _entry(name, Entry(held, path), aliases, problems)
        else:
            problems.append(Problem(held.origin, unknown(path, name, known, _ELSEWHERE)))
    source: Source = {}
    for name, entry in found:
        if name in source:
            what = f"{source[name].path} and {entry.path} say the same: leave out one of them"
            problems.append(Problem(entry.given.origin, what))
        source[name] = entry
    return source


def _entry(
    name: str, entry: Entry, aliases: dict[str, str], problems: list[Problem]
) -> list[tuple[str, Entry]]:
    name = aliases.get(name, name)
    if name in PATHS:
        # A key with nothing behind it is one that is left out, as is a section.
        return [] if entry.given.value is None else [(name, entry)]
    section, _, key = name.partition(".")
    known = [each.name for each in SECTIONS[section][0]]
    elsewhere = {**_ELSEWHERE, **{single: single for single in _SINGLE}}
    problems.append(Problem(entry.given.origin, unknown(entry.path, key, known, elsewhere)))
    return []


def _mapping(given: Given, path: str, problems: list[Problem]) -> dict[str, Given]:
    if isinstance(given.value, dict):
        return given.value
    if given.value is not None:
        # Not quoted: what stands in place of a section may be a URL with its password.
        problems.append(Problem(given.origin, f"{path} must be a mapping of keys; it is none"))
    return {}
