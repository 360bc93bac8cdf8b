"""A worker before it has a broker: its settings, its models from a bucket, and its command line."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sockets import nothing_left_behind

from ollama_ext.cli.fleet_worker import provider
from ollama_ext.errors import ConnectionFailed, InvalidArgument
from ollama_ext.fleet import FleetWorker
from ollama_ext.fleet.__main__ import main, overrides_of
from ollama_ext.fleet.errors import BrokerUnreachable
from ollama_ext.fleet.serving import provided_models
from ollama_ext.settings import Settings, SettingsError, Subscription

if TYPE_CHECKING:
    from pathlib import Path

    from ollama_ext.testing import FakeOllama

CHAT = {"type": "chat", "model": "llama3.2"}
NOBODY = "amqp://127.0.0.1:1/"  # a port that no program of ours listens on


def settings(*subscriptions: dict[str, Any], **overrides: Any) -> Settings:
    mapping = {"subscriptions": list(subscriptions)}
    paths = {name.replace("__", "."): value for name, value in overrides.items()}
    return Settings.from_mapping(mapping, overrides={"amqp.url": NOBODY, **paths}, environ={})


# -- what it serves


def test_a_worker_without_subscriptions_is_refused_and_told_what_to_write() -> None:
    with pytest.raises(InvalidArgument, match=r"nothing to do: list some under `subscriptions`"):
        FleetWorker(settings())


def test_two_subscriptions_with_one_queue_are_refused() -> None:
    told = settings(CHAT)
    both = tuple(Subscription(type="chat", model=model) for model in ("a:b.c", "a.b:c"))
    colliding = Settings(
        ollama=told.ollama,
        amqp=told.amqp,
        worker=told.worker,
        subscriptions=both,
        s3=None,
        default_models=(),
    )
    with pytest.raises(SettingsError, match="would have the same queue"):
        FleetWorker(colliding)


def test_models_are_provided_as_subscriptions_name_them_and_default_models_besides() -> None:
    told = settings(
        CHAT,
        {"type": "generate", "model": "llama3.2"},
        {"type": "embed", "model": "*"},
        default_models=["LLAMA3.2:latest", "nomic-embed-text"],
        s3__bucket="models",
    )
    assert provided_models(told) == ("llama3.2", "nomic-embed-text")


# -- waiting for a broker and for Ollama


def test_a_worker_that_may_not_wait_tries_once_and_says_what_is_missing(server: FakeOllama) -> None:
    worker = FleetWorker(settings(CHAT, ollama__host=server.url), wait=0)
    with (
        nothing_left_behind(),
        pytest.raises(BrokerUnreachable, match=r"127\.0\.0\.1:1/? .*Connection refused"),
    ):
        worker.run()


def test_a_worker_that_waits_is_stopped_at_once(server: FakeOllama) -> None:
    worker = FleetWorker(settings(CHAT, ollama__host=server.url))
    with nothing_left_behind():
        thread = threading.Thread(target=worker.run)
        thread.start()
        server.wait_for_request()
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()


def test_a_worker_that_is_stopped_before_it_runs_ends_at_once(server: FakeOllama) -> None:
    worker = FleetWorker(settings(CHAT, ollama__host=server.url))
    worker.stop()
    worker.run()


# -- models from a bucket


def test_without_default_models_nothing_is_provided() -> None:
    assert provider(settings(CHAT)) is None


def test_a_remote_ollama_cannot_be_given_models_and_the_error_says_what_to_do() -> None:
    told = settings(CHAT, ollama__host="http://gpu7:11434", default_models=["a"], s3__bucket="models")
    with pytest.raises(
        SettingsError, match=r"http://gpu7:11434.* is another one: run the worker there"
    ) as error:
        provider(told)
    assert "ollama-ext mirror import" in str(error.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]"])
def test_an_ollama_of_this_machine_is_given_models(host: str) -> None:
    told = settings(CHAT, ollama__host=host, default_models=["a"], s3__bucket="models", s3__anonymous=True)
    assert provider(told) is not None


def test_a_model_that_is_no_default_model_is_taken_to_be_there() -> None:
    told = settings(CHAT, default_models=["a"], s3__bucket="models", s3__anonymous=True)
    provide = provider(told)
    assert provide is not None
    provide("llama3.2")  # asks no bucket, which there is none of


# -- the command line


def test_a_setting_on_the_command_line_may_hold_an_equals_sign() -> None:
    assert overrides_of(["a.b=c=d", "e="]) == {"a.b": "c=d", "e": ""}


@pytest.mark.parametrize("text", ["worker.slots", "=2"])
def test_a_setting_on_the_command_line_without_key_or_value_is_named(text: str) -> None:
    with pytest.raises(InvalidArgument, match=f"not '{text}'"):
        overrides_of([text])


def test_bad_settings_end_the_command_with_status_2_and_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "fleet.yaml"
    config.write_text("worker: {slots: two}\n", "utf-8")
    assert main(["worker", "--config", str(config)]) == 2
    assert f"{config}:1: worker.slots" in capsys.readouterr().err


def test_no_broker_ends_the_command_with_status_1_where_it_may_not_wait(
    server: FakeOllama, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "fleet.yaml"
    told = {"amqp": {"url": NOBODY}, "ollama": {"host": server.url}, "subscriptions": [CHAT]}
    config.write_text(json.dumps(told), "utf-8")  # JSON is YAML
    assert main(["worker", "--config", str(config), "--wait", "0"]) == 1
    assert "Connection refused" in capsys.readouterr().err


def test_no_ollama_is_not_why_a_worker_fails_to_connect(server: FakeOllama) -> None:
    server.stop()
    with pytest.raises((BrokerUnreachable, ConnectionFailed)):
        FleetWorker(settings(CHAT, ollama__host="http://127.0.0.1:1"), wait=0).run()
