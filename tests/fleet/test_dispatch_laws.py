"""Dispatch: what holds for any message, any subscription and any Ollama, in the words of the protocol."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from dispatch_cases import (
    MODELS,
    OTHERS,
    TABLE,
    Unspeakable,
    failures,
    fields,
    json_values,
    messages,
    request_types,
    servers,
    subscriptions,
    succeeding,
    types,
    values,
)
from hypothesis import example, given
from hypothesis import strategies as st
from ollama_openapi.types import UNSET
from stub_ollama import Scripted, Sent, StubOllama

from ollama_ext import RetryPolicy
from ollama_ext.errors import ConnectionFailed
from ollama_ext.fleet.dispatch import Outcome, handle_request, run_request
from ollama_ext.fleet.faults import Fault
from ollama_ext.settings import Subscription
from ollama_ext.testing import no_wait
from ollama_ext.usage import EMPTY_USAGE

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = set(EMPTY_USAGE.to_dict())
ENDPOINTS = {"/api/chat", "/api/generate", "/api/embed"}
CODES = {
    "invalid_request": 400,
    "model_mismatch": 404,
    "deadline_expired": 408,
    "cancelled": 499,
    "internal": 500,
    "ollama_unavailable": 503,
}


def asked(message: Any, subscription: Subscription | None = None) -> Sent:
    """Return the one request that a message leads to."""
    server = StubOllama(succeeding)
    handle_request(message, server.client(), subscription)
    (sent,) = server.requests
    return sent


# -- laws


@given(
    body=json_values | messages() | fields,
    subscription=st.none() | subscriptions() | subscriptions(model="*", type="*"),
    answer=servers(),
)
@example(
    body={"model": "m"}, subscription=None, answer=StubOllama.always(Scripted(refuses=Unspeakable())).answer
)
def test_any_message_gets_one_reply_of_one_shape(
    body: Any, subscription: Subscription | None, answer: Callable[[str, Any], Scripted]
) -> None:
    """Whatever the body, the subscription and the server: no exception, but a reply that JSON can hold.

    It has exactly ``result``, ``usage``, ``status`` and ``model``, after a failure also ``error``. At most
    one request reaches Ollama, by POST and at one of three endpoints.
    """
    server = StubOllama(answer)
    outcome = run_request(body, server.client(), subscription, retry=None)
    reply = outcome.reply()
    assert len(server.requests) <= 1
    assert {(sent.method, sent.path) for sent in server.requests} <= {("POST", path) for path in ENDPOINTS}
    assert msgspec.json.decode(msgspec.json.encode(reply)) == reply
    assert reply.keys() - {"error"} == {"result", "usage", "status", "model"}
    assert reply["model"] is None or isinstance(reply["model"], str)
    assert_one_story(outcome)


def assert_one_story(outcome: Outcome) -> None:
    """Assert that the parts of an outcome agree on whether, and how, it failed."""
    reply = outcome.reply()
    if "error" not in reply:
        assert reply["usage"].keys() == USAGE
        assert all(type(count) is int for count in reply["usage"].values())
        assert 200 <= reply["status"] < 300
        assert isinstance(reply["result"], dict)
        assert (outcome.fault, outcome.failure) == (None, None)
        return
    assert reply["usage"] == {}
    assert reply["error"].keys() == {"code", "message", "retryable"}
    assert reply["error"]["message"]
    assert type(reply["error"]["retryable"]) is bool
    code = reply["error"]["code"]
    assert reply["status"] == CODES.get(code, reply["status"])
    if code == "ollama_error":
        assert reply["status"] >= 400
    else:
        assert code in CODES
        assert reply["result"] is None
    assert isinstance(outcome.fault, Fault)
    assert (outcome.fault is Fault.DEADLINE) == (code == "deadline_expired")
    assert (outcome.fault is Fault.CANCELLED) == (code == "cancelled")


@given(messages())
def test_what_is_sent_is_what_the_table_says_and_nothing_else(message: dict[str, Any]) -> None:
    """The type decides on the endpoint; the model and the fields of the table go on, and nothing else.

    Each has the value that it had, null is as if absent, and ``stream`` is true for chat and generate.
    """
    sent = asked(message)
    kind = message.get("request_type")
    wanted = {"embed": "/api/embed", "generate": "/api/generate"}
    assert sent.path == (wanted.get(kind, "/api/chat") if isinstance(kind, str) else "/api/chat")
    passed = {name: message[name] for name in TABLE[sent.path] if message.get(name) is not None}
    if sent.path == "/api/embed" and "input" not in passed and message.get("text") is not None:
        passed["input"] = message["text"]
    stream = {} if sent.path == "/api/embed" else {"stream": True}
    assert sent.body == {"model": message["model"], **passed, **stream}


@pytest.mark.parametrize("value", ["", False, [], 0, {}, 0.0], ids=repr)
@pytest.mark.parametrize("path", sorted(TABLE))
def test_what_python_takes_for_false_is_kept(path: str, value: Any) -> None:
    """``""``, ``false``, ``[]``, ``{}`` and 0 are values: each goes on as it is, in every field."""
    message = dict.fromkeys(TABLE[path], value)
    sent = asked({**message, "model": "m", "request_type": path.rpartition("/")[2], "text": "not asked for"})
    shown = {name: sent.body[name] for name in TABLE[path]}
    assert shown == message
    assert {type(each) for each in shown.values()} == {type(value)}


@given(subscriptions(options=None, keep_alive=None), messages(), st.booleans())
def test_a_subscription_fills_what_is_absent_or_null_before_the_table(
    subscription: Subscription, message: dict[str, Any], null: bool
) -> None:
    """Without ``request_type`` and ``model``, or with null there, a message has the queue's."""
    for name in ("request_type", "model"):
        message.pop(name, None)
        if null:
            message[name] = None
    full = {**message, "request_type": subscription.type, "model": subscription.model}
    assert asked(message, subscription) == asked(full)


@given(subscriptions(), messages(), request_types.filter(lambda value: value is not None))
def test_a_type_that_a_message_has_wins_over_the_queues(
    subscription: Subscription, message: dict[str, Any], kind: Any
) -> None:
    """A ``request_type`` that is there wins, ``""``, ``false`` and other nonsense too, which is a chat."""
    message = {**message, "model": subscription.model, "request_type": kind}
    known = kind if kind == "embed" or kind == "generate" else "chat"  # noqa: PLR1714 - may be no key
    assert asked(message, subscription).path == f"/api/{known}"


@given(subscriptions(), messages())
def test_the_options_of_a_subscription_win_whole(subscription: Subscription, message: dict[str, Any]) -> None:
    """A subscription's ``options`` and ``keep_alive`` replace the caller's, whole; else the caller's pass."""
    message["model"] = subscription.model
    sent, without = asked(message, subscription), asked(message)
    for name in ("options", "keep_alive"):
        own = getattr(subscription, name)
        assert sent.body.get(name) == (without.body.get(name) if own is None else own)
    pinned = {"options", "keep_alive"}
    kind = {"request_type": subscription.type} if message.get("request_type") is None else {}
    without = asked({**message, **kind})
    assert {name: sent.body[name] for name in sent.body.keys() - pinned} == {
        name: without.body[name] for name in without.body.keys() - pinned
    }


@given(messages(), st.dictionaries(st.sampled_from(OTHERS), values))
def test_nothing_but_the_type_the_model_and_the_text_makes_a_difference(
    message: dict[str, Any], others: dict[str, Any]
) -> None:
    """``stream``, ``_debug_render_only``, ``host``, ``path`` and the like change nothing of what is sent."""
    kept = {name: message.get(name) for name in ("request_type", "model", "text")}
    assert asked({**message, **others, **kept}) == asked(message)


@given(st.sampled_from(MODELS), st.sampled_from(MODELS), types)
def test_only_the_model_of_the_queue_is_run(model: str, served: str, kind: str) -> None:
    """A model that is another than the queue's, defaults filled in and case folded, is refused, unsent."""
    server = StubOllama(succeeding)
    reply = handle_request({"model": model}, server.client(), Subscription(type=kind, model=served))
    same = {model, served} <= set(MODELS[:4]) or model == served
    assert len(server.requests) == same
    assert ("error" in reply) == (not same)
    assert reply["model"] == model
    if not same:
        assert (reply["error"]["code"], reply["status"]) == ("model_mismatch", 404)


@given(
    messages(), types, values.filter(lambda model: not (model is None or (isinstance(model, str) and model)))
)
def test_a_model_that_is_no_name_is_refused(message: dict[str, Any], kind: str, model: Any) -> None:
    """A ``model`` that is ``""``, ``false`` or no string is an invalid request in any queue, and not sent."""
    server = StubOllama(succeeding)
    for subscription in (None, Subscription(type=kind, model="llama3.2")):
        reply = handle_request({**message, "model": model}, server.client(), subscription)
        assert (reply["error"]["code"], reply["status"]) == ("invalid_request", 400)
        assert reply["model"] == ("" if model == "" else None)
    assert server.requests == []


@given(fields, st.booleans())
def test_without_a_queue_a_message_must_name_its_model(message: dict[str, Any], null: bool) -> None:
    message.pop("model", None)
    server = StubOllama(succeeding)
    reply = handle_request({**message, **({"model": None} if null else {})}, server.client())
    assert (reply["error"]["code"], reply["model"], server.requests) == ("invalid_request", None, [])
    assert reply["error"]["message"] == "the body names no model"


@given(messages(), st.booleans())
def test_a_subscription_to_all_fills_in_nothing_and_refuses_no_model(
    message: dict[str, Any], named: bool
) -> None:
    """``*`` is no model and no type: a message must name its model, and its type is a chat if it has none."""
    everything = Subscription(type="*", model="*")
    if named:
        assert asked(message, everything) == asked(message)
        return
    del message["model"]
    server = StubOllama(succeeding)
    reply = handle_request(message, server.client(), everything)
    assert (reply["error"]["code"], reply["model"], server.requests) == ("invalid_request", None, [])


@given(json_values.filter(lambda value: not isinstance(value, dict)), st.none() | subscriptions())
def test_a_body_that_is_no_object_is_refused(body: Any, subscription: Subscription | None) -> None:
    server = StubOllama(succeeding)
    reply = handle_request(body, server.client(), subscription)
    assert (reply["error"]["code"], reply["status"], server.requests) == ("invalid_request", 400, [])


@given(messages(), servers())
def test_every_event_is_told_and_its_texts_add_up_to_the_reply(
    message: dict[str, Any], answer: Callable[[str, Any], Scripted]
) -> None:
    """``on_event`` hears of each event in order; whether there was one is what ``first_token`` says."""
    events: list[Any] = []
    server = StubOllama(answer)
    outcome = run_request(message, server.client(), retry=None, on_event=events.append)
    assert outcome.first_token == bool(events)
    if outcome.error is None and server.requests[0].path != "/api/embed":
        text = (
            outcome.result["message"]["content"]
            if "message" in outcome.result
            else outcome.result["response"]
        )
        assert "".join(event.text for event in events if event.type == "text") == text
        assert [event.type for event in events].count("done") == 1
        assert events[-1].type == "done"


@given(messages(), failures)
def test_what_a_listener_raises_is_no_failure_of_ollama(message: dict[str, Any], failure: Exception) -> None:
    """Whatever ``on_event`` raises, an error of this library too, the reply says ``internal``."""

    def listen(_event: Any) -> None:
        raise failure

    outcome = run_request(
        {**message, "request_type": "chat"}, StubOllama(succeeding).client(), on_event=listen
    )
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.status, outcome.fault) == ("internal", 500, Fault.UNSURE)


@given(messages(), st.integers(1, 4), failures)
def test_a_request_is_tried_as_often_as_the_policy_says(
    message: dict[str, Any], attempts: int, failure: Exception
) -> None:
    """At most one request reaches Ollama per try; without a policy of its own a call has the client's."""
    policy = RetryPolicy(attempts=attempts)
    for own in (policy, UNSET):
        server = StubOllama.always(Scripted(refuses=failure))
        client = server.client().with_options(retry=RetryPolicy(attempts=4) if own else policy)
        with no_wait():
            run_request(message, client, retry=own)
        assert len(server.requests) <= attempts
        if isinstance(failure, ConnectionFailed):  # nothing was sent, so each try is worth it
            assert len(server.requests) == attempts
    server = StubOllama.always(Scripted(refuses=failure))
    run_request(message, server.client().with_options(retry=policy), retry=None)
    assert len(server.requests) == 1


@given(
    messages(),
    st.integers(400, 599),
    st.sampled_from(
        [b'{"error": "why", "x": [1, null]}', b"[1]", b"404 page not found", b"<p>\xff", b"", b"null"]
    ),
)
def test_what_ollama_refuses_with_is_the_result(message: dict[str, Any], status: int, body: bytes) -> None:
    """A refusal of Ollama is passed on: its status, and its body as JSON if it is JSON, else as text."""
    server = StubOllama.always(Scripted(status, (body,)))
    reply = handle_request(message, server.client().with_options(retry=None))
    try:
        wanted = json.loads(body)
    except ValueError:
        wanted = body.decode("utf-8", errors="replace")
    assert (reply["status"], reply["result"]) == (status, wanted)
    assert reply["error"]["code"] == "ollama_error"
    assert reply["model"] == message["model"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("request_type", ["chat", "embed"])
def test_what_ends_the_program_is_not_kept_from_it(kind: type[BaseException], request_type: str) -> None:
    server = StubOllama.always(Scripted(refuses=kind()))
    with pytest.raises(kind):
        handle_request({"model": "m", "request_type": request_type}, server.client())
