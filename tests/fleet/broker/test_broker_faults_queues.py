"""What a fleet does when its queues are deleted, policies, passwords or rights change, or jobs take too long.

What must hold is what `test_link_faults` says, but for requests that lay in a queue when it was deleted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from fleet_workers import CHAT, EMBED, EMBEDDER, GENERATE, Fleet, wait_until
from rabbitmq import RabbitMQ
from virtual_hosts import VirtualHosts

from ollama_ext.fleet import BrokerRefused, FleetWorker, intake, links
from ollama_ext.fleet.topology import queue_name
from ollama_ext.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from rabbitmq_admin import Admin
    from virtual_hosts import VirtualHost


def texts(count: int) -> list[str]:
    return [f"request {number}" for number in range(count)]


# -- queues


@pytest.mark.parametrize("workers", [1, 6])
def test_the_only_queue_is_deleted_and_made_anew(workers: int, vhost: VirtualHost) -> None:
    with Fleet(vhost, workers=workers) as fleet:
        fleet.hold()
        running = fleet.ask(texts(workers))
        fleet.wait_for_runs(workers)
        fleet.admin.delete(fleet.queues[0])
        fleet.wait_ready()
        fleet.release()
        assert fleet.answers(running) == texts(workers)
        assert fleet.answers(fleet.ask(["after"])) == ["after"]
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


def test_one_queue_of_several_is_deleted_and_the_others_do_not_notice(vhost: VirtualHost) -> None:
    with Fleet(vhost, workers=2, subscriptions=[CHAT, GENERATE, EMBED]) as fleet:
        client = fleet.client()
        fleet.hold()
        running = fleet.ask(texts(2), client)
        fleet.wait_for_runs(2)
        for number in range(4):
            fleet.publish(f"generate {number}", request_type="generate")
        fleet.admin.delete(queue_name("embed", EMBEDDER))
        fleet.release()
        assert fleet.answers(running) == texts(2)
        assert len(fleet.wait_for_replies(4)) == 4
        fleet.wait_ready()
        assert client.embed(EMBEDDER, "after").result.embeddings
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


def test_queues_are_deleted_again_and_again_while_idle(vhost: VirtualHost) -> None:
    with Fleet(vhost, subscriptions=[CHAT, EMBED]) as fleet:
        for number in range(3):
            for queue in fleet.queues:
                fleet.admin.delete(queue)
            fleet.wait_ready()
            assert fleet.answers(fleet.ask([f"round {number}"])) == [f"round {number}"]
            fleet.wait_ready()
        fleet.finish()


def test_a_policy_is_changed_under_way(vhost: VirtualHost) -> None:
    with Fleet(vhost, workers=2, settings={"worker.slots": 2}) as fleet:
        fleet.hold()
        wanted = texts(12)
        waiting = fleet.ask(wanted)
        fleet.wait_for_runs(4)
        for limit in (3, 7):
            vhost.rabbit.set_policy(
                "other",
                "^llm[.]request",
                {"delivery-limit": limit, "message-ttl": 600_000, "max-length": 100},
                vhost=vhost.name,
                priority=99,
            )
        fleet.release()
        assert fleet.answers(waiting) == wanted
        vhost.rabbit.clear_policy("other", vhost=vhost.name)
        assert fleet.answers(fleet.ask(["after"])) == ["after"]
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


@pytest.mark.parametrize("message_id", ["", "named"], ids=["without message_id", "with message_id"])
def test_when_pika_fails_jobs_go_on_and_are_adopted(
    message_id: str, vhost: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise AssertionError("a bug of pika's")

    caplog.set_level(logging.INFO, "ollama_ext.fleet")
    with Fleet(vhost, settings={"worker.slots": 2}) as fleet:
        fleet.hold()
        for text in ("one", "two", "three"):
            fleet.publish(text, message_id=f"{message_id} {text}" if message_id else None)
        fleet.wait_for_runs(2)

        worker: Any = fleet.workers[0]
        worker.worker._engine._loop.pika.add_callback_threadsafe(fail)  # noqa: SLF001 - as one of pika's would
        wait_until(lambda: caplog.text.count("a request that runs here came back") == 2)
        assert "a bug of pika's" in caplog.text
        fleet.release()
        assert fleet.wait_for_replies(3).keys() == {"one", "two", "three"}
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


# -- the time that a job may take


@pytest.fixture(scope="module")
def impatient() -> Any:
    """Run a node that takes a request back after two seconds."""
    with RabbitMQ(consumer_timeout=2) as running:
        yield VirtualHosts(running)


def test_a_job_that_takes_longer_than_the_consumer_time_out_runs_once(
    impatient: VirtualHosts, caplog: pytest.LogCaptureFixture
) -> None:
    with Fleet(impatient.take(), subscriptions=[CHAT]) as fleet:
        fleet.hold()
        waiting = fleet.ask(["long"])
        wait_until(
            lambda: caplog.text.count("lost the channel of") >= 2
        )  # it was adopted, and outlived that too
        fleet.release()
        assert fleet.answers(waiting) == ["long"]
        assert fleet.answers(fleet.ask(["next"])) == ["next"]
        assert fleet.all_runs == {"long": 1, "next": 1}
        fleet.finish()


def test_a_job_that_takes_too_long_does_not_take_the_other_queues_jobs_back(
    impatient: VirtualHosts, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"worker.slots": 2}
    with Fleet(impatient.take(), subscriptions=[CHAT, GENERATE], settings=settings) as fleet:
        fleet.hold()
        fleet.publish("long")
        fleet.wait_for_runs(1)
        wait_until(lambda: f"lost the channel of {fleet.queues[0]}" in caplog.text)
        fleet.publish("other", request_type="generate")
        fleet.wait_for_runs(2)
        fleet.release()
        assert fleet.wait_for_replies(2).keys() == {"long", "other"}
        assert fleet.all_runs == {"long": 1, "other": 1}
        assert f"lost the channel of {fleet.queues[1]}" not in caplog.text
        fleet.wait_ready()  # so the redelivery of what was answered has come, and was acked
        fleet.finish()


# -- passwords and rights


def test_a_password_is_changed_and_then_the_links_are_lost(
    vhost: VirtualHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links, "_LONGEST_WAIT", 0.3)
    rabbit, user, file = vhost.rabbit, vhost.name, tmp_path / "password"
    rabbit.add_user(user, "old")
    rabbit.set_permissions(user, vhost.name, configure=".", write=".", read=".")
    file.write_text("old\n", "utf-8")
    url = vhost.url_for(user).replace(":guest@", "@")
    with Fleet(vhost, url=url, settings={"amqp.password_file": str(file)}) as fleet:
        fleet.hold()
        waiting = fleet.ask(["one", "two"])
        fleet.wait_for_runs(1)
        rabbit.change_password(user, "new")
        rabbit.close_all_connections(vhost=vhost.name)
        wait_until(lambda: f"refuses user '{user}': wrong password" in caplog.text)
        fleet.release()
        assert fleet.workers[0].alive
        file.write_text("new\n", "utf-8")
        assert fleet.answers(waiting) == ["one", "two"]
        assert set(fleet.all_runs.values()) == {1}
        fleet.finish()


def limited(vhost: VirtualHost, **rights: str) -> str:
    """Return the address of the virtual host for a user with these rights."""
    vhost.rabbit.add_user(vhost.name, "secret")
    vhost.rabbit.set_permissions(vhost.name, vhost.name, **rights)
    return vhost.url_for(vhost.name, "secret")


def test_a_worker_that_may_not_make_the_missing_exchange_ends_and_says_what_to_do(vhost: VirtualHost) -> None:
    url = limited(vhost, write=".", read=".")
    worker = FleetWorker(
        Settings.from_mapping({"subscriptions": [dict(CHAT)]}, overrides={"amqp.url": url}, environ={})
    )
    with pytest.raises(
        BrokerRefused, match=r"exchange 'llm[.]request' is missing, and we may not make it"
    ) as caught:
        worker.run()
    assert "fleet definitions" in str(caught.value)


def test_a_worker_that_may_not_make_its_queue_waits_says_the_command_and_goes_on_when_it_may(
    vhost: VirtualHost, admin: Admin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intake, "_REFUSED", 0.1)
    monkeypatch.setattr(intake, "_LONGEST", 0.2)
    admin.declare_exchange("llm.request")
    with Fleet(vhost, workers=0, url=limited(vhost, write=".", read=".")) as fleet:
        fleet.add()
        wait_until(lambda: f"rabbitmqctl set_permissions -p {vhost.name} -- {vhost.name}" in caplog.text)
        vhost.rabbit.set_permissions(vhost.name, vhost.name, configure=".", write=".", read=".")
        fleet.wait_ready()
        assert fleet.answers(fleet.ask(["one"])) == ["one"]
        fleet.finish()
