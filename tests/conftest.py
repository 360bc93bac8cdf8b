"""What holds for every test run: the wheel is tested, and nothing is skipped in silence."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import ollama_openapi
import pytest
from s3_servers import S3Server, moto_s3
from sockets import nothing_left_behind

import ollama_ext
from ollama_ext import Client
from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

TREE = Path(__file__).resolve().parent.parent
LIVE = TREE / "tests" / "live"


def pytest_sessionstart() -> None:
    """Refuse to test the tree in CI: what users install is the wheel. And hear Ctrl-C.

    A shell without job control starts what it puts into the background with Ctrl-C ignored, and the programs
    that the tests start and interrupt would inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for package in (ollama_ext, ollama_openapi):
        home = Path(str(package.__file__)).resolve()
        if os.environ.get("CI") and home.is_relative_to(TREE) and ".tox" not in home.parts:
            pytest.exit(f"{package.__name__} is imported from {home}, not from the wheel: run tox", 3)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the live tests out unless they are named, as `tox -e live` does."""
    named = any(Path(argument.partition("::")[0]).resolve().is_relative_to(LIVE) for argument in config.args)
    return True if collection_path == LIVE and not named else None


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Turn a run that skipped something into a failed one where CI is set."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI") or session.exitstatus != pytest.ExitCode.OK:
        return
    if skipped := len(reporter.stats.get("skipped", [])):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{skipped} tests were skipped, and CI allows none", red=True)


@pytest.fixture(autouse=True)
def _no_server_of_the_machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Keep tests away from an Ollama, a key or a proxy that this machine happens to have."""
    if request.path.is_relative_to(LIVE):
        return
    for name in list(os.environ):
        if name.startswith("OLLAMA_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    """Run a scripted server of the newest version."""
    with FakeOllama() as running:
        yield running


@pytest.fixture
def client(server: FakeOllama) -> Iterator[Client]:
    """Make a client of that server."""
    with Client(server.url) as made:
        yield made


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """Run moto, an S3 server that takes any key and checks no signature."""
    with moto_s3() as running:
        yield running


@pytest.fixture
def nothing_left_open() -> Iterator[None]:
    """See that the test leaves no socket and no thread behind."""
    with nothing_left_behind():
        yield
