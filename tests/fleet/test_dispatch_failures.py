"""Dispatch, where it fails: code, status and result of each failure, whose it is, and what ends a call."""

from __future__ import annotations

import json
import logging
import math
from typing import TYPE_CHECKING, Any

import pytest
from background import background
from streams import UNFINISHED, chunk
from stub_ollama import Scripted, StubOllama

from ollama_ext import CancelToken, Client, RetryPolicy, Timeouts
from ollama_ext.errors import (
    Cancelled,
    FirstByteTimeout,
    IdleTimeout,
    InvalidArgument,
    ServerBusy,
    StreamError,
    StreamTruncated,
    TotalTimeout,
)
from ollama_ext.fleet.dispatch import Outcome, handle_request, run_request
from ollama_ext.fleet.faults import Fault
from ollama_ext.settings import Subscription
from ollama_ext.testing import Body, FakeOllama, Json, Lines, Raw, Recording, no_wait

if TYPE_CHECKING:
    from ollama_ext.events import Event

MODEL = "smollm2:135m"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
CONTINUE = {"model": MODEL, "request_type": "generate", "prompt": "Hello"}
EMBED = {"model": "all-minilm:l6-v2", "request_type": "embed", "input": ["one", "two"]}
MESSAGES = [HELLO, CONTINUE, EMBED]
PATHS = {"chat": "/api/chat", "generate": "/api/generate", "embed": "/api/embed"}
STUCK = math.inf


def path_of(message: dict[str, Any]) -> str:
    """Return the endpoint that a message leads to."""
    return PATHS[message.get("request_type", "chat")]


def failed(outcome: Outcome) -> tuple[str, int, Fault | None]:
    """Return code, status and fault of a failure."""
    assert outcome.error is not None
    return outcome.error["code"], outcome.status, outcome.fault


# -- failures


def test_a_model_that_is_not_there_is_ollamas_404_at_once(server: FakeOllama, client: Client) -> None:
    outcome = run_request({**HELLO, "model": "nope"}, client)
    assert outcome.reply() == {
        "result": {"error": "model 'nope' not found"},
        "usage": {},
        "status": 404,
        "model": "nope",
        "error": {
            "code": "ollama_error",
            "message": "HTTP status 404: model 'nope' not found (pull_model('nope') fetches it, "
            "list_models() lists what is there)",
            "retryable": False,
        },
    }
    assert outcome.fault is Fault.MODEL_MISSING
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "the body must be a JSON object, not null"),
        ([{}], "the body must be a JSON object, not a list"),
        ({"model": {"name": "x"}}, "model must be a string, not an object"),
        ({"model": True}, "model must be a string, not a boolean"),
        ({"model": 1.5}, "model must be a string, not a number"),
        ({"model": ""}, "model is empty: name one, or leave it out for that of the queue"),
        (
            {"model": "m" * 121},
            f"this queue serves the model 'n', not '{'m' * 120}...': send it to the queue",
        ),
        ({"model": "m" * 120}, f"this queue serves the model 'n', not '{'m' * 120}': send it to the queue"),
    ],
    ids=["null", "list", "object", "boolean", "number", "empty", "long", "not too long"],
)
def test_a_refusal_names_what_is_wrong(body: Any, words: str, client: Client) -> None:
    reply = handle_request(body, client, Subscription(type="chat", model="n"))
    assert reply["error"]["message"].startswith(words)
    assert reply["error"]["retryable"] is False


@pytest.mark.parametrize("message", MESSAGES, ids=path_of)
def test_no_server_is_no_result(message: dict[str, Any]) -> None:
    with FakeOllama() as server, Client(server.url, retry=None) as client:
        server.stop()
        outcome = run_request(message, client)
    assert failed(outcome) == ("ollama_unavailable", 503, Fault.MACHINE)
    assert (outcome.result, outcome.usage, outcome.model) == (None, {}, message["model"])
    assert outcome.error is not None
    assert outcome.error["retryable"] is True


def test_a_full_queue_of_ollama_is_its_503(server: FakeOllama, client: Client) -> None:
    server.on("POST", "/api/generate", Recording("generate-busy"))
    outcome = run_request(CONTINUE, client, retry=None)
    assert failed(outcome) == ("ollama_error", 503, Fault.MACHINE)
    assert outcome.result == Recording("generate-busy").exchange.response.json()
    assert isinstance(outcome.failure, ServerBusy)


def test_the_policy_of_a_client_holds_unless_another_is_given(server: FakeOllama) -> None:
    server.on(
        "POST",
        "/api/chat",
        Json({"error": "busy"}, 503),
        Json({"error": "busy"}, 503),
        Lines(chunk(done=True)),
    )
    with Client(server.url, retry=RetryPolicy(attempts=2)) as client, no_wait():
        assert run_request(HELLO, client, retry=None).status == 503
        assert handle_request(HELLO, client)["status"] == 200
    assert len(server.requests) == 3


def test_an_error_line_in_a_stream_is_a_500_with_that_line_as_the_result(
    server: FakeOllama, client: Client
) -> None:
    server.on("POST", "/api/chat", Lines(chunk("Hi"), {"error": "went wrong", "more": None}))
    outcome = run_request(HELLO, client)
    assert failed(outcome) == ("ollama_error", 500, Fault.UNSURE)
    assert outcome.result == {"error": "went wrong", "more": None}
    assert (outcome.usage, outcome.first_token) == ({}, True)
    assert isinstance(outcome.failure, StreamError)


def test_an_error_line_before_anything_else_can_be_the_format(server: FakeOllama, client: Client) -> None:
    server.on("POST", "/api/chat", Lines({"error": 'invalid format: "x"; expected "json"'}))
    outcome = run_request(HELLO, client)
    assert failed(outcome) == ("ollama_error", 500, Fault.CALLER)
    assert outcome.first_token is False


@pytest.mark.parametrize("name", sorted(UNFINISHED))
def test_a_stream_that_breaks_off_has_no_result_but_an_error_line(
    name: str, server: FakeOllama, client: Client
) -> None:
    server.on("POST", "/api/generate", Recording(name))
    outcome = run_request(CONTINUE, client)
    assert outcome.fault is Fault.MACHINE
    assert outcome.first_token is True
    assert outcome.usage == {}
    if name == "generate-stream-runner-killed":
        assert failed(outcome)[:2] == ("ollama_error", 500)
        assert outcome.result == {"error": "an error was encountered while running the model: unexpected EOF"}
    else:
        assert failed(outcome)[:2] == ("ollama_unavailable", 503)
        assert outcome.result is None
        assert isinstance(outcome.failure, StreamTruncated)


def test_half_a_reply_with_status_200_is_none(server: FakeOllama, client: Client) -> None:
    server.on("POST", "/api/chat", Lines(chunk("Hi"), chunk("there")))
    outcome = run_request(HELLO, client)
    assert failed(outcome) == ("ollama_unavailable", 503, Fault.MACHINE)
    assert outcome.result is None


@pytest.mark.parametrize("message", MESSAGES, ids=path_of)
def test_something_else_than_ollama_is_shown_as_it_answered(
    message: dict[str, Any], server: FakeOllama, client: Client
) -> None:
    for status, wanted in ((200, 500), (502, 502)):
        server.on("POST", path_of(message), Body("<p>Welcome</p>", status))
        outcome = run_request(message, client, retry=None)
        assert failed(outcome) == ("ollama_error", wanted, Fault.UNSURE)
        assert outcome.result == "<p>Welcome</p>"


def test_vectors_that_cannot_be_told_apart_are_no_reply(server: FakeOllama, client: Client) -> None:
    server.on("POST", "/api/embed", Json({"model": "m", "embeddings": [[1.0]]}))
    outcome = run_request(EMBED, client)
    assert failed(outcome) == ("ollama_error", 500, Fault.UNSURE)
    assert outcome.result is None


def test_a_host_that_refuses_without_a_word_has_an_empty_result(server: FakeOllama, client: Client) -> None:
    server.on("POST", "/api/chat", Recording("forbidden-host"))
    outcome = run_request(HELLO, client)
    assert failed(outcome) == ("ollama_error", 403, Fault.UNSURE)
    assert outcome.result == ""


def test_a_dead_runner_behind_embed_is_the_machines(server: FakeOllama, client: Client) -> None:
    answer = {"error": 'do embedding request: Post "http://127.0.0.1:43591/embedding": EOF'}
    server.on("POST", "/api/embed", Json(answer, 400))
    outcome = run_request(EMBED, client, retry=None)
    assert failed(outcome) == ("ollama_error", 400, Fault.MACHINE)
    assert outcome.result == answer


def test_a_closed_client_is_a_failure_of_ours(client: Client) -> None:
    client.close()
    assert failed(run_request(HELLO, client)) == ("internal", 500, Fault.UNSURE)


def test_an_argument_that_cannot_be_right_is_not_the_callers_fault(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It is of the program around: the reply says ``internal``, the log says what."""
    wrong: Any = "soon"
    with caplog.at_level(logging.ERROR):
        outcome = run_request(HELLO, client, timeout=wrong)
    assert failed(outcome) == ("internal", 500, Fault.UNSURE)
    assert "timeout must be" in caplog.text
    assert outcome.failure is None


def test_what_fails_here_is_logged_without_the_text_of_the_message(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    def listen(_event: Event) -> None:
        raise LookupError("of the listener")

    secret = {**HELLO, "messages": [{"role": "user", "content": "the code is 4711"}]}
    reply = handle_request(secret, client, on_event=listen)
    assert reply["error"] == {
        "code": "internal",
        "message": "LookupError: the log says more",
        "retryable": False,
    }
    assert "of the listener" in caplog.text
    assert MODEL in caplog.text
    assert "4711" not in caplog.text


def test_an_argument_error_of_the_client_is_an_invalid_request() -> None:
    server = StubOllama.always(Scripted(refuses=InvalidArgument("no", argument="model")))
    assert failed(run_request(HELLO, server.client())) == ("invalid_request", 400, Fault.CALLER)


# -- limits


def test_a_deadline_ends_a_stream_that_goes_on(server: FakeOllama, client: Client) -> None:
    server.on("POST", "/api/chat", Lines(chunk("Hi"), chunk(done=True)).stall(STUCK, at=1))
    outcome = run_request(HELLO, client, timeout=0.1)
    assert failed(outcome) == ("deadline_expired", 408, Fault.DEADLINE)
    assert (outcome.result, outcome.usage) == (None, {})
    assert isinstance(outcome.failure, TotalTimeout)
    server.wait_for_disconnect()


@pytest.mark.parametrize("message", MESSAGES, ids=path_of)
def test_no_first_token_in_time_is_the_machines(
    message: dict[str, Any], server: FakeOllama, client: Client
) -> None:
    server.on("POST", path_of(message), Raw(b"").delay(STUCK))
    outcome = run_request(message, client, timeout=Timeouts(first_byte=0.1), retry=None)
    assert failed(outcome) == ("ollama_unavailable", 503, Fault.MACHINE)
    assert isinstance(outcome.failure, FirstByteTimeout)
    assert outcome.first_token is False


def test_silence_between_tokens_is_the_machines(server: FakeOllama, client: Client) -> None:
    first = len(json.dumps(chunk("Hi"), separators=(",", ":"))) + 1
    server.on("POST", "/api/chat", Lines(chunk("Hi"), chunk(done=True)).stall(STUCK, at=first))
    outcome = run_request(HELLO, client, timeout=Timeouts(between=0.1))
    assert failed(outcome) == ("ollama_unavailable", 503, Fault.MACHINE)
    assert isinstance(outcome.failure, IdleTimeout)
    assert outcome.first_token is True


def test_without_a_limit_of_its_own_a_message_has_the_clients(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Raw(b"").delay(STUCK))
    with Client(server.url, timeout=0.1) as client:
        assert handle_request(HELLO, client)["status"] == 408


def test_no_limit_at_all_is_none(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines(chunk(done=True)).delay(0.2))
    with Client(server.url, timeout=0.1) as client:
        assert handle_request(HELLO, client, timeout=None)["status"] == 200


@pytest.mark.parametrize("message", MESSAGES, ids=path_of)
def test_cancelling_ends_the_call_before_an_answer(
    message: dict[str, Any], server: FakeOllama, client: Client
) -> None:
    server.on("POST", path_of(message), Raw(b"").delay(STUCK))
    token = CancelToken()
    with background(lambda: run_request(message, client, cancel=token)) as call:
        server.wait_for_request()
        token.cancel()
        outcome = call.result()
    assert failed(outcome) == ("cancelled", 499, Fault.CANCELLED)
    assert isinstance(outcome.failure, Cancelled)
    server.wait_for_disconnect()


def test_cancelling_by_what_listens_ends_the_call_in_the_middle(server: FakeOllama, client: Client) -> None:
    """A caller that has gone is noticed by its first delta that nobody takes; then Ollama stops."""
    lines = Lines(*(chunk(str(number)) for number in range(50)), chunk(done=True))
    server.on("POST", "/api/chat", lines.stall(STUCK, at=len(lines.body)))
    token, events = CancelToken(), list[Any]()

    def listen(event: Event) -> None:
        events.append(event)
        token.cancel()

    outcome = run_request(HELLO, client, cancel=token, on_event=listen)
    assert failed(outcome) == ("cancelled", 499, Fault.CANCELLED)
    assert len(events) == 1
    assert (outcome.result, outcome.first_token) == (None, True)
    server.wait_for_disconnect()


def test_a_token_that_is_used_up_sends_nothing(server: FakeOllama, client: Client) -> None:
    token = CancelToken()
    token.cancel()
    for message in MESSAGES:
        assert handle_request(message, client, cancel=token)["error"]["code"] == "cancelled"
    assert server.requests == []
