"""Fixtures of the tests of the generated package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[FakeOllama]:
    """A running scripted server."""
    with FakeOllama() as running:
        yield running
