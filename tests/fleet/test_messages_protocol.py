"""docs/fleet-protocol.md: its schemas fit what is written, its examples are read, its tables are true."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ollama_ext.fleet.definitions import definitions, permission_lines
from ollama_ext.fleet.dispatch import KINDS, Outcome
from ollama_ext.fleet.messages import (
    CODES,
    Envelope,
    Properties,
    Request,
    dead_properties,
    error_body,
    parse_reply,
    parse_request,
    reply_body,
    reply_properties,
    request_body,
)
from ollama_ext.fleet.topology import PROVIDER, queue_name, reply_refused
from ollama_ext.settings import Subscription, WorkerSettings
from ollama_ext.usage import EMPTY_USAGE, Usage

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "fleet-protocol.md").read_text(encoding="utf-8")
BLOCKS: dict[str, Any] = {
    name: json.loads(text)
    for name, text in re.findall(r"^```json (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
}
REQUEST, REPLY, ERROR = (
    Draft202012Validator(BLOCKS[f"{name}-schema"]) for name in ("request", "reply", "error")
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
COUNTS = st.builds(Usage, input_tokens=st.integers(0, 9), eval_duration=st.integers(0, 9)) | st.just(
    EMPTY_USAGE
)


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose head begins like this."""
    start = PAGE.index(f"\n| {heading}")
    lines = PAGE[start + 1 :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def words(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("name", ["request", "reply", "error"])
def test_the_schemas_are_good_schemas(name: str) -> None:
    Draft202012Validator.check_schema(BLOCKS[f"{name}-schema"])


@given(fields=st.dictionaries(TEXT, JSON, max_size=3), model=TEXT.filter(bool), address=st.none() | TEXT)
def test_every_request_that_we_write_fits_the_schema(
    fields: dict[str, Any], model: str, address: str | None
) -> None:
    extra = {name: value for name, value in fields.items() if name not in {"model", "reply_to"}}
    REQUEST.validate(json.loads(request_body("chat", model, extra, reply_to=address, correlation_id="c")))


@given(result=JSON, usage=COUNTS, model=st.none() | TEXT, correlation_id=JSON, context=JSON)
def test_every_reply_that_we_write_fits_the_schema(
    result: Any, usage: Usage, model: str | None, correlation_id: Any, context: Any
) -> None:
    outcome = Outcome(result=result, usage=usage.to_dict(), status=200, model=model)
    reply = json.loads(reply_body(Envelope(correlation_id=correlation_id, message_context=context), outcome))
    REPLY.validate(reply)
    assert not ERROR.is_valid(reply)


@given(code=st.sampled_from(sorted(CODES)), message=TEXT, correlation_id=JSON, result=JSON)
def test_every_error_reply_that_we_write_fits_both_schemas(
    code: str, message: str, correlation_id: Any, result: Any
) -> None:
    asked = Envelope(correlation_id=correlation_id)
    error = {"code": code, "message": message, "retryable": False}
    outcome = Outcome(result=result, usage={}, status=CODES[code].status or 418, model="m", error=error)
    for body in (error_body(asked.refused(code, message)), reply_body(asked, outcome)):
        REPLY.validate(json.loads(body))
        ERROR.validate(json.loads(body))


@pytest.mark.parametrize(
    "change",
    [{"status": "200"}, {"usage": None}, {"usage": {"input_tokens": 1}}, {"provider": "x"}, {"model": 5}],
)
def test_the_schema_of_a_reply_refuses_what_is_none(change: dict[str, Any]) -> None:
    assert not REPLY.is_valid(BLOCKS["reply"] | change)


def test_the_schema_of_a_request_refuses_what_a_worker_refuses() -> None:
    bodies: list[Any] = [[], {"reply_to": 5}]
    for body in bodies:
        assert not REQUEST.is_valid(body)
        assert not isinstance(parse_request(json.dumps(body).encode(), Properties()), Request)


def test_the_example_of_a_request_is_one_to_an_address_that_is_allowed() -> None:
    REQUEST.validate(BLOCKS["request"])
    subscription = Subscription(type="chat", model="qwen3.5:27b")
    request = parse_request(json.dumps(BLOCKS["request"]).encode(), Properties(), subscription)
    assert isinstance(request, Request)
    assert request.reply_to is not None
    assert reply_refused(request.reply_to, WorkerSettings().reply_to_allow, ()) is None


def test_the_examples_of_replies_fit_their_schemas_and_are_read() -> None:
    REPLY.validate(BLOCKS["reply"])
    REPLY.validate(BLOCKS["error"])
    ERROR.validate(BLOCKS["error"])
    assert not parse_reply(json.dumps(BLOCKS["reply"]).encode(), Properties()).failed
    assert parse_reply(json.dumps(BLOCKS["error"]).encode(), Properties()).failed


def test_the_table_of_codes_is_that_of_the_code() -> None:
    table = {
        words(code)[0]: (status, retryable, meaning) for code, status, retryable, meaning in rows("`code`")
    }
    answers = {True: "yes", False: "no", None: "as `retryable` says"}
    assert table == {
        name: (str(code.status or "Ollama's"), answers[code.retryable], code.meaning)
        for name, code in CODES.items()
    }
    assert BLOCKS["error-schema"]["properties"]["error"]["properties"]["code"]["enum"] == list(CODES)
    assert BLOCKS["reply-schema"]["properties"]["provider"]["const"] == PROVIDER


def test_the_table_of_fields_is_what_is_passed_on() -> None:
    table = {words(name)[0]: set(words(fields)) for name, fields in rows("`request_type`")}
    assert table.pop("embed") - {"text", "input"} == set(KINDS["embed"].fields) - {"input"}
    assert table == {name: set(kind.fields) for name, kind in KINDS.items() if name != "embed"}


def test_the_table_of_routing_keys_is_what_queues_are_named() -> None:
    table = rows("type, model")
    assert len(table) == 3
    for cell, key in table:
        assert queue_name(*words(cell)) == words(key)[0]


def test_the_table_of_headers_is_what_replies_have() -> None:
    properties = reply_properties(
        correlation_id="c",
        message_id="r",
        worker="w",
        queue="q",
        attempt=1,
        run="u",
        digest="d",
        version="v",
        load_ms=1,
        run_ms=2,
    )
    assert {words(row[0])[0] for row in rows("header |")} == set(properties.headers)


def test_the_headers_of_dead_letters_are_told() -> None:
    properties = dead_properties(
        Properties(
            message_id="m", timestamp=1, headers={"traceparent": "t", "tracestate": "t", "x-run-limit-ms": 1}
        ),
        message_id="d",
        code="internal",
        why="x",
        worker="w",
        queue="q",
        attempt=1,
    )
    paragraph = PAGE[PAGE.index("A copy in `llm.dead`") :].split("\n\n", 1)[0]
    named = [f"x-ollama-ext{word}" if word.startswith("-") else word for word in words(paragraph)]
    assert set(properties.headers) <= set(named)


def test_the_table_of_policies_names_every_key_of_both() -> None:
    table = {cells[0]: set(words(cells[1])) for cells in rows("queues | policy")}
    document = definitions(version="4.1")
    for row, policy in zip(table.values(), document["policies"], strict=True):
        assert set(policy["definition"]) <= row


def test_the_addresses_that_are_allowed_are_those_of_the_settings() -> None:
    sentence = PAGE[PAGE.index("(`worker.reply_to_allow`)") :].split(". ", 1)[0]
    assert tuple(words(sentence)[1:]) == WorkerSettings().reply_to_allow
    assert "llm\\.reply\\." in permission_lines("a", "/", ["llm.request"], "caller")[0]


def test_the_limits_are_those_of_the_settings() -> None:
    settings = WorkerSettings()
    assert settings.max_request_bytes == settings.max_reply_bytes == 8 << 20
    assert PAGE.count("8 MiB") == 2
    assert f"`worker.max_deliveries` ({settings.max_deliveries})" in PAGE


def test_the_fields_of_a_reply_are_those_of_its_schema() -> None:
    outcome = Outcome(result=1, usage=EMPTY_USAGE.to_dict(), status=200, model="m")
    fields = msgspec.json.decode(reply_body(Envelope(message_context=1), outcome))
    assert list(BLOCKS["reply-schema"]["required"]) == [name for name in fields if name != "message_context"]
    assert set(BLOCKS["reply-schema"]["properties"]) == {*fields, "error"}
