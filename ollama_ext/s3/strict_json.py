"""JSON that Ollama and this library cannot read in two ways.

Ollama reads manifests with Go's ``encoding/json``: the keys of a struct are matched whatever their case, of
two equal keys the last one wins (and merges), invalid UTF-8 becomes question marks. Python differs in all
three. Where they could differ the text is refused, so what is seen here is what Ollama sees. No I/O.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from .errors import ManifestRefused

if TYPE_CHECKING:
    from typing import NoReturn

# One escape at a time; of the two that make one character, half a pair is the group.
_ESCAPE: Final = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)")


def read_object(content: bytes, *, what: str) -> dict[str, Any]:
    """Read one JSON object.

    Args:
        content: The bytes.
        what: What they are, for messages.

    Raises:
        ManifestRefused: It is not UTF-8, no JSON object or more than one, is nested too deep, has numbers
            that JSON or 64 bits do not have, or has keys twice when upper and lower case are ignored.
    """
    try:
        value = _read(content)
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8 (byte {error.start}: {error.reason})"
    except RecursionError:
        problem = "it is nested too deep"
    except ValueError as error:  # a JSONDecodeError, an integer of thousands of digits, or one of ours
        problem = f"it is no JSON that all read alike ({error})" if content.strip() else "it is empty"
    else:
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
        problem = f"it is JSON, but no object: {content[:40]!r}"
    raise ManifestRefused(f"{what} is refused: {problem}")


def _read(content: bytes) -> object:
    text = content.decode("utf-8")
    value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    for escape in _ESCAPE.finditer(text):
        if escape[1]:
            raise ValueError(f"\\{escape[1]} is half a character")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key.casefold() in seen:
            raise ValueError(f"the key {key!r:.60} is there twice")
        seen.add(key.casefold())
    return dict(pairs)


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _integer(digits: str) -> int:
    number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"the number {digits:.40} has no room in 64 bits")
    return number


def exactly(found: dict[str, Any], key: str, *, what: str) -> Any:
    """Return the value of a key that Ollama knows, or None without one.

    Raises:
        ManifestRefused: The key is there in other letters, such as ``Layers``, which Ollama takes for it.
    """
    if key in found:
        return found[key]
    for other in found:
        if other.casefold() == key.casefold():
            raise ManifestRefused(f"{what} is refused: it says {other!r:.60} where {key!r} is meant")
    return None
