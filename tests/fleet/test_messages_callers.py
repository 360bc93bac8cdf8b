"""Requests as a caller writes them: a worker reads what was meant; what cannot be sent is refused before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.errors import InvalidArgument
from ollama_ext.fleet.errors import RequestTooLarge
from ollama_ext.fleet.messages import Request, parse_request, request_body, request_properties
from ollama_ext.settings import Subscription

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    request_type=st.sampled_from(["chat", "generate", "embed"]),
    model=TEXT.filter(bool),
    fields=st.dictionaries(TEXT, JSON, max_size=4),
    reply_to=st.none() | TEXT.map("llm.reply.{}".format),
    correlation_id=TEXT.filter(bool),
)
def test_what_a_caller_writes_is_read_as_it_was_meant(
    request_type: str, model: str, fields: dict[str, Any], reply_to: str | None, correlation_id: str
) -> None:
    body = request_body(request_type, model, fields, reply_to=reply_to, correlation_id=correlation_id)
    properties = request_properties(
        reply_to=reply_to, correlation_id=correlation_id, message_id="m", timeout=600, run_limit=2.5
    )
    # The queue is another one: nothing has to be filled in.
    request = parse_request(body, properties, Subscription(type="chat", model="another"))
    assert isinstance(request, Request)
    assert (request.request_type, request.model) == (request_type, model)
    assert (request.reply_to, request.correlation_id) == (reply_to, correlation_id)
    assert request.correlation_property == correlation_id
    assert (request.patience, request.run_limit) == (600.0, 2.5)
    own = {"model", "request_type", "reply_to", "correlation_id"}
    meant = {name: value for name, value in fields.items() if value is not None and name not in own}
    assert {name: value for name, value in request.body.items() if name not in own} == json.loads(
        json.dumps(meant)
    )


def test_the_body_of_a_request_carries_its_address_and_its_ids_itself() -> None:
    body = request_body(
        "embed", "m", {"input": ["a"], "truncate": None}, reply_to="llm.reply.a", correlation_id="c"
    )
    assert json.loads(body) == {
        "model": "m",
        "request_type": "embed",
        "reply_to": "llm.reply.a",
        "correlation_id": "c",
        "input": ["a"],
    }


def test_a_request_survives_a_restart_of_the_broker_and_ends_with_the_patience_of_its_caller() -> None:
    properties = request_properties(
        reply_to="llm.reply.a", correlation_id="c", message_id="m", timeout=0.0001, traceparent="00-1-2-01"
    )
    assert properties.delivery_mode == 2
    assert properties.expiration == "1"
    assert properties.headers == {"traceparent": "00-1-2-01"}
    assert (properties.type, properties.app_id) == ("llm.request", "ollama-ext")
    assert properties.content_type == "application/json"
    assert properties.timestamp is not None
    assert properties.timestamp > 1_700_000_000


@pytest.mark.parametrize(("timeout", "expiration"), [(None, None), (600, "600000"), (1e9, "4294967295")])
def test_the_expiration_is_milliseconds_and_no_more_than_the_broker_takes(
    timeout: float | None, expiration: str | None
) -> None:
    properties = request_properties(reply_to=None, correlation_id="c", message_id="m", timeout=timeout)
    assert properties.expiration == expiration


def test_a_request_that_is_too_large_is_refused_before_it_is_sent_and_the_image_is_named() -> None:
    messages = [
        {"role": "user", "content": "look"},
        {"role": "user", "content": "x", "images": ["a", "b" * 2000]},
    ]
    with pytest.raises(RequestTooLarge) as caught:
        request_body("chat", "m", {"messages": messages}, reply_to=None, correlation_id="c", max_bytes=1000)
    assert (
        "workers take 1000; its largest part is messages[1].images[1], with 2002 bytes"
        in caught.value.message
    )
    assert caught.value.argument == "messages[1].images[1]"


def test_a_request_of_exactly_the_limit_is_sent() -> None:
    size = len(request_body("embed", "m", {"input": "a"}, reply_to=None, correlation_id="c"))
    assert request_body("embed", "m", {"input": "a"}, reply_to=None, correlation_id="c", max_bytes=size)
    with pytest.raises(RequestTooLarge):
        request_body("embed", "m", {"input": "a"}, reply_to=None, correlation_id="c", max_bytes=size - 1)


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, object(), "\ud800"])
def test_what_json_cannot_hold_is_refused_before_it_is_sent(value: object) -> None:
    with pytest.raises(InvalidArgument, match="cannot be sent as JSON"):
        request_body("chat", "m", {"options": value}, reply_to=None, correlation_id="c")
