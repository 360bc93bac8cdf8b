"""A worker that is killed, frozen or told to stop: what it had is done here or elsewhere, and answered."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest
from fleet_workers import CHAT, PATIENCE, WorkerProcess, wait_until
from watched_fleets import CHAT_QUEUE, WatchedFleet

from ollama_ext.fleet.topology import DEAD_QUEUE

if TYPE_CHECKING:
    from virtual_hosts import VirtualHost


def process(fleet: WatchedFleet, number: int = 0) -> WorkerProcess:
    worker = fleet.workers[number]
    assert isinstance(worker, WorkerProcess)
    return worker


def who_runs(fleet: WatchedFleet, text: str) -> int:
    """Return the number of the worker that runs something."""
    return next(number for number, ollama in enumerate(fleet.ollamas) if ollama.runs[text])


def send(fleet: WatchedFleet, number: int, what: signal.Signals) -> None:
    process(fleet, number).process.send_signal(what)


def ended(fleet: WatchedFleet, number: int = 0) -> int:
    """Wait for the end of a worker and return its status."""
    return process(fleet, number).process.wait(PATIENCE)


# -- killed and frozen


def test_the_request_of_a_worker_that_is_killed_runs_elsewhere_and_is_answered_once(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost, workers=2, processes=True) as fleet:
        fleet.hold()
        fleet.publish("a")
        fleet.wait_for_runs(1)
        dead = who_runs(fleet, "a")
        send(fleet, dead, signal.SIGKILL)
        fleet.wait_for_runs(2)
        assert fleet.ollamas[1 - dead].runs["a"] == 1
        fleet.release()
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert ended(fleet, dead) == -signal.SIGKILL
        del fleet.workers[dead]
        fleet.finish()


def test_the_request_of_a_worker_that_is_frozen_runs_elsewhere_and_the_worker_comes_back(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost, workers=2, processes=True, settings={"amqp.heartbeat": 1}) as fleet:
        fleet.hold()
        (call,) = fleet.ask(["a"])
        fleet.wait_for_runs(1)
        frozen = who_runs(fleet, "a")
        send(fleet, frozen, signal.SIGSTOP)
        fleet.wait_for_runs(2)  # when the broker has missed its heartbeats
        fleet.release()
        assert fleet.answers([call]) == ["a"]
        send(fleet, frozen, signal.SIGCONT)
        fleet.wait_ready()  # both take requests again; what the thawed one had to say was nobody's any more
        assert fleet.answers(fleet.ask(["b", "c"])) == ["b", "c"]
        assert fleet.runs("a") == 2
        fleet.finish()


def test_a_request_that_kills_each_worker_is_set_aside_and_harms_no_other(vhost: VirtualHost) -> None:
    innocents = ["one", "two", "three"]
    with WatchedFleet(vhost, processes=True) as fleet:
        fleet.hold()
        fleet.publish("poison")
        for text in innocents:
            fleet.publish(text)
        for deaths in (1, 2, 3):
            fleet.wait_for_runs(deaths)
            send(fleet, -1, signal.SIGKILL)
            ended(fleet, -1)
            fleet.workers.clear()
            fleet.add()
        fleet.release()
        replies = fleet.wait_for_replies(4)
        assert replies["poison"]["error"]["code"] == "delivery_limit"
        assert "each worker that took it ended" in replies["poison"]["error"]["message"]
        assert fleet.all_runs == {"poison": 3, "one": 1, "two": 1, "three": 1}
        assert not any("error" in replies[text] for text in innocents)
        (dead,) = fleet.admin.wait_for(DEAD_QUEUE)
        assert dead.headers["x-ollama-ext-code"] == "delivery_limit"
        assert dead.headers["x-ollama-ext-message-id"] == dead.properties.correlation_id == "poison"
        fleet.finish()


# -- told to stop


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_finishes_what_runs_and_takes_no_more(
    how: signal.Signals, vhost: VirtualHost
) -> None:
    with WatchedFleet(vhost, processes=True, settings={"worker.slots": 2}) as fleet:
        fleet.hold()
        for text in ("a", "b", "c", "d"):
            fleet.publish(text)
        fleet.wait_for_runs(2)
        send(fleet, 0, how)
        wait_until(lambda: "stopping; jobs that run: 2" in process(fleet).log)
        fleet.release()
        assert ended(fleet) == 0
        assert not any("error" in reply for reply in fleet.wait_for_replies(2).values())
        assert fleet.all_runs == {"a": 1, "b": 1}
        left = fleet.admin.get_all(CHAT_QUEUE)
        assert [message.properties.message_id for message in left] == ["c", "d"]
        assert not any(message.redelivered for message in left), "something was given back"
        assert fleet.admin.get(fleet.replies) is None


def test_an_idle_worker_that_is_told_to_stop_ends_at_once(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, processes=True) as fleet:
        send(fleet, 0, signal.SIGTERM)
        assert ended(fleet) == 0


def test_a_worker_gives_back_what_still_runs_at_its_drain_limit_and_ends_well(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, processes=True, settings={"worker.drain_limit": 0.2}) as fleet:
        fleet.hold()
        fleet.publish("a")
        fleet.wait_for_runs(1)
        send(fleet, 0, signal.SIGTERM)
        assert ended(fleet) == 0
        (back,) = fleet.admin.wait_for(CHAT_QUEUE)
        assert (back.properties.message_id, back.redelivered) == ("a", True)
        assert fleet.admin.get(fleet.replies) is None
        assert "jobs given back: 1" in process(fleet).log


def test_a_second_signal_gives_back_what_runs_at_once(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, processes=True) as fleet:
        fleet.hold()
        fleet.publish("a")
        fleet.wait_for_runs(1)
        send(fleet, 0, signal.SIGTERM)
        wait_until(lambda: "stopping; jobs that run: 1" in process(fleet).log)
        send(fleet, 0, signal.SIGTERM)
        assert ended(fleet) == 0
        (back,) = fleet.admin.wait_for(CHAT_QUEUE)
        assert back.redelivered
        assert fleet.admin.get(fleet.replies) is None


def test_a_worker_that_is_told_to_stop_while_it_fetches_models_ends_at_once(vhost: VirtualHost) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # a bucket that never answers
    settings = {
        "s3.bucket": "models",
        "s3.endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
        "s3.anonymous": True,
        "s3.allow_link_local": True,
        "s3.region": "us-east-1",
        "default_models": [CHAT["model"]],
    }
    with silent, WatchedFleet(vhost, processes=True, ready=[], settings=settings) as fleet:
        connection, _ = silent.accept()  # it asks for the model
        with connection:
            wait_until(lambda: fleet.admin.exists(CHAT_QUEUE), what="the queue")
            send(fleet, 0, signal.SIGTERM)
            assert ended(fleet) == 0
        assert "Traceback" not in process(fleet).log
