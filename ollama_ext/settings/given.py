"""Values as they were given, each with the place it stands at, and the errors about them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ollama_ext.errors import InvalidArgument

from .urls import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: No settings are nested this deep or have this many values; what is, was made to exhaust its reader.
MOST_LEVELS: Final = 24
MOST_VALUES: Final = 20_000

_LONGEST_SHOWN: Final = 80
_MOST_TOLD: Final = 50
_ORDER: Final = ("flag", "environment", "file", "mapping", "default")
_MOST_SHOWN_BITS: Final = 128


class SettingsError(InvalidArgument):
    """Settings that cannot be right.

    Attributes:
        problems: All that was found, with its place: ``fleet.yaml:12: worker.slots must be ...``. No secret
            is in it.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = (), **known: Any) -> None:
        """Take the message and, where it sums up several, the problems."""
        super().__init__(message, **known)
        self.problems: tuple[str, ...] = tuple(problems) or (message,)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> SettingsError:
        """Return the error that tells these problems, those of a file in the order of its lines."""
        ordered = sorted(
            problems, key=lambda problem: (_ORDER.index(problem.origin.kind), problem.origin.line)
        )
        told = list(dict.fromkeys(map(str, ordered)))
        if len(told) == 1:
            return cls(told[0])
        lines = [f"{len(told)} settings cannot be right:", *told[:_MOST_TOLD]]
        if len(told) > _MOST_TOLD:
            lines.append(f"and {len(told) - _MOST_TOLD} more")
        return cls("\n  ".join(lines), problems=told)


class Origin(msgspec.Struct, frozen=True):
    """Where a value came from. ``str()`` gives ``flag``, ``OLLAMA_HOST``, ``fleet.yaml:12``, ``default``.

    Attributes:
        kind: What kind of source it is.
        name: Of the environment variable or the file; else empty.
        line: In the file, from 1; else 0.
    """

    kind: Literal["flag", "environment", "file", "mapping", "default"]
    name: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Return it for people."""
        if self.line:
            return f"{self.name}:{self.line}"
        return self.name or self.kind


DEFAULT: Final = Origin("default")
MAPPING: Final = Origin("mapping")


class Problem(msgspec.Struct, frozen=True):
    """Something that cannot be right, and the place where it has to change."""

    origin: Origin
    text: str

    def __str__(self) -> str:
        """Return both; what came from the caller's own code needs no place."""
        if self.origin.kind in {"mapping", "default"}:
            return self.text
        return f"{self.origin}: {self.text}"


class Odd(msgspec.Struct, frozen=True):
    """A value that is never taken for what it may mean.

    Attributes:
        text: As it was written, or what kind of object it is.
        remedy: What to write instead.
    """

    text: str
    remedy: str = ""


class Given(msgspec.Struct, frozen=True):
    """A value, and where it stands.

    Attributes:
        value: Itself; mappings and lists hold more of these.
        origin: Where it stands.
        text: As it was written, where that was a word without quotes in YAML; else None.
        loose: Whether it came as text from where there is nothing but text, so that ``2`` may be a number and
            ``[1, 2]`` a list: the environment, a flag.
    """

    value: bool | int | float | str | timedelta | Odd | dict[str, Given] | list[Given] | None
    origin: Origin
    text: str | None = None
    loose: bool = False

    def shown(self) -> str:
        """Return it for a message, not too long, and without the password of a URL."""
        value = self.value
        if value is None or isinstance(value, dict | list):
            return "nothing" if value is None else "a mapping" if isinstance(value, dict) else "a list"
        if isinstance(value, Odd):
            return ascii(value.text[:_LONGEST_SHOWN])[1:-1] + (value.remedy and f": {value.remedy}")
        if isinstance(value, str):
            return repr(_cut(value))
        if isinstance(value, int) and value.bit_length() > _MOST_SHOWN_BITS:
            return f"a number of {value.bit_length()} bits"
        return str(value) if self.text is None else self.text


class Unfit(Exception):
    """Values that cannot be right: what `SettingsError` is made of. Not for users."""

    def __init__(self, problem: str, origin: Origin = MAPPING) -> None:
        """Take a problem and where it is."""
        super().__init__(problem)
        self.problems: list[Problem] = [Problem(origin, problem)]

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Unfit:
        """Return one that holds several."""
        unfit = cls("")
        unfit.problems = list(problems)
        return unfit


def shown_text(text: str) -> str:
    """Return text for a message: cut, printable, and without what may be the password of a URL."""
    text = _cut(text)
    return text if text.isprintable() else ascii(text)[1:-1]


def _cut(text: str) -> str:
    text = redacted(text) if "@" in text or "://" in text else text
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def from_python(value: object, origin: Origin, *, loose: bool = False) -> Given:
    """Return a value of a program, with all that it holds.

    Raises:
        Unfit: It holds too much, is nested too deep (or holds itself), or a mapping in it has a key that is
            no text.
    """
    return _Copier(origin).copy(value, 0, loose=loose)


class _Copier:
    """Copies what a program gave, up to the limits: what is there many times is counted each time."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._count = 0

    def copy(self, value: object, level: int, *, loose: bool = False) -> Given:
        """Return a value with all that it holds."""
        self._count += 1
        if level > MOST_LEVELS:
            raise Unfit(f"a value is nested more than {MOST_LEVELS} levels deep", self._origin)
        if self._count > MOST_VALUES:
            raise Unfit(f"there are more than {MOST_VALUES:,} values", self._origin)
        if isinstance(value, Mapping):
            return Given(
                {self._key(key): self.copy(held, level + 1) for key, held in value.items()}, self._origin
            )
        if isinstance(value, list | tuple):
            return Given([self.copy(held, level + 1) for held in value], self._origin)
        return _single(value, self._origin, loose=loose)

    def _key(self, key: object) -> str:
        if not isinstance(key, str):
            raise Unfit(f"a key must be text; not an object of type {type(key).__name__}", self._origin)
        return key


def _single(value: object, origin: Origin, *, loose: bool) -> Given:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, bool | int | float | str | timedelta):
        return Given(value, origin, loose=loose and isinstance(value, str))
    return Given(Odd(f"an object of type {type(value).__name__}"), origin)
