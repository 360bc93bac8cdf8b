"""A stream joined to a single reply is what the server makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_ext.testing import VERSIONS, Recording
from ollama_ext.testing.folding import fold


@pytest.mark.parametrize(
    ("streamed", "plain"),
    [
        ("chat-stream", "chat-nostream"),
        ("chat-stream-thinking", "chat-nostream-thinking"),
        ("chat-stream-two-tools", "chat-nostream-two-tools"),
        ("chat-stream-logprobs", "chat-nostream-logprobs"),
        ("generate-stream", "generate-nostream"),
    ],
)
def test_a_joined_stream_has_the_fields_of_the_recorded_plain_reply(streamed: str, plain: str) -> None:
    joined = fold(Recording(streamed).exchange.response.lines())
    recorded: dict[str, Any] = Recording(plain).exchange.response.json()
    assert joined.keys() == recorded.keys()
    assert joined.get("message", {}).keys() == recorded.get("message", {}).keys()


def test_thinking_and_calls_are_joined_in_order() -> None:
    lines = Recording("chat-stream-thinking").exchange.response.lines()
    thinking = "".join(line["message"].get("thinking", "") for line in lines)
    assert fold(lines)["message"]["thinking"] == thinking
    calls = fold(Recording("chat-stream-two-tools").exchange.response.lines())["message"]["tool_calls"]
    assert [call["function"]["arguments"]["city"] for call in calls] == ["Paris", "London"]


@pytest.mark.parametrize("version", VERSIONS[:2])  # the oldest does not know the field
def test_log_probabilities_are_those_of_all_chunks(version: str) -> None:
    lines = Recording("chat-stream-logprobs", version).exchange.response.lines()
    every = [each for line in lines for each in line.get("logprobs", [])]
    assert fold(lines)["logprobs"] == every
