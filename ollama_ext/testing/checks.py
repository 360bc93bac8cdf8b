"""What the arguments of this package must be; a refusal is an `InvalidArgument` that names it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import cast

from ollama_ext.errors import InvalidArgument

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def whole_number(value: object, argument: str, *, least: int = 0, most: int | None = None) -> int:
    """Return an integer within its limits."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{argument} must be an integer, not {value!r}", argument=argument)
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidArgument(f"{argument} must be {limits}, not {value}", argument=argument)
    return value


def duration(value: object, argument: str) -> float:
    """Return a number of seconds; infinity is one."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, float) and math.isnan(value):
        raise InvalidArgument(f"{argument} must not be NaN", argument=argument)
    raise InvalidArgument(f"{argument} must be seconds, 0 or more, not {value!r}", argument=argument)


def chunk_sizes(value: object, argument: str) -> tuple[int, ...]:
    """Return sizes in bytes, at least one, each at least 1."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidArgument(
            f"{argument} must be a list of sizes in bytes such as [1] or [3, 5], not {value!r}",
            argument=argument,
        )
    sizes = tuple(whole_number(size, argument, least=1) for size in cast("Iterable[object]", value))
    if not sizes:
        raise InvalidArgument(f"{argument} must hold at least one size", argument=argument)
    return sizes


def header_pairs(value: object) -> tuple[tuple[str, str], ...]:
    """Return headers as pairs; names and values are what HTTP allows."""
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InvalidArgument(
            f"headers must be a mapping of names to values, not {value!r}", argument="headers"
        )
    pairs: list[tuple[str, str]] = []
    for name, text in cast("Mapping[object, object]", value).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidArgument(f"{name!r} is no name of an HTTP header", argument="headers")
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise InvalidArgument(
                f"{text!r} is no value of an HTTP header ({name}): text of one line, Latin-1",
                argument="headers",
            )
        pairs.append((name, text))
    return tuple(pairs)
