"""How long a model stays loaded (``keep_alive``) as Ollama reads it, and durations as Go prints them.

The server takes a number for seconds and a text for Go's notation: numbers with units, ``1h30m``. Below
zero both mean for ever.
"""

from __future__ import annotations

import re
from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING

from .errors import InvalidArgument

if TYPE_CHECKING:
    from typing import NoReturn

#: What the server makes of every negative value: the model stays loaded until it is unloaded.
FOREVER = 2**63 - 1

_MICROSECOND, _MILLISECOND, _SECOND = 10**3, 10**6, 10**9
_MINUTE, _HOUR = 60 * _SECOND, 3600 * _SECOND
_UNITS = {
    "ns": 1,
    "us": _MICROSECOND,
    "\u00b5s": _MICROSECOND,  # the micro sign
    "\u03bcs": _MICROSECOND,  # the Greek letter mu
    "ms": _MILLISECOND,
    "s": _SECOND,
    "m": _MINUTE,
    "h": _HOUR,
}
# Go counts in 64 bits, up to this: one more than a positive duration can be.
_LARGEST = 2**63
_LARGEST_DIGITS = len(str(_LARGEST))
_OVERFLOWN = -(2**63)

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_UNIT = "|".join(_UNITS)
_PLAIN_NUMBER = re.compile(rf"[+-]?{_NUMBER}")
_NOTATION = re.compile(rf"[+-]?(?:{_NUMBER}(?:{_UNIT}))+")
_TERM = re.compile(rf"([0-9]*)(?:\.([0-9]*))?({_UNIT})")
_TOO_LONG = "is more than the 292 years that the server can count: write -1 to keep the model loaded for ever"


def parse_duration(value: timedelta | float | str) -> int:
    """Return the nanoseconds that the server reads from a ``keep_alive``.

    A negative value is `FOREVER`. Rounding and overflow are the server's too: a number of more than 292
    years is -2**63 to a server on x86-64, which then unloads the model at once; `keep_alive_value` refuses
    such a number.

    Source: ``api/types.go`` of Ollama (``Duration.UnmarshalJSON``), and Go's ``time.ParseDuration``.

    Args:
        value: A length of time, a number of seconds, or a text in Go's notation (``"5m"``, ``"1.5h"``,
            ``"300ms"``).

    Raises:
        InvalidArgument: The server would refuse it, or it is a timedelta of more than 292 years.
    """
    if isinstance(value, timedelta):
        return _checked_timedelta(value)
    if isinstance(value, str):
        nanoseconds = _go_duration(value)
        if nanoseconds is None:
            _refuse(value, _fault(value))
        return FOREVER if nanoseconds < 0 else nanoseconds
    return _from_seconds(_checked_number(value))


def keep_alive_value(value: timedelta | float | str) -> float | str:
    """Return what to send as ``keep_alive``.

    Numbers and texts are sent as they are, once checked. A timedelta becomes a number of seconds if the
    server reads exactly its nanoseconds from it, else a text (``"1.000001s"``); a negative one is -1.

    Raises:
        InvalidArgument: As `parse_duration`, and for more than 292 years, where the server's count
            overflows and unloads the model at once.
    """
    nanoseconds = parse_duration(value)
    if nanoseconds == _OVERFLOWN:
        _refuse(value, _TOO_LONG)
    if not isinstance(value, timedelta):
        return value
    if value < timedelta(0):
        return -1
    seconds = nanoseconds / _SECOND if nanoseconds % _SECOND else nanoseconds // _SECOND
    return seconds if _from_seconds(float(seconds)) == nanoseconds else format_duration(nanoseconds)


def format_duration(nanoseconds: int) -> str:
    """Return a duration as Go prints it: ``0s``, ``300ms``, ``1.5s``, ``5m0s``, ``1h30m0s``.

    `parse_duration` reads the same nanoseconds from it, if they are not negative.
    """
    sign, rest = "-" if nanoseconds < 0 else "", abs(nanoseconds)
    if 0 < rest < _SECOND:
        unit = "ms" if rest >= _MILLISECOND else "\u00b5s" if rest >= _MICROSECOND else "ns"
        return f"{sign}{_decimal(rest, _UNITS[unit])}{unit}"
    minutes, rest = divmod(rest, _MINUTE)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, _SECOND)}s"
    if hours:
        text = f"{hours}h{minutes}m{text}"
    elif minutes:
        text = f"{minutes}m{text}"
    return sign + text


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    if not fraction:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{fraction:0{digits}d}".rstrip("0")


def _checked_timedelta(value: timedelta) -> int:
    nanoseconds = value // timedelta(microseconds=1) * _MICROSECOND
    if nanoseconds > FOREVER:
        _refuse(value, _TOO_LONG)
    return FOREVER if nanoseconds < 0 else nanoseconds


def _checked_number(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(
            f"keep_alive: expected a number of seconds, a timedelta or text such as '5m', not {value!r:.200}"
            f" ({type(value).__name__}): write 0 to unload the model, -1 to keep it loaded.",
            argument="keep_alive",
        )
    try:
        number = float(value)
    except OverflowError:  # an int that the server refuses too; it may have more digits than Python prints
        raise InvalidArgument(
            f"keep_alive: an integer of {int(value).bit_length()} bits {_TOO_LONG}.", argument="keep_alive"
        ) from None
    if not isfinite(number):
        _refuse(
            value, "is no number of seconds that JSON can hold: write -1 to keep the model loaded for ever"
        )
    return number


def _from_seconds(seconds: float) -> int:
    if seconds < 0:
        return FOREVER
    nanoseconds = seconds * _SECOND
    return int(nanoseconds) if nanoseconds < _LARGEST else _OVERFLOWN


def _go_duration(text: str) -> int | None:
    """Read as Go's ``time.ParseDuration`` does; None where it reports an error."""
    if text in {"0", "+0", "-0"}:
        return 0
    if not _NOTATION.fullmatch(text):
        return None
    negative = text.startswith("-")
    total = 0
    for whole, fraction, unit in _TERM.findall(text):
        amount = _term_nanoseconds(whole, fraction, _UNITS[unit])
        if amount is None:
            return None
        # Go's sum wraps around, which one pair of terms gets past its check: twice the largest is 0.
        total = (total + amount) % (2 * _LARGEST)
        if total > _LARGEST:
            return None
    if negative:
        return -total
    return None if total == _LARGEST else total


def _term_nanoseconds(whole: str, fraction: str, unit: int) -> int | None:
    digits = whole.lstrip("0")
    if len(digits) > _LARGEST_DIGITS:
        return None
    amount = int(digits or "0") * unit
    numerator, scale = _leading_fraction(fraction)
    if numerator:
        # In floating point, as Go has it: rounding is part of the result.
        amount += int(float(numerator) * (unit / scale))
    return None if amount > _LARGEST else amount


def _leading_fraction(digits: str) -> tuple[int, float]:
    """Return numerator and denominator of a decimal fraction; digits past 64 bits are dropped."""
    numerator, scale = 0, 1.0
    for digit in digits:
        longer = numerator * 10 + int(digit)
        if longer > _LARGEST:
            break
        numerator, scale = longer, scale * 10
    return numerator, scale


def _fault(text: str) -> str:
    """Return what is wrong with a text that the server refuses, and the remedy."""
    if not text:
        return "is empty: leave it out for the server's own choice, or write '5m'"
    if _NOTATION.fullmatch(text):
        return _TOO_LONG
    if _PLAIN_NUMBER.fullmatch(text):
        if _go_duration(f"{text}s") is None:
            return _TOO_LONG
        number = repr(float(text)).removesuffix(".0")
        return f"has no unit: write {number} (a number of seconds, not a text) or '{text}s'"
    return (
        "is not Go's notation: write a number for seconds, or a text such as '5m', '1h30m' or '24h' "
        "(units ns, us, ms, s, m, h in lower case; no days, no spaces)"
    )


def _refuse(value: object, fault: str) -> NoReturn:
    raise InvalidArgument(f"keep_alive: {value!r:.200} {fault}.", argument="keep_alive")
