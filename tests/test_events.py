"""Events: small immutable values that a ``match`` takes apart."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import pytest
from ollama_openapi.models import Logprob, ToolCall

from ollama_ext import Done, Event, LogprobsDelta, TextDelta, ThinkingDelta, ToolCallDelta, Usage

CALL = ToolCall.from_dict({"id": "c1", "function": {"name": "f", "arguments": {}}})
LOGPROB = Logprob.from_dict({"token": "a", "logprob": -1.5})
EVENTS: dict[str, Event] = {
    "text": TextDelta("a"),
    "thinking": ThinkingDelta("a"),
    "tool_call": ToolCallDelta(CALL),
    "logprobs": LogprobsDelta([LOGPROB]),
    "done": Done(Usage(output_tokens=1), "stop"),
}


def told(event: Event) -> object:
    match event:
        case ThinkingDelta(text=text):
            return ("thinking", text)
        case TextDelta(text=text):
            return ("text", text)
        case ToolCallDelta(call=call):
            return call
        case LogprobsDelta(logprobs=logprobs):
            return logprobs
        case Done(usage=usage, reason=reason):
            return (usage, reason)


def test_events_are_told_apart_by_a_match() -> None:
    assert [told(event) for event in EVENTS.values()] == [
        ("text", "a"),
        ("thinking", "a"),
        CALL,
        [LOGPROB],
        (Usage(output_tokens=1), "stop"),
    ]


@pytest.mark.parametrize(("kind", "event"), EVENTS.items())
def test_an_event_says_its_type_and_cannot_be_changed(kind: str, event: Any) -> None:
    assert event.type == type(event).type == kind
    for name in event.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(event, name, None)


@pytest.mark.parametrize("event", EVENTS.values())
def test_events_are_equal_by_value_and_can_be_copied_and_shown(event: Event) -> None:
    assert pickle.loads(pickle.dumps(event)) == deepcopy(event) == event  # noqa: S301 - our own bytes
    assert repr(event).startswith(f"{type(event).__name__}(")


def test_text_and_thinking_of_the_same_words_differ() -> None:
    one: object = TextDelta("a")
    assert one != ThinkingDelta("a")
