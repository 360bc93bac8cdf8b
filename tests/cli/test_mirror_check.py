"""After an import: does the Ollama of this machine see it, and what is said where it does not."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from model_stores import make_model, tree

from ollama_ext.cli import mirror_check
from ollama_ext.testing import FakeOllama, Json

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Command

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


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    """Make a directory with a model to import."""
    make_model(tmp_path / "usb", "mistral", [b"weights"])
    return tmp_path / "usb"


@pytest.fixture
def no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Play a machine without Ollama's service; return where its store would be."""
    monkeypatch.setattr(mirror_check, "SERVICE_STORE", tmp_path / "service")
    return tmp_path / "service"


def importing(usb: Path, *more: str) -> tuple[str, ...]:
    """Return what to type."""
    return ("mirror", "import", "mistral", "--directory", str(usb), "--reserve", "0", *more)


def test_a_server_that_sees_the_model_is_asked_once_and_nothing_is_said(
    server: FakeOllama, command: Command, usb: Path, store: Path
) -> None:
    manifest = make_model(store, "mistral", [b"weights"])
    lists(server, "mistral:latest", manifest.digest)
    done = command(*importing(usb))
    assert (done.code, done.err) == (0, "")
    assert [request.path for request in server.requests] == ["/api/tags"]


@pytest.mark.parametrize(("name", "digest"), [("other:latest", ""), ("mistral:latest", "0" * 64)])
def test_a_server_that_does_not_is_an_error_with_the_command_to_type(
    server: FakeOllama,
    command: Command,
    usb: Path,
    store: Path,
    no_service: Path,
    name: str,
    digest: str,
) -> None:
    lists(server, name, digest or make_model(usb, "mistral", [b"weights"]).digest)
    no_service.mkdir()
    done = command(*importing(usb, "--store", str(store)))
    assert done.code == 1
    assert "imported" in done.out
    said, typed = done.err.splitlines()
    assert f"the Ollama at {server.url} does not see 'mistral:latest' in {store}" in said
    assert str(no_service) in said
    command(*shlex.split(typed)[1:], "--no-check")
    assert tree(no_service) == tree(usb)


def test_where_no_service_is_installed_the_directory_is_left_to_the_user(
    server: FakeOllama, command: Command, usb: Path, store: Path, no_service: Path
) -> None:
    assert not no_service.exists()
    lists(server, "other:latest", "0" * 64)
    done = command(*importing(usb, f"--store={store}"))
    assert done.code == 1
    assert f"  ollama-ext mirror import --store DIRECTORY mistral --directory {usb}" in done.err
    assert "OLLAMA_MODELS" in done.err


def test_a_store_that_the_user_may_not_write_is_said_to_be_so(
    server: FakeOllama,
    command: Command,
    usb: Path,
    store: Path,
    no_service: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del store
    no_service.mkdir()
    lists(server, "other:latest", "0" * 64)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "as root" in command(*importing(usb)).err


@pytest.mark.parametrize("more", [("--no-check",), ("--dry-run",)])
def test_nobody_is_asked_where_that_is_not_wanted(
    server: FakeOllama, command: Command, usb: Path, store: Path, more: tuple[str, ...]
) -> None:
    del store
    assert command(*importing(usb, *more)).code == 0
    assert server.requests == []


def test_a_server_of_another_machine_is_not_asked(
    server: FakeOllama, command: Command, usb: Path, store: Path
) -> None:
    del store
    assert command(*importing(usb, "--host", "192.0.2.1")).code == 0
    assert server.requests == []


def test_nobody_who_answers_is_fine(command: Command, usb: Path, store: Path) -> None:
    del store
    done = command(*importing(usb, "--host", "127.0.0.1:1"))
    assert (done.code, done.err) == (0, "")


def test_a_server_that_fails_is_told_of_and_no_failure(
    server: FakeOllama, command: Command, usb: Path, store: Path
) -> None:
    del store
    server.on(*TAGS, Json({"error": "boom"}, 500))
    done = command(*importing(usb))
    assert done.code == 0
    assert "boom" in done.err
    assert len(server.requests) == 1


def test_nothing_is_asked_where_nothing_was_imported(
    server: FakeOllama, command: Command, usb: Path, store: Path
) -> None:
    del store
    assert command("mirror", "import", "missing", "--directory", str(usb)).code == 4
    assert server.requests == []
