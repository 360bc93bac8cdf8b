"""What strangers publish: a bad message has its error reply, or its reason in the log; the worker lives."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from fleet_workers import CHAT, EMBED
from watched_fleets import CHAT_QUEUE, WatchedFleet

from ollama_ext.fleet.topology import DEAD_QUEUE, DEFAULT_EXCHANGE, queue_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from virtual_hosts import VirtualHost, VirtualHosts

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
EMBED_QUEUE = queue_name("embed", EMBED["model"])
LIMIT = 1 << 16  # bytes, of a request


@pytest.fixture(scope="module")
def bad_input(_virtual_hosts: VirtualHosts) -> Iterator[WatchedFleet]:
    """Run one worker for all tests here: it must outlive everything."""
    with WatchedFleet(
        _virtual_hosts.take(), subscriptions=[CHAT, EMBED], settings={"worker.max_request_bytes": LIMIT}
    ) as running:
        yield running
        running.finish()


@pytest.fixture
def fleet(bad_input: WatchedFleet) -> Iterator[WatchedFleet]:
    """Give the worker to a test, and see afterwards that it is well, and that nothing was answered twice."""
    before = bad_input.all_runs.get("still alive", 0)
    yield bad_input
    bad_input.send({"messages": [{"role": "user", "content": "still alive"}]}, correlation_id="last")
    assert told(bad_input)["correlation_id"] == "last", "something else was replied, too"
    assert bad_input.runs("still alive") == before + 1
    assert bad_input.admin.count(CHAT_QUEUE) == 0


def told(fleet: WatchedFleet) -> dict[str, Any]:
    """Wait for the next reply and return its body."""
    (message,) = fleet.admin.wait_for(fleet.replies)
    body: dict[str, Any] = json.loads(message.body)
    return body


def runs(fleet: WatchedFleet) -> int:
    """Return how often Ollama was asked for anything, up to now."""
    return sum(fleet.all_runs.values())


REFUSED = [
    pytest.param(b"", "invalid_request", 400, "the body is not JSON", id="empty"),
    pytest.param(b"hello", "invalid_request", 400, "the body is not JSON", id="text"),
    pytest.param(b'{"model": ', "invalid_request", 400, "the body is not JSON", id="half"),
    pytest.param(b"\xff\xfe\x00", "invalid_request", 400, "the body is not JSON", id="bytes"),
    pytest.param(b"[" * 30_000, "invalid_request", 400, "nest it less", id="a tower of lists"),
    pytest.param(b"[]", "invalid_request", 400, "must be a JSON object, not a list", id="list"),
    pytest.param(b'"chat"', "invalid_request", 400, "must be a JSON object, not a string", id="string"),
    pytest.param(b"null", "invalid_request", 400, "must be a JSON object, not null", id="null"),
    pytest.param(b"7", "invalid_request", 400, "must be a JSON object, not a number", id="number"),
    pytest.param(b'{"model": 7}', "invalid_request", 400, "model must be a string", id="model is a number"),
    pytest.param(b'{"model": ""}', "invalid_request", 400, "model is empty", id="model is empty"),
    pytest.param(b'{"model": []}', "invalid_request", 400, "model must be a string", id="model is a list"),
    pytest.param(
        b'{"reply_to": {}}', "invalid_request", 400, "reply_to must be a string", id="reply_to is an object"
    ),
    pytest.param(b'{"model": "llama3.2"}', "model_mismatch", 404, "this queue serves", id="another model"),
    pytest.param(
        b'{"model": "smollm2"}', "model_mismatch", 404, "this queue serves", id="another tag of the model"
    ),
    pytest.param(b" " * (20 << 20), "payload_too_large", 413, "20971520 bytes", id="20 MiB"),
    pytest.param(b" " * (LIMIT + 1), "payload_too_large", 413, "65537 bytes", id="one byte too many"),
]


@pytest.mark.parametrize(("body", "code", "status", "says"), REFUSED)
def test_what_cannot_be_a_request_is_refused_and_not_run(
    body: bytes, code: str, status: int, says: str, fleet: WatchedFleet
) -> None:
    before = runs(fleet)
    fleet.send(body, correlation_id="c")
    reply = told(fleet)
    assert (reply["error"]["code"], reply["status"], reply["correlation_id"]) == (code, status, "c")
    assert says in reply["error"]["message"]
    assert reply["error"]["retryable"] is False
    assert (reply["result"], reply["usage"]) == (None, {})
    assert runs(fleet) == before


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "aes-256-gcm"])
def test_a_body_that_is_encoded_is_refused(encoding: str, fleet: WatchedFleet) -> None:
    before = runs(fleet)
    fleet.send(gzip.compress(json.dumps(HELLO).encode()), content_encoding=encoding)
    reply = told(fleet)
    assert (reply["error"]["code"], reply["status"]) == ("unsupported_encoding", 415)
    assert encoding in reply["error"]["message"]
    assert runs(fleet) == before


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_that_is_said_to_be_as_it_is_is_run(encoding: str, fleet: WatchedFleet) -> None:
    fleet.send(HELLO, content_encoding=encoding)
    assert "error" not in told(fleet)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-msgpack", "", None])
def test_the_content_type_does_not_matter(content_type: str | None, fleet: WatchedFleet) -> None:
    fleet.send(HELLO, content_type=content_type)
    assert "error" not in told(fleet)


@pytest.mark.parametrize("limit", [0, -1, "soon", True, 1.5e400, [1]])
def test_a_limit_that_is_none_is_refused(limit: Any, fleet: WatchedFleet) -> None:
    if isinstance(limit, float):
        limit = "9" * 30  # the nearest to it that AMQP can carry
    fleet.send(HELLO, headers={"x-run-limit-ms": limit})
    reply = told(fleet)
    assert reply["error"]["code"] == "invalid_request"
    assert "x-run-limit-ms" in reply["error"]["message"]


def test_fields_of_wrong_types_are_for_ollama_to_judge_and_its_words_reach_the_caller(
    fleet: WatchedFleet,
) -> None:
    fleet.send({"messages": "hello", "options": 7, "format": [], "keep_alive": {}})
    reply = told(fleet)
    assert (reply["status"], reply["error"]["code"]) == (400, "ollama_error")
    assert "cannot unmarshal string" in reply["result"]["error"]
    assert fleet.ollamas[0].requests[-1].json()["options"] == 7


@pytest.mark.parametrize(
    "request_type", ["", "Chat", "embedding", "delete", "pull", "x" * 1000, 7, [], {}, True]
)
def test_a_request_type_that_is_not_known_is_a_chat(request_type: Any, fleet: WatchedFleet) -> None:
    fleet.send({**HELLO, "request_type": request_type})
    assert told(fleet)["result"]["message"]["content"] == "hello"
    assert fleet.ollamas[0].requests[-1].path == "/api/chat"


def test_a_request_type_other_than_the_queues_is_what_is_done(fleet: WatchedFleet) -> None:
    fleet.send({"request_type": "generate", "prompt": "hello"})
    assert told(fleet)["result"]["response"] == "hello"


@pytest.mark.parametrize("name", ["request_type", "model", "prompt", "messages"])
def test_headers_replace_nothing_of_the_body(name: str, fleet: WatchedFleet) -> None:
    fleet.send(HELLO, headers={name: "generate"})
    assert told(fleet)["result"]["message"]["content"] == "hello"


# -- addresses

HOSTILE = {
    "a queue of requests": CHAT_QUEUE,
    "another queue of requests": "llm.request.ollama.chat.llama3.2",
    "the dead letters": DEAD_QUEUE,
    "somebody's queue": "billing",
    "nearly a beginning": "amq.gen",
    "in another case": "LLM.REPLY.x",
    "control characters": "llm.reply.\r\nx",
    "a null": "llm.reply.\0x",
}


@pytest.mark.parametrize("address", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("body", [HELLO, [], None], ids=["good", "bad", "null"])
def test_a_request_whose_reply_may_not_go_where_it_should_is_not_run_and_said_in_the_log(
    address: str, body: Any, fleet: WatchedFleet, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.admin.declare("billing", {})
    before = runs(fleet)
    fleet.send(body, reply_to=address)
    fleet.send(HELLO, correlation_id="next")  # which is taken after it
    assert told(fleet)["correlation_id"] == "next"
    assert runs(fleet) == before + 1
    assert fleet.admin.count("billing") == 0
    assert fleet.admin.count(DEAD_QUEUE) == 0
    assert "see worker.reply_to_allow" in caplog.text


@pytest.mark.parametrize("address", [*HOSTILE.values(), "llm.reply." + "x" * 300, "llm.reply.\ud800"])
def test_an_address_in_the_body_is_judged_like_one_in_the_properties(
    address: str, fleet: WatchedFleet
) -> None:
    before = runs(fleet)
    fleet.send({**HELLO, "reply_to": address})
    fleet.send(HELLO, correlation_id="next")
    reply = told(fleet)
    if reply["correlation_id"] != "next":  # what is no JSON text at all is refused at its property's address
        assert reply["error"]["code"] == "invalid_request"
        reply = told(fleet)
    assert reply["correlation_id"] == "next"
    assert runs(fleet) == before + 1
    assert fleet.admin.count(DEAD_QUEUE) == 0


def test_a_direct_reply_address_in_the_body_yields_to_the_property(fleet: WatchedFleet) -> None:
    fleet.send({**HELLO, "reply_to": "amq.rabbitmq.reply-to"})
    assert "error" not in told(fleet)


def test_a_request_whose_allowed_address_nobody_has_is_acknowledged(fleet: WatchedFleet) -> None:
    fleet.send(HELLO, reply_to="llm.reply.nobody")
    fleet.send(HELLO, correlation_id="next")
    assert told(fleet)["correlation_id"] == "next"
    fleet.wait_for_count(CHAT_QUEUE, 0)


@pytest.mark.parametrize("address", [None, ""])
def test_without_an_address_it_is_run_acknowledged_and_nothing_is_published(
    address: str | None, fleet: WatchedFleet
) -> None:
    before = fleet.runs("nobody waits")
    fleet.send({"messages": [{"role": "user", "content": "nobody waits"}]}, reply_to=address)
    fleet.send(HELLO, correlation_id="next")
    assert told(fleet)["correlation_id"] == "next"
    assert fleet.runs("nobody waits") == before + 1


# -- names of requests

ODD = [0, 7, -1.5, True, False, [], {}, [1, {"a": None}], {"a": "b"}, "", " ", "\n", "é" * 200, "x" * 300]


@pytest.mark.parametrize("correlation_id", ODD, ids=[repr(each)[:20] for each in ODD])
def test_any_json_value_is_echoed_as_correlation_id(correlation_id: Any, fleet: WatchedFleet) -> None:
    fleet.send({**HELLO, "correlation_id": correlation_id}, correlation_id="property")
    (message,) = fleet.admin.wait_for(fleet.replies)
    assert json.loads(message.body)["correlation_id"] == correlation_id
    fits = isinstance(correlation_id, str) and 1 <= len(correlation_id.encode()) <= 255
    assert message.properties.correlation_id == (correlation_id if fits else None)


def test_a_null_correlation_id_is_that_of_the_properties(fleet: WatchedFleet) -> None:
    fleet.send({**HELLO, "correlation_id": None}, correlation_id="property")
    assert told(fleet)["correlation_id"] == "property"


# -- patience, streams, other queues


def test_a_request_whose_patience_is_over_before_it_is_taken_is_never_run(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost) as fleet:
        fleet.hold()
        fleet.publish("first")
        fleet.wait_for_runs(1)
        fleet.publish("late", expiration="1")
        fleet.publish("last")
        fleet.wait_for_count(CHAT_QUEUE, 1)  # the broker has dropped it from the head of the queue
        fleet.release()
        assert set(fleet.wait_for_replies(2)) == {"first", "last"}
        assert fleet.runs("late") == 0
        fleet.admin.get_all(DEAD_QUEUE)  # where the shipped policy puts it
        fleet.finish()


def test_a_stream_that_is_asked_for_is_answered_by_one_reply(fleet: WatchedFleet) -> None:
    fleet.send({**HELLO, "stream": True}, correlation_id="c")
    reply = told(fleet)
    assert (reply["correlation_id"], reply["status"]) == ("c", 200)
    assert reply["result"]["message"]["content"] == "hello"
    assert reply["result"]["done"] is True


def test_the_plain_and_the_streamed_request_have_the_same_answer(fleet: WatchedFleet) -> None:
    replies: list[Any] = []
    for stream in (True, False, "yes", None):
        fleet.send({**HELLO, "stream": stream})
        replies.append(told(fleet))
    assert all(reply == replies[0] for reply in replies)


def test_what_is_published_through_the_exchange_comes_as_well(fleet: WatchedFleet) -> None:
    fleet.send({"input": "one"}, EMBED_QUEUE, exchange=DEFAULT_EXCHANGE)
    assert len(told(fleet)["result"]["embeddings"]) == 1


def test_properties_of_all_kinds_are_no_trouble(fleet: WatchedFleet) -> None:
    fleet.send(
        HELLO,
        headers={"a": [1, None, {"b": b"\xff"}], "x-delivery-count": "many", "CC": ["billing"]},
        priority=255,
        timestamp=2**40,
        type="x" * 255,
        app_id="\x01",
        message_id="",
        delivery_mode=1,
    )
    assert "error" not in told(fleet)
