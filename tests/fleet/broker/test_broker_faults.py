"""What a fleet does when its broker dies, restarts, or runs out of memory.

What must hold is what `test_link_faults` says: no call lost, one answer each, no dead letter, live workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fleet_workers import CHAT, EMBED, MODEL, Fleet, vector, wait_until
from rabbitmq import RabbitMQ
from virtual_hosts import VirtualHosts

from ollama_ext.fleet import BrokerBlocked, RequestFailed, RequestTooLarge, calls
from ollama_ext.testing import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from virtual_hosts import VirtualHost

LARGEST = 200_000  # bytes that the node of this file takes as a message


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQ]:
    """Run a node for the tests of this file, which leave it running and without an alarm."""
    with RabbitMQ(config={"max_message_size": LARGEST}) as running:
        yield running


@pytest.fixture(scope="module")
def _hosts(node: RabbitMQ) -> VirtualHosts:
    return VirtualHosts(node)


@pytest.fixture
def host(_hosts: VirtualHosts) -> VirtualHost:
    """Take a virtual host of that node."""
    return _hosts.take()


def texts(count: int) -> list[str]:
    return [f"request {number}" for number in range(count)]


def die(node: RabbitMQ) -> None:
    node.kill()
    node.start()


def restart(node: RabbitMQ) -> None:
    node.restart()


@pytest.mark.parametrize("fault", [die, restart])
@pytest.mark.parametrize("workers", [1, 6])
def test_a_broker_that_dies_or_restarts_with_jobs_running(
    workers: int, fault: Callable[[RabbitMQ], None], node: RabbitMQ, host: VirtualHost
) -> None:
    with Fleet(host, workers=workers) as fleet:
        wanted = texts(2 * workers + 2)
        fleet.hold()
        waiting = fleet.ask(wanted)
        fleet.wait_for_runs(workers)
        fault(node)
        if workers == 1:
            fleet.wait_ready()  # its job is adopted
        fleet.release()
        assert fleet.answers(waiting) == wanted
        assert fleet.all_runs.keys() == set(wanted)
        assert max(fleet.all_runs.values()) <= (1 if workers == 1 else 2)
        fleet.wait_ready()
        fleet.finish()


def test_a_broker_that_dies_under_a_caller_with_40_calls_in_flight(node: RabbitMQ, host: VirtualHost) -> None:
    with Fleet(host, workers=2, settings={"worker.slots": 4}) as fleet:
        wanted = texts(40)
        fleet.hold()
        waiting = fleet.ask(wanted)
        fleet.wait_for_runs(8)
        node.kill()
        fleet.release()  # jobs end while there is no broker, and their replies wait
        node.start()
        assert fleet.answers(waiting) == wanted
        assert fleet.all_runs.keys() == set(wanted)
        assert max(fleet.all_runs.values()) <= 2
        fleet.wait_ready()
        fleet.finish()


def test_what_was_published_by_anybody_survives_the_death_of_the_broker(
    node: RabbitMQ, host: VirtualHost
) -> None:
    with Fleet(host, subscriptions=[CHAT, EMBED]) as fleet:
        fleet.hold()
        for text in texts(5):
            fleet.publish(text)
            fleet.publish(f"vector of {text}", request_type="embed")
        fleet.wait_for_runs(1)
        die(node)
        fleet.release()
        replies = fleet.wait_for_replies(10)
        assert {body["status"] for body in replies.values()} == {200}
        assert replies["vector of request 1"]["result"]["embeddings"] == [vector("vector of request 1")]
        assert max(fleet.all_runs.values()) == 1
        fleet.wait_ready()
        fleet.finish()


def test_replies_wait_for_the_end_of_a_memory_alarm(
    node: RabbitMQ, host: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    with Fleet(host, workers=2) as fleet:
        client = fleet.client()
        fleet.hold()
        waiting = fleet.ask(texts(6), client)
        fleet.wait_for_runs(2)
        wait_until(lambda: fleet.admin.count(fleet.queues[0]) == 4)  # the broker has all
        node.alarm(on=True)
        try:
            fleet.release()
            wait_until(lambda: "the broker takes no messages: replies wait" in caplog.text)
            assert not any(each.done() for each in waiting)
        finally:
            node.alarm(on=False)
        assert fleet.answers(waiting) == texts(6)
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


def test_acks_and_deliveries_go_on_under_an_alarm(node: RabbitMQ, host: VirtualHost) -> None:
    with Fleet(host) as fleet:
        for number in range(5):
            fleet.publish(f"silent {number}", reply_to=None)  # to be acked without a reply
        fleet.wait_for_runs(5)
        fleet.hold()
        for number in range(5, 10):
            fleet.publish(f"silent {number}", reply_to=None)
        fleet.wait_for_runs(6)
        node.alarm(on=True)
        try:
            fleet.release()
            fleet.wait_for_runs(10)  # each was delivered because the one before was acked
        finally:
            node.alarm(on=False)
        fleet.finish()


def test_a_call_to_a_broker_that_takes_no_messages_is_given_up_and_says_why(
    node: RabbitMQ, host: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_BLOCKED", 0.5)
    with Fleet(host) as fleet:
        client = fleet.client(timeout=20)
        assert client.chat(MODEL, "before").text == "before"
        node.alarm(on=True)
        try:
            with pytest.raises(BrokerBlocked, match="memory or disk alarm") as caught:
                client.chat(MODEL, "during")
            assert caught.value.retryable
        finally:
            node.alarm(on=False)
        assert client.chat(MODEL, "after").text == "after"
        fleet.finish()


def test_a_request_that_is_longer_than_the_broker_takes_ends_its_own_call_only(host: VirtualHost) -> None:
    with Fleet(host) as fleet:
        client = fleet.client(timeout=30)
        fleet.hold()
        waiting = fleet.ask(texts(3), client)
        fleet.wait_for_runs(1)
        with pytest.raises(RequestTooLarge, match="larger than configured max size"):
            client.chat(MODEL, "x" * (LARGEST + 1))
        fleet.release()
        assert fleet.answers(waiting) == texts(3)
        fleet.finish()


def test_a_reply_that_is_longer_than_the_broker_takes_is_an_error_of_its_own_call_only(
    host: VirtualHost,
) -> None:
    with Fleet(host, settings={"worker.slots": 4}) as fleet:
        large = {"model": MODEL, "created_at": "2026-11-25T12:00:00Z", "done": True, "done_reason": "stop"}
        content = {"message": {"role": "assistant", "content": "x" * (LARGEST + 1)}}
        fleet.ollamas[0].scripted["a long story"] = Lines(large | content)
        fleet.hold()
        story, *others = fleet.ask(["a long story", "one", "two", "three"])
        fleet.wait_for_runs(4)
        fleet.release()
        assert fleet.answers(others) == ["one", "two", "three"]
        error = story.exception(20)
        assert isinstance(error, RequestFailed)
        assert error.code == "payload_too_large"
        assert "larger than configured max size" in str(error)
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()
