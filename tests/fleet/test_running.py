"""What a job thread makes of one delivery: whose failure it was, and what is to become of the request."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from background import background
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from stub_ollama import Scripted, StubOllama

from ollama_ext import Client
from ollama_ext.errors import OllamaError
from ollama_ext.fleet.jobs import Delivery, Job
from ollama_ext.fleet.messages import Properties
from ollama_ext.fleet.running import Assignment, Fate, Runner, Verdict
from ollama_ext.settings import Settings, Subscription
from ollama_ext.testing import FakeOllama, Json, Lines, Raw, Recording

if TYPE_CHECKING:
    from ollama_ext.testing import Response

MODEL = "smollm2:135m"
CHAT = Subscription(type="chat", model=MODEL)
EMBED = Subscription(type="embed", model="all-minilm:l6-v2")
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
REPLY_TO = "llm.reply.tests.1"
REFUSED = Raw(b"").cut(at=0, how="reset")  # as when Ollama is killed


def settings(**overrides: Any) -> Settings:
    mapping = {"subscriptions": [{"type": "chat", "model": MODEL}]}
    paths = {name.replace("__", "."): value for name, value in overrides.items()}
    return Settings.from_mapping(mapping, overrides=paths, environ={})


def assigned(
    body: object = HELLO,
    *,
    attempt: int = 1,
    subscription: Subscription = CHAT,
    reply_to: str | None = REPLY_TO,
    headers: dict[str, Any] | None = None,
) -> Assignment:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    delivery = Delivery(
        queue="q",
        tag=1,
        epoch=1,
        redelivered=attempt > 1,
        properties=Properties(reply_to=reply_to, correlation_id="c", headers=headers or {}),
        body=content,
        count=attempt - 1,
    )
    return Assignment(Job(delivery, delivery.key), subscription, attempt, 0.0)


def judged(
    client: Client, assignment: Assignment | None = None, *, job_limit: float = 60.0, **overrides: Any
) -> Verdict:
    told = settings(**overrides)
    told = structs.replace(told, worker=structs.replace(told.worker, job_limit=job_limit))  # files have >= 1
    return Runner(told, client, ["llm.request"]).run(assignment or assigned())


def body(verdict: Verdict) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(verdict.body)
    return decoded


def fail(server: FakeOllama, *paths: str, answer: Response) -> None:
    for path in paths or ("/api/chat", "/api/generate", "/api/embed"):
        server.on("POST", path, answer)


# -- what is answered


def test_what_ollama_answers_goes_to_the_caller_and_says_that_the_machine_is_well(client: Client) -> None:
    verdict = judged(client)
    assert (verdict.fate, verdict.reply_to, verdict.correlation_id) == (Fate.REPLY, REPLY_TO, "c")
    assert (verdict.machine, verdict.code, verdict.sick) == (False, None, False)
    assert body(verdict)["result"]["message"]["content"]
    assert verdict.run


def test_every_run_has_a_name_of_its_own(client: Client) -> None:
    assert judged(client).run != judged(client).run


def test_a_request_without_an_address_is_run_and_its_answer_has_nowhere_to_go(
    server: FakeOllama, client: Client
) -> None:
    verdict = judged(client, assigned(reply_to=None))
    assert (verdict.fate, verdict.reply_to) == (Fate.REPLY, None)
    assert [each.path for each in server.requests] == ["/api/chat"]


def test_what_is_no_request_is_refused_without_asking_ollama(server: FakeOllama, client: Client) -> None:
    verdict = judged(client, assigned(b"{"))
    assert (verdict.fate, verdict.code, verdict.machine) == (Fate.REPLY, "invalid_request", None)
    assert server.requests == []


def test_an_address_that_is_not_allowed_is_not_run_and_not_answered(
    server: FakeOllama, client: Client
) -> None:
    verdict = judged(client, assigned(reply_to="billing"))
    assert verdict.fate is Fate.DROP
    assert "worker.reply_to_allow" in verdict.why
    assert server.requests == []


def test_a_request_that_is_refused_and_has_a_forbidden_address_is_not_answered(client: Client) -> None:
    assert judged(client, assigned(b"[]", reply_to="llm.request.ollama.chat.m")).fate is Fate.DROP


def test_another_model_is_refused_without_asking_ollama(server: FakeOllama, client: Client) -> None:
    verdict = judged(client, assigned({**HELLO, "model": "llama3.2"}))
    assert (verdict.fate, verdict.code, verdict.machine) == (Fate.REPLY, "model_mismatch", None)
    assert server.requests == []


def test_a_bug_of_ours_is_answered_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ollama_ext.fleet.running.parse_request", bug)
    verdict = judged(client)
    assert (verdict.fate, verdict.code, verdict.reply_to) == (Fate.REPLY, "internal", REPLY_TO)
    assert body(verdict)["error"]["message"] == "the worker failed: ZeroDivisionError"


# -- the caller's failure


def test_a_400_is_the_callers_and_no_probe_is_made(server: FakeOllama, client: Client) -> None:
    fail(server, answer=Json({"error": "invalid options"}, 400))
    verdict = judged(client)
    assert (verdict.fate, verdict.code, verdict.machine) == (Fate.REPLY, "ollama_error", None)
    assert body(verdict)["result"] == {"error": "invalid options"}
    assert len(server.requests) == 1


def test_a_500_after_which_a_probe_passes_is_the_callers(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=Json({"error": "something in the template"}, 500))
    verdict = judged(client)
    assert (verdict.fate, verdict.code, verdict.machine) == (Fate.REPLY, "ollama_error", None)
    assert body(verdict)["status"] == 500
    assert body(verdict)["result"] == {"error": "something in the template"}
    assert [each.path for each in server.requests] == [
        "/api/chat",
        "/api/version",
        "/api/tags",
        "/api/generate",
    ]


# -- the machine's failure


def test_a_500_after_which_the_probe_fails_goes_back_and_says_that_the_machine_is_sick(
    server: FakeOllama, client: Client
) -> None:
    fail(server, answer=Json({"error": "something in the template"}, 500))
    verdict = judged(client)
    assert (verdict.fate, verdict.machine, verdict.sick) == (Fate.REQUEUE, True, True)
    assert verdict.body == b""


def test_an_ollama_that_breaks_off_goes_back_and_is_no_sick_machine_while_its_probe_passes(
    server: FakeOllama, client: Client
) -> None:
    fail(server, "/api/chat", answer=Recording("chat-stream").cut(at=100, how="reset"))
    verdict = judged(client)
    assert (verdict.fate, verdict.machine, verdict.sick) == (Fate.REQUEUE, True, False)


def test_no_ollama_at_all_goes_back() -> None:
    with FakeOllama() as server, Client(server.url) as client:
        server.stop()
        verdict = judged(client)
    assert (verdict.fate, verdict.machine, verdict.sick) == (Fate.REQUEUE, True, True)


def test_silence_before_the_first_token_goes_back(server: FakeOllama, client: Client) -> None:
    fail(server, answer=Recording("chat-stream").delay(math.inf))
    verdict = judged(client, ollama__first_token=0.1)
    assert (verdict.fate, verdict.machine, verdict.sick) == (Fate.REQUEUE, True, True)


def test_silence_between_two_tokens_goes_back(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=Recording("chat-stream").stall(math.inf, at=200))
    verdict = judged(client, ollama__between_tokens=0.1)
    assert (verdict.fate, verdict.machine, verdict.sick) == (Fate.REQUEUE, True, False)


def test_a_failure_of_ollama_is_not_tried_again_here_as_the_queue_does_that(
    server: FakeOllama, client: Client
) -> None:
    fail(server, "/api/chat", answer=REFUSED)
    judged(client)
    assert [each.path for each in server.requests].count("/api/chat") == 1


def test_a_probe_loads_the_model_that_is_served_and_as_it_is_served(
    server: FakeOllama, client: Client
) -> None:
    fail(server, "/api/chat", answer=REFUSED)
    own = Subscription(type="chat", model=MODEL, options={"num_ctx": 512}, keep_alive="30m")
    judged(client, assigned(subscription=own))
    load = server.requests[-1]
    assert load.path == "/api/generate"
    assert {name: load.json().get(name) for name in ("model", "options", "keep_alive")} == {
        "model": MODEL,
        "options": {"num_ctx": 512},
        "keep_alive": "30m",
    }
    assert "prompt" not in load.json()


def test_a_probe_of_an_embedding_model_loads_it_too(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/embed", answer=REFUSED)
    verdict = judged(client, assigned({"input": "x"}, subscription=EMBED))
    assert verdict.fate is Fate.REQUEUE
    assert server.requests[-1].json()["model"] == EMBED.model


def test_a_model_that_is_missing_goes_back_without_a_word_on_the_machine(
    server: FakeOllama, client: Client
) -> None:
    fail(server, "/api/chat", answer=Json({"error": f"model '{MODEL}' not found"}, 404))
    verdict = judged(client)
    assert (verdict.fate, verdict.machine, verdict.sick) == (Fate.MISSING, None, False)


# -- giving up


def test_the_last_delivery_that_a_machine_fails_is_a_dead_letter_and_an_error(
    server: FakeOllama, client: Client
) -> None:
    fail(server, answer=Json({"error": "llama runner process has terminated"}, 500))
    verdict = judged(client, assigned(attempt=3))
    assert (verdict.fate, verdict.code, verdict.machine) == (Fate.DEAD, "delivery_limit", True)
    error = body(verdict)["error"]
    assert error["code"] == "delivery_limit"
    assert error["message"].startswith("given up after 3 runs (worker.max_deliveries); the last failure: ")
    assert body(verdict)["result"] == {"error": "llama runner process has terminated"}


def test_a_request_that_ended_each_worker_that_took_it_is_not_run_again(
    server: FakeOllama, client: Client
) -> None:
    verdict = judged(client, assigned(attempt=4))
    assert (verdict.fate, verdict.code, verdict.machine) == (Fate.DEAD, "delivery_limit", None)
    assert "given up after 3 runs" in body(verdict)["error"]["message"]
    assert "each worker that took it ended" in body(verdict)["error"]["message"]
    assert server.requests == []


def test_a_model_that_is_missing_on_the_last_delivery_is_ollamas_404_and_a_dead_letter(
    server: FakeOllama, client: Client
) -> None:
    said = {"error": f"model '{MODEL}' not found"}
    fail(server, "/api/chat", answer=Json(said, 404))
    verdict = judged(client, assigned(attempt=3))
    assert (verdict.fate, verdict.reply_to) == (Fate.DEAD, REPLY_TO)
    assert (body(verdict)["status"], body(verdict)["result"]) == (404, said)
    assert body(verdict)["error"]["code"] == "ollama_error"


@pytest.mark.parametrize("allowed", [1, 2])
def test_how_often_is_a_setting(allowed: int, server: FakeOllama, client: Client) -> None:
    fail(server, answer=REFUSED)
    for attempt in range(1, allowed + 1):
        verdict = judged(client, assigned(attempt=attempt), worker__max_deliveries=allowed)
        assert verdict.fate is (Fate.DEAD if attempt == allowed else Fate.REQUEUE)


# -- limits


def test_a_job_that_takes_too_long_is_a_408(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=Recording("chat-stream").stall(math.inf, at=200))
    verdict = judged(client, job_limit=0.1)
    assert (verdict.fate, verdict.code, verdict.machine) == (Fate.REPLY, "deadline_expired", None)
    assert body(verdict)["status"] == 408


def test_a_caller_may_allow_less_time(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=Recording("chat-stream").stall(math.inf, at=200))
    verdict = judged(client, assigned(headers={"x-run-limit-ms": 100}))
    assert verdict.code == "deadline_expired"


def test_a_caller_may_not_allow_more_time(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=Recording("chat-stream").stall(math.inf, at=200))
    verdict = judged(client, assigned(headers={"x-run-limit-ms": 10**9}), job_limit=0.1)
    assert verdict.code == "deadline_expired"


def test_a_machine_that_fails_past_the_deadline_has_no_second_try(server: FakeOllama, client: Client) -> None:
    fail(server, answer=REFUSED)
    verdict = judged(client, assigned(headers={"x-run-limit-ms": 0.000001}))
    assert (verdict.fate, verdict.code) in [
        (Fate.DEAD, "deadline_expired"),  # the failure came first
        (Fate.REPLY, "deadline_expired"),
    ]


def test_a_reply_that_is_too_long_is_an_error_that_fits(client: Client) -> None:
    verdict = judged(client, worker__max_reply_bytes=1024)
    assert len(verdict.body) <= 1024
    assert verdict.fate is Fate.REPLY


# -- cancelling


def test_a_caller_who_has_gone_is_answered_nothing(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=Recording("chat-stream").stall(math.inf, at=200))
    assignment = assigned()
    with background(lambda: judged(client, assignment)) as verdict:
        server.wait_for_request()
        assignment.caller_gone = True
        assignment.cancel.cancel()
        assert verdict.result(20).fate is Fate.DROP
    server.wait_for_disconnect()


def test_what_a_stop_cancels_is_left_to_the_broker(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=Recording("chat-stream").stall(math.inf, at=200))
    assignment = assigned()
    with background(lambda: judged(client, assignment)) as verdict:
        server.wait_for_request()
        assignment.cancel.cancel()
        assert verdict.result(20).fate is Fate.LEAVE


def test_a_probe_that_is_cancelled_says_nothing_of_the_machine(server: FakeOllama, client: Client) -> None:
    fail(server, "/api/chat", answer=REFUSED)
    server.on("GET", "/api/version", Json({"version": "1"}).delay(math.inf))
    assignment = assigned()
    with background(lambda: judged(client, assignment)) as verdict:
        server.wait_for_request(2)
        assignment.cancel.cancel()
        assert verdict.result(20).fate is Fate.LEAVE
        assert not verdict.result(20).sick


# -- laws

STATUSES = [200, 204, 400, 401, 404, 405, 413, 429, 500, 502, 503]
TEXTS = ["", "model 'x' not found", "CUDA error: out of memory", "exceeds context", "odd"]


@st.composite
def answers(draw: st.DrawFn) -> Scripted:
    """Draw what a server may do to a request."""
    status = draw(st.sampled_from(STATUSES))
    match draw(st.sampled_from(["nothing", "error", "noise", "refusal"])):
        case "nothing":
            return Scripted(status)
        case "error":
            return Scripted(status, (json.dumps({"error": draw(st.sampled_from(TEXTS))}).encode(),))
        case "noise":
            return Scripted(200, (draw(st.binary(max_size=30)),))
        case _:
            return Scripted(refuses=draw(st.sampled_from([OllamaError("x"), ValueError("y")])))


@given(
    st.binary(max_size=20) | st.sampled_from([json.dumps(HELLO).encode(), b"{}", b"[]", b'{"reply_to": 1}']),
    answers(),
    st.integers(1, 5),
    st.sampled_from([None, REPLY_TO, "billing", "llm.request.x"]),
)
def test_whatever_comes_there_is_a_verdict_and_only_allowed_addresses_are_answered(
    content: bytes, answer: Scripted, attempt: int, reply_to: str | None
) -> None:
    client = StubOllama.always(answer).client()
    verdict = judged(client, assigned(content, attempt=attempt, reply_to=reply_to))
    assert verdict.fate is not Fate.LEAVE
    assert verdict.reply_to in (None, REPLY_TO)
    if verdict.fate in (Fate.REQUEUE, Fate.MISSING):
        assert attempt < 3, "a request that failed as often as it may goes back again"
        assert verdict.body == b""
    if verdict.fate in (Fate.REPLY, Fate.DEAD):
        assert body(verdict)["correlation_id"] == "c"
        assert ("error" in body(verdict)) == (verdict.code is not None)


def test_lines_are_one_answer(server: FakeOllama, client: Client) -> None:
    told = {"model": MODEL, "created_at": "2026-11-25T12:00:00Z", "message": {"role": "assistant"}}
    first, last = told | {"done": False}, told | {"done": True, "done_reason": "stop", "eval_count": 2}
    first["message"] = {"role": "assistant", "content": "Hi"}
    last["message"] = {"role": "assistant", "content": ""}
    fail(server, "/api/chat", answer=Lines(first, last))
    assert body(judged(client, assigned({**HELLO, "stream": True})))["result"]["message"]["content"] == "Hi"
