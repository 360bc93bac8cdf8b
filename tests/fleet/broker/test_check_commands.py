"""`ollama-ext fleet` with a broker and a worker: asking, checking, preparing, running."""

from __future__ import annotations

import io
import json
import re
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from commands import Ran
from fleet_workers import CHAT, EMBED, EMBEDDER, GENERATE, MODEL, Fleet

from ollama_ext.cli import main
from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Command
    from rabbitmq_admin import Admin
    from virtual_hosts import VirtualHost

QUEUE = "llm.request.ollama.chat.smollm2.135m"


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return what runs ``ollama-ext fleet`` in this process, its output in a pipe."""

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["ollama-ext", "fleet", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Ran(int(ended.value.code or 0), written.out, written.err)

    return run


@pytest.mark.parametrize("kind", ["chat", "generate"])
def test_a_call_prints_the_answer_to_its_words_or_to_what_is_piped_in(
    fleet: Command, vhost: VirtualHost, kind: str
) -> None:
    with Fleet(vhost, subscriptions=(CHAT, GENERATE)):
        done = fleet("call", MODEL, "Why", "so?", "--type", kind, "--broker", vhost.url)
        assert (done.code, done.out, done.err) == (0, "Why so?\n", "")
        done = fleet("call", MODEL, "--type", kind, "--broker", vhost.url, stdin="from a pipe")
        assert (done.code, done.out) == (0, "from a pipe\n")


def test_a_call_prints_a_line_for_each_vector(fleet: Command, vhost: VirtualHost) -> None:
    with Fleet(vhost, subscriptions=(EMBED,)):
        done = fleet("call", EMBEDDER, "--type", "embed", "--broker", vhost.url, stdin="red\ngreen\n")
    first, second = map(json.loads, done.out.splitlines())
    assert done.code == 0
    assert len(first) == len(second) > 0


def test_a_call_as_json_is_what_ollama_answered(
    fleet: Command, vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_EXT_AMQP__URL", vhost.url)
    with Fleet(vhost):
        done = fleet("call", MODEL, "Hello", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["message"]["content"] == "Hello"


def test_a_call_for_a_model_that_nobody_serves_ends_as_for_one_that_is_not_there(
    fleet: Command, vhost: VirtualHost
) -> None:
    with Fleet(vhost):
        done = fleet("call", "no-such-model", "Hello", "--broker", vhost.url)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("error: ")


def test_a_call_that_nobody_answers_in_time_ends_as_a_time_out(
    fleet: Command, vhost: VirtualHost, admin: Admin
) -> None:
    admin.declare_exchange("llm.request")
    admin.declare(QUEUE)
    admin.bind(QUEUE, "llm.request")
    done = fleet("call", MODEL, "Hello", "--broker", vhost.url, "--timeout", "0.3")
    assert (done.code, "no reply within 0.3 s" in done.err) == (3, True)


def written(tmp_path: Path, url: str, ollama: FakeOllama) -> str:
    """Write settings, and return the name of their file."""
    config = tmp_path / "fleet.yaml"
    told = {
        "amqp": {"url": url},
        "ollama": {"host": ollama.url},
        "subscriptions": [{**CHAT, "options": {"num_ctx": 2048}}],
    }
    config.write_text(json.dumps(told))  # JSON is YAML
    return str(config)


def test_what_is_printed_makes_a_fleet_of_nothing(fleet: Command, vhost: VirtualHost, tmp_path: Path) -> None:
    user = f"{vhost.name}-gpu"
    vhost.rabbit.add_user(user, "pw")
    with FakeOllama() as ollama:
        config = written(tmp_path, vhost.url_for(user, "pw"), ollama)

        def findings() -> dict[str, list[str]]:
            report = json.loads(fleet("check", "--config", config, "--json").out)
            return {
                state: [each["about"] for each in report["findings"] if each["state"] == state]
                for state in ("problem", "note")
            }

        assert findings()["problem"] == ["broker"]  # no right to be in the virtual host at all
        for line in fleet("definitions", "--config", config, "--permissions").out.splitlines():
            vhost.rabbit.ctl(*shlex.split(line)[1:])
        version = ".".join(map(str, vhost.rabbit.version))
        document = fleet("definitions", "--config", config, "--broker-version", version).out
        vhost.rabbit.ctl("import_definitions", "--format", "json", stdin=document)
        assert findings() == {"problem": [], "note": ["policy"]}


def test_a_worker_serves_until_sigterm(
    vhost: VirtualHost, admin: Admin, tmp_path: Path, fleet: Command
) -> None:
    with FakeOllama() as ollama:
        config = written(tmp_path, vhost.url, ollama)
        command = [sys.executable, "-m", "ollama_ext", "fleet", "worker", "--config", config]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
            admin.wait_for_consumers(QUEUE, 1)
            done = fleet("call", MODEL, "Hello", "--broker", vhost.url)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
    assert (done.code, process.returncode) == (0, 0)
    assert done.out.strip()
    assert re.search(r"INFO worker \S+ for chat smollm2:135m", log)
    assert f"serving {QUEUE}" in log
