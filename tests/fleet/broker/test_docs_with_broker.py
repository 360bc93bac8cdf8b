"""Every Python block of the docs that needs a broker runs as it stands, and every file of settings is read.

Two workers serve the models that the docs speak of; the address of the broker is replaced, nothing else is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from docs_blocks import ALIASES, blocks, needs_broker
from fleet_workers import Fleet

from ollama_ext import Client
from ollama_ext.settings import Settings
from ollama_ext.testing import FakeOllama, Json

if TYPE_CHECKING:
    from pathlib import Path

    from virtual_hosts import VirtualHost

BLOCKS = {place: code for place, code in blocks().items() if needs_broker(code)}
FILES = {place: text for place, text in blocks("yaml").items() if place.startswith(("README", "fleet.md"))}
SERVED = ({"type": "chat", "model": "llama3.2"}, {"type": "embed", "model": "all-minilm"})


def test_the_readme_and_the_page_of_the_fleet_show_code_and_settings() -> None:
    for shown in (BLOCKS, FILES):
        assert {place.partition(":")[0] for place in shown} == {"README.md", "fleet.md"}


def list_aliases(server: FakeOllama) -> None:
    """Have a server list its models under the names of the docs, too: a worker looks there first."""
    with Client(server.url) as client:
        listed = client.request("GET", "/api/tags")["models"]
    known = {entry["name"]: entry for entry in listed}
    renamed = [
        {**known.get(name, listed[0]), "name": alias, "model": alias} for alias, name in ALIASES.items()
    ]
    server.on("GET", "/api/tags", Json({"models": listed + renamed}))


@pytest.mark.parametrize("code", BLOCKS.values(), ids=BLOCKS)
def test_a_block_of_the_docs_runs(
    code: str,
    vhost: VirtualHost,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "amqp://localhost/" in code
    monkeypatch.chdir(tmp_path)
    with FakeOllama(aliases=ALIASES) as server:
        list_aliases(server)
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        hosts = {"ollama.host": server.url}
        with Fleet(vhost, workers=2, subscriptions=SERVED, settings=hosts):
            code = code.replace("amqp://localhost/", vhost.url)
            exec(compile(code, "block", "exec"), {"__name__": "__block__"})  # noqa: S102 - our own docs
    if "FleetClient(" in code:
        assert capsys.readouterr().out.rstrip().endswith("200")  # of the embedding; nothing was refused


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_settings_of_the_docs_can_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(text, encoding="utf-8")
    assert Settings.load(tmp_path / "fleet.yaml", environ={}).subscriptions
