"""Which requests a worker takes when there are more than it can run, and how many at once."""

from __future__ import annotations

import random
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from fleet_workers import CHAT, EMBED, GENERATE, MODEL
from watched_fleets import CHAT_QUEUE, WatchedFleet, tags

from ollama_ext.fleet import watching
from ollama_ext.fleet.topology import queue_name
from ollama_ext.testing import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from virtual_hosts import VirtualHost

MODELS = ("red", "green", "blue")
THREE: Sequence[dict[str, Any]] = [{"type": "chat", "model": model} for model in MODELS]


def ask(fleet: WatchedFleet, text: str, model: str = MODEL, exchange: str = "llm.request") -> None:
    """Publish a chat that is known by its text."""
    body = {"messages": [{"role": "user", "content": text}]}
    fleet.send(body, queue_name("chat", model, exchange), correlation_id=text, message_id=text)


def plug(fleet: WatchedFleet, model: str = MODEL, exchange: str = "llm.request") -> None:
    """Occupy the slot with a run that goes on until `fleet.release`."""
    fleet.hold()
    ask(fleet, "plug", model, exchange)
    fleet.wait_for_runs(1)


# -- slots


@pytest.mark.parametrize("slots", [1, 3])
def test_a_worker_runs_as_many_as_it_has_slots_and_no_more(slots: int, vhost: VirtualHost) -> None:
    texts = [str(number) for number in range(slots * 4)]
    with WatchedFleet(vhost, settings={"worker.slots": slots}) as fleet:
        fleet.hold()
        for text in texts:
            ask(fleet, text)
        fleet.wait_for_runs(slots)
        fleet.wait_for_unacked(CHAT_QUEUE, slots, ready=len(texts) - slots)
        fleet.release()
        assert set(fleet.wait_for_replies(len(texts))) == set(texts)
        assert fleet.most[""] == slots
        fleet.finish()


def test_a_subscription_runs_as_many_as_it_has_slots_and_leaves_the_rest_to_others(
    vhost: VirtualHost,
) -> None:
    subscriptions = [{**CHAT, "slots": 1}, EMBED]
    with WatchedFleet(vhost, subscriptions=subscriptions, settings={"worker.slots": 3}) as fleet:
        fleet.hold()
        for number in range(4):
            ask(fleet, f"chat {number}")
            fleet.publish(f"embed {number}", request_type="embed")
        fleet.wait_for_runs(3)
        fleet.wait_for_unacked(CHAT_QUEUE, 1, ready=3)
        fleet.release()
        fleet.wait_for_replies(8)
        assert fleet.most["chat"] == 1
        assert fleet.most[""] == 3
        fleet.finish()


def test_workers_share_a_backlog_and_none_holds_what_it_cannot_run(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, workers=3) as fleet:
        fleet.hold()
        for number in range(9):
            ask(fleet, str(number))
        fleet.wait_for_runs(3)
        fleet.wait_for_unacked(CHAT_QUEUE, 3, ready=6)
        assert [ollama.runs.total() for ollama in fleet.ollamas] == [1, 1, 1]
        fleet.release()
        fleet.wait_for_replies(9)
        fleet.finish()


# -- turns


def turns(fleet: WatchedFleet) -> list[tuple[str, int]]:
    """Return whose turn it was, and for how many requests."""
    colours = [text.split()[0] for text in fleet.order if text != "plug"]
    return [(colour, len(list(group))) for colour, group in groupby(colours)]


def backlog(fleet: WatchedFleet, each: int) -> None:
    plug(fleet, "red")
    for number in range(each):
        for model in MODELS:
            ask(fleet, f"{model} {number}", model)
    fleet.release()
    assert len(fleet.wait_for_replies(each * len(MODELS) + 1)) == each * len(MODELS) + 1


def test_a_loaded_model_is_served_before_others_are_loaded(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, subscriptions=THREE, models=MODELS, settings={"worker.dwell": 3600}) as fleet:
        backlog(fleet, 10)
        assert turns(fleet) == [("red", 10), ("green", 10), ("blue", 10)]
        fleet.finish()


def test_without_dwell_backlogged_queues_have_their_turns_one_after_the_other(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, subscriptions=THREE, models=MODELS, settings={"worker.dwell": 0}) as fleet:
        backlog(fleet, 10)
        assert turns(fleet) == [("green", 1), ("blue", 1), ("red", 1)] * 10
        fleet.finish()


def test_no_backlogged_queue_starves_and_each_turn_is_kept_for_the_dwell(vhost: VirtualHost) -> None:
    # Each run takes 10 ms at least, so a turn of 100 ms has no more than 11 of them, however slow all is.
    with WatchedFleet(vhost, subscriptions=THREE, models=MODELS, settings={"worker.dwell": 0.1}) as fleet:
        fleet.slow(0.01)
        backlog(fleet, 30)
        found = turns(fleet)
        assert {colour for colour, _ in found[:3]} == set(MODELS), "one of three waited for a fourth turn"
        assert max(length for _, length in found) <= 12
        assert len(found) < 60, "turns were not kept"
        fleet.finish()


def test_lanes_are_served_in_the_order_of_the_settings(vhost: VirtualHost) -> None:
    subscriptions = [CHAT, {**CHAT, "exchange": "llm.batch"}]
    with WatchedFleet(vhost, subscriptions=subscriptions) as fleet:
        plug(fleet)
        for number in range(5):
            ask(fleet, f"batch {number}", exchange="llm.batch")
        for number in range(5):
            ask(fleet, f"now {number}")
        fleet.release()
        fleet.wait_for_replies(11)
        assert [text.split()[0] for text in fleet.order[1:]] == ["now"] * 5 + ["batch"] * 5
        fleet.finish()


def test_a_later_lane_waits_even_where_its_model_is_loaded(vhost: VirtualHost) -> None:
    subscriptions = [
        {"type": "chat", "model": "red"},
        {"type": "chat", "model": "blue", "exchange": "llm.batch"},
    ]
    with WatchedFleet(vhost, subscriptions=subscriptions, models=MODELS) as fleet:
        plug(fleet, "blue", "llm.batch")
        for number in range(3):
            ask(fleet, f"blue {number}", "blue", "llm.batch")
            ask(fleet, f"red {number}", "red")
        fleet.release()
        fleet.wait_for_replies(7)
        assert turns(fleet) == [("red", 3), ("blue", 3)]
        fleet.finish()


# -- one consumer at a time


def test_of_two_workers_one_serves_a_single_active_consumer_queue_and_the_other_takes_over(
    vhost: VirtualHost,
) -> None:
    single = {**CHAT, "single_active_consumer": True}
    with WatchedFleet(vhost, workers=2, subscriptions=[single], ready=[]) as fleet:
        fleet.admin.wait_for_consumers(CHAT_QUEUE, 1)  # the broker counts the one that is active
        texts = [str(number) for number in range(10)]
        for text in texts:
            ask(fleet, text)
        assert len(fleet.wait_for_replies(10)) == 10
        assert fleet.order == texts, "not in their order"
        served = [number for number, ollama in enumerate(fleet.ollamas) if ollama.runs]
        assert len(served) == 1
        leaving = fleet.workers.pop(served[0])
        leaving.stop()
        leaving.wait()
        ask(fleet, "next")
        assert "next" in fleet.wait_for_replies(1)
        assert fleet.ollamas[1 - served[0]].runs["next"] == 1
        fleet.finish()


def test_a_single_active_consumer_queue_is_served_beside_others(vhost: VirtualHost) -> None:
    subscriptions = [{**CHAT, "single_active_consumer": True}, GENERATE, EMBED]
    others = [queue_name(each["type"], each["model"]) for each in (GENERATE, EMBED)]
    with WatchedFleet(vhost, workers=2, subscriptions=subscriptions, ready=others) as fleet:
        for number in range(10):
            ask(fleet, f"chat {number}")
            fleet.publish(f"embed {number}", request_type="embed")
            fleet.publish(f"generate {number}", request_type="generate")
        assert len(fleet.wait_for_replies(30)) == 30
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


# -- queues that operators made


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-queue-type": "classic"},
        {"x-queue-type": "quorum", "x-delivery-limit": 7},
        {"x-queue-type": "quorum", "x-single-active-consumer": True},
        {"x-queue-type": "quorum", "x-delivery-limit": 7, "x-single-active-consumer": True},
    ],
    ids=["classic", "limited", "single", "limited and single"],
)
@pytest.mark.parametrize("subscriptions", [[CHAT], [CHAT, EMBED]], ids=["alone", "beside another"])
def test_a_queue_with_other_arguments_is_used_as_it_is_and_said_so(
    arguments: dict[str, Any],
    subscriptions: Sequence[dict[str, Any]],
    vhost: VirtualHost,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with WatchedFleet(vhost, workers=0, ready=[]) as fleet:
        fleet.queues = [queue_name(each["type"], each["model"]) for each in subscriptions]
        fleet.admin.declare(CHAT_QUEUE, arguments)
        fleet.serve(subscriptions)
        ask(fleet, "a")
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert f"queue '{CHAT_QUEUE}' exists and is used as it is" in caplog.text
        ask(fleet, "b")
        assert "error" not in fleet.wait_for_replies(1)["b"]
        fleet.finish()


# -- wildcards


def test_a_wildcard_follows_the_models_that_come_and_go(
    vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_EVERY", 0.05)
    red, green = (queue_name("chat", model) for model in ("red", "green"))
    wild = {"type": "chat", "model": "*"}
    with WatchedFleet(vhost, subscriptions=[wild], models=["red"], ready=[red]) as fleet:
        (ollama,) = fleet.ollamas
        ask(fleet, "1", "red")
        assert "error" not in fleet.wait_for_replies(1)["1"]
        ollama.on("GET", "/api/tags", tags("red", "green"))
        fleet.admin.wait_for_consumers(green, 1)
        ask(fleet, "2", "green")
        assert "error" not in fleet.wait_for_replies(1)["2"]
        ollama.on("GET", "/api/tags", tags("green"))
        fleet.wait_for_consumers(red, 0)
        ask(fleet, "3", "red")  # waits
        ask(fleet, "4", "green")
        assert "error" not in fleet.wait_for_replies(1)["4"]
        assert fleet.admin.count(red) == 1
        ollama.on("GET", "/api/tags", tags("red", "green"))
        assert "error" not in fleet.wait_for_replies(1)["3"]
        fleet.wait_for_consumers(red, 1)
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


def test_a_run_of_a_model_that_goes_is_finished_and_answered_once(
    vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_EVERY", 0.05)
    red, green = (queue_name("chat", model) for model in ("red", "green"))
    wild = {"type": "chat", "model": "*"}
    with WatchedFleet(
        vhost, subscriptions=[wild], models=["red", "green"], ready=[red, green], settings={"worker.slots": 2}
    ) as fleet:
        plug(fleet, "red")
        fleet.ollamas[0].on("GET", "/api/tags", tags("green"))
        looks = len(fleet.ollamas[0].requests)
        fleet.ollamas[0].wait_for_request(looks + 5)  # two looks, of two requests each, and a bit
        fleet.release()
        assert "error" not in fleet.wait_for_replies(1)["plug"]
        ask(fleet, "next", "green")
        assert "error" not in fleet.wait_for_replies(1)["next"]
        assert fleet.admin.get_all(red) == []
        assert fleet.runs("plug") == 1
        fleet.finish()


def test_a_wildcard_for_any_type_serves_what_each_model_can(vhost: VirtualHost) -> None:
    wild = {"type": "*", "model": "*"}
    queues = [queue_name("chat", MODEL), queue_name("generate", MODEL), queue_name("embed", EMBED["model"])]
    with WatchedFleet(vhost, subscriptions=[wild], models=[MODEL, EMBED["model"]], ready=queues) as fleet:
        fleet.publish("a")
        fleet.publish("b", request_type="generate")
        fleet.publish("c", request_type="embed")
        replies = fleet.wait_for_replies(3)
        assert not any("error" in reply for reply in replies.values())
        assert not fleet.admin.exists(queue_name("embed", MODEL))
        assert not fleet.admin.exists(queue_name("chat", EMBED["model"]))
        fleet.finish()


def test_an_exact_subscription_beside_a_wildcard_is_one_queue_with_one_consumer(vhost: VirtualHost) -> None:
    subscriptions = [{"type": "chat", "model": "*"}, CHAT]
    with WatchedFleet(vhost, subscriptions=subscriptions, models=[MODEL]) as fleet:
        ask(fleet, "a")
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert fleet.runs("a") == 1
        fleet.finish()


# -- duplicates


def test_a_duplicate_of_a_running_request_joins_it_and_both_are_done_with_one_run(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost, settings={"worker.slots": 2}) as fleet:
        plug(fleet)
        ask(fleet, "plug")
        fleet.wait_for_unacked(CHAT_QUEUE, 2)
        fleet.release()
        fleet.wait_for_replies(1)
        fleet.wait_for_unacked(CHAT_QUEUE, 0)
        assert fleet.runs("plug") == 1
        fleet.finish()


def test_a_request_that_is_published_again_after_its_answer_runs_again(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost) as fleet:
        for _ in range(2):
            ask(fleet, "a")
            fleet.wait_for_replies(1)
        assert fleet.runs("a") == 2  # results are not kept; a caller drops the second reply
        fleet.finish()


def test_the_redelivery_of_a_request_that_was_answered_is_acknowledged_and_not_run(
    vhost: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with WatchedFleet(vhost) as fleet:
        ask(fleet, "a")
        fleet.wait_for_replies(1)
        plug(fleet)
        ask(fleet, "a")
        method, _, _ = fleet.admin.channel.basic_get(CHAT_QUEUE)  # as if its acknowledgement had been lost
        assert method is not None
        fleet.admin.channel.basic_nack(method.delivery_tag, requeue=True)
        fleet.release()
        fleet.wait_for_replies(1)  # of the plug
        fleet.wait_for_unacked(CHAT_QUEUE, 0)
        assert fleet.runs("a") == 1
        assert "a request that was answered came back" in caplog.text
        fleet.finish()


# -- many


@pytest.mark.parametrize("seed", [1])
def test_under_heavy_load_nothing_is_lost_and_nothing_dies(
    seed: int, vhost: VirtualHost, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three queues, four workers, 90 % load, and a broker that sets aside what was given back five times."""
    dice = random.Random(seed)  # noqa: S311 - to be repeatable
    with WatchedFleet(vhost, workers=4, subscriptions=THREE, models=MODELS) as fleet:
        vhost.rabbit.set_policy(
            "strict", r"^llm\.request", {"delivery-limit": 5}, vhost=vhost.name, priority=20
        )
        figures = fleet.load([queue_name("chat", model) for model in MODELS], 0.9, 240, 0.05, dice)
        assert set(fleet.all_runs.values()) == {1}
        assert sum(each.requests for each in figures.values()) == 240
        with capsys.disabled():
            print("", *(f"{queue}: {each}" for queue, each in figures.items()), sep="\n  ")  # noqa: T201
        fleet.finish(dead=0)


def test_ollama_is_asked_for_nothing_but_what_a_worker_needs(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, subscriptions=[CHAT, EMBED]) as fleet:
        fleet.ollamas[0].on("DELETE", "/api/delete", Json({"error": "no"}, 500))
        fleet.publish("a")
        fleet.publish("b", request_type="embed")
        fleet.wait_for_replies(2)
        assert {each.path for each in fleet.ollamas[0].requests} == {
            "/api/version",
            "/api/tags",
            "/api/chat",
            "/api/embed",
        }
        fleet.finish()
