"""Fixtures of the tests of the scripted server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    """A running server of the newest version, which leaves no thread behind."""
    with FakeOllama() as running:
        name = f"FakeOllama {running.port}"
        yield running
    assert [each.name for each in threading.enumerate() if each.name.startswith(name)] == []
