"""Replies: what people want of an answer, with nothing of the generated package's `UNSET`."""

from __future__ import annotations

import json
import pickle
from copy import deepcopy
from typing import Any

import pytest
from ollama_openapi.models import ChatResponse, EmbedResponse, GenerateResponse
from streams import identify, new_state, play, recorded_replies

from ollama_ext import EMPTY_USAGE, ChatReply, EmbedReply, GenerateReply, IncompleteReply, Reply
from ollama_ext.replies import whole
from ollama_ext.testing import RecordedExchange, Recording

BARE = {"model": "m", "created_at": "", "done": True}


def chat(**fields: Any) -> ChatReply:
    message = {"role": "assistant", "content": ""}
    return ChatReply(ChatResponse.from_dict({**BARE, "message": message, **fields}), 200)


def generate(**fields: Any) -> GenerateReply:
    return GenerateReply(GenerateResponse.from_dict({**BARE, "response": "", **fields}), 200)


@pytest.mark.parametrize("reply", [chat(), generate()])
def test_what_the_server_left_out_is_empty_and_never_unset(reply: ChatReply | GenerateReply) -> None:
    assert (reply.text, reply.thinking, reply.done_reason) == ("", "", "")
    assert (reply.tool_calls, reply.logprobs) == ([], [])
    assert (reply.usage, reply.status) == (EMPTY_USAGE, 200)


def test_the_message_is_plain_json_with_thinking_calls_and_unknown_fields() -> None:
    message = {
        "role": "assistant",
        "content": "a",
        "thinking": "b",
        "tool_calls": [{"id": "c", "function": {"index": 0, "name": "f", "arguments": {"x": [1, None]}}}],
        "new": {"y": 1},
    }
    reply = chat(message=message)
    assert json.loads(json.dumps(reply.message)) == message
    reply.message["content"] = "changed"
    assert reply.message == message  # each look gives a message of one's own


@pytest.mark.parametrize("exchange", recorded_replies(), ids=identify)
def test_a_reply_survives_pickle_and_deepcopy(exchange: RecordedExchange) -> None:
    state = new_state(exchange)
    if exchange.name != "generate-stream-runner-killed":
        play(state, [exchange.response.body])
    reply = state.partial
    assert pickle.loads(pickle.dumps(reply)) == deepcopy(reply) == reply  # noqa: S301 - our own bytes
    assert "UNSET" not in repr(reply)


def test_a_reply_cannot_be_changed() -> None:
    reply: Any = chat()
    with pytest.raises(AttributeError):
        reply.status = 500


def test_embeddings_are_the_servers_vectors() -> None:
    body = Recording("embed-many").exchange.response.json()
    reply = EmbedReply(EmbedResponse.from_dict(body), 200)
    assert isinstance(reply, Reply)
    assert reply.embeddings == body["embeddings"]
    assert reply.usage.input_tokens == body["prompt_eval_count"]


def test_a_reply_that_is_not_done_is_incomplete_with_what_came() -> None:
    reply = generate(done=False, response="half")
    with pytest.raises(IncompleteReply, match='"done": false') as caught:
        whole(reply)
    assert caught.value.partial is reply
    assert caught.value.status == 200


def test_a_rendered_prompt_is_whole_though_not_done() -> None:
    reply = chat(done=False, _debug_info={"rendered_template": "x"})
    assert whole(reply) is reply
