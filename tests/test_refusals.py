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


def recorded_error(exchange: RecordedExchange) -> OllamaError:
    answer, path = exchange.response, exchange.request.path
    asked = exchange.request.json() if (exchange.request.body or b"").startswith(b"{") else {}
    if (line := error_line(exchange)) is not None:
        return stream_refusal(line, status=answer.status, path=path, model=asked.get("model"))
    headers = {name.lower(): value for name, value in answer.headers}
    return refusal(answer.status, headers, answer.body, path=path, model=asked.get("model"))


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
        (400, 'name "a b" is invalid', "/api/delete", BadRequest, False, "model[:tag]"),
        (400, 'source "a b" is invalid', "/api/copy", BadRequest, False, "model[:tag]"),
        (400, 'use either :local or :cloud, not both: "m:cloud:local"', CHAT, BadRequest, False, ""),
        # models of ollama.com
        (403, "ollama cloud is disabled: remote model is unavailable", CHAT, Forbidden, False, "OLLAMA_NO_CLOUD"),
        (400, "this server cannot run this remote model", CHAT, BadRequest, False, "OLLAMA_REMOTES"),
        (402, "payment required", CHAT, Forbidden, False, "https://ollama.com/settings"),
        (403, "this model requires a subscription", CHAT, Forbidden, False, ""),
        (502, 'Post "https://ollama.com:443/api/chat": dial tcp: i/o timeout', CHAT, ServerError, True, "reach"),
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
        (500, "timed out waiting for llama runner to start - ", CHAT, ServerError, True, "OLLAMA_LOAD_TIMEOUT"),
        (500, "something that nobody knows", CHAT, ServerError, True, ""),
        (499, "request canceled", CHAT, ServerError, True, "a proxy in between"),
        # what the caller is to blame for, although it is 500
        (500, 'invalid format: "\\"x\\""; expected "json" or a valid JSON Schema object', CHAT, ServerError, False, "="),
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
        (400, 'do embedding request: Post "http://127.0.0.1:4/v1/embeddings": EOF', EMBED, ServerError, True, "died"),
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
        (500, "open /m/manifests/r/l/m/latest: no such file or directory", PUSH, ModelNotFound, False, "pull_model"),
        (404, 'blob "sha256:00" not found', "/api/blobs/sha256:00", RouteNotFound, False, "/api/blobs/"),
        # accounts
        (401, "unauthorized", "/api/me", Unauthorized, False, "ollama signin"),
        (401, "you are not currently signed in", "/api/signout", Unauthorized, False, "nothing to sign out of"),
        (500, "there was an error signing out", "/api/signout", ServerError, True, ""),
        (503, "account unavailable", "/api/me", ServerBusy, True, "offline"),
        (429, "too many requests", CHAT, RateLimited, True, "wait"),
        # what only proxies say
        (407, "proxy", CHAT, Unauthorized, False, "a proxy wants"),
        (408, "slow", CHAT, ServerError, True, "waited too long"),
        (501, "not here", CHAT, ServerError, False, ""),
        (504, "gateway", CHAT, ServerError, True, ""),
        (599, "odd", CHAT, ServerError, True, ""),
        (418, "teapot", CHAT, BadRequest, False, ""),
        (304, "odd", CHAT, ResponseError, False, ""),
        (999, "odd", CHAT, ResponseError, False, ""),
    ],
)
def test_a_text_of_the_server_is_told_and_becomes_the_error_of_its_cause(
    status: int, text: str, path: str, kind: type[ResponseError], retryable: bool, remedy: str
) -> None:
    error = refused(status, text, path)
    assert (type(error), error.retryable) == (kind, retryable)
    start = f"HTTP status {status}: {text.strip()}"
    assert str(error).startswith(start)
    assert remedy in str(error).removeprefix(start)
    assert bool(remedy) == (str(error) != start)
    assert (error.status, error.model, error.path_is_unset) == (status, "m", True) if False else True
