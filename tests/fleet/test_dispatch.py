"""Dispatch: messages go to a real socket, and the reply is what the plain call would have given."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from ollama_openapi import models
from schema_values import SCHEMAS
from streams import UNFINISHED, chunk, identify, recorded_replies, recorded_streams

from ollama_ext.fleet.dispatch import KINDS, WITHHELD, handle_request, run_request
from ollama_ext.fleet.faults import Fault
from ollama_ext.settings import Subscription
from ollama_ext.testing import FakeOllama, Json, Lines, RecordedExchange, Recording
from ollama_ext.testing.folding import fold

if TYPE_CHECKING:
    from ollama_ext import Client

MODEL = "smollm2:135m"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
CONTINUE = {"model": MODEL, "request_type": "generate", "prompt": "Hello"}
EMBED = {"model": "all-minilm:l6-v2", "request_type": "embed", "input": ["one", "two"]}
MESSAGES = [HELLO, CONTINUE, EMBED]


def message_for(exchange: RecordedExchange) -> dict[str, Any]:
    """Return the message that leads to a recorded request."""
    return {**exchange.request.json(), "request_type": exchange.request.path.removeprefix("/api/")}


# -- the reply


@pytest.mark.parametrize(
    "exchange", [each for each in recorded_streams() if each.name not in UNFINISHED], ids=identify
)
def test_a_stream_is_put_together_to_what_the_plain_call_gives(
    exchange: RecordedExchange, server: FakeOllama, client: Client
) -> None:
    server.on("POST", exchange.request.path, Recording(exchange.name, exchange.version))
    reply = handle_request(message_for(exchange), client)
    plain = fold(exchange.response.lines())
    assert reply == {
        "result": plain,
        "usage": {
            "input_tokens": plain.get("prompt_eval_count", 0),
            "output_tokens": plain.get("eval_count", 0),
            "total_duration": plain.get("total_duration", 0),
            "load_duration": plain.get("load_duration", 0),
            "prompt_eval_duration": plain.get("prompt_eval_duration", 0),
            "eval_duration": plain.get("eval_duration", 0),
        },
        "status": 200,
        "model": exchange.request.json()["model"],
    }


@pytest.mark.parametrize(
    "exchange",
    [each for each in recorded_replies() if each.response.content_type == "application/json"],
    ids=identify,
)
def test_one_object_in_the_place_of_a_stream_is_the_reply(
    exchange: RecordedExchange, server: FakeOllama, client: Client
) -> None:
    """Ollama answers so where it only loads a model, whatever ``stream`` says."""
    server.on("POST", exchange.request.path, Recording(exchange.name, exchange.version))
    reply = handle_request(message_for(exchange), client)
    assert (reply["result"], reply["status"]) == (exchange.response.json(), 200)
    assert "error" not in reply


def test_fields_that_no_version_has_yet_are_in_the_reply(server: FakeOllama, client: Client) -> None:
    last = chunk("!", done=True, verdict={"safe": None}, message={"mood": ["calm"]})
    server.on("POST", "/api/chat", Lines(chunk("Hi", verdict=1, route="a"), last))
    result = handle_request(HELLO, client)["result"]
    assert result == {**last, "route": "a", "message": {**last["message"], "content": "Hi!"}}


def test_the_reply_to_embed_is_the_one_that_came(server: FakeOllama, client: Client) -> None:
    answer = {
        "model": "m",
        "embeddings": [[0.1], [1]],
        "prompt_eval_count": 7,
        "total_duration": None,
        "x": None,
    }
    server.on("POST", "/api/embed", Json(answer))
    reply = handle_request(EMBED, client)
    assert reply["result"] == answer
    assert reply["usage"]["input_tokens"] == 7
    assert set(reply["usage"].values()) == {7, 0}


@pytest.mark.parametrize("kind", ["chat", "generate"])
def test_without_messages_or_prompt_the_model_is_loaded(
    kind: str, server: FakeOllama, client: Client
) -> None:
    reply = handle_request({"model": MODEL, "request_type": kind}, client)
    assert reply["result"]["done_reason"] == "load"
    assert server.requests[0].json() == {"model": MODEL, "stream": True}


def test_a_queue_that_says_nothing_more_may_be_as_short_as_its_settings(
    server: FakeOllama, client: Client
) -> None:
    """Type and model come from the subscription; the model is told as it was written there."""
    subscription = Subscription(type="embed", model="All-MiniLM:l6-v2", keep_alive="30m")
    reply = handle_request({"text": "one"}, client, subscription)
    assert (reply["status"], reply["model"]) == (200, "All-MiniLM:l6-v2")
    assert server.requests[0].json() == {"model": "All-MiniLM:l6-v2", "input": "one", "keep_alive": "30m"}


def test_milliseconds_of_load_and_of_the_whole_are_told(server: FakeOllama, client: Client) -> None:
    server.on("POST", "/api/chat", Lines(chunk("Hi", done=True, load_duration=1_234_000_000)).delay(0.05))
    outcome = run_request(HELLO, client)
    assert outcome.load_ms == 1234
    assert 50 <= outcome.total_ms < 60_000
    server.on("POST", "/api/embed", Json({"error": "no"}, 400).delay(0.05))
    outcome = run_request(EMBED, client)
    assert outcome.load_ms == 0
    assert outcome.total_ms >= 50


# -- fields go on as they came


def test_what_the_client_would_refuse_or_mend_is_left_to_ollama(server: FakeOllama, client: Client) -> None:
    """No check and no warning of the client's own: a message is Ollama's to judge."""
    odd: dict[str, Any] = {
        "messages": "text",
        "tools": [1],
        "format": 5,
        "options": {"num_ctx": 4096.0, "temprature": "hot", "stop": None},
        "keep_alive": "300",
        "think": [],
        "top_logprobs": 99.5,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        handle_request({"model": MODEL, **odd}, client)
    sent = server.requests[0].body
    assert json.loads(sent) == {"model": MODEL, **odd, "stream": True}
    assert b'"num_ctx":4096.0' in sent


def test_images_and_text_of_any_alphabet_arrive_as_they_were(server: FakeOllama, client: Client) -> None:
    message = {**CONTINUE, "prompt": "naïve \U0001f999 \x00\u2028", "images": ["!!no base64!!", "AAAA"]}
    handle_request(message, client)
    sent = server.requests[0].json()
    assert (sent["prompt"], sent["images"]) == (message["prompt"], message["images"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": math.nan}, "options.seed is nan"),
        ({"stop": "\ud800"}, "cannot be sent as JSON"),
        ({"stop": object()}, "cannot be sent as JSON"),
    ],
    ids=["nan", "surrogate", "object"],
)
def test_what_json_cannot_hold_is_an_invalid_request(
    options: dict[str, Any], words: str, server: FakeOllama, client: Client
) -> None:
    reply = handle_request({**HELLO, "options": options}, client)
    assert reply["error"]["code"] == "invalid_request"
    assert words in reply["error"]["message"]
    assert server.requests == []


def test_nesting_without_end_is_an_invalid_request(server: FakeOllama, client: Client) -> None:
    knot: list[Any] = []
    knot.append(knot)
    outcome = run_request({**HELLO, "messages": knot}, client)
    assert (outcome.status, outcome.fault) == (400, Fault.CALLER)
    assert server.requests == []


def test_the_body_of_a_message_is_left_as_it_was(client: Client) -> None:
    body: dict[str, Any] = {"request_type": None, "model": None, "text": "x", "options": {"a": [1]}}
    before = json.dumps(body)
    handle_request(body, client, Subscription(type="embed", model="all-minilm:l6-v2", options={"b": 1}))
    assert json.dumps(body) == before


# -- the table


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_field_of_the_spec_is_passed_or_withheld_for_a_reason(name: str) -> None:
    schema = {"chat": "ChatRequest", "generate": "GenerateRequest", "embed": "EmbedRequest"}[name]
    known = set(SCHEMAS[schema]["properties"])
    passed = {*KINDS[name].fields, "model"}
    assert passed.isdisjoint(WITHHELD)
    assert known - passed == known & WITHHELD.keys(), "decide: pass the new field on, or say why not"
    assert passed <= known, "a field that is passed on is not in the spec"
    assert len(KINDS[name].fields) == len(set(KINDS[name].fields))


def test_every_field_that_is_withheld_is_one_of_the_spec_and_has_a_reason() -> None:
    known = {
        name
        for schema in ("ChatRequest", "GenerateRequest", "EmbedRequest")
        for name in SCHEMAS[schema]["properties"]
    }
    assert WITHHELD.keys() <= known
    assert all(len(reason.split()) > 4 for reason in WITHHELD.values())


def test_dispatch_needs_no_broker() -> None:
    code = "import sys, ollama_ext.fleet.dispatch; sys.exit('pika' in sys.modules or 'yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code


def test_a_call_that_ends_leaves_its_connection_to_the_next(server: FakeOllama, client: Client) -> None:
    for message in (*MESSAGES, *MESSAGES, {**HELLO, "model": "nope"}, HELLO):
        handle_request(message, client)
    assert server.connections == 1


def test_the_reply_reads_as_the_model_of_the_plain_call(client: Client) -> None:
    assert models.ChatResponse.from_dict(handle_request(HELLO, client)["result"]).done is True
