"""Errors: one tree, the server's own words, and nothing secret."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama_openapi.models import ChatResponse

from ollama_ext import (
    ChatReply,
    ConnectionFailed,
    IncompleteReply,
    InvalidArgument,
    InvalidResponse,
    OllamaError,
    OllamaTimeout,
    RequestInfo,
    ResponseError,
    StreamError,
    StreamNotFinished,
    StreamTruncated,
    errors,
)
from ollama_ext.errors import error_text, shown
from ollama_ext.testing import RecordedExchange, recordings

PARENTS: dict[type[OllamaError], type[Exception]] = {
    OllamaError: Exception,
    InvalidArgument: OllamaError,
    ConnectionFailed: OllamaError,
    OllamaTimeout: OllamaError,
    ResponseError: OllamaError,
    InvalidResponse: OllamaError,
    IncompleteReply: OllamaError,
    StreamTruncated: IncompleteReply,
    StreamError: OllamaError,
    StreamNotFinished: OllamaError,
}
RETRYABLE = {ConnectionFailed, OllamaTimeout, IncompleteReply, StreamTruncated}


def reply() -> ChatReply:
    message = {"role": "assistant", "content": "half", "thinking": "hm"}
    body = {"model": "m", "created_at": "", "done": False, "message": message, "new": [1]}
    return ChatReply(ChatResponse.from_dict(body), 200)


def full(kind: type[OllamaError]) -> OllamaError:
    known: dict[str, Any] = {"argument": "model"} if kind is InvalidArgument else {}
    info = RequestInfo(method="POST", url="http://x/api/chat")
    return kind("words", status=500, body=b"\xff", request=info, model="m", partial=reply(), **known)


def test_the_tree_is_as_its_docstring_draws_it() -> None:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]
    assert set(classes) == set(PARENTS)
    drawn = (errors.__doc__ or "").split("Catch")[0]
    for kind, parent in PARENTS.items():
        assert kind.__name__ in drawn
        assert kind.__bases__[0] is parent
        assert kind.__doc__
        assert kind.retryable is (kind in RETRYABLE)
    assert issubclass(InvalidArgument, ValueError)


@pytest.mark.parametrize("kind", PARENTS)
def test_an_error_is_pickled_and_copied_with_all_that_is_known(kind: type[OllamaError]) -> None:
    error = full(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        check_same(pickle.loads(pickle.dumps(error, protocol)), error)  # noqa: S301 - our own bytes
    for same in (copy.copy(error), copy.deepcopy(error)):
        check_same(same, error)
    assert copy.deepcopy(error).partial is not error.partial


def check_same(copied: Any, error: OllamaError) -> None:
    assert type(copied) is type(error)
    assert vars(copied) == vars(error)
    assert (str(copied), copied.args) == ("words", ("words",))
    partial: Any = copied.partial
    assert partial.result["new"] == [1]


@pytest.mark.parametrize("kind", PARENTS)
def test_what_is_not_known_is_none(kind: type[OllamaError]) -> None:
    error = kind("words")
    assert (error.message, error.status, error.body, error.request) == ("words", None, b"", None)
    assert (error.model, error.partial) == (None, None)
    if isinstance(error, InvalidArgument):
        assert error.argument is None


# -- the server's own words


def refusals() -> list[RecordedExchange]:
    return [each for each in recordings() if each.response.status >= 400 and each.response.body]


@pytest.mark.parametrize("exchange", refusals(), ids=lambda each: f"{each.version}/{each.name}")
def test_every_recorded_error_is_told_in_the_servers_words(exchange: RecordedExchange) -> None:
    body = exchange.response.body
    text = error_text(body)
    try:
        words = json.loads(body)["error"]
    except ValueError:
        assert text == body.decode().strip()
        return
    if isinstance(words, str) and words.startswith("{"):
        words = json.loads(words)["error"]
    assert text == (words["message"] if isinstance(words, dict) else words)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b'{"error": ""}', ""),
        (b'{"error": "  no\\n"}', "no"),
        (b'{"error": {"message": "inside", "code": 1}}', "inside"),
        (rb'{"error": "{\"error\": \"twice\"}"}', "twice"),
        (rb'{"error": "{\"error\": {\"message\": \"{\\\"error\\\": \\\"thrice\\\"}\"}}"}', "thrice"),
        (b'{"error": "[1, 2]"}', "[1, 2]"),
        (b'{"error": "null"}', "null"),
        (b'{"error": 5}', '{"error": 5}'),
        (b'{"error": null}', '{"error": null}'),
        (b'{"error": {"message": 5}}', '{"error": {"message": 5}}'),
        (b'{"message": "other"}', '{"message": "other"}'),
        (b"[]", "[]"),
        (b"null", "null"),
        (b"404 page not found", "404 page not found"),
        (b"405 method not allowed\n", "405 method not allowed"),
        (b"<html>\n<head>", r"'<html>\n<head>'"),
        (b"\x1b[31m", r"'\x1b[31m'"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 1000, "'" + "x" * 200 + "' ..."),
        (b"[" * 100_000, "'" + "[" * 200 + "' ..."),
    ],
)
def test_an_error_body_of_any_kind_is_told_or_shown_from_its_start(body: bytes, text: str) -> None:
    assert error_text(body) == text


@given(st.binary(max_size=300) | st.text(max_size=50).map(lambda text: json.dumps({"error": text}).encode()))
def test_no_error_body_is_too_odd_to_tell(body: bytes) -> None:
    assert len(error_text(body)) < 2000
    assert shown(body).isprintable()
