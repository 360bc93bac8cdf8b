"""Requests: what a worker makes of them, be it what a caller meant or the worst that a stranger sends."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_ext.fleet.messages import (
    Properties,
    Refusal,
    Request,
    parse_request,
)
from ollama_ext.settings import Subscription

CHAT = Subscription(type="chat", model="llama3.2")
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["model", "request_type", "reply_to", "correlation_id", "message_context", "stream", "messages", "input"]
)
#: As the broker's client delivers them: text that is no UTF-8 arrives as bytes, and headers may be anything.
WILD = st.none() | TEXT | st.binary(max_size=5)
PROPERTIES = st.builds(
    Properties,
    content_type=WILD,
    content_encoding=st.sampled_from([None, "", "identity", "gzip", b"\xff"]),
    reply_to=WILD,
    correlation_id=WILD,
    expiration=st.none() | st.sampled_from(["0", "1", "600000", "-5", "1.5", "x", b"\xff", "9" * 255]),
    headers=st.dictionaries(
        st.sampled_from(["x-run-limit-ms", "model", "reply_to"]) | st.binary(max_size=3),
        JSON | st.binary(max_size=3) | st.decimals(allow_nan=True) | st.floats(),
        max_size=3,
    ),
)


def parsed(body: Any, subscription: Subscription | None = CHAT, **properties: Any) -> Request:
    """Return what a worker reads."""
    request = parse_request(json.dumps(body).encode(), Properties(**properties), subscription)
    assert isinstance(request, Request), request
    return request


def refused(body: bytes, max_bytes: int = 1000, **properties: Any) -> Refusal:
    """Return why a worker does not take it."""
    refusal = parse_request(body, Properties(**properties), CHAT, max_bytes=max_bytes)
    assert isinstance(refusal, Refusal), refusal
    return refusal


# -- what a request means


def test_what_the_body_leaves_out_is_filled_from_the_queue_and_the_properties() -> None:
    request = parsed({"messages": []}, reply_to="llm.reply.a", correlation_id="c")
    assert request.body == {
        "model": "llama3.2",
        "request_type": "chat",
        "messages": [],
        "reply_to": "llm.reply.a",
        "correlation_id": "c",
    }
    assert (request.model, request.request_type) == ("llama3.2", "chat")
    assert (request.reply_to, request.correlation_id) == ("llm.reply.a", "c")


def test_null_in_the_body_is_as_good_as_absent() -> None:
    nothing = dict.fromkeys(["model", "request_type", "reply_to", "correlation_id", "message_context"])
    request = parsed(nothing, reply_to="llm.reply.a", correlation_id="c")
    assert (request.model, request.request_type) == ("llama3.2", "chat")
    assert (request.reply_to, request.correlation_id) == ("llm.reply.a", "c")
    assert request.message_context is None


def test_what_the_body_has_wins_over_queue_and_properties() -> None:
    body = {"model": "b", "request_type": "embed", "reply_to": "llm.reply.b", "correlation_id": [1]}
    request = parsed(body, reply_to="llm.reply.a", correlation_id="c")
    assert request.body == body
    assert (request.model, request.request_type) == ("b", "embed")
    assert (request.reply_to, request.correlation_id) == ("llm.reply.b", [1])


def test_headers_never_replace_what_the_body_has_or_lacks() -> None:
    request = parsed({"model": "a"}, headers={"model": "b", "reply_to": "llm.reply.x", "messages": [1]})
    assert request.body == {"model": "a", "request_type": "chat"}
    assert request.reply_to is None


@pytest.mark.parametrize("value", ["", False, 0, [], {}])
def test_empty_values_are_kept_and_not_filled(value: object) -> None:
    body = {"model": value, "request_type": value, "correlation_id": value, "message_context": value}
    request = parsed(body, correlation_id="c")
    assert request.body == body
    assert request.correlation_id == value
    assert request.message_context == value


@pytest.mark.parametrize("request_type", ["embed", "Embed", "embedding", "", 5, ["chat"], "*"])
def test_any_request_type_is_legal_in_any_queue(request_type: object) -> None:
    assert parsed({"request_type": request_type}).body["request_type"] == request_type


def test_the_direct_reply_address_in_the_body_yields_to_that_of_the_properties() -> None:
    body = {"reply_to": "amq.rabbitmq.reply-to"}
    request = parsed(body, reply_to="amq.rabbitmq.reply-to.g1h2")
    assert request.reply_to == "amq.rabbitmq.reply-to.g1h2"
    assert request.body["reply_to"] == "amq.rabbitmq.reply-to.g1h2"
    assert parsed(body).reply_to is None


@pytest.mark.parametrize(
    ("body", "address"), [({}, None), ({}, ""), ({"reply_to": None}, None), ({"reply_to": ""}, "llm.reply.a")]
)
def test_a_request_without_a_reply_address_is_a_request(body: Any, address: str | None) -> None:
    assert parsed(body, reply_to=address).reply_to is None


@pytest.mark.parametrize("subscription", [None, Subscription(type="*", model="*")])
def test_a_wildcard_fills_in_nothing(subscription: Subscription | None) -> None:
    request = parsed({}, subscription)
    assert request.body == {}
    assert (request.model, request.request_type) == (None, None)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("c", "c"),
        ("x" * 255, "x" * 255),
        ("x" * 256, None),
        ("ä" * 128, None),
        ("", None),
        (7, None),
        ([1], None),
        ({"a": 1}, None),
        (False, None),
    ],
)
def test_a_correlation_id_is_echoed_and_is_a_property_if_it_fits_one(value: object, kept: str | None) -> None:
    request = parsed({"correlation_id": value}, correlation_id="other")
    assert request.correlation_id == value
    assert request.correlation_property == kept


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"stream": True}, True),
        ({"stream": True, "request_type": "generate"}, True),
        ({"stream": True, "request_type": "embed"}, False),
        ({"stream": "true"}, False),
        ({"stream": 1}, False),
        ({"stream": False}, False),
        ({}, False),
    ],
)
def test_parts_are_wanted_if_stream_is_true_itself(body: Any, wanted: bool) -> None:
    assert parsed(body).stream is wanted


@pytest.mark.parametrize(
    ("expiration", "patience"),
    [
        ("600000", 600.0),
        ("1", 0.001),
        ("0", None),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("9" * 40, None),
        (b"\xff", None),
    ],
)
def test_patience_is_the_expiration_and_what_is_no_number_is_ignored(
    expiration: Any, patience: float | None
) -> None:
    assert parsed({}, expiration=expiration).patience == patience


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (60000, 60.0),
        (1, 0.001),
        (1500.5, 1.5005),
        ("60000", 60.0),
        (Decimal(2000), 2.0),
        (2**64, 2**64 / 1000),
        (None, None),
    ],
)
def test_the_run_limit_is_a_number_of_milliseconds(value: object, limit: float | None) -> None:
    assert parsed({}, headers={"x-run-limit-ms": value}).run_limit == limit


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "",
        "soon",
        "-5",
        "1.5",
        "9" * 40,
        True,
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        [5],
        {},
        b"5",
        10**400,
    ],
)
def test_a_run_limit_that_is_no_number_above_0_is_refused_to_the_address_of_the_body(value: object) -> None:
    refusal = refused(b'{"reply_to": "llm.reply.b"}', headers={"x-run-limit-ms": value})
    assert refusal.code == "invalid_request"
    assert "x-run-limit-ms must be a number of milliseconds above 0" in refusal.message
    assert refusal.reply_to == "llm.reply.b"
    assert len(refusal.message) < 300


# -- what is no request


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is not JSON"),
        (b"hello", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"{} {}", "the body is not JSON"),
        (b"\xef\xbb\xbf{}", "the body is not JSON"),
        (b'{"a": "\xff"}', "the body is not JSON"),
        (b'{"a": NaN}', "the body is not JSON"),
        (b'{"a": Infinity}', "the body is not JSON"),
        (b'{"a": 1e999}', "the body is not JSON"),
        (b'{"a": "\\ud800"}', "the body is not JSON"),
        (b'{"a": 1,}', "the body is not JSON"),
        (b"[1]", "must be a JSON object, not a list"),
        (b'"text"', "must be a JSON object, not a string"),
        (b"5", "must be a JSON object, not a number"),
        (b"true", "must be a JSON object, not a boolean"),
        (b"null", "must be a JSON object, not null"),
        (b'{"a":' * 150 + b"[" * 150 + b"]" * 150 + b"}" * 150, "more than 200 objects and lists"),
        (b'{"a":' + b"[" * 100_000, "more than 200 objects and lists"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_to_the_address_of_the_properties(
    body: bytes, said: str
) -> None:
    refusal = refused(body, 1_000_000, reply_to="llm.reply.a", correlation_id="c", expiration="5000")
    assert refusal.code == "invalid_request"
    assert said in refusal.message
    assert (refusal.reply_to, refusal.correlation_id, refusal.patience) == ("llm.reply.a", "c", 5.0)
    assert (refusal.model, refusal.request_type) == ("llama3.2", "chat")


@pytest.mark.parametrize(("depth", "kind"), [(200, Request), (201, Refusal)])
def test_two_hundred_levels_are_the_deepest_nesting(depth: int, kind: type) -> None:
    inner = depth - 1
    body = b'{"a":' + b"[" * inner + b"]" * inner + b"}"
    assert isinstance(parse_request(body, Properties(), CHAT), kind)


def test_many_lists_side_by_side_are_not_deep() -> None:
    assert len(parsed({"messages": [[]] * 5000}).body["messages"]) == 5000


def test_a_body_of_20_mib_is_refused_unread_with_both_sizes() -> None:
    refusal = parse_request(b"{" * (20 << 20), Properties(reply_to="llm.reply.a", correlation_id="c"), CHAT)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "payload_too_large"
    assert "20971520 bytes" in refusal.message
    assert "8388608" in refusal.message
    assert "worker.max_request_bytes" in refusal.message
    assert (refusal.reply_to, refusal.correlation_id) == ("llm.reply.a", "c")


@pytest.mark.parametrize(("length", "kind"), [(1000, Request), (1001, Refusal)])
def test_a_body_of_exactly_the_limit_is_taken(length: int, kind: type) -> None:
    body = b"{}" + b" " * (length - 2)
    assert isinstance(parse_request(body, Properties(), CHAT, max_bytes=1000), kind)


@pytest.mark.parametrize("encoding", ["gzip", "utf-8", "deflate", "encrypted/cs", "identity, gzip", b"\xff"])
def test_an_encoded_body_is_refused_whatever_it_holds(encoding: Any) -> None:
    refusal = refused(b"{}", content_encoding=encoding, reply_to="llm.reply.a")
    assert refusal.code == "unsupported_encoding"
    assert repr(encoding) in refusal.message
    assert refusal.reply_to == "llm.reply.a"


@pytest.mark.parametrize("encoding", [None, "", "identity", "Identity"])
@pytest.mark.parametrize("content_type", [None, "", "application/json", "text/plain", "application/x-ruby"])
def test_any_content_type_without_an_encoding_is_read(encoding: str | None, content_type: str | None) -> None:
    assert parsed({"a": 1}, content_encoding=encoding, content_type=content_type).body["a"] == 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [(5, "a number"), (False, "a boolean"), (["llm.reply.b"], "a list"), ({}, "an object")],
)
def test_a_reply_address_of_a_wrong_type_is_refused_to_that_of_the_properties(
    value: object, kind: str
) -> None:
    body = {"reply_to": value, "model": "m", "correlation_id": 9, "message_context": {"a": 1}}
    refusal = refused(json.dumps(body).encode(), reply_to="llm.reply.a")
    assert refusal.code == "invalid_request"
    assert f"reply_to must be a string, the name of a queue, not {kind}" in refusal.message
    assert refusal.reply_to == "llm.reply.a"
    assert (refusal.model, refusal.correlation_id, refusal.message_context) == ("m", 9, {"a": 1})


def test_properties_that_are_no_text_are_no_address_and_no_correlation_id() -> None:
    stranger: Any = b"\xff"
    refusal = refused(b"{}", reply_to=stranger, correlation_id=stranger)
    assert "not text that is not UTF-8" in refusal.message
    assert (refusal.reply_to, refusal.correlation_id) == (None, None)
    assert parsed({"reply_to": "llm.reply.b"}, reply_to=stranger).reply_to == "llm.reply.b"


def test_the_last_of_two_equal_names_counts() -> None:
    request = parse_request(b'{"model": "a", "model": "b"}', Properties(), CHAT)
    assert isinstance(request, Request)
    assert request.model == "b"


@given(
    body=st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()), properties=PROPERTIES
)
@example(body=b"\xff", properties=Properties())
def test_any_bytes_with_any_properties_are_a_request_or_a_refusal(
    body: bytes, properties: Properties
) -> None:
    result = parse_request(body, properties, CHAT, max_bytes=1000)
    assert isinstance(result, (Request, Refusal))
    assert result.reply_to is None or (isinstance(result.reply_to, str) and result.reply_to)
    kept = result.correlation_property
    assert kept is None or 1 <= len(kept.encode()) <= 255


@given(fields=st.dictionaries(NAMES | TEXT, JSON, max_size=5), properties=PROPERTIES)
def test_any_json_value_in_any_field_stays_as_it_is_but_for_the_four_that_are_filled(
    fields: dict[str, Any], properties: Properties
) -> None:
    result = parse_request(json.dumps(fields).encode(), properties, CHAT)
    if isinstance(result, Refusal):
        return
    own = {"model", "request_type", "reply_to", "correlation_id"}
    sent = json.loads(json.dumps(fields))
    assert {name: value for name, value in result.body.items() if name not in own} == {
        name: value for name, value in sent.items() if name not in own
    }
    for name in ("model", "request_type", "correlation_id"):
        if sent.get(name) is not None:
            assert result.body[name] == sent[name]
