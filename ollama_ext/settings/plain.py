"""What a word without quotes means in YAML, where its versions and readers agree.

YAML 1.1, which PyYAML reads, and YAML 1.2 disagree about ``no``, ``010``, ``1:30``, ``1e3``. Nobody's
reading of these is guessed: they are taken only where the key leaves no doubt. Neither is a number or a date
taken for a name. What is refused is told with what to write instead.
"""

from __future__ import annotations

import re
from typing import Final

from .given import Odd

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
#: Truth values of YAML 1.1, text in YAML 1.2.
YES: Final = frozenset(form for word in ("yes", "on") for form in (word, word.capitalize(), word.upper()))
NO: Final = frozenset(form for word in ("no", "off") for form in (word, word.capitalize(), word.upper()))

_LONGEST: Final = 40  # no number of ours has more digits, and Python refuses to read some that do
# Numbers in both versions.
_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_DECIMAL: Final = re.compile(r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?", re.ASCII)
# Numbers in YAML 1.2, text in YAML 1.1, which wants a sign in an exponent and digits before a dot.
_LATER: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_ZERO_IN_FRONT: Final = re.compile(r"[-+]?0[0-9]+|0o[0-7]+", re.ASCII)

_NO_ZEROS: Final = "write numbers in decimal, without zeros in front"
_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?"
_ZONE: Final = r"[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?)"
_MOMENT: Final = rf"[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}(?:[Tt]|[ \t]+){_TIME}(?:{_ZONE})?"
# No text in YAML 1.1, and no number that is read here.
_ODD: Final = (
    (r"[-+]?0x[0-9a-fA-F_]+|[-+]?0b[01_]+|[-+]?0[0-7_]+", _NO_ZEROS),
    (r"[-+]?(?:[1-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?)", "write numbers without '_'"),
    (r"\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?", "write numbers without '_'"),
    (
        r"[-+]?(?:[1-9][0-9_]*(?::[0-5]?[0-9])+|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)",
        "colons make a number to the base 60 of it to some readers; write seconds, or such as '90m'",
    ),
    (r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "write a finite number"),
    (rf"{_DAY}|{_MOMENT}", "YAML makes a date of it"),
    (r"=|<<", ""),
)
_ODD_FORMS: Final = tuple((re.compile(form, re.ASCII), remedy) for form, remedy in _ODD)


def meaning(word: str) -> bool | int | float | str | Odd | None:
    """Return what a word without quotes is: text exactly where it is that in YAML 1.1."""
    if word in _NULL:
        return None
    if word in _TRUE or word in YES:
        return True
    if word in _FALSE or word in NO:
        return False
    if _WHOLE.fullmatch(word):
        return int(word) if len(word) <= _LONGEST else Odd(word, "it has too many digits")
    if _DECIMAL.fullmatch(word):
        return float(word)
    return next((Odd(word, remedy) for form, remedy in _ODD_FORMS if form.fullmatch(word)), word)


def later_number(word: str) -> float | Odd | None:
    """Return the number that a word is in YAML 1.2 and not in 1.1, or None if it is none there either."""
    if _ZERO_IN_FRONT.fullmatch(word):
        return Odd(word, _NO_ZEROS)
    return float(word) if _LATER.fullmatch(word) and not _WHOLE.fullmatch(word) else None
