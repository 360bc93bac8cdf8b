"""What must be so before a worker takes requests: models fetched and loaded, an exchange, and its rights."""

from __future__ import annotations

import shlex
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import fleet_workers
import pytest
from fleet_workers import CHAT, EMBED, MODEL, wait_until
from model_stores import manifest_at, put_model
from s3_servers import REGION
from watched_fleets import CHAT_QUEUE, WatchedFleet

from ollama_ext.cli.fleet_worker import provider
from ollama_ext.fleet import BrokerRefused, FleetWorker, watching
from ollama_ext.fleet.topology import DEFAULT_EXCHANGE, queue_name
from ollama_ext.settings import Settings
from ollama_ext.testing import Json, Recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_servers import S3Server
    from virtual_hosts import VirtualHost

EMBED_QUEUE = queue_name("embed", EMBED["model"])
USER = "fleet-worker"
HELLO = {"messages": [{"role": "user", "content": "a"}]}


@pytest.fixture
def provided_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], None]:
    """Have workers of a fleet provide their models by a function."""
    monkeypatch.setattr(watching, "_AGAIN", 0.05)

    def use(provide: Callable[[str], object]) -> None:
        monkeypatch.setattr(fleet_workers, "FleetWorker", partial(FleetWorker, before_subscribe=provide))

    return use


# -- models


def test_a_model_that_cannot_be_provided_keeps_no_other_from_serving_and_is_tried_again(
    vhost: VirtualHost,
    provided_by: Callable[[Callable[[str], object]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    mended = threading.Event()

    def provide(model: str) -> None:
        if model == MODEL and not mended.is_set():
            raise RuntimeError("the bucket is away")

    provided_by(provide)
    with WatchedFleet(vhost, subscriptions=[CHAT, EMBED], ready=[EMBED_QUEUE]) as fleet:
        fleet.publish("a")
        fleet.publish("b", request_type="embed")
        assert "error" not in fleet.wait_for_replies(1)["b"]
        assert fleet.admin.count(CHAT_QUEUE) == 1, "taken though its model was not provided"
        assert f"{MODEL} could not be provided, and waits: the bucket is away" in caplog.text
        mended.set()
        assert "error" not in fleet.wait_for_replies(1)["a"]
        fleet.finish()


def test_a_wildcard_beside_a_provider_serves_what_the_machine_has(
    vhost: VirtualHost, provided_by: Callable[[Callable[[str], object]], None]
) -> None:
    asked: list[str] = []
    provided_by(asked.append)
    wild = {"type": "chat", "model": "*"}
    with WatchedFleet(
        vhost, subscriptions=[wild, EMBED], models=[MODEL, EMBED["model"]], ready=[CHAT_QUEUE]
    ) as fleet:
        fleet.publish("a")
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert asked == [EMBED["model"]]
        fleet.finish()


def test_default_models_are_imported_from_the_bucket_before_their_subscription_begins(
    vhost: VirtualHost,
    moto: S3Server,
    tmp_path: Path,
    provided_by: Callable[[Callable[[str], object]], None],
) -> None:
    bucket = "fleet-models"
    with_client = moto.client()
    with_client.create_bucket(Bucket=bucket)
    put_model(with_client, bucket, MODEL, [b"weights"])
    with_client.close()
    settings: dict[str, Any] = {
        "s3.bucket": bucket,
        "s3.endpoint_url": moto.endpoint_url,
        "s3.region": REGION,
        "s3.store": str(tmp_path),
        "s3.access_key_id": moto.access_key,
        "s3.secret_access_key": moto.secret_key,
        "s3.reserve": 0,
        "default_models": [MODEL],
    }
    fetch = provider(Settings.from_mapping({"subscriptions": [CHAT]}, overrides=settings, environ={}))
    assert fetch is not None
    asked, go_on = threading.Event(), threading.Event()

    def provide(model: str) -> None:
        asked.set()
        assert go_on.wait(30)
        fetch(model)

    provided_by(provide)
    with WatchedFleet(vhost, ready=[], settings=settings) as fleet:
        assert asked.wait(30)
        wait_until(lambda: fleet.admin.exists(CHAT_QUEUE))
        fleet.send(HELLO, correlation_id="a")
        assert fleet.admin.consumers(CHAT_QUEUE) == 0
        assert not manifest_at(tmp_path, MODEL).exists()
        go_on.set()
        assert "error" not in fleet.wait_for_replies(1)["a"]
        assert manifest_at(tmp_path, MODEL).exists()
        fleet.finish()


def test_a_model_that_is_to_be_preloaded_is_loaded_before_the_first_request_is_taken(
    vhost: VirtualHost,
) -> None:
    with WatchedFleet(vhost, ready=[], workers=0) as fleet:
        fleet.loads = [Json({"error": "no memory"}, 500), Recording("generate-load")]
        fleet.add(**{"worker.preload": True})
        wait_until(lambda: fleet.admin.exists(CHAT_QUEUE))
        fleet.send(HELLO, correlation_id="a")
        assert "error" not in fleet.wait_for_replies(1)["a"]
        paths = [each.path for each in fleet.ollamas[0].requests if each.method == "POST"]
        assert paths == ["/api/generate", "/api/generate", "/api/chat"]
        fleet.finish()


# -- the broker's part


def limited(vhost: VirtualHost, **rights: str) -> str:
    """Make a user with these rights, and return its URL."""
    user = f"{USER}-{vhost.name}"
    vhost.rabbit.add_user(user, "secret")
    vhost.rabbit.set_permissions(user, vhost.name, **rights)
    return vhost.url_for(user, "secret")


def test_a_missing_right_is_said_with_the_command_that_gives_it_and_once_given_the_queue_is_served(
    vhost: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    url = limited(vhost, read=".*", write=".*")
    with WatchedFleet(vhost, ready=[], workers=0, url=url) as fleet:
        fleet.admin.declare_exchange(DEFAULT_EXCHANGE)
        fleet.add()
        wait_until(lambda: f"{CHAT_QUEUE} waits: queue" in caplog.text)
        (line,) = {record.message for record in caplog.records if f"{CHAT_QUEUE} waits" in record.message}
        command = shlex.split(line.partition("What gives a worker its rights: ")[2])
        assert command[:4] == ["rabbitmqctl", "set_permissions", "-p", vhost.name]
        vhost.rabbit.ctl(*command[1:])  # as an operator types it
        wait_until(lambda: fleet.admin.exists(CHAT_QUEUE) and fleet.admin.consumers(CHAT_QUEUE) == 1)
        fleet.publish("a")
        assert "error" not in fleet.wait_for_replies(1)["a"]
        fleet.finish()


def test_a_queue_that_may_not_be_read_is_said_with_the_command_and_not_asked_for_all_the_time(
    vhost: VirtualHost, caplog: pytest.LogCaptureFixture
) -> None:
    url = limited(vhost, configure=".*", write=".*", read=r"^llm\.request$")
    with WatchedFleet(vhost, ready=[], url=url) as fleet:
        wait_until(lambda: f"we may not read queue '{CHAT_QUEUE}'" in caplog.text)
        assert "rabbitmqctl set_permissions" in caplog.text
        vhost.rabbit.set_permissions(
            f"{USER}-{vhost.name}", vhost.name, configure=".*", write=".*", read=".*"
        )
        wait_until(lambda: fleet.admin.consumers(CHAT_QUEUE) == 1)
        assert caplog.text.count("lost the channel of") <= 3
        fleet.publish("a")
        assert "error" not in fleet.wait_for_replies(1)["a"]
        fleet.finish()


def test_an_exchange_that_may_not_be_made_ends_the_worker_with_what_to_do(vhost: VirtualHost) -> None:
    url = limited(vhost, configure=r"^llm\.request\..*$", write=".*", read=".*")
    with WatchedFleet(vhost, ready=[], url=url) as fleet:
        worker = fleet.workers.pop()
        worker.wait()
        assert isinstance(worker.failure, BrokerRefused)
        assert "exchange 'llm.request' is missing, and we may not make it" in str(worker.failure)
        assert "ollama-ext fleet definitions" in str(worker.failure)


def test_an_exchange_of_another_type_ends_the_worker_with_what_to_do(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, ready=[], workers=0) as fleet:
        fleet.admin.declare_exchange(DEFAULT_EXCHANGE, "fanout")
        worker = fleet.add()
        worker.wait()
        assert isinstance(worker.failure, BrokerRefused)
        assert "is no topic exchange" in str(worker.failure)
        assert "amqp.exchange" in str(worker.failure)


def test_an_exchange_with_other_arguments_is_used_as_it_is(vhost: VirtualHost) -> None:
    with WatchedFleet(vhost, ready=[], workers=0) as fleet:
        fleet.admin.channel.exchange_declare(
            DEFAULT_EXCHANGE, "topic", durable=True, arguments={"alternate-exchange": "amq.fanout"}
        )
        fleet.serve([CHAT])
        fleet.publish("a")
        assert "error" not in fleet.wait_for_replies(1)["a"]
        fleet.finish()
