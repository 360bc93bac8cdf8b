"""Refusals: whatever a server answers instead of a reply becomes the error that a user would catch."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_ext.errors import (
    BadRequest,
    ContextOverflow,
    Forbidden,
    ModelNotFound,
    ModelNotInRegistry,
    OllamaError,
    RateLimited,
    ResponseError,
    RouteNotFound,
    ServerBusy,
    ServerError,
    StreamError,
    Unauthorized,
)
from ollama_ext.refusals import error_text, refusal, reported, shown, stream_refusal
from ollama_ext.testing import RecordedExchange, recordings

CHAT, EMBED, PULL, PUSH, CREATE = "/api/chat", "/api/embed", "/api/pull", "/api/push", "/api/create"
SIGNIN = "https://ollama.com/connect?name=box&key=c3NoLWVkMjU1MTk"


def refused(status: int, text: str | None, path: str = CHAT, **fields: Any) -> ResponseError:
    """Return what Ollama's ``{"error": text}`` becomes; None is an empty body."""
    body = b"" if text is None else json.dumps({"error": text, **fields}).encode()
    return refusal(status, {}, body, path=path, model="m")


def streamed(text: str, path: str = PULL, **fields: Any) -> StreamError:
    return stream_refusal(json.dumps({"error": text, **fields}).encode(), path=path, model="m")


# -- what real servers answered

# Each recording whose status is no success or whose stream holds an error: the class, whether it may be
# repeated, and a part of what the message adds to the server's words (empty: it adds nothing).
RECORDED: dict[str, tuple[type[OllamaError], bool, str]] = {
    "blob-head-bad-digest": (BadRequest, False, ""),
    "blob-head-missing": (ResponseError, False, "the server has no blob 'sha256:b179c952"),
    "blob-push-wrong-digest": (BadRequest, False, "the bytes are not those of the digest"),
    "chat-bad-format": (ServerError, False, 'format= takes "json" or a JSON Schema'),
    "chat-bad-json": (BadRequest, False, ""),
    "chat-bad-options-type": (ServerError, False, "options="),
    "chat-content-array": (BadRequest, False, ""),
    "chat-context-overflow": (ContextOverflow, False, "raise num_ctx"),
    "chat-context-overflow-stream": (ContextOverflow, False, "3021 tokens of input, a context of 1024"),
    "chat-embedding-model": (BadRequest, False, "show_model()"),
    "chat-empty-body": (BadRequest, False, ""),
    "chat-images-unsupported": (BadRequest, False, "show_model()"),
    "chat-missing-model": (ModelNotFound, False, "pull_model('nope')"),
    "chat-think-unsupported": (BadRequest, False, "show_model()"),
    "chat-tools-unsupported": (BadRequest, False, "show_model()"),
    "chat-top-logprobs-range": (BadRequest, False, ""),
    "copy-bad-name": (BadRequest, False, "[host/][namespace/]model[:tag]"),
    "copy-missing": (ModelNotFound, False, "pull_model('nope')"),
    "create-bad-name": (BadRequest, False, "[host/][namespace/]model[:tag]"),
    "create-bad-template": (BadRequest, False, "no Go template"),
    "create-missing-blob": (StreamError, False, "push_blob()"),
    "create-missing-from": (StreamError, True, "the server cannot reach that host"),
    "create-nothing": (BadRequest, False, ""),
    "create-quantize": (ServerError, False, "start from an F16"),
    "delete-missing": (ModelNotFound, False, "pull_model('"),
    "embed-bad-input": (BadRequest, False, ""),
    "embed-missing-model": (ModelNotFound, False, "pull_model('nope')"),
    "embed-too-long-notruncate": (ContextOverflow, False, "leave out truncate=False"),
    "forbidden-host": (Forbidden, False, "OLLAMA_HOST"),
    "forbidden-origin": (Forbidden, False, "OLLAMA_ORIGINS"),
    "generate-bad-template": (ServerError, False, "no Go template"),
    "generate-busy": (ServerBusy, True, "OLLAMA_MAX_QUEUE"),
    "generate-missing-model": (ModelNotFound, False, "pull_model('nope')"),
    "generate-nostream-runner-killed": (ServerError, True, "check the server's log"),
    "generate-raw-with-system": (BadRequest, False, ""),
    "generate-stream-runner-killed": (StreamError, True, "check the server's log"),
    "generate-suffix-unsupported": (BadRequest, False, "show_model()"),
    "keep-alive-bad": (BadRequest, False, ""),
    "me-offline": (ServerBusy, True, "is it offline?"),
    "method-not-allowed": (RouteNotFound, False, "answers this call to '/api/chat'"),
    "not-found-path": (RouteNotFound, False, "answers this call to '/api/nope'"),
    "pull-bad-name": (BadRequest, False, "[host/][namespace/]model[:tag]"),
    "pull-offline": (StreamError, True, "the server cannot reach that host"),
    "pull-offline-nostream": (ServerError, True, "the server cannot reach that host"),
    "pull-registry-corrupt": (StreamError, False, "pull again"),
    "pull-registry-missing": (ModelNotInRegistry, False, "no model '127.0.0.1:5001/library/none:x'"),
    "pull-registry-secure": (StreamError, False, "insecure=True"),
    "push-missing": (ModelNotInRegistry, False, "pull_model('me/nope')"),
    "push-offline": (StreamError, True, "the server cannot reach that host"),
    "redirect-trailing-slash": (ResponseError, False, "redirects to '/api/tags'"),
    "show-empty-name": (BadRequest, False, ""),
    "show-missing": (ModelNotFound, False, "pull_model('nope')"),
    "status": (RouteNotFound, False, "its Ollama new enough?"),
    "v1-chat-error": (ModelNotFound, False, "pull_model('nope')"),
}


def error_line(exchange: RecordedExchange) -> bytes | None:
    """Return the line of a recorded stream that reports an error."""
    lines = (line for line in exchange.response.body.split(b"\n") if reported(line) is not None)
    return next(lines, None) if 200 <= exchange.response.status < 300 else None


RECORDED_REFUSALS = [
    each for each in recordings() if not 200 <= each.response.status < 300 or error_line(each) is not None
]


def model_of(exchange: RecordedExchange) -> str | None:
    try:
        return exchange.request.json().get("model")  # type: ignore[no-any-return] # decoded JSON
    except ValueError:
        return None


def recorded_error(exchange: RecordedExchange) -> OllamaError:
    answer, path = exchange.response, exchange.request.path
    asked = model_of(exchange)
    if (line := error_line(exchange)) is not None:
        return stream_refusal(line, status=answer.status, path=path, model=asked)
    headers = {name.lower(): value for name, value in answer.headers}
    return refusal(answer.status, headers, answer.body, path=path, model=asked)


@pytest.mark.parametrize("exchange", RECORDED_REFUSALS, ids=lambda each: f"{each.version}/{each.name}")
def test_every_recorded_refusal_is_the_error_of_its_cause_and_says_what_to_do(
    exchange: RecordedExchange,
) -> None:
    kind, retryable, remedy = RECORDED[exchange.name]
    error = recorded_error(exchange)
    assert (type(error), error.retryable) == (kind, retryable)
    assert (error.status, error.body) == (
        exchange.response.status,
        error_line(exchange) or exchange.response.body,
    )

    words = "" if exchange.response.status == 301 else error_text(error.body)
    start = words if isinstance(error, StreamError) else f"HTTP status {error.status}{words and ': '}{words}"
    assert str(error).startswith(start)
    assert remedy in str(error).removeprefix(start)
    assert bool(remedy) == (str(error) != start)


def test_the_table_holds_exactly_the_recorded_refusals() -> None:
    assert {each.name for each in RECORDED_REFUSALS} == set(RECORDED)
    assert len(RECORDED_REFUSALS) >= 70


def test_both_counts_of_an_overflow_are_told_where_the_server_sends_them() -> None:
    counts: dict[str, tuple[int | None, int | None]] = {}
    for each in RECORDED_REFUSALS:
        error = recorded_error(each)
        if isinstance(error, ContextOverflow):
            counts[f"{each.version}/{each.name}"] = (error.input_tokens, error.context_length)
    assert counts == {
        "v0.33.0-rc2/chat-context-overflow": (3021, 1024),
        "v0.33.0-rc2/chat-context-overflow-stream": (3021, 1024),
        "v0.33.0-rc2/embed-too-long-notruncate": (None, None),
        "v0.24.0/chat-context-overflow": (None, None),
    }


# -- what the server's source says that it answers

RUNNER_STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)
PROMPT_TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, "
    "adjust the context length in settings, or use a model with a longer context length"
)
BUSY = "server busy, please try again.  maximum pending requests exceeded"
INPUT_TOO_LONG = "the input length exceeds the context length"


@pytest.mark.parametrize(
    ("status", "text", "path", "kind", "retryable", "remedy"),
    [
        # no model named, or no such model, in the words of each endpoint and version
        (404, "model '' not found", "/api/generate", ModelNotFound, False, "pull_model('m')"),
        (404, "model 'X' not found", CHAT, ModelNotFound, False, "pull_model('m')"),
        (404, 'model "X" not found, try pulling it first', EMBED, ModelNotFound, False, "pull_model('m')"),
        (404, 'model "X" not found', "/api/copy", ModelNotFound, False, "list_models()"),
        (404, "model 'X' not found", "/api/delete", ModelNotFound, False, "list_models()"),
        (400, "model is required", CHAT, BadRequest, False, ""),
        (400, "invalid model name", "/api/show", BadRequest, False, "model[:tag]"),
        (
            500,
            "unqualified name: registry.ollama.ai/library/a b:latest",
            PUSH,
            ServerError,
            False,
            "model[:tag]",
        ),
        (400, 'name "a b" is invalid', "/api/delete", BadRequest, False, "model[:tag]"),
        (400, 'source "a b" is invalid', "/api/copy", BadRequest, False, "model[:tag]"),
        (400, 'use either :local or :cloud, not both: "m:cloud:local"', CHAT, BadRequest, False, ""),
        # models of ollama.com
        (
            403,
            "ollama cloud is disabled: remote model is unavailable",
            CHAT,
            Forbidden,
            False,
            "OLLAMA_NO_CLOUD",
        ),
        (400, "this server cannot run this remote model", CHAT, BadRequest, False, "OLLAMA_REMOTES"),
        (402, "payment required", CHAT, Forbidden, False, "https://ollama.com/settings"),
        (403, "this model requires a subscription", CHAT, Forbidden, False, ""),
        (
            502,
            'Post "https://ollama.com:443/api/chat": dial tcp: i/o timeout',
            CHAT,
            ServerError,
            True,
            "reach",
        ),
        # what the machine is to blame for
        (503, BUSY, CHAT, ServerBusy, True, "OLLAMA_NUM_PARALLEL"),
        (503, "Loading model", CHAT, ServerBusy, True, "try later"),
        (500, RUNNER_STOPPED, CHAT, ServerError, True, "the model may not fit in memory"),
        (500, f"{RUNNER_STOPPED}: CUDA error: out of memory", CHAT, ServerError, True, "starts a new runner"),
        (500, "llama-server process has terminated: exit status 1", CHAT, ServerError, True, "server's log"),
        (500, "llama runner process no longer running: 2 ", CHAT, ServerError, True, "server's log"),
        (
            500,
            "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory",
            CHAT,
            ServerError,
            False,
            "smaller num_ctx",
        ),
        (
            500,
            "model requires more system memory (5.6 GiB) than is available (3.1 GiB)",
            CHAT,
            ServerError,
            False,
            "does not fit",
        ),
        (500, "unable to load model: /blobs/sha256-00", CHAT, ServerError, False, "update Ollama"),
        (
            500,
            "timed out waiting for llama runner to start - ",
            CHAT,
            ServerError,
            True,
            "OLLAMA_LOAD_TIMEOUT",
        ),
        (500, "something that nobody knows", CHAT, ServerError, True, ""),
        (499, "request canceled", CHAT, ServerError, True, "a proxy in between"),
        # what the caller is to blame for, although it is 500
        (
            500,
            'invalid format: "\\"x\\""; expected "json" or a valid JSON Schema object',
            CHAT,
            ServerError,
            False,
            "=",
        ),
        (500, 'option "num_ctx" must be of type integer', EMBED, ServerError, False, "options="),
        (500, "template: :1: unclosed action", CHAT, ServerError, False, "no Go template"),
        (500, "unsupported quantization type: Q9", CREATE, ServerError, False, "quantize="),
        # lengths
        (400, PROMPT_TOO_LONG, CHAT, ContextOverflow, False, "raise num_ctx"),
        (400, INPUT_TOO_LONG, EMBED, ContextOverflow, False, "truncate=False"),
        (500, INPUT_TOO_LONG, "/api/embeddings", ContextOverflow, False, "shorten the input"),
        (413, INPUT_TOO_LONG, CHAT, ContextOverflow, False, "shorten the input"),
        (400, "input length exceeds maximum context length", EMBED, ContextOverflow, False, "truncate=False"),
        (413, "too large", CHAT, BadRequest, False, "a proxy before Ollama"),
        (422, "unprocessable", CHAT, BadRequest, False, ""),
        # embed says 400 to a dead runner too
        (400, RUNNER_STOPPED, EMBED, ServerError, True, "starts a new runner"),
        (
            400,
            'do embedding request: Post "http://127.0.0.1:4/v1/embeddings": EOF',
            EMBED,
            ServerError,
            True,
            "died",
        ),
        (400, 'Post "http://127.0.0.1:41234/tokenize": EOF', EMBED, ServerError, True, "died"),
        (400, "llama-server process no longer running: -1 ", EMBED, ServerError, True, "died"),
        (400, "embedding contains NaN or Inf values", EMBED, ServerError, False, "computes no numbers"),
        (400, "cudaMalloc failed: out of memory", EMBED, ServerError, False, "does not fit"),
        (400, "invalid input type", EMBED, BadRequest, False, ""),
        (400, RUNNER_STOPPED, CHAT, BadRequest, False, ""),
        (500, RUNNER_STOPPED, "/api/embeddings", ServerError, True, "server's log"),
        # models and files
        (400, "invalid digest format", "/api/blobs/x", BadRequest, False, ""),
        (400, "unknown type", CREATE, BadRequest, False, ""),
        (500, "pull model manifest: file does not exist", PULL, ModelNotInRegistry, False, "no model 'm'"),
        (
            500,
            "open /m/manifests/r/l/m/latest: no such file or directory",
            PUSH,
            ModelNotFound,
            False,
            "pull_model",
        ),
        (404, 'blob "sha256:00" not found', "/api/blobs/sha256:00", RouteNotFound, False, "/api/blobs/"),
        # accounts
        (401, "unauthorized", "/api/me", Unauthorized, False, "ollama signin"),
        (
            401,
            "you are not currently signed in",
            "/api/signout",
            Unauthorized,
            False,
            "nothing to sign out of",
        ),
        (500, "there was an error signing out", "/api/signout", ServerError, True, ""),
        (503, "account unavailable", "/api/me", ServerBusy, True, "offline"),
        (429, "too many requests", CHAT, RateLimited, True, "wait"),
        # what only proxies say
        (407, "proxy", CHAT, Unauthorized, False, "a proxy wants"),
        (408, "slow", CHAT, ServerError, True, "waited too long"),
        (501, "not here", CHAT, ServerError, False, ""),
        (504, "gateway", CHAT, ServerError, True, ""),
        (599, "odd", CHAT, ServerError, True, ""),
        (501, "This server does not support embeddings.", EMBED, ServerError, False, "show_model()"),
        (418, "teapot", CHAT, BadRequest, False, ""),
        (304, "odd", CHAT, ResponseError, False, ""),
        (999, "odd", CHAT, ResponseError, False, ""),
    ],
)
def test_a_text_of_the_server_is_told_and_becomes_the_error_of_its_cause(  # noqa: PLR0917 - pytest's table
    status: int, text: str, path: str, kind: type[ResponseError], retryable: bool, remedy: str
) -> None:
    error = refused(status, text, path)
    assert (type(error), error.retryable) == (kind, retryable)
    start = f"HTTP status {status}: {text.strip()}"
    assert str(error).startswith(start)
    assert remedy in str(error).removeprefix(start)
    assert bool(remedy) == (str(error) != start)
    assert (error.status, error.model, error.retry_after) == (status, "m", None)


def test_a_missing_model_is_named_by_the_caller_else_by_the_server() -> None:
    body = b'{"error": "model \\"a/b:c\\" not found"}'
    assert "pull_model('mine')" in str(refusal(404, {}, body, path="/api/copy", model="mine"))
    assert "pull_model('a/b:c')" in str(refusal(404, {}, body, path="/api/copy"))
    assert "name a model" in str(refusal(404, {}, b'{"error": "model \'\' not found"}', path=CHAT, model=""))
    long = str(refusal(404, {}, body, path=CHAT, model="x" * 5000))
    assert len(long) < 400


@pytest.mark.parametrize("status", [404, 405, 410])
@pytest.mark.parametrize(
    "body", [b"404 page not found", b"<html>", b"", b'{"detail":"Not Found"}', b'{"error":"no"}']
)
def test_an_answer_that_speaks_of_no_model_means_that_the_path_is_wrong(status: int, body: bytes) -> None:
    error = refusal(status, {"content-type": "text/plain"}, body, path="/api/chat?token=s3cret", model="m")
    assert type(error) is RouteNotFound
    assert "'/api/chat'" in str(error)
    assert "its Ollama new enough?" in str(error)
    assert "s3cret" not in str(error)
    assert not error.retryable


@pytest.mark.parametrize("end", ["/v1", "/api"])
def test_a_host_that_ends_in_a_part_of_the_path_is_named_as_the_cause(end: str) -> None:
    error = refusal(404, {}, b"404 page not found", path=f"{end}/api/chat")
    assert f"right, without '{end}' at its end?" in str(error)


def test_a_blob_that_is_not_there_is_no_wrong_path() -> None:
    path, kind = "/base/api/blobs/sha256:00", "application/json; charset=utf-8"
    error = refusal(404, {"content-type": kind}, b"", path=path)
    assert type(error) is ResponseError
    assert "no blob 'sha256:00'" in str(error)
    assert type(refusal(404, {"content-type": "text/plain"}, b"", path=path)) is RouteNotFound


def test_the_address_to_sign_in_at_is_told() -> None:
    error = refused(401, "unauthorized", "/api/me", signin_url=SIGNIN)
    assert isinstance(error, Unauthorized)
    assert error.signin_url == SIGNIN
    assert str(error) == f"HTTP status 401: unauthorized (sign in at {SIGNIN} first)"


@pytest.mark.parametrize("url", [f"{SIGNIN}{'x' * 500}", f"{SIGNIN} \x1b[31m"])
def test_an_address_that_fits_no_message_is_in_its_attribute(url: str) -> None:
    error = refused(401, "unauthorized", signin_url=url)
    assert isinstance(error, Unauthorized)
    assert error.signin_url == url
    assert "sign in at the address in signin_url" in str(error)


@pytest.mark.parametrize("url", [5, None, "", "javascript:alert(1)", "ftp://x", ["https://x"]])
def test_what_is_no_address_of_the_web_is_not_offered_to_sign_in_at(url: object) -> None:
    error = refused(401, "unauthorized", signin_url=url)
    assert isinstance(error, Unauthorized)
    assert error.signin_url is None
    assert "ollama signin" in str(error)


def test_a_remote_models_error_has_the_status_in_its_body_too() -> None:
    told = {"StatusCode": 429, "Status": "429 Too Many Requests", "error": "slow down"}
    for status in (429, 200):
        error = refusal(status, {}, json.dumps(told).encode(), path=CHAT)
        assert (type(error), error.status, error.retryable) == (RateLimited, status, True)
        assert "slow down (wait, then try again)" in str(error)
    untold = {**told, "error": ""}
    assert "429 Too Many Requests" in str(refusal(429, {}, json.dumps(untold).encode(), path=CHAT))


@pytest.mark.parametrize(
    ("text", "kind", "retryable"),
    [
        ("the runner is gone", ResponseError, False),
        (RUNNER_STOPPED, ServerError, True),
        ("cudaMalloc failed: out of memory", ServerError, False),
        ("model 'x' not found", ModelNotFound, False),
        (INPUT_TOO_LONG, ContextOverflow, False),
        ('{"error":{"code":503,"message":"Loading model"}}', ServerBusy, True),
        ('{"error":{"code":200,"message":"odd"}}', ResponseError, False),
        ('{"error":{"code":true,"message":"odd"}}', ResponseError, False),
    ],
)
def test_an_error_with_a_status_of_success_is_judged_by_its_words(
    text: str, kind: type[ResponseError], retryable: bool
) -> None:
    error = refused(200, text)
    assert (type(error), error.status, error.retryable) == (kind, 200, retryable)
    assert str(error).startswith("HTTP status 200, but an error: ")


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("request (30 tokens) exceeds the available context size (10 tokens), try it", (30, 10)),
        ("input length (30 tokens) exceeds the model's maximum context length (10 tokens)", (30, 10)),
        (
            "input (30 tokens) is too large to process. increase the physical batch size (of 10)",
            (30, None),
        ),
        ('{"error":{"message":"exceeds the context length","n_prompt_tokens":30,"n_ctx":10}}', (30, 10)),
        (
            '{"error":{"message":"exceeds the context length","n_prompt_tokens":"30","n_ctx":-1}}',
            (None, None),
        ),
        (
            '{"error":{"message":"exceeds the context length","n_prompt_tokens":true,"n_ctx":1e3}}',
            (None, None),
        ),
        ('{"error":{"message":"exceeds the context length","n_ctx":' + "9" * 5000 + "}}", (None, None)),
        ("exceeds the context length", (None, None)),
    ],
)
def test_an_overflow_has_the_counts_that_its_text_or_its_fields_hold(
    text: str, counts: tuple[int | None, int | None]
) -> None:
    error = refused(400, text)
    assert isinstance(error, ContextOverflow)
    assert (error.input_tokens, error.context_length) == counts
    assert ("30 tokens of input, a context of 10" in str(error)) == (counts == (30, 10))


def test_a_redirect_tells_where_it_leads_without_anything_secret() -> None:
    body = b'<a href="https://u:s3cret@h/x?token=s3cret">Moved</a>'
    for location, shown_as in {
        "https://u:s3cret@h/x?token=s3cret": "'https://h/x'",
        "//u:s3cret@h/x#s3cret": "'//h/x'",
        "https:/u:s3cret@h/x": "'https:/h/x'",
        "HTTPS:\\\\u:s3cret@h": "'HTTPS:\\\\\\\\h'",
        "/login?next=s3cret": "'/login'",
        "/@user/x": "'/@user/x'",
    }.items():
        error = refusal(302, {"location": location}, body, path=CHAT)
        assert type(error) is ResponseError
        assert str(error) == (
            f"HTTP status 302 (it redirects to {shown_as}, which is not followed: is that the host?)"
        )
    assert len(str(refusal(302, {"location": "/" + "x" * 5000}, body, path=CHAT))) < 300


def test_a_proxys_page_is_shown_from_its_start() -> None:
    error = refusal(502, {}, b"<html><body>" + b"x" * 5000, path=CHAT)
    assert (type(error), error.retryable) == (ServerError, True)
    assert str(error).startswith("HTTP status 502: '<html><body>xxx")
    assert str(error).endswith("(that is no answer of Ollama itself: of a proxy before it?)")
    assert len(str(error)) < 400


def test_secrets_in_addresses_that_the_server_tells_are_left_out() -> None:
    text = (
        'max retries exceeded: Get "https://u:s3cret@r2.example/blobs/sha256/60?X-Amz-Signature=s3cret&x=1": '
        "dial tcp: i/o timeout; Authorization: Bearer s3cret-s3cret-s3cret"
    )
    for error in (refused(500, text, PULL), streamed(text)):
        assert "s3cret" not in str(error)
        assert 'Get "https://r2.example/blobs/sha256/60?...": dial tcp' in str(error)
        assert error.retryable


# -- when to come back


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "+5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "\u0665"}, None),
        ({"retry-after": "9" * 5000}, 366 * 86400.0),
        ({"retry-after": "Wed, 25 Nov 2026 06:00:30 GMT", "date": "Wed, 25 Nov 2026 06:00:00 GMT"}, 30.0),
        ({"retry-after": "Wednesday, 25-Nov-26 06:00:30 GMT", "date": "Wed Nov 25 06:00:00 2026"}, 30.0),
        ({"retry-after": "Wed, 25 Nov 2026 06:00:00 GMT", "date": "Wed, 25 Nov 2026 06:00:30 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 366 * 86400.0),
        ({"retry-after": "Wed, 99 Nov 2026 99:99:99 GMT"}, None),
        ({"retry-after": "Wed, 25 Nov 99999999999 06:00:00 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 500, 301])
def test_the_server_says_when_to_come_back(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    error = refusal(status, headers, b'{"error": "later"}', path=CHAT)
    assert error.retry_after == seconds
    assert ("wait 7 s" in str(error)) == (status == 429 and seconds == 7)


def test_a_date_to_come_back_at_counts_from_now_where_the_answer_has_no_date() -> None:
    headers = {"retry-after": formatdate(time.time() + 1000, usegmt=True)}
    wait = refusal(503, headers, b"", path=CHAT).retry_after
    assert wait is not None
    assert 0 < wait <= 1000


def test_a_body_may_say_when_to_come_back_and_the_header_wins() -> None:
    for value, seconds in {7: 7.0, 1.5: 1.5, "7": 7.0, -7: None, "soon": None}.items():
        body = json.dumps({"error": "later", "retry_after": value}).encode()
        assert refusal(429, {}, body, path=CHAT).retry_after == seconds
        assert refusal(429, {"retry-after": "3"}, body, path=CHAT).retry_after == 3


def test_dates_are_read_by_a_module_that_is_not_loaded_before_there_is_one() -> None:
    code = (
        "import sys; from ollama_ext.refusals import refusal\n"
        "refusal(429, {'retry-after': '7'}, b'', path='/')\n"
        "print('email.utils' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    assert run.stdout == "False\n"


# -- in a stream

REGISTRY = 'Get "https://registry.ollama.ai/v2/library/m/manifests/latest": '


@pytest.mark.parametrize(
    ("text", "path", "kind", "retryable", "remedy"),
    [
        ("boom", CHAT, StreamError, False, ""),
        (RUNNER_STOPPED, CHAT, StreamError, True, "server's log"),
        ("llama-server process no longer running: -1 ", CHAT, StreamError, True, "server's log"),
        ("cudaMalloc failed: out of memory", CHAT, StreamError, False, "does not fit"),
        (INPUT_TOO_LONG, CHAT, StreamError, False, "shorten the input"),
        ("pull model manifest: file does not exist", PULL, ModelNotInRegistry, False, "no model 'm'"),
        ("pull model manifest: file does not exist", CREATE, ModelNotInRegistry, False, "from_"),
        ("file does not exist", PULL, StreamError, False, "the registry lacks"),
        (
            f"pull model manifest: {REGISTRY}dial tcp: lookup x: no such host",
            PULL,
            StreamError,
            True,
            "reach",
        ),
        (f"pull model manifest: {REGISTRY}read: connection reset by peer", PULL, StreamError, True, "reach"),
        ("unexpected EOF", PULL, StreamError, True, "reach"),
        ("max retries exceeded: unexpected EOF", PULL, StreamError, True, "reach"),
        ("pull model manifest: 503: upstream", PULL, StreamError, True, "busy or failing"),
        ("http status 502 Bad Gateway: x", PUSH, StreamError, True, "busy or failing"),
        ("pull model manifest: 401: {}", PULL, StreamError, False, "ollama signin"),
        ("unauthorized: access denied", PUSH, StreamError, False, "a namespace of its own"),
        (
            "digest mismatch, file must be downloaded again: want a, got b",
            PULL,
            StreamError,
            False,
            "pull again",
        ),
        ("insecure protocol http", PULL, StreamError, False, "insecure=True"),
        (f"pull model manifest: {REGISTRY}x509: unknown authority", PULL, StreamError, False, "certificate"),
        (
            "write /m/blobs/sha256-00-partial: no space left on device",
            PULL,
            StreamError,
            False,
            "disk is full",
        ),
        ("open /m/blobs/x: permission denied", PULL, StreamError, False, "may not write"),
        (
            "this model requires MLX support, but the MLX runtime is not available",
            PULL,
            StreamError,
            False,
            "machine",
        ),
        ("pull model manifest: 412: newer version of Ollama required", PULL, StreamError, False, ""),
        (
            "open /m/manifests/r/l/m/latest: no such file or directory",
            PUSH,
            ModelNotInRegistry,
            False,
            "pull_model('m')",
        ),
        (
            r"open C:\A B\manifests\r\m: The system cannot find the path specified.",
            PUSH,
            ModelNotInRegistry,
            False,
            "pull",
        ),
        ("template error: template: :1: unclosed action", CREATE, StreamError, False, "no Go template"),
    ],
)
def test_an_error_line_is_told_with_a_remedy_and_says_whether_there_is_hope(
    text: str, path: str, kind: type[StreamError], retryable: bool, remedy: str
) -> None:
    error = streamed(text, path)
    assert (type(error), error.retryable) == (kind, retryable)
    assert (error.status, error.model) == (200, "m")
    assert str(error).startswith(text.strip())
    assert remedy in str(error).removeprefix(text.strip())
    assert bool(remedy) == (str(error) != text)


def test_a_model_that_the_registry_lacks_is_caught_as_either() -> None:
    error = streamed("pull model manifest: file does not exist")
    assert isinstance(error, ModelNotFound)
    assert isinstance(error, StreamError)


@pytest.mark.parametrize(
    ("code", "retryable"), [(429, True), (503, True), (500, True), (501, False), (400, False)]
)
def test_a_remote_models_error_line_may_be_repeated_if_its_status_says_so(code: int, retryable: bool) -> None:
    error = streamed("odd", CHAT, StatusCode=code, Status="x")
    assert (type(error), error.retryable) == (StreamError, retryable)


def test_an_error_line_that_says_nothing_is_told_as_such() -> None:
    assert "did not say which" in str(streamed(""))
    assert (
        str(streamed("unauthorized", CHAT, signin_url=SIGNIN)) == f"unauthorized (sign in at {SIGNIN} first)"
    )


# -- any answer at all

texts = st.text(max_size=60)
sentences = st.sampled_from([RUNNER_STOPPED, PROMPT_TOO_LONG, BUSY, SIGNIN, "model 'x' not found"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | sentences,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["error", "message", "code", "StatusCode", "Status", "signin_url", "retry_after", "n_ctx"]
)
objects = st.dictionaries(names, values | st.dictionaries(names, values, max_size=4), max_size=5)
bodies = st.binary(max_size=400) | (objects | values).map(lambda value: json.dumps(value).encode())
header_names = st.sampled_from(["location", "retry-after", "date", "content-type", "authorization", "x-key"])
printable = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=300)
paths = st.sampled_from([CHAT, EMBED, PULL, PUSH, CREATE, "/api/blobs/x", "/v1/api/chat"]) | printable


@given(st.integers(100, 999), st.dictionaries(header_names, printable), bodies, paths, st.none() | st.text())
@example(500, {}, json.dumps({"error": "\x00" * 9000}).encode(), CHAT, None)
@example(302, {"location": "\x00" * 9000}, b"", CHAT, None)
@example(404, {}, b'{"error": "model"}', CHAT, "\x00" * 9000)
@example(404, {}, b"\x00" * 9000, "/\x00" * 9000, "m")
@example(400, {}, b"[" * 100_000, CHAT, "m")
def test_any_answer_is_a_short_printable_error_that_pickles(
    status: int, headers: dict[str, str], body: bytes, path: str, model: str | None
) -> None:
    error = refusal(status, headers, body, path=path, model=model)
    assert isinstance(error, ResponseError)
    check_error(error, body, model)
    assert f"HTTP status {status}" in str(error)
    assert error.status == status
    assert error.retry_after is None or 0 <= error.retry_after <= 366 * 86400


@given(bodies, paths, st.none() | st.text())
@example(json.dumps({"error": "\x00" * 9000}).encode(), PULL, "m")
def test_any_line_is_a_short_printable_error_that_pickles(line: bytes, path: str, model: str | None) -> None:
    error = stream_refusal(line, path=path, model=model)
    assert isinstance(error, StreamError)
    check_error(error, line, model)


def check_error(error: OllamaError, body: bytes, model: str | None) -> None:
    message = str(error)
    assert 0 < len(message) <= 1000
    assert message.isprintable()
    assert (error.message, error.body, error.model) == (message, body, model)
    same: Any = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(same), vars(same), str(same)) == (type(error), vars(error), message)


@given(st.integers(100, 999), st.lists(header_names | st.text("abc-", min_size=1), max_size=5), bodies)
def test_no_secret_of_a_header_is_ever_shown(status: int, named: list[str], body: bytes) -> None:
    headers = dict.fromkeys(named, "Bearer s3cret")
    headers["location"] = "https://user:s3cret@host/path?key=s3cret#s3cret"
    error = refusal(status, headers, body, path="/api/chat?key=s3cret", model="m")
    assert "s3cret" not in str(error) + repr(error) + repr(vars(error))


def test_hostile_words_of_any_length_are_searched_and_told() -> None:
    hostile = [
        "open /manifests/" * 100_000,
        "model '" * 100_000,
        "(1 tokens) exceeds " * 100_000,
        "https://" * 100_000,
    ]
    for text in hostile:
        assert len(str(refused(500, text))) <= 1000
        assert len(str(streamed(text))) <= 1000


# -- the server's own words


@pytest.mark.parametrize("exchange", RECORDED_REFUSALS, ids=lambda each: f"{each.version}/{each.name}")
def test_every_recorded_error_is_told_in_the_servers_words(exchange: RecordedExchange) -> None:
    body = error_line(exchange) or exchange.response.body
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
        (b'{"error": "one\\n two\\r\\n\\tthree"}', "one two three"),
        (b'{"error": "two  spaces"}', "two  spaces"),
        (b'{"error": "\\u001b[31m"}', r"\x1b[31m"),
        (b'{"error": {"message": "inside", "code": 1}}', "inside"),
        (rb'{"error": "{\"error\": \"twice\"}"}', "twice"),
        (rb'{"error": "{\"error\": {\"message\": \"{\\\"error\\\": \\\"thrice\\\"}\"}}"}', "thrice"),
        (rb'{"error": "{\"error\":{\"message\":\"failed\"}}\nout of memory"}', "failed out of memory"),
        (b'{"error": "", "Status": "429 Too Many Requests"}', "429 Too Many Requests"),
        (b'{"error": "", "Status": 429}', ""),
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
        (json.dumps({"error": "x" * 1000}).encode(), "x" * 450 + " ..."),
    ],
)
def test_an_error_body_of_any_kind_is_told_or_shown_from_its_start(body: bytes, text: str) -> None:
    assert error_text(body) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see https://h/x, please", "see https://h/x, please"),
        ("see https://h/x?", "see https://h/x?"),
        ('"https://h/x?a=s3cret"', '"https://h/x?..."'),
        ("https://h/x#s3cret end", "https://h/x?... end"),
        ("socks5://u:s3cret@h:1", "socks5://h:1"),
        ("https://u:s3cret?@h/x", "https://h/x"),
        ("mail a@b.example", "mail a@b.example"),
        ("Basic authentication required", "Basic authentication required"),
        ("bearer abcdefghijklmnop0", "bearer ..."),
    ],
)
def test_only_what_may_be_a_secret_is_left_out_of_the_servers_words(text: str, told: str) -> None:
    assert error_text(json.dumps({"error": text}).encode()) == told


@given(st.binary(max_size=300) | st.text(max_size=50).map(lambda text: json.dumps({"error": text}).encode()))
def test_no_error_body_is_too_odd_to_tell(body: bytes) -> None:
    assert len(error_text(body)) < 500
    assert error_text(body).isprintable()
    assert shown(body).isprintable()
