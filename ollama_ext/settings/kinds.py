"""Kinds of values: each says what it takes, reads what was given, and tells what is wrong with the rest.

Which text a value may hold is for its key to say (`ollama_ext.settings.keys`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ollama_ext.durations import keep_alive_value, parse_duration
from ollama_ext.errors import InvalidArgument

from .given import Given, Odd, Problem, Unfit, from_python, shown_text
from .plain import NO, YES, later_number, meaning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

YEAR: Final = 366 * 86400.0

_LONGEST_TEXT: Final = 4096
_MOST_LISTED: Final = 25
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([KMGT])(i?)B?", re.ASCII | re.IGNORECASE)


class Kind(Protocol):
    """What values a key takes."""

    @property
    def wanted(self) -> str:
        """What it takes, to follow "must be"."""
        ...

    def read(self, given: Given, path: str, *, secret: bool = False) -> Any:
        """Return the value.

        Args:
            given: The value as it was given; never None.
            path: Where in the settings.
            secret: Whether no message may quote it.

        Raises:
            Unfit: It is not of this kind.
        """
        ...


class Text(msgspec.Struct, frozen=True):
    """Text in one line.

    Attributes:
        wanted: What it takes.
        fault: Says what is wrong with a text, to follow the name of its key; None where nothing is.
        empty: Whether it may be empty.
    """

    wanted: str = "text"
    fault: Callable[[str], str | None] | None = None
    empty: bool = False

    def read(self, given: Given, path: str, *, secret: bool = False) -> str:
        """Return the text."""
        value = given.value
        if not isinstance(value, str):
            word = None if value is None else given.text
            if secret or word is None:
                raise _unfit(self, given, path, " (put quotes around it)" if word else "", secret=secret)
            shown = shown_text(word)
            raise Unfit(
                f'{path} must be {self.wanted}; not {shown} (put quotes around it: "{shown}")', given.origin
            )
        fault = None
        if not value and not self.empty:
            fault = "is empty"
        elif len(value) > _LONGEST_TEXT:
            fault = f"has {len(value):,} characters; at most {_LONGEST_TEXT:,} are taken"
        elif _UNPRINTABLE.search(value):
            fault = "has a line break or another character that cannot be printed"
        elif self.fault is not None:
            fault = self.fault(value)
        if fault is not None:
            raise Unfit(f"{path} {fault}", given.origin)
        return value


class FilePath(msgspec.Struct, frozen=True):
    """The path of a file or directory: one in a settings file is relative to that file."""

    wanted: str = "the path of a file"

    def read(self, given: Given, path: str, *, secret: bool = False) -> str:
        """Return the path; ``~`` is the home directory."""
        named = Text(self.wanted).read(given, path, secret=secret)
        if given.origin.kind != "file":
            return named
        try:  # what a shell would have done
            return str(Path(given.origin.name).parent / Path(named).expanduser())
        except RuntimeError:
            raise Unfit(
                f"{path} begins with a ~ for which there is no home directory", given.origin
            ) from None


class Whole(msgspec.Struct, frozen=True):
    """A whole number."""

    least: int
    most: int | None = None

    @property
    def wanted(self) -> str:
        """What it takes."""
        return f"a whole number from {self.least} {'on' if self.most is None else f'to {self.most}'}"

    def read(self, given: Given, path: str, *, secret: bool = False) -> int:
        """Return the number."""
        number = _number(given)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or number < self.least or number > (self.most or number):
            raise _unfit(self, given, path, _unquote(given), secret=secret)
        return number


class Seconds(msgspec.Struct, frozen=True):
    """A length of time, in seconds or in Go's notation.

    Attributes:
        least: The shortest.
        positive: Whether 0 is too short.
    """

    least: float = 0.0
    positive: bool = False

    @property
    def wanted(self) -> str:
        """What it takes."""
        least = "above 0" if self.positive else f"from {self.least:g} on"
        return f"a number of seconds {least}, or text such as '25m'"

    def read(self, given: Given, path: str, *, secret: bool = False) -> float:
        """Return the seconds."""
        seconds = self._seconds(given)
        if seconds is None or not self.least <= seconds or (self.positive and seconds == 0):
            raise _unfit(self, given, path, _unquote(given), secret=secret)
        if seconds > YEAR:
            raise _unfit(self, given, path, " (that is more than a year)", secret=secret)
        return seconds

    def _seconds(self, given: Given) -> float | None:
        value = _plain(given).value
        if isinstance(value, timedelta):
            return value.total_seconds()
        number = _number(given)
        if number is None and isinstance(value, str) and not value.startswith("-"):
            try:
                return parse_duration(value) / 10**9
            except InvalidArgument:
                return None
        try:
            return None if number is None else float(number)
        except OverflowError:
            return None


class Size(msgspec.Struct, frozen=True):
    """A number of bytes."""

    least: int
    most: int = 1 << 62

    @property
    def wanted(self) -> str:
        """What it takes."""
        to = "on" if self.most == 1 << 62 else f"to {self.most}"
        return f"a number of bytes from {self.least} {to}, or text such as '64MiB'"

    def read(self, given: Given, path: str, *, secret: bool = False) -> int:
        """Return the bytes."""
        value, number = _plain(given).value, _number(given)
        if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            number = float(match[1]) * (1024 if match[3] else 1000) ** (" KMGT".index(match[2].upper()))
        if number is None or not self.least <= number <= self.most:
            raise _unfit(self, given, path, _unquote(given), secret=secret)
        return int(number)


class Switch(msgspec.Struct, frozen=True):
    """True or false."""

    wanted: str = "true or false"

    def read(self, given: Given, path: str, *, secret: bool = False) -> bool:
        """Return which."""
        value = _plain(given).value
        if not isinstance(value, bool):
            raise _unfit(self, given, path, _unquote(given), secret=secret)
        return value


class KeepAlive(msgspec.Struct, frozen=True):
    """How long a model stays loaded, as Ollama reads it."""

    wanted: str = "a number of seconds or text such as '30m'; -1 is for ever"

    def read(self, given: Given, path: str, *, secret: bool = False) -> float | str:
        """Return it as it is sent."""
        number = _number(given)
        value = given.value if number is None else number
        if isinstance(value, bool) or not isinstance(value, int | float | str | timedelta):
            raise _unfit(self, given, path, secret=secret)
        try:
            return keep_alive_value(value)
        except InvalidArgument as error:
            fault = error.message.removeprefix("keep_alive: ").rstrip(".")
            raise Unfit(f"{path}: {fault}", given.origin) from None


class Json(msgspec.Struct, frozen=True):
    """A mapping of JSON values, taken as it is."""

    wanted: str = "a mapping"

    def read(self, given: Given, path: str, *, secret: bool = False) -> dict[str, Any]:
        """Return the mapping."""
        if not isinstance(given.value, dict):
            raise _unfit(self, given, path, secret=secret)
        return {name: self._value(held, f"{path}.{shown_text(name)}") for name, held in given.value.items()}

    def _value(self, given: Given, path: str) -> Any:
        value, word = given.value, given.text
        if isinstance(value, dict):
            return {name: self._value(held, f"{path}.{shown_text(name)}") for name, held in value.items()}
        if isinstance(value, list):
            return [self._value(held, f"{path}[{place}]") for place, held in enumerate(value)]
        doubt = None
        if word is not None and value is not None and word in YES | NO:
            doubt = (
                f"is {word}, a truth value to some readers of YAML: write {str(value).lower()}, or quote it"
            )
        elif word is not None and isinstance(value, str) and (number := later_number(word)) is not None:
            remedy = number.remedy if isinstance(number, Odd) else f"write {number}"
            doubt = f"is {word}, text to some readers of YAML: {remedy}, or quote it"
        elif isinstance(value, Odd | timedelta):
            doubt = f"cannot be {given.shown()} (text needs quotes)"
        elif isinstance(value, float) and not isfinite(value):
            doubt = "must be a finite number"
        elif isinstance(value, int) and value.bit_length() > 64:  # noqa: PLR2004 - what JSON readers take
            doubt = f"cannot be {given.shown()}"
        elif isinstance(value, str) and re.search(r"[\ud800-\udfff]", value):
            doubt = "has half of a surrogate pair in its text"
        if doubt is not None:
            raise Unfit(f"{path} {doubt}", given.origin)
        return value


class ListOf(msgspec.Struct, frozen=True):
    """A list, as a tuple."""

    kind: Kind
    wanted: str
    least: int = 0

    def read(self, given: Given, path: str, *, secret: bool = False) -> tuple[Any, ...]:
        """Return the values."""
        given = _parsed(given, path, self.wanted)
        if not isinstance(given.value, list):
            raise _unfit(self, given, path, secret=secret)
        if len(given.value) < self.least:
            raise Unfit(f"{path} is empty: it must be {self.wanted}", given.origin)
        values: list[Any] = []
        problems: list[Problem] = []
        for place, item in enumerate(given.value):
            try:
                values.append(self.kind.read(item, f"{path}[{place}]", secret=secret))
            except Unfit as unfit:
                problems += unfit.problems
        if problems:
            raise Unfit.of(problems)
        return tuple(values)


def closest(name: str, known: Sequence[str]) -> str | None:
    """Return the known key that a name seems to mean."""
    from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

    return next(iter(get_close_matches(name[:100].lower(), known, n=1)), None)


def unknown(path: str, name: str, known: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """Return the problem that there is no such key, with the one that seems to be meant.

    Args:
        path: Of the key, as it was written.
        name: Its last part.
        known: The keys that there are in its place.
        elsewhere: Keys of other places, and their paths.
    """
    meant = (elsewhere or {}).get(name) or closest(name, known)
    if meant is not None:
        remedy = f"did you mean {meant}?"
    elif len(known) > _MOST_LISTED:
        remedy = "`python -m ollama_ext.settings` lists those that are"
    else:
        remedy = f"known here: {', '.join(known)}"
    return f"{shown_text(path)} is no key that is known: {remedy}"


def _plain(given: Given) -> Given:
    """Return a value with text of an environment read as an unquoted word of YAML."""
    if given.loose and isinstance(given.value, str):
        word = given.value.strip()
        return Given(meaning(word), given.origin, text=word)
    return given


def _number(given: Given) -> int | float | None:
    given = _plain(given)
    value = given.value
    if isinstance(value, str) and given.text is not None:
        found = later_number(given.text)
        value = None if isinstance(found, Odd) else found
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _unquote(given: Given) -> str:
    """Return the remedy for a number or a truth value in quotes."""
    quoted = isinstance(given.value, str) and given.text is None and not given.loose
    return (
        " (text; leave out the quotes)" if quoted and not isinstance(meaning(str(given.value)), str) else ""
    )


def _parsed(given: Given, path: str, wanted: str) -> Given:
    """Return a list or mapping that an environment or a flag gave as JSON."""
    if not (given.loose and isinstance(given.value, str)):
        return given
    try:
        value = json.loads(given.value, object_pairs_hook=_once, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise Unfit(
            f'{path} must be {wanted}, as JSON such as ["a", "b"], without a key twice; not what it is',
            given.origin,
        ) from None
    return from_python(value, given.origin)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError
    return entries


def _finite(_: str) -> float:
    raise ValueError


def _unfit(kind: Kind, given: Given, path: str, remedy: str = "", *, secret: bool = False) -> Unfit:
    shown = "it is none, and not shown, as it may be secret" if secret else f"not {_plain(given).shown()}"
    return Unfit(f"{path} must be {kind.wanted}; {shown}{remedy}", given.origin)
