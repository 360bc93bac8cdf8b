"""`ollama-ext fleet` without a broker: what is refused, what is printed, and how each verb ends."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Command

NOBODY = "amqp://127.0.0.1:1/"
SETTINGS = """
amqp: {url: "amqp://worker:s3cret@127.0.0.1:1/fleet"}
subscriptions:
  - {type: chat, model: "smollm2:135m"}
  - {type: embed, model: "all-minilm:l6-v2", exchange: llm.batch}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Write settings whose broker does not answer."""
    file = tmp_path / "fleet.yaml"
    file.write_text(SETTINGS)
    return str(file)


def test_help_imports_neither_the_fleet_nor_its_settings() -> None:
    program = (
        "import sys; sys.argv = ['ollama-ext', 'fleet', '--help']\n"
        "from ollama_ext.cli.app import run; run()\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    for verb in ("worker", "call", "check", "definitions"):
        assert f"\n  {verb} " in done.stdout
    loaded = set(done.stderr.split())
    assert not {"pika", "yaml", "ollama_ext.fleet", "ollama_ext.settings"} & loaded


# -- worker


def test_a_worker_that_may_not_wait_ends_with_why(command: Command, config: str) -> None:
    done = command("fleet", "worker", "--config", config, "--wait", "0")
    assert done.code == 3
    assert "error: amqp://worker:***@127.0.0.1:1/fleet cannot be reached" in done.err


def test_a_worker_with_wrong_settings_tells_each_with_its_line(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text("worker:\n  slots: two\nsubscriptionz: []\n")
    done = command("fleet", "worker", "--config", str(file))
    assert done.code == 2
    assert f"{file}:2: worker.slots must be a whole number" in done.err
    assert f"{file}:3: subscriptionz" in done.err


def test_a_setting_without_a_value_is_wrong_usage(command: Command, config: str) -> None:
    done = command("fleet", "worker", "--config", config, "--set", "worker.slots")
    assert (done.code, "--set needs KEY=VALUE" in done.err) == (2, True)


# -- call


def test_a_call_without_a_broker_ends_as_without_a_server(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_ext.fleet.calls._UNREACHABLE", 0.2)  # seconds; 10 are a long time for a test
    done = command("fleet", "call", "llama3.2", "Hello", "--broker", NOBODY)
    assert done.code == 3
    assert done.err.startswith("error: ")
    assert "127.0.0.1:1" in done.err


@pytest.mark.parametrize("kind", ["chat", "generate", "embed"])
def test_a_call_that_asks_nothing_is_wrong_usage(command: Command, kind: str) -> None:
    done = command("fleet", "call", "llama3.2", "--type", kind, "--broker", NOBODY)
    assert done.code == 2
    assert "pipe" in done.err


def test_an_unescaped_password_is_told_with_how_to_write_it_and_without_itself(command: Command) -> None:
    done = command("fleet", "call", "llama3.2", "Hello", "--broker", "amqp://me:s3/cret@broker/")
    assert done.code == 2
    assert "write @ as %40" in done.err
    assert "cret" not in done.err


# -- check


def test_a_check_shows_settings_findings_and_remedies_and_fails_where_there_is_a_problem(
    command: Command, config: str
) -> None:
    done = command("fleet", "check", "--config", config, "--set", "worker.slots=2")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0] == "SETTING\tVALUE\tFROM"
    assert f"amqp.url\tamqp://worker:***@127.0.0.1:1/fleet\t{config}:2" in lines
    assert "worker.slots\t2\tflag" in lines
    assert any(line.startswith("problem  broker        amqp://worker:***@127.0.0.1:1") for line in lines)
    assert any(line.lstrip().startswith("-> rabbitmq-diagnostics listeners") for line in lines)
    assert any(line.startswith("ok       model         smollm2:135m is there") for line in lines)
    assert "s3cret" not in done.out + done.err
    assert done.err == ""


def test_a_check_as_json_is_one_document(command: Command, config: str) -> None:
    done = command("fleet", "check", "--config", config, "--json")
    report = json.loads(done.out)
    assert (done.code, report["ok"], done.err) == (1, False, "")
    assert {"key": "amqp.exchange", "value": "llm.request", "origin": "default"} in report["settings"]
    assert {finding["state"] for finding in report["findings"]} >= {"ok", "problem"}
    assert "s3cret" not in done.out


def test_a_check_of_settings_that_cannot_be_read_is_wrong_usage(command: Command, tmp_path: Path) -> None:
    done = command("fleet", "check", "--config", str(tmp_path / "none.yaml"))
    assert done.code == 2
    assert "none.yaml" in done.err


# -- definitions


def test_definitions_are_json_for_the_virtual_host_and_queues_of_the_settings(
    command: Command, config: str
) -> None:
    done = command("fleet", "definitions", "--config", config, "--broker-version", "4.1.2")
    document = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert document["vhosts"] == [{"name": "fleet"}]
    assert {queue["name"] for queue in document["queues"]} == {
        "llm.dead",
        "llm.request.ollama.chat.smollm2.135m",
        "llm.batch.ollama.embed.all-minilm.l6-v2",
    }


def test_definitions_for_an_old_broker_tell_what_its_configuration_needs(command: Command) -> None:
    done = command("fleet", "definitions", "--broker-version", "3.10", "--vhost", "other")
    assert json.loads(done.out)["vhosts"] == [{"name": "other"}]
    assert "consumer_timeout = 7200000" in done.err


def test_definitions_need_to_know_the_version(command: Command) -> None:
    done = command("fleet", "definitions")
    assert done.code == 2
    assert '--broker-version "$(rabbitmqctl version)"' in done.err


@pytest.mark.parametrize("version", ["newest", "3.9", ""])
def test_a_version_that_is_none_is_wrong_usage(command: Command, version: str) -> None:
    assert command("fleet", "definitions", "--broker-version", version).code == 2


def test_permissions_are_commands_for_the_user_of_the_settings(command: Command, config: str) -> None:
    (line,) = command("fleet", "definitions", "--config", config, "--permissions").out.splitlines()
    assert line.startswith("rabbitmqctl set_permissions -p fleet -- worker ")
    assert "llm\\.batch" in line


def test_permissions_are_given_to_workers_and_callers_by_name(command: Command) -> None:
    arguments = ("--permissions", "--user", "gpu", "--caller", "web", "--caller", "cron", "--vhost", "llm")
    lines = command("fleet", "definitions", *arguments).out.splitlines()
    assert [line.split()[:6] for line in lines] == [
        ["rabbitmqctl", "set_permissions", "-p", "llm", "--", user] for user in ("gpu", "web", "cron")
    ]


def test_users_are_for_permissions(command: Command) -> None:
    assert command("fleet", "definitions", "--broker-version", "4.1", "--caller", "web").code == 2
