"""Every Python block of the README and of the pages in docs/ runs as it stands.

Ollama is played by the scripted server, and S3 by moto with two models in its bucket, one of which the model
directory has as well; the addresses that a block spells out are replaced by theirs, nothing else is. Blocks
that need a broker are run in tests/fleet/broker.
"""

from __future__ import annotations

import os
import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from docs_blocks import ALIASES, PAGES, blocks, needs_broker
from model_stores import make_model, put_model
from s3_servers import S3Server, moto_s3

from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCKS = {place: code for place, code in blocks().items() if not needs_broker(code)}


def test_the_readme_shows_code() -> None:
    assert sum(place.startswith("README") for place in BLOCKS) >= 8


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    """Run an S3 server that has the bucket of the docs."""
    with moto_s3() as server, closing(server.client()) as client:
        client.create_bucket(Bucket="models")
        put_model(client, "models", "llama3.2:1b", [b"weights of a llama"])
        put_model(client, "models", "all-minilm", [b"weights of a small one"])
        yield server


@pytest.mark.parametrize("code", BLOCKS.values(), ids=BLOCKS)
def test_a_block_of_the_docs_runs(
    code: str, moto: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_model(tmp_path / ".ollama" / "models", "llama3.2:1b", [b"weights of a llama"])
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    with FakeOllama(aliases=ALIASES) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        code = code.replace("http://127.0.0.1:11434", server.url)
        code = code.replace("https://s3.example.com", moto.endpoint_url)

        exec(compile(code, "block", "exec"), {"__name__": "__block__"})  # noqa: S102 - our own docs


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
