"""Usage: six integers, whatever the server sent."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama_openapi.models import ChatResponse, EmbedResponse, GenerateResponse
from streams import identify, recorded_replies, whole_lines

from ollama_ext import EMPTY_USAGE, Usage, usage_of
from ollama_ext.testing import RecordedExchange, Recording

NAMES = {
    "input_tokens": "prompt_eval_count",
    "output_tokens": "eval_count",
    "total_duration": "total_duration",
    "load_duration": "load_duration",
    "prompt_eval_duration": "prompt_eval_duration",
    "eval_duration": "eval_duration",
}
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
usages = st.builds(Usage, **dict.fromkeys(NAMES, st.integers(0, 10**12)))


@pytest.mark.parametrize("exchange", recorded_replies(), ids=identify)
def test_the_usage_of_a_recorded_reply_is_what_its_last_object_counts(exchange: RecordedExchange) -> None:
    body = exchange.response.body
    last = (whole_lines(body) or [exchange.response.json()])[-1] if body.strip() else {}
    expected = {ours: last.get(theirs, 0) for ours, theirs in NAMES.items()}
    assert usage_of(last).to_dict() == expected
    if "error" not in last:
        model = ChatResponse if exchange.request.path == "/api/chat" else GenerateResponse
        assert usage_of(model.from_dict(last)).to_dict() == expected


def test_embeddings_have_a_usage_too() -> None:
    body = Recording("embed-many").exchange.response.json()
    usage = usage_of(EmbedResponse.from_dict(body))
    assert (usage.input_tokens, usage.total_duration) == (body["prompt_eval_count"], body["total_duration"])
    assert (usage.output_tokens, usage.eval_duration) == (0, 0)


@pytest.mark.parametrize(
    "body", [None, "text", b"bytes", 5, [], ["eval_count"], {}, {"eval_count": None}, object()]
)
def test_a_body_without_counts_gives_zeros(body: object) -> None:
    assert usage_of(body) == EMPTY_USAGE


@given(json_values, st.fixed_dictionaries(dict.fromkeys(NAMES.values(), json_values)))
def test_whatever_the_body_the_usage_is_six_integers_from_zero_on(
    anything: Any, body: dict[str, Any]
) -> None:
    for each in (anything, body):
        assert all(type(value) is int and value >= 0 for value in usage_of(each).to_dict().values())


@pytest.mark.parametrize("count", ["5", True, -1, 1.5, [5], {"n": 5}, float("inf"), float("nan")])
def test_what_is_no_count_is_zero(count: object) -> None:
    assert usage_of({"eval_count": count, "prompt_eval_count": 3}) == Usage(input_tokens=3)


def test_a_whole_float_is_a_count() -> None:
    usage = usage_of({"total_duration": 1.2e9})
    assert usage.total_duration == 1_200_000_000
    assert isinstance(usage.total_duration, int)


@given(usages, usages)
def test_usages_add_up_field_by_field(one: Usage, other: Usage) -> None:
    total = one + other
    assert total.to_dict() == {name: getattr(one, name) + getattr(other, name) for name in NAMES}
    assert total == other + one
    assert sum([one, other], EMPTY_USAGE) == total
    assert one + EMPTY_USAGE == one


def test_only_usages_are_added() -> None:
    one: Any = Usage(input_tokens=1)
    with pytest.raises(TypeError):
        _ = one + 1


def test_tokens_per_second_are_those_of_generating_alone() -> None:
    usage = Usage(output_tokens=30, eval_duration=1_500_000_000, total_duration=9_000_000_000)
    assert usage.tokens_per_second == 20.0
    assert Usage(output_tokens=1, eval_duration=1).tokens_per_second == 1e9
    assert EMPTY_USAGE.tokens_per_second == 0.0
    assert Usage(output_tokens=5).tokens_per_second == 0.0


def test_to_dict_is_exactly_the_six_integers_and_makes_the_usage_again() -> None:
    usage = Usage(input_tokens=1, eval_duration=2)
    assert list(usage.to_dict()) == list(NAMES)
    assert Usage(**usage.to_dict()) == usage


def test_a_usage_cannot_be_changed_and_can_be_copied() -> None:
    usage: Any = EMPTY_USAGE
    with pytest.raises(AttributeError):
        usage.input_tokens = 1
    with pytest.raises(TypeError):
        type(usage)(1)  # which of the six would that be?
    assert {EMPTY_USAGE: 1}[Usage()] == 1
    assert pickle.loads(pickle.dumps(Usage(input_tokens=4))) == deepcopy(Usage(input_tokens=4))  # noqa: S301 - ours
