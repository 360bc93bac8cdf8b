"""The command in this process, in a process of its own, and on a terminal."""

from __future__ import annotations

import io
import itertools
import os
import pty
import subprocess
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from commands import Command, OnTerminal, Ran, Terminal

from ollama_ext.cli import main
from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3_servers import S3Server
    from types_boto3_s3 import S3Client

_numbers = itertools.count(1)


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    """Run a scripted server that knows a few names."""
    with FakeOllama(aliases={"llama3.2": "smollm2:135m", "all-minilm": "all-minilm:l6-v2"}) as running:
        yield running


@pytest.fixture
def command(
    server: FakeOllama, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return what runs the command in this process, its output in a pipe."""
    monkeypatch.setenv("OLLAMA_HOST", server.url)

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["ollama-ext", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Ran(int(ended.value.code or 0), written.out, written.err)

    return run


@pytest.fixture
def on_terminal(server: FakeOllama) -> Iterator[OnTerminal]:
    """Return what starts the command on a terminal of its own; it is ended with the test."""
    started: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        screen, terminal = pty.openpty()
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "ollama_ext", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - no other thread runs Python in the child
            env={**os.environ, "OLLAMA_HOST": server.url, "TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(terminal)
        started.append(Terminal(process, screen))
        return started[-1]

    yield start
    for one in started:
        with suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()
        os.close(one.screen)


@pytest.fixture(scope="session")
def s3(moto: S3Server) -> Iterator[S3Client]:
    """Make a plain client of it, to put things there and to look."""
    with closing(moto.client()) as client:
        yield client


@pytest.fixture
def bucket(moto: S3Server, s3: S3Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a bucket of the test's own, which the environment names."""
    name = f"models-of-commands-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    for variable in list(os.environ):
        if variable.startswith("AWS_"):
            monkeypatch.delenv(variable)
    for variable, value in moto.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("OLLAMA_EXT_BUCKET", name)
    return name


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a model directory of the test's own, which is not made."""
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def mirror(command: Command, store: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return what runs ``ollama-ext mirror`` on a machine where no Ollama answers."""
    del store
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")

    def run(*arguments: str, stdin: str = "") -> Ran:
        return command("mirror", *arguments, stdin=stdin)

    return run


def _take_terminal() -> None:
    """Make the terminal that of the new session, so that Ctrl-C on it is a signal."""
    import fcntl  # noqa: PLC0415 - in the child only
    import termios  # noqa: PLC0415

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
