"""After an import: does the Ollama of this machine see it, and what is said where it does not."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from model_stores import make_model, tree

from ollama_ext.cli import mirror_check
from ollama_ext.testing import FakeOllama, Json

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Command, Ran

TAGS = ("GET", "/api/tags")
LISTED = {
    "size": 1,
    "modified_at": "2026-01-01T00:00:00Z",
    "details": {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": None,
        "parameter_size": "",
        "quantization_level": "",
    },
}


def lists(server: FakeOllama, name: str, digest: str) -> None:
    """Have the server list one model."""
    entry: dict[str, Any] = {
        **LISTED,
        "name": name,
        "model": name,
        "digest": digest.removeprefix("sha256:"),
    }
    server.on(*TAGS, Json({"models": [entry]}))


@dataclass
class Machine:
    """Where things are on a machine on which somebody imports a model from a directory.

    Attributes:
        usb: The directory with the model.
        store: Where it goes to.
        service: Where Ollama's service has its models, if it is installed.
        digest: The digest of the model.
    """

    command: Command
    usb: Path
    store: Path
    service: Path
    digest: str

    def imports(self, *more: str) -> Ran:
        """Import it."""
        return self.command(
            *("mirror", "import", "mistral", "--directory", str(self.usb), "--reserve", "0", *more)
        )


@pytest.fixture
def machine(command: Command, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Play a machine without Ollama's service."""
    monkeypatch.setattr(mirror_check, "SERVICE_STORE", tmp_path / "service")
    digest = make_model(tmp_path / "usb", "mistral", [b"weights"]).digest
    return Machine(command, tmp_path / "usb", store, tmp_path / "service", digest)


def test_a_server_that_sees_the_model_is_asked_once_and_nothing_is_said(
    server: FakeOllama, machine: Machine
) -> None:
    lists(server, "mistral:latest", machine.digest)
    done = machine.imports()
    assert (done.code, done.err) == (0, "")
    assert [request.path for request in server.requests] == ["/api/tags"]


@pytest.mark.parametrize(("name", "digest"), [("other:latest", None), ("mistral:latest", "0" * 64)])
def test_a_server_that_does_not_is_an_error_with_the_command_to_type(
    server: FakeOllama, machine: Machine, name: str, digest: str | None
) -> None:
    lists(server, name, digest or machine.digest)
    machine.service.mkdir()
    done = machine.imports("--store", str(machine.store))
    assert done.code == 1
    assert "imported" in done.out
    said, typed = done.err.splitlines()
    assert f"the Ollama at {server.url} does not see 'mistral:latest' in {machine.store}" in said
    assert str(machine.service) in said
    machine.command(*shlex.split(typed)[1:])
    assert tree(machine.service) == tree(machine.usb)


def test_where_no_service_is_installed_the_directory_is_left_to_the_user(
    server: FakeOllama, machine: Machine
) -> None:
    lists(server, "other:latest", "0" * 64)
    done = machine.imports(f"--store={machine.store}")
    assert done.code == 1
    typed = f"ollama-ext mirror import --store DIRECTORY mistral --directory {machine.usb} --reserve 0"
    assert done.err.splitlines()[1].strip() == typed
    assert "OLLAMA_MODELS" in done.err


def test_a_store_that_the_user_may_not_write_is_said_to_be_so(
    server: FakeOllama, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.service.mkdir()
    lists(server, "other:latest", "0" * 64)
    may = os.access

    def may_here(path: Path, mode: int) -> bool:
        return path != machine.service and may(path, mode)

    monkeypatch.setattr(os, "access", may_here)
    assert "as root" in machine.imports().err


@pytest.mark.parametrize(
    "more",
    [("--no-check",), ("--dry-run",), ("--host", "192.0.2.1")],
    ids=["no-check", "dry-run", "elsewhere"],
)
def test_nobody_is_asked_where_that_is_not_wanted_or_says_nothing(
    server: FakeOllama, machine: Machine, more: tuple[str, ...]
) -> None:
    lists(server, "other:latest", "0" * 64)
    assert machine.imports(*more).code == 0
    assert server.requests == []


def test_nobody_who_answers_is_fine(machine: Machine) -> None:
    done = machine.imports("--host", "127.0.0.1:1")
    assert (done.code, done.err) == (0, "")


def test_a_server_that_fails_is_told_of_and_no_failure(server: FakeOllama, machine: Machine) -> None:
    server.on(*TAGS, Json({"error": "boom"}, 500))
    done = machine.imports()
    assert done.code == 0
    assert "boom" in done.err
    assert len(server.requests) == 1


def test_nothing_is_asked_where_nothing_was_imported(server: FakeOllama, machine: Machine) -> None:
    assert machine.command("mirror", "import", "missing", "--directory", str(machine.usb)).code == 4
    assert server.requests == []
