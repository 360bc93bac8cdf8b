"""Parameters of a model, from the texts of a Modelfile to the types that the API wants.

Source: ``FormatParams`` and ``Options`` in ``api/types.go``, ``deprecatedParameters`` in
``parser/parser.go`` of Ollama; Go's ``strconv``.
"""

from __future__ import annotations

import re
import struct
from math import isfinite
from typing import TYPE_CHECKING

from .errors import InvalidArgument

if TYPE_CHECKING:
    from typing import NoReturn

#: What Ollama's client leaves out of the request, and says so: no server uses it any more.
DEPRECATED = frozenset(
    {
        *("penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock"),
        *("mirostat", "mirostat_tau", "mirostat_eta"),
    }
)

_INTEGERS = (
    *("num_keep", "seed", "num_predict", "top_k", "repeat_last_n"),
    *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"),
)
_FLOATS = (
    *("top_p", "min_p", "typical_p", "temperature"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty"),
)
_BOOLEANS = ("use_mmap",)
_TEXTS = ("stop",)

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER = re.compile(r"([+-]?)0*([0-9]{1,19})")  # 19 digits hold 2**63
_DIGITS, _HEX = r"[0-9](?:_?[0-9])*", r"[0-9a-fA-F](?:_?[0-9a-fA-F])*"
_DECIMAL = re.compile(rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?")
_HEXADECIMAL = re.compile(rf"[+-]?0[xX](?:_?{_HEX}(?:\.(?:{_HEX})?)?|\.{_HEX})[pP][+-]?{_DIGITS}")
_LONGEST_FLOAT32 = 9  # digits that tell any two of them apart
_LONGEST_SHOWN = 80


def parameter_value(name: str, text: str, argument: str) -> int | float | bool | list[str]:
    """Return the value of a parameter in its type: a list for ``stop``, which may be given repeatedly.

    Numbers are read as Go reads them. Floats are rounded to 32 bits as Ollama's client does; the shortest
    number that means the same is returned, as it is what Go sends.

    Args:
        name: Name of the parameter, in lower case.
        text: Its value.
        argument: The name of our own parameter, for messages.

    Raises:
        InvalidArgument: There is no such parameter, or the text does not fit its type.
    """
    if name in _TEXTS:
        return [text]
    if name in _INTEGERS:
        value: int | float | bool | None = _integer(text)
        kind = "an integer, such as 4096"
    elif name in _FLOATS:
        value, kind = _float32(text), "a number, such as 0.7"
    elif name in _BOOLEANS:
        value, kind = _boolean(text), "true or false"
    else:
        _refuse_unknown(name, argument)
    if value is None:
        shown = repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")
        raise InvalidArgument(
            f"{argument}: the parameter {name} cannot be {shown}: write {kind}.", argument=argument
        )
    return value


def _integer(text: str) -> int | None:
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    number = int(match[1] + match[2])
    return number if -(2**63) <= number < 2**63 else None


def _boolean(text: str) -> bool | None:
    return True if text in _TRUE else False if text in _FALSE else None


def _float32(text: str) -> float | None:
    plain = text.replace("_", "")
    try:
        if _DECIMAL.fullmatch(text):
            number = float(plain)
        elif _HEXADECIMAL.fullmatch(text):
            number = float.fromhex(plain)
        else:  # and what JSON cannot hold: infinities, NaN
            return None
    except OverflowError:
        return None
    rounded = _packed(number)
    if rounded is None or not isfinite(number):
        return None
    (exact,) = struct.unpack("<f", rounded)
    for digits in range(1, _LONGEST_FLOAT32):
        shorter = float(f"{exact:.{digits}g}")
        if _packed(shorter) == rounded:
            return shorter
    return float(f"{exact:.{_LONGEST_FLOAT32}g}")


def _packed(number: float) -> bytes | None:
    """Return the 32 bits of the nearest float, or None if it is too large for one."""
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return None


def _refuse_unknown(name: str, argument: str) -> NoReturn:
    from difflib import get_close_matches  # noqa: PLC0415 -- few programs need it

    known = sorted((*_INTEGERS, *_FLOATS, *_BOOLEANS, *_TEXTS))
    meant = get_close_matches(name.lower(), known, n=1)
    if not name:
        remedy = "write its name after a single space."
    elif meant:
        remedy = f"did you mean {meant[0]!r}?"
    else:
        remedy = f"write one of {', '.join(known)}."
    fault = f"there is no parameter {name[:_LONGEST_SHOWN]!r}"
    raise InvalidArgument(f"{argument}: {fault}: {remedy}", argument=argument)
