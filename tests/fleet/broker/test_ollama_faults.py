"""An Ollama that dies, hangs or fails: no caller hears of it, and its worker stops eating the queue."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from fleet_workers import EMBED, WorkerThread, wait_until
from watched_fleets import CHAT_QUEUE, WatchedFleet, tags

from ollama_ext import Timeouts
from ollama_ext.errors import ConnectionFailed, ServerError
from ollama_ext.fleet import watching
from ollama_ext.fleet.topology import DEAD_QUEUE, queue_name
from ollama_ext.testing import Json, Raw, Recording

if TYPE_CHECKING:
    from collections.abc import Callable

    from rabbitmq_admin import Admin
    from virtual_hosts import VirtualHost

STUCK = Recording("chat-stream").stall(math.inf, at=200)
RESET = Raw(b"").cut(at=0, how="reset")
INFERENCE = ("/api/chat", "/api/generate", "/api/embed")
BROKEN_GPU = Json({"error": "llama runner process has terminated: CUDA error"}, 500)


# -- one Ollama


def test_an_ollama_killed_in_mid_inference_has_its_request_run_again_when_it_is_back(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost) as fleet:
        fleet.hold()
        fleet.publish("a")
        fleet.wait_for_runs(1)
        fleet.kill_ollama()
        fleet.wait_for_consumers(CHAT_QUEUE, 0)  # the worker takes no more
        fleet.wait_for_count(CHAT_QUEUE, 1)  # and the request is back
        fleet.release()
        fleet.revive_ollama()
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert fleet.runs("a") == 2
        fleet.finish()


def test_an_ollama_killed_while_idle_takes_no_request_with_it(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost) as fleet:
        fleet.kill_ollama()
        fleet.publish("a")
        fleet.wait_for_consumers(CHAT_QUEUE, 0)
        fleet.wait_for_count(CHAT_QUEUE, 1)
        assert fleet.all_runs == {}
        fleet.revive_ollama()
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert fleet.runs("a") == 1
        fleet.finish()


def test_a_request_of_an_ollama_that_was_killed_runs_elsewhere(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, workers=2) as fleet:
        fleet.hold()
        (call,) = fleet.ask(["a"])
        fleet.wait_for_runs(1)
        fleet.kill_ollama(0 if fleet.ollamas[0].runs["a"] else 1)
        fleet.wait_for_runs(2)
        fleet.release()
        assert fleet.answers([call]) == ["a"]
        fleet.wait_for_consumers(CHAT_QUEUE, 1)
        fleet.finish()


def test_a_worker_that_may_not_wait_for_ollama_ends_with_the_reason(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost) as fleet:
        nobody = WorkerThread(
            "nobody", {"subscriptions": [EMBED]}, {"amqp.url": vhost.url, "ollama.host": "http://127.0.0.1:1"}
        )
        nobody.worker._wait = 0  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as --wait 0
        nobody.start()
        nobody.wait()
        assert isinstance(nobody.failure, ConnectionFailed)
        assert "127.0.0.1:1" in str(nobody.failure)
        fleet.finish()


def test_a_worker_waits_for_an_ollama_that_is_not_there_yet(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost) as fleet:
        fleet.kill_ollama(0)
        late = fleet.add()
        fleet.kill_ollama(1)  # before or after it was first asked: both must do
        fleet.publish("a")
        fleet.wait_for_consumers(CHAT_QUEUE, 0)
        fleet.revive_ollama(1)
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert late.alive
        fleet.finish()


def test_before_ollama_has_answered_once_nothing_is_taken_from_the_queue(
    vhost: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    with WatchedFleet(vhost, workers=0, ready=[]) as fleet:
        fleet.away = True
        fleet.add()
        wait_until(lambda: fleet.admin.exists(CHAT_QUEUE) and "Ollama does not answer" in caplog.text)
        fleet.send({"messages": [{"role": "user", "content": "a"}]}, correlation_id="a")
        fleet.away = False
        fleet.add()  # by the time that this one takes, the other one could have long been there
        (reply,) = fleet.admin.wait_for(fleet.replies)
        assert reply.headers["x-ollama-ext-attempt"] == 1, "it was taken, and given back"
        assert reply.headers["x-ollama-ext-worker"] == "worker-1"
        fleet.finish()


# -- one sick Ollama among six


def _fails(fleet: WatchedFleet) -> None:
    for path in INFERENCE:
        fleet.ollamas[0].on("POST", path, Json({"error": "no kernel image is available"}, 500))


def _refuses(fleet: WatchedFleet) -> None:
    fleet.kill_ollama(0)


def _hangs(fleet: WatchedFleet) -> None:
    fleet.freeze_ollama(0)


def _loads_and_then_fails(fleet: WatchedFleet) -> None:
    fleet.ollamas[0].on("POST", "/api/chat", BROKEN_GPU)


@pytest.mark.parametrize("fault", [_fails, _refuses, _hangs, _loads_and_then_fails])
def test_one_sick_ollama_among_six_gives_no_caller_an_error_and_stops_eating_the_queue(
    fault: Callable[[WatchedFleet], None], vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_QUICK", Timeouts(first_byte=0.5))  # one call waits for it
    texts = [str(number) for number in range(90)]
    with WatchedFleet(vhost, workers=6, settings={"ollama.first_token": 0.5}) as fleet:
        fault(fleet)
        calls = fleet.ask(texts)
        assert fleet.answers(calls) == texts
        # Two in a row at most, and a try after each probe that passed; five sixths of the fleet did the rest.
        assert fleet.ollamas[0].runs.total() <= 4
        assert all(ollama.runs.total() > 4 for ollama in fleet.ollamas[1:])
        fleet.finish()


# -- whose failure


def test_a_500_while_the_machine_is_well_is_the_callers_with_ollamas_own_words(vhost: VirtualHost) -> None:
    said = {"error": "invalid JSON schema in format"}
    with WatchedFleet(vhost) as fleet:
        fleet.ollamas[0].scripted["bad format"] = Json(said, 500)
        fleet.publish("bad format")
        reply = fleet.wait_for_replies(1)["bad format"]
        assert (reply["status"], reply["result"], reply["usage"]) == (500, said, {})
        assert reply["error"]["code"] == "ollama_error"
        (call,) = fleet.ask(["bad format"])
        with pytest.raises(ServerError, match="invalid JSON schema in format"):
            call.result(20)
        assert fleet.runs("bad format") == 2  # once for each
        fleet.finish()


def test_what_no_machine_can_do_is_answered_in_the_end_and_kept(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, workers=3, settings={"worker.max_deliveries": 3}) as fleet:
        for ollama in fleet.ollamas:
            ollama.scripted["poison"] = RESET
        fleet.publish("poison")
        texts = [str(number) for number in range(20)]
        calls = fleet.ask(texts)
        reply = fleet.wait_for_replies(1)["poison"]
        assert (reply["status"], reply["error"]["code"]) == (500, "delivery_limit")
        assert "given up after 3 runs" in reply["error"]["message"]
        assert fleet.answers(calls) == texts
        assert fleet.runs("poison") == 3
        (dead,) = fleet.admin.wait_for(DEAD_QUEUE)
        assert dead.headers["x-ollama-ext-code"] == "delivery_limit"
        assert dead.headers["x-ollama-ext-attempt"] == 3
        assert dead.headers["x-ollama-ext-queue"] == CHAT_QUEUE
        assert dead.headers["x-ollama-ext-message-id"] == "poison"
        assert b"poison" in dead.body
        fleet.finish()


def test_a_queue_that_counts_no_deliveries_gives_no_request_back_for_ever(
    vhost: VirtualHost, admin: Admin
) -> None:
    admin.declare(CHAT_QUEUE, {"x-queue-type": "classic"})  # an operator's, used as it is
    with WatchedFleet(vhost, settings={"worker.max_deliveries": 3}) as fleet:
        fleet.ollamas[0].scripted["poison"] = RESET
        fleet.publish("poison")
        reply = fleet.wait_for_replies(1)["poison"]
        assert reply["error"]["code"] == "delivery_limit"
        assert fleet.runs("poison") == 3
        calls = fleet.ask(["well"])
        assert fleet.answers(calls) == ["well"]
        fleet.finish(dead=1)


def test_without_a_dead_letter_queue_it_is_answered_all_the_same_and_rejected_for_the_policy(
    vhost: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    with WatchedFleet(vhost, settings={"worker.max_deliveries": 1}) as fleet:
        fleet.admin.delete(DEAD_QUEUE)
        fleet.admin.declare("kept.by.policy")
        policy = {"dead-letter-exchange": "", "dead-letter-routing-key": "kept.by.policy"}
        vhost.rabbit.set_policy("keep", "^llm\\.request", policy, vhost=vhost.name, priority=20)
        fleet.ollamas[0].scripted["poison"] = RESET
        fleet.publish("poison")
        assert fleet.wait_for_replies(1)["poison"]["error"]["code"] == "delivery_limit"
        (dead,) = fleet.admin.wait_for("kept.by.policy")
        assert dead.properties.message_id == "poison"
        assert dead.headers["x-death"][0]["reason"] == "rejected"
        assert f"the queue {DEAD_QUEUE} did not take a request" in caplog.text
        assert "ollama-ext fleet definitions" in caplog.text
        fleet.admin.declare(DEAD_QUEUE)
        fleet.finish()


# -- models that are not there


def test_a_model_that_is_not_there_pauses_its_queue_and_no_other_until_it_appears(
    vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_EVERY", 0.1)
    late = {"type": "chat", "model": "late"}
    queue = queue_name("chat", "late")
    embed = queue_name(EMBED["type"], EMBED["model"])
    with WatchedFleet(vhost, subscriptions=[late, EMBED], models=[EMBED["model"]], ready=[embed]) as fleet:
        fleet.send({"messages": [{"role": "user", "content": "a"}]}, queue, correlation_id="a")
        fleet.publish("b", request_type="embed")
        assert "error" not in fleet.wait_for_replies(1)["b"]
        assert fleet.admin.count(queue) == 1
        assert fleet.admin.consumers(queue) == 0
        fleet.ollamas[0].on("GET", "/api/tags", tags("late", EMBED["model"]))
        assert "error" not in fleet.wait_for_replies(1)["a"]
        fleet.finish()


def test_a_model_that_ollama_denies_to_the_last_is_ollamas_404_for_the_caller(vhost: VirtualHost) -> None:
    said = {"error": "model 'smollm2:135m' not found"}
    with WatchedFleet(vhost) as fleet:
        fleet.ollamas[0].on("POST", "/api/chat", Json(said, 404))
        fleet.publish("a")
        reply = fleet.wait_for_replies(1)["a"]
        assert (reply["status"], reply["result"], reply["error"]["code"]) == (404, said, "ollama_error")
        assert fleet.runs("a") == 3
        fleet.finish(dead=1)


# -- limits, and callers who leave


def test_a_request_that_runs_longer_than_its_caller_allows_is_a_408(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost) as fleet:
        fleet.ollamas[0].scripted["long"] = STUCK
        fleet.publish("long", headers={"x-run-limit-ms": 100})
        reply = fleet.wait_for_replies(1)["long"]
        assert (reply["status"], reply["error"]["code"]) == (408, "deadline_expired")
        fleet.ollamas[0].wait_for_disconnect()
        fleet.finish()


def test_a_request_that_runs_longer_than_the_worker_allows_is_a_408_whatever_its_caller_says(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost, settings={"worker.job_limit": 1}) as fleet:
        fleet.ollamas[0].scripted["long"] = STUCK
        fleet.publish("long", headers={"x-run-limit-ms": 3_600_000})
        assert fleet.wait_for_replies(1)["long"]["status"] == 408
        fleet.finish()


def test_a_caller_who_has_gone_has_its_inference_ended_and_its_request_acknowledged(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost) as fleet:
        fleet.ollamas[0].scripted["a"] = STUCK
        gone = fleet.admin.declare("llm.reply.tests.gone", {})
        fleet.publish("a", reply_to=gone)
        fleet.wait_for_runs(1)
        fleet.admin.delete(gone)
        fleet.ollamas[0].wait_for_disconnect(timeout=60)
        fleet.publish("b")
        assert "error" not in fleet.wait_for_replies(1)["b"]
        assert fleet.runs("a") == 1
        fleet.finish()
