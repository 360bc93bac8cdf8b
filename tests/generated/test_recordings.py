"""What real servers sent goes through the generated package and comes out as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ollama_openapi import ApiError, InvalidBody, models
from ollama_openapi.api.inference import chat
from operations import OPERATIONS, Operation
from schema_values import SCHEMAS, without_tolerated_nulls

from ollama_ext.testing import RecordedExchange, recordings

EXCHANGES = recordings()


def operation_of(exchange: RecordedExchange) -> Operation | None:
    """Return the operation that an exchange was one of; None where the route is not native."""
    path = exchange.request.path.partition("?")[0]
    return next((each for each in OPERATIONS if each.fits(exchange.request.method, path)), None)


def succeeded(exchange: RecordedExchange) -> bool:
    """Return whether the status is a success."""
    return 200 <= exchange.response.status < 300


def named(exchanges: list[RecordedExchange]) -> list[Any]:
    """Return parameters with readable names."""
    return [pytest.param(each, id=f"{each.version}/{each.name}") for each in exchanges]


def as_text(value: Any) -> str:
    """Return JSON text, in which 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


def answers_with_json(exchange: RecordedExchange) -> bool:
    """Return whether the spec has a model for the answer."""
    operation = operation_of(exchange)
    return operation is not None and operation.answer not in {"", "text"}


def is_stream(exchange: RecordedExchange) -> bool:
    """Return whether lines were sent."""
    return exchange.response.content_type == "application/x-ndjson"


WHOLE = [each for each in EXCHANGES if succeeded(each) and not is_stream(each) and answers_with_json(each)]
STREAMS = [each for each in EXCHANGES if succeeded(each) and is_stream(each)]
FAILURES = [each for each in EXCHANGES if not succeeded(each)]
WITH_BODY = [
    each
    for each in EXCHANGES
    if (operation := operation_of(each)) and operation.request not in {"", "binary"} and each.request.body
]


def test_every_recording_is_looked_at() -> None:
    others = [each for each in EXCHANGES if each not in WHOLE + STREAMS + FAILURES]
    assert len(EXCHANGES) == 200
    assert min(len(WHOLE), len(STREAMS), len(FAILURES)) > 30
    assert "v1-chat-error" in {each.name for each in FAILURES}
    # Those without a JSON body: texts, HEAD, uploads, and copy and delete, which answer nothing.
    assert {operation.name for each in others if (operation := operation_of(each))} <= {
        "ping",
        "head_root",
        "check_blob",
        "push_blob",
        "copy_model",
        "delete_model",
    }


@pytest.mark.parametrize("exchange", named(WHOLE))
def test_a_recorded_body_loses_nothing(exchange: RecordedExchange) -> None:
    operation = operation_of(exchange)
    assert operation is not None

    model = operation.module.parse(exchange.response.status, exchange.response.body)

    assert type(model).__name__ == operation.answer
    assert as_text(model.to_dict()) == as_text(exchange.response.json())


@pytest.mark.parametrize("exchange", named(STREAMS))
def test_a_recorded_line_loses_nothing(exchange: RecordedExchange) -> None:
    operation = operation_of(exchange)
    assert operation is not None
    *lines, rest = exchange.response.body.split(b"\n")
    assert lines

    for line in lines:
        sent = json.loads(line)
        if "error" in sent:
            with pytest.raises(ApiError) as caught:
                operation.module.parse_chunk(line)
            assert (caught.value.status, caught.value.body) == (200, line)
            assert caught.value.parsed is not None
            assert as_text(caught.value.parsed.to_dict()) == as_text(sent)
        else:
            chunk = operation.module.parse_chunk(line)
            assert type(chunk).__name__ == operation.chunk
            assert as_text(chunk.to_dict()) == as_text(sent)
    assert not rest or not exchange.response.clean_end


@pytest.mark.parametrize("exchange", named(FAILURES))
def test_a_recorded_failure_is_kept_byte_for_byte(exchange: RecordedExchange) -> None:
    operation = operation_of(exchange)
    module: Any = operation.module if operation else chat  # a route that is not native fails like any other
    body = exchange.response.body

    with pytest.raises(ApiError) as caught:
        module.parse(exchange.response.status, body)

    error = caught.value
    assert (error.status, error.body) == (exchange.response.status, body)
    if exchange.response.content_type == "application/json" and operation and operation.error:
        assert error.parsed is not None
        assert as_text(error.parsed.to_dict()) == as_text(exchange.response.json())
        assert error.parsed.error in str(error)
    else:
        assert error.parsed is None
        assert body.decode()[:100] in str(error)


@pytest.mark.parametrize(
    "exchange", named([each for each in EXCHANGES if succeeded(each) and each not in WHOLE + STREAMS])
)
def test_a_recorded_answer_without_json_is_its_text_or_nothing(exchange: RecordedExchange) -> None:
    operation = operation_of(exchange)
    assert operation is not None

    answer = operation.module.parse(exchange.response.status, exchange.response.body)

    assert answer == (exchange.response.body.decode() if operation.answer == "text" else None)


@pytest.mark.parametrize("exchange", named(WITH_BODY))
def test_a_recorded_request_loses_nothing(exchange: RecordedExchange) -> None:
    operation = operation_of(exchange)
    assert operation is not None
    try:
        sent = exchange.request.json()
        body = getattr(models, operation.request).from_dict(sent)
    except (ValueError, InvalidBody):
        assert exchange.response.status >= 400  # the server did not like it either
        return
    expected = without_tolerated_nulls(SCHEMAS[operation.request], sent)

    assert as_text(body.to_dict()) == as_text(expected)
    request = operation.module.build_request(body=body)
    assert (request.method, request.path) == (operation.method, operation.path)
    assert json.loads(request.content) == expected | ({"stream": False} if operation.chunk else {})
