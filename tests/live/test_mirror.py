"""The mirror between real parts: a real Ollama's models, a real S3 server, another real Ollama."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from model_stores import manifest_at
from real_server import RealServer
from s3_servers import S3Server, seaweedfs

from ollama_ext import Client
from ollama_ext.s3 import Credentials, LocalStore, Mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("OLLAMA_BINARY", "OLLAMA_MODELS_FROM")

pytestmark = pytest.mark.skipif(
    not all(os.environ.get(name) for name in NAMES), reason=f"needs {' and '.join(NAMES)}"
)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run SeaweedFS with a bucket."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        server.client().create_bucket(Bucket="models")
        yield server


def mirror(server: S3Server, store: Path) -> Mirror:
    keys = Credentials(server.access_key, server.secret_key)
    return Mirror("models", endpoint_url=server.endpoint_url, credentials=keys, store=store)


def said_by(server: RealServer) -> str:
    """Return what the first model of a server that chats says."""
    with Client(server.host) as client:
        for entry in client.list_models():
            if "completion" in (client.show_model(entry.name).capabilities or []):
                return client.chat(entry.name, "Why is the sky blue?", options={"num_predict": 16}).text
    pytest.fail("no model in OLLAMA_MODELS_FROM chats: name a store that has one")


@pytest.fixture
def second(tmp_path: Path) -> Iterator[RealServer]:
    """Have a server with a store of its own, which is empty; it is not started."""
    for name in ("models", "home"):
        (tmp_path / name).mkdir()
    server = RealServer(Path(os.environ["OLLAMA_BINARY"]), tmp_path / "models", tmp_path / "home", {})
    yield server
    server.end()


def test_models_go_from_one_ollama_through_a_bucket_to_another_which_then_chats(
    bucket: S3Server, second: RealServer, tmp_path: Path
) -> None:
    first, models = Path(os.environ["OLLAMA_MODELS_FROM"]), tmp_path / "models"
    names = [entry.name for entry in LocalStore(first).list_models()]
    with mirror(bucket, first) as source, mirror(bucket, models) as target:
        published = {name: source.publish_model(name).digest for name in names}
        imported = {result.model: result.digest for result in target.import_models(names)}
        assert all(target.verify_model(name).ok for name in names)
    second.start()
    with Client(second.host) as client:
        listed = {entry.name: f"sha256:{entry.digest}" for entry in client.list_models()}
    assert published == imported == listed
    for name in names:
        assert manifest_at(models, name).read_bytes() == manifest_at(first, name).read_bytes()
    assert said_by(second)


def test_a_running_ollama_sees_models_as_soon_as_they_are_imported(
    bucket: S3Server, second: RealServer, tmp_path: Path
) -> None:
    first = Path(os.environ["OLLAMA_MODELS_FROM"])
    names = [entry.name for entry in LocalStore(first).list_models()]
    with mirror(bucket, first) as source:
        for name in names:
            source.publish_model(name)
    second.start()
    with Client(second.host) as client, mirror(bucket, tmp_path / "models") as target:
        before = [entry.name for entry in client.list_models()]
        target.import_models(names)
        after = [entry.name for entry in client.list_models()]
    assert before == []
    assert sorted(after) == sorted(names)
    assert said_by(second)
