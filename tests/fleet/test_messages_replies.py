"""Replies and dead letters: what a worker writes, and what a caller reads, be it from a stranger."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.fleet.dispatch import Outcome
from ollama_ext.fleet.errors import ReplyRefused
from ollama_ext.fleet.messages import (
    CODES,
    Envelope,
    Properties,
    Reply,
    ReplyError,
    dead_properties,
    error_body,
    parse_reply,
    reply_body,
    reply_properties,
)
from ollama_ext.usage import EMPTY_USAGE, Usage

USAGE = Usage(input_tokens=11, output_tokens=3, total_duration=7, load_duration=1, eval_duration=5)
DONE = Outcome(result={"model": "m", "new": 1}, usage=USAGE.to_dict(), status=200, model="m:latest")
ASKED = Envelope(reply_to="llm.reply.a", correlation_id="c", model="m")
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def told(body: bytes) -> dict[str, Any]:
    """Return the fields of a body."""
    fields = json.loads(body)
    assert isinstance(fields, dict)
    return fields


def read(properties: Properties | None = None, **fields: Any) -> Reply:
    """Return what a caller reads."""
    return parse_reply(json.dumps(fields).encode(), properties or Properties())


# -- what a worker writes


def test_a_reply_holds_the_six_fields_and_no_error() -> None:
    assert told(reply_body(ASKED, DONE)) == {
        "correlation_id": "c",
        "result": {"model": "m", "new": 1},
        "usage": USAGE.to_dict(),
        "model": "m:latest",
        "provider": "ollama",
        "status": 200,
    }


def test_a_failure_is_told_with_what_ollama_answered() -> None:
    error = {"code": "ollama_error", "message": "no such model", "retryable": False}
    outcome = Outcome(result={"error": "not found"}, usage={}, status=404, model="m", error=error)
    fields = told(reply_body(ASKED, outcome))
    assert (fields["result"], fields["usage"], fields["status"]) == ({"error": "not found"}, {}, 404)
    assert fields["error"] == error


@pytest.mark.parametrize("code", [code for code, meaning in CODES.items() if meaning.status is not None])
def test_a_refusal_has_the_status_of_its_code(code: str) -> None:
    fields = told(error_body(ASKED.refused(code, "because")))
    assert fields["status"] == CODES[code].status
    assert fields["error"] == {"code": code, "message": "because", "retryable": CODES[code].retryable}
    assert (fields["result"], fields["usage"], fields["model"]) == (None, {}, "m")


def test_the_codes_and_statuses_are_those_of_the_protocol() -> None:
    assert {code: (meaning.status, meaning.retryable) for code, meaning in CODES.items()} == {
        "invalid_request": (400, False),
        "model_mismatch": (404, False),
        "deadline_expired": (408, False),
        "payload_too_large": (413, False),
        "unsupported_encoding": (415, False),
        "cancelled": (499, False),
        "delivery_limit": (500, False),
        "internal": (500, False),
        "ollama_unavailable": (503, True),
        "ollama_error": (None, None),
    }


@given(value=JSON)
def test_any_correlation_id_and_context_come_back_as_they_came(value: Any) -> None:
    asked = Envelope(correlation_id=value, message_context=value)
    for body in (reply_body(asked, DONE), error_body(asked.refused("internal", "x"))):
        assert told(body)["correlation_id"] == json.loads(json.dumps(value))
        if value is None:
            assert "message_context" not in told(body)
        else:
            assert told(body)["message_context"] == json.loads(json.dumps(value))


def test_a_refusal_knows_all_that_the_request_told() -> None:
    asked = Envelope(
        reply_to="a", correlation_id=[1], model="m", request_type="x", message_context=0, patience=2.0
    )
    refusal = asked.refused("internal", "x")
    assert {name: getattr(refusal, name) for name in Envelope.__struct_fields__} == {
        name: getattr(asked, name) for name in Envelope.__struct_fields__
    }


def test_a_reply_that_is_too_long_becomes_an_error_that_names_both_sizes() -> None:
    long = msgspec.structs.replace(DONE, result={"embeddings": [[0.5] * 1000]})
    size = len(reply_body(ASKED, long))
    assert size > 1000
    assert reply_body(ASKED, long, max_bytes=size) == reply_body(ASKED, long)
    fields = told(reply_body(ASKED, long, max_bytes=size - 1))
    assert (fields["status"], fields["error"]["code"]) == (413, "payload_too_large")
    assert f"the reply has {size} bytes" in fields["error"]["message"]
    assert f"sends {size - 1}:" in fields["error"]["message"]
    assert "worker.max_reply_bytes" in fields["error"]["message"]
    assert (fields["result"], fields["usage"], fields["correlation_id"]) == (None, {}, "c")


@pytest.mark.parametrize("name", ["message_context", "model", "correlation_id"])
def test_what_an_error_reply_echoes_is_left_out_where_it_would_be_too_long(name: str) -> None:
    asked = msgspec.structs.replace(ASKED, **{name: "x" * 10_000})
    run = msgspec.structs.replace(DONE, model=asked.model)
    too_long = reply_body(asked, run, max_bytes=1000)
    for body in (too_long, error_body(asked.refused("internal", "y"), max_bytes=1000)):
        assert len(body) <= 1000
        assert told(body).get(name) is None
    assert told(too_long)["error"]["code"] == "payload_too_large"


def test_an_error_reply_of_exactly_the_limit_keeps_all_that_it_echoes() -> None:
    refusal = msgspec.structs.replace(ASKED, message_context=[1]).refused("internal", "y")
    whole = error_body(refusal)
    assert error_body(refusal, max_bytes=len(whole)) == whole
    assert "message_context" not in told(error_body(refusal, max_bytes=len(whole) - 1))


def test_a_result_that_is_no_json_becomes_an_error() -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    for result in (deep, {"a": object()}, "\ud800"):
        fields = told(reply_body(ASKED, msgspec.structs.replace(DONE, result=result)))
        assert fields["error"]["code"] == "internal"
        assert fields["correlation_id"] == "c"


def test_the_properties_of_a_reply_say_who_did_what_in_which_time() -> None:
    properties = reply_properties(
        correlation_id="c",
        message_id="r",
        worker="gpu-07",
        queue="q",
        attempt=2,
        run="u",
        digest="d",
        version="0.13.0",
        load_ms=0,
        run_ms=812,
        timestamp=5,
    )
    assert properties == Properties(
        content_type="application/json",
        correlation_id="c",
        message_id="r",
        type="llm.reply",
        app_id="ollama-ext",
        timestamp=5,
        delivery_mode=2,
        headers={
            "x-ollama-ext-worker": "gpu-07",
            "x-ollama-ext-run": "u",
            "x-ollama-ext-attempt": 2,
            "x-ollama-ext-model-digest": "d",
            "x-ollama-ext-ollama-version": "0.13.0",
            "x-ollama-ext-queue": "q",
            "x-ollama-ext-load-ms": 0,
            "x-ollama-ext-run-ms": 812,
        },
    )


def test_what_is_not_known_has_no_header_and_the_time_is_now() -> None:
    properties = reply_properties(
        correlation_id=None, message_id="r", worker="w", queue="q", attempt=1, run="", digest=None
    )
    assert set(properties.headers) == {"x-ollama-ext-worker", "x-ollama-ext-queue", "x-ollama-ext-attempt"}
    assert properties.correlation_id is None
    assert properties.timestamp is not None
    assert properties.timestamp > 1_700_000_000


# -- dead letters


def dead(properties: Properties, why: str = "the runner died") -> Properties:
    """Return the properties of a copy."""
    return dead_properties(
        properties,
        message_id="copy",
        code="delivery_limit",
        why=why,
        worker="w",
        queue="q",
        attempt=3,
        timestamp=5,
    )


def test_a_dead_letter_says_why_it_died_and_keeps_what_its_request_said() -> None:
    request = Properties(
        content_type="application/json",
        reply_to="llm.reply.a",
        correlation_id="c",
        message_id="m",
        expiration="600000",
        timestamp=4,
        headers={"traceparent": "00-1-2-01", "x-run-limit-ms": 60000},
    )
    assert dead(request) == Properties(
        content_type="application/json",
        reply_to="llm.reply.a",
        correlation_id="c",
        message_id="copy",
        type="llm.dead",
        app_id="ollama-ext",
        timestamp=5,
        delivery_mode=2,
        headers={
            "traceparent": "00-1-2-01",
            "x-run-limit-ms": 60000,
            "x-ollama-ext-code": "delivery_limit",
            "x-ollama-ext-reason": "the runner died",
            "x-ollama-ext-queue": "q",
            "x-ollama-ext-worker": "w",
            "x-ollama-ext-attempt": 3,
            "x-ollama-ext-message-id": "m",
            "x-ollama-ext-sent": 4,
        },
    )


def test_a_dead_letter_keeps_no_header_that_could_send_copies_or_could_not_be_written() -> None:
    stranger: Any = {
        "CC": ["llm.request.ollama.chat.m"],
        "BCC": ["x"],
        "traceparent": "0" * 600,
        "tracestate": b"\xff",
        "x-run-limit-ms": 1.5,
        "x-death": [{}],
        b"\xff": 1,
    }
    kept = dead(Properties(headers=stranger)).headers
    assert all(name.startswith("x-ollama-ext-") for name in kept)


def test_a_dead_letter_of_a_stranger_can_be_published_whatever_its_properties_were() -> None:
    wild: Any = b"\xff"
    properties = dead(
        Properties(content_type=wild, reply_to=wild, correlation_id=wild, message_id=wild, timestamp=wild),
        "x" * 5000,
    )
    values = [getattr(properties, name) for name in Properties.__struct_fields__ if name != "headers"]
    assert all(
        value is None or isinstance(value, (str, int)) for value in [*values, *properties.headers.values()]
    )
    assert len(properties.headers["x-ollama-ext-reason"]) == 1000


# -- what a caller reads


@given(result=JSON, correlation_id=JSON, context=JSON)
def test_what_a_worker_writes_is_read_as_it_was_meant(result: Any, correlation_id: Any, context: Any) -> None:
    asked = Envelope(correlation_id=correlation_id, model="m", message_context=context)
    properties = reply_properties(
        correlation_id=asked.correlation_property, message_id="r", worker="w", queue="q", attempt=2, run="u"
    )
    reply = parse_reply(reply_body(asked, msgspec.structs.replace(DONE, result=result)), properties)
    assert reply == Reply(
        result=json.loads(json.dumps(result)),
        usage=USAGE,
        status=200,
        model="m:latest",
        provider="ollama",
        correlation_id=json.loads(json.dumps(correlation_id)),
        message_context=json.loads(json.dumps(context)),
        worker="w",
        run="u",
        attempt=2,
    )
    assert not reply.failed


def test_an_error_reply_is_read_with_its_code() -> None:
    reply = parse_reply(error_body(ASKED.refused("ollama_unavailable", "down")), Properties())
    assert reply.failed
    assert reply.error == ReplyError(code="ollama_unavailable", message="down", retryable=True)
    assert (reply.status, reply.usage, reply.result) == (503, EMPTY_USAGE, None)


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {}}])
def test_a_reply_may_lack_usage_status_and_error(usage: dict[str, Any]) -> None:
    reply = read(result={"a": 1}, **usage)
    assert (reply.usage, reply.status, reply.error, reply.failed) == (EMPTY_USAGE, 200, None, False)
    assert read(result=None, status=None, error=None).status == 200


def test_a_reply_of_the_older_protocol_is_read() -> None:
    reply = read(
        correlation_id="c-0043", result=None, usage={}, model="llama3.2", provider="ollama", status=500
    )
    assert reply.failed
    assert (reply.error, reply.model) == (None, "llama3.2")


def test_the_correlation_id_of_the_properties_fills_that_of_the_body() -> None:
    assert read(Properties(correlation_id="p"), result=1).correlation_id == "p"
    assert read(Properties(correlation_id="p"), result=1, correlation_id="b").correlation_id == "b"


def test_what_a_reader_does_not_know_is_ignored() -> None:
    assert read(result=1, new={"a": 1}, error={"code": "x", "message": "y", "more": 1}).failed


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"[]", b"null", b'"a"', b"\xff", b"{}", b'{"result": NaN}', b"[" * 100_000),
        b'{"correlation_id": "c", "run": "u", "seq": 1, "type": "text", "text": "a part of a stream"}',
        b'{"result": 1, "status": "200"}',
        b'{"result": 1, "status": true}',
        b'{"result": 1, "usage": []}',
        b'{"result": 1, "usage": {"input_tokens": "3"}}',
        b'{"result": 1, "model": 5}',
        b'{"result": 1, "error": "text"}',
        b'{"result": 1, "error": {"code": "x"}}',
        b'{"result": 1, "error": {"code": 5, "message": "x"}}',
        b'{"result": 1, "error": {"code": "x", "message": "y", "retryable": "no"}}',
    ],
)
def test_a_message_that_is_no_reply_is_refused(body: bytes) -> None:
    with pytest.raises(ReplyRefused) as caught:
        parse_reply(body, Properties())
    assert caught.value.body == body


@given(
    body=st.binary(max_size=30)
    | st.dictionaries(
        st.sampled_from(["result", "usage", "status", "error", "model", "correlation_id"]), JSON, max_size=4
    ).map(lambda fields: json.dumps(fields).encode()),
    headers=st.dictionaries(st.sampled_from(["x-ollama-ext-run", "x-ollama-ext-attempt"]), JSON, max_size=2),
)
def test_any_bytes_are_a_reply_or_refused(body: bytes, headers: dict[str, Any]) -> None:
    try:
        reply = parse_reply(body, Properties(headers=headers))
    except ReplyRefused:
        return
    assert isinstance(reply.status, int)
    assert isinstance(reply.usage, Usage)
    assert reply.run is None or isinstance(reply.run, str)
