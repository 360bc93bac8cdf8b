"""Faults: an error of the client is the caller's, the machine's, or a probe has to decide."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dispatch_cases import below
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.errors import IncompleteReply, OllamaError, ServerError, StreamError
from ollama_ext.fleet.errors import FleetError
from ollama_ext.fleet.faults import Fault, fault_of
from ollama_ext.refusal_texts import MACHINE, REQUEST
from ollama_ext.refusals import refusal, stream_refusal
from ollama_ext.testing import RecordedExchange, recordings

CHAT, GENERATE, EMBED = "/api/chat", "/api/generate", "/api/embed"


#: Every class of the tree, where nothing but the class is known.
BY_CLASS = {
    "OllamaError": Fault.UNSURE,
    "InvalidArgument": Fault.CALLER,
    "ConnectionFailed": Fault.MACHINE,
    "OllamaTimeout": Fault.MACHINE,
    "ConnectTimeout": Fault.MACHINE,
    "FirstByteTimeout": Fault.MACHINE,
    "IdleTimeout": Fault.MACHINE,
    "TotalTimeout": Fault.DEADLINE,
    "Cancelled": Fault.CANCELLED,
    "ResponseError": Fault.UNSURE,
    "BadRequest": Fault.CALLER,
    "ContextOverflow": Fault.CALLER,
    "Unauthorized": Fault.UNSURE,
    "Forbidden": Fault.UNSURE,
    "ModelNotFound": Fault.MODEL_MISSING,
    "ModelNotInRegistry": Fault.MODEL_MISSING,
    "RouteNotFound": Fault.UNSURE,
    "RateLimited": Fault.MACHINE,
    "ServerBusy": Fault.MACHINE,
    "ServerError": Fault.UNSURE,
    "InvalidResponse": Fault.UNSURE,
    "IncompleteReply": Fault.MACHINE,
    "StreamTruncated": Fault.MACHINE,
    "StreamError": Fault.UNSURE,
    "StreamNotFinished": Fault.UNSURE,
}
#: Recorded refusals that are not simply the caller's.
RECORDED = {
    "chat-missing-model": Fault.MODEL_MISSING,
    "generate-missing-model": Fault.MODEL_MISSING,
    "embed-missing-model": Fault.MODEL_MISSING,
    "generate-busy": Fault.MACHINE,
    "generate-nostream-runner-killed": Fault.MACHINE,
    "method-not-allowed": Fault.UNSURE,
}


def refusals_recorded() -> list[RecordedExchange]:
    paths = {CHAT, GENERATE, EMBED}
    return [each for each in recordings() if each.request.path in paths and each.response.status >= 400]


def error_of(exchange: RecordedExchange) -> OllamaError:
    answer = exchange.response
    headers = {name.lower(): value for name, value in answer.headers}
    return refusal(answer.status, headers, answer.body, path=exchange.request.path, model="a-model")


def said(status: int, text: str, path: str = CHAT) -> OllamaError:
    """Return the error of an answer ``{"error": text}``."""
    return refusal(status, {}, json.dumps({"error": text}).encode(), path=path, model="a-model")


def in_stream(text: str) -> StreamError:
    return stream_refusal(json.dumps({"error": text}).encode(), path=CHAT, model="a-model")


def test_the_table_has_every_class_of_the_tree() -> None:
    assert {kind.__name__ for kind in below(OllamaError)} == set(BY_CLASS)


@pytest.mark.parametrize("kind", list(dict.fromkeys(below(OllamaError))), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("first_token", [False, True])
def test_an_error_of_which_only_the_class_is_known(kind: type[OllamaError], first_token: bool) -> None:
    assert fault_of(kind("what happened"), first_token=first_token) is BY_CLASS[kind.__name__]


@pytest.mark.parametrize(
    "exchange", refusals_recorded(), ids=lambda exchange: f"{exchange.version}/{exchange.name}"
)
def test_a_recorded_refusal_is_the_callers_but_for_those_that_are_listed(exchange: RecordedExchange) -> None:
    assert fault_of(error_of(exchange), first_token=False) is RECORDED.get(exchange.name, Fault.CALLER)


def test_every_listed_recording_exists() -> None:
    assert RECORDED.keys() <= {each.name for each in refusals_recorded()}


@pytest.mark.parametrize(
    ("status", "text", "path", "fault"),
    [
        (500, "model requires more system memory (9.0 GiB) than is available (3.1 GiB)", CHAT, Fault.MACHINE),
        (500, "llama runner process has terminated: exit status 2", GENERATE, Fault.MACHINE),
        (500, "CUDA error: out of memory", CHAT, Fault.MACHINE),
        (500, "error loading model: unknown architecture", CHAT, Fault.MACHINE),
        (500, "timed out waiting for llama runner to start - progress 0.10", CHAT, Fault.MACHINE),
        (400, "do embedding request: Post http://127.0.0.1:4/embedding: EOF", EMBED, Fault.MACHINE),
        (400, "model runner has unexpectedly stopped, check ollama server logs", EMBED, Fault.MACHINE),
        (400, "invalid input type", EMBED, Fault.CALLER),
        (400, "model runner has unexpectedly stopped, check ollama server logs", CHAT, Fault.CALLER),
        (500, "template: :1: unclosed action", GENERATE, Fault.CALLER),
        (500, 'option "num_ctx" must be of type integer', EMBED, Fault.CALLER),
        (500, "the input length exceeds the context length", CHAT, Fault.CALLER),
        (500, "something that nobody has heard of", CHAT, Fault.UNSURE),
        (502, "dial tcp: lookup ollama.com: no such host", CHAT, Fault.UNSURE),
        (504, "upstream timed out", CHAT, Fault.UNSURE),
        (501, "not implemented", CHAT, Fault.UNSURE),
        (408, "request timed out", CHAT, Fault.UNSURE),
        (413, "request entity too large", CHAT, Fault.CALLER),
        (429, "you have reached your limit", CHAT, Fault.MACHINE),
        (503, "server busy, please try again.  maximum pending requests exceeded", CHAT, Fault.MACHINE),
        (401, "unauthorized", CHAT, Fault.UNSURE),
        (401, "this account does not support chat", CHAT, Fault.UNSURE),
        (405, "this server does not support chat", CHAT, Fault.UNSURE),
        (403, "ollama cloud is disabled: remote model is unavailable", CHAT, Fault.UNSURE),
        (404, "model 'x' not found", CHAT, Fault.MODEL_MISSING),
        (404, "page not found", CHAT, Fault.UNSURE),
        (302, "", CHAT, Fault.UNSURE),
    ],
)
def test_whose_failure_an_answer_of_ollama_is(status: int, text: str, path: str, fault: Fault) -> None:
    assert fault_of(said(status, text, path), first_token=False) is fault


def test_the_words_of_a_runner_count_wherever_ollama_puts_them() -> None:
    """A runner's error is JSON inside the text, and what it said last can stand below."""
    runner = json.dumps({"error": {"code": 500, "message": "cannot go on", "type": "server_error"}})
    last_words = "a line of the log\n" * 40 + "CUDA error: out of memory"
    assert fault_of(said(500, runner), first_token=False) is Fault.UNSURE
    assert fault_of(said(500, f"{runner}\n{last_words}"), first_token=False) is Fault.MACHINE
    dead = json.dumps({"error": {"code": 500, "message": "connection refused"}})
    assert fault_of(said(500, dead), first_token=False) is Fault.MACHINE


def test_what_a_proxy_says_in_a_form_of_its_own_is_for_the_probe() -> None:
    page = b"<html>out of memory, invalid format: failed to load model</html>"
    for status in (500, 502, 504):
        error = refusal(status, {"content-type": "text/html"}, page, path=CHAT)
        assert fault_of(error, first_token=False) is Fault.UNSURE


def test_a_killed_runner_is_the_machines_in_a_stream_too() -> None:
    body = next(each for each in recordings() if each.name == "generate-stream-runner-killed").response.body
    error = stream_refusal(body.splitlines()[-1], path=GENERATE)
    assert fault_of(error, first_token=True) is Fault.MACHINE


def test_an_overflow_is_the_callers_in_a_stream_too() -> None:
    error = in_stream("the input length exceeds the context length")
    assert fault_of(error, first_token=True) is Fault.CALLER
    assert fault_of(error, first_token=False) is Fault.CALLER


def test_a_request_that_was_begun_is_not_blamed_on_its_format() -> None:
    text = 'invalid format: "yaml"; expected "json" or a valid JSON Schema object'
    assert fault_of(in_stream(text), first_token=False) is Fault.CALLER
    assert fault_of(in_stream(text), first_token=True) is Fault.UNSURE


@pytest.mark.parametrize(
    "words",
    ["out of memory", "does not support tools", "longer than the context length", 'model "x" not found'],
)
@pytest.mark.parametrize("first_token", [False, True])
def test_what_a_model_wrote_decides_nothing(words: str, first_token: bool) -> None:
    """Ollama quotes the model where it cannot read a tool call of it."""
    text = f"error parsing tool call: raw='{words}', err=invalid character 'o'"
    for error in (said(500, text), in_stream(text)):
        assert fault_of(error, first_token=first_token) is Fault.UNSURE


def test_a_failure_of_the_machine_is_its_own_whether_or_not_a_repeat_has_a_chance() -> None:
    memory, crash = (
        said(500, text) for text in ("CUDA error: out of memory", "llama runner process has terminated: 2")
    )
    assert (memory.retryable, crash.retryable) == (False, True)
    assert {fault_of(error, first_token=False) for error in (memory, crash)} == {Fault.MACHINE}


def test_an_error_that_a_later_class_brings_is_for_the_probe() -> None:
    assert fault_of(FleetError("what happened"), first_token=False) is Fault.UNSURE


def test_half_a_reply_is_the_machines_with_status_200() -> None:
    assert fault_of(IncompleteReply("half", status=200), first_token=True) is Fault.MACHINE


@given(
    status=st.integers(300, 599),
    text=st.text(max_size=30) | st.sampled_from([known.pattern for known in (*MACHINE, *REQUEST)]),
    path=st.sampled_from([CHAT, GENERATE, EMBED]),
    first_token=st.booleans(),
)
def test_any_answer_has_a_fault_and_an_error_of_the_caller_is_no_error_of_the_server(
    status: int, text: str, path: str, first_token: bool
) -> None:
    """Whatever Ollama answers, one of the six holds; 429 and 503 are never the caller's."""
    fault = fault_of(said(status, text, path), first_token=first_token)
    assert fault in Fault
    if status in {429, 503}:
        assert fault is Fault.MACHINE
    assert fault not in {Fault.CANCELLED, Fault.DEADLINE}


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_of_an_answer_are_looked_at_without_a_failure(body: bytes, first_token: bool) -> None:
    assert fault_of(ServerError("m", status=500, body=body), first_token=first_token) in Fault
    deep: Any = b'{"error":' * 5000 + b"1" + b"}" * 5000
    assert fault_of(ServerError("m", status=500, body=deep), first_token=first_token) is Fault.UNSURE
