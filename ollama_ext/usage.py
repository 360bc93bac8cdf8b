"""What a reply cost: tokens and times, in one shape for every kind of reply."""

from __future__ import annotations

from typing import Any, Final

import msgspec

#: Our names and those of Ollama's API, which leaves a field out when it is 0.
_FIELDS: Final = {
    "input_tokens": "prompt_eval_count",
    "output_tokens": "eval_count",
    "total_duration": "total_duration",
    "load_duration": "load_duration",
    "prompt_eval_duration": "prompt_eval_duration",
    "eval_duration": "eval_duration",
}


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and times of one reply, or of several added up. Immutable; all fields are integers.

    Attributes:
        input_tokens: Tokens of the prompt that were evaluated (those found in the cache are not).
        output_tokens: Tokens generated.
        total_duration: Nanoseconds from the arrival of the request to the end of the reply.
        load_duration: Nanoseconds of it until the model was ready; waiting in the queue counts as load.
        prompt_eval_duration: Nanoseconds spent on the prompt.
        eval_duration: Nanoseconds spent generating.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_duration: int = 0
    eval_duration: int = 0

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second of generating, as `ollama run --verbose` counts; 0.0 without data."""
        if self.eval_duration <= 0:
            return 0.0
        return self.output_tokens * 1e9 / self.eval_duration

    def __add__(self, other: Usage) -> Usage:
        """Return the sum, field by field."""
        if not isinstance(other, Usage):
            return NotImplemented
        mine, theirs = self.to_dict(), other.to_dict()
        return Usage(**{name: mine[name] + theirs[name] for name in _FIELDS})

    def to_dict(self) -> dict[str, int]:
        """Return exactly the six integers."""
        return {name: getattr(self, name) for name in _FIELDS}


EMPTY_USAGE: Final = Usage()


def usage_of(body: object) -> Usage:
    """Return the usage in the body of a reply, decoded or as a generated model.

    What is not there, or is no count, is 0: null, text, a list or half a body give `EMPTY_USAGE`. A whole
    float is a count too: proxies that rewrite JSON turn 1200000000 into 1.2e9.
    """
    if isinstance(body, dict):
        fields: dict[Any, Any] = body
        return Usage(**{ours: _count(fields.get(theirs)) for ours, theirs in _FIELDS.items()})
    return Usage(**{ours: _count(getattr(body, theirs, 0)) for ours, theirs in _FIELDS.items()})


def _count(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
