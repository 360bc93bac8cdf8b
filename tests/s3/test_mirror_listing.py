"""The mirror lists the models of a bucket, however many, and says what else lies there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from model_stores import (
    config_of,
    digest_of,
    put_manifest,
    put_model,
)
from s3_wire import page, wire

from ollama_ext.s3 import (
    BucketNotFound,
    Credentials,
    Mirror,
    ModelMissing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s3_servers import S3Server

PREFIX = "ollama/models/"


@pytest.fixture
def s3(moto: S3Server) -> Iterator[Any]:
    """A plain client, for a look at the bucket."""
    client = moto.client()
    yield client
    client.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def test_models_are_listed_by_name_without_reading_them(
    tmp_path: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    names = ("zebra", "me/x:1b", "hf.co/user/model:Q4_K_M", "localhost:5000/ns/m", "alpha")
    made = {name: put_model(s3, bucket, name, [name.encode()]) for name in names}
    mirror = mirror_of(tmp_path)
    with wire() as sent:
        listing = mirror.list_models()
    assert len(sent) == 1
    assert [entry.name for entry in listing] == [
        "alpha:latest",
        "hf.co/user/model:Q4_K_M",
        "localhost:5000/ns/m:latest",
        "me/x:1b",
        "zebra:latest",
    ]
    assert listing.refused == ()
    assert {(entry.digest, entry.size) for entry in listing} == {(None, None)}
    with wire() as sent:
        detailed = mirror.list_models(details=True)
    assert len(sent) == 1 + len(names)
    assert [(entry.name, entry.modified) for entry in detailed] == [
        (entry.name, entry.modified) for entry in listing
    ]
    assert {entry.digest for entry in detailed} == set(map(digest_of, made.values()))
    assert detailed[-1].size == len(config_of()) + len("zebra")


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500, 10_000])
def test_a_listing_takes_one_request_for_each_thousand_models(tmp_path: Path, count: int) -> None:
    keys = [f"manifests/registry.ollama.ai/library/m{number:05}/latest" for number in range(count)]

    def answer(request: Any) -> Any:
        start = int(request.query.get("continuation-token", "0").partition(" ")[0])
        end = start + 1000
        return page(keys[start:end], f"{end} /+=&amp;%" if end < count else None)

    keys_of_nobody = Credentials("AKIAEXAMPLE", "x")
    with (
        wire(answer) as sent,
        Mirror("models", "", endpoint_url="http://x", store=tmp_path, credentials=keys_of_nobody) as mirror,
    ):
        listing = mirror.list_models()
    assert [entry.name for entry in listing] == [f"m{number:05}:latest" for number in range(count)]
    assert len(sent) == -(-count // 1000)


def test_what_is_no_model_is_told_beside_those_that_are(
    tmp_path: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    put_model(s3, bucket, "good", [b"x"])
    put_manifest(s3, bucket, "registry.ollama.ai/library/three", b"x")
    put_manifest(s3, bucket, "registry.ollama.ai/library/bad/latest", b"{}")
    put_manifest(s3, bucket, "registry.ollama.ai/library/a%2f..%2fb/x", b"x")
    for directory in ("", "registry.ollama.ai/", "registry.ollama.ai/library/good/"):
        put_manifest(s3, bucket, directory, b"")  # as browsers of buckets make them
    s3.put_object(Bucket=bucket, Key=f"{PREFIX}README", Body=b"x")
    s3.put_object(Bucket=bucket, Key="manifests/registry.ollama.ai/library/elsewhere/latest", Body=b"x")
    mirror = mirror_of(tmp_path)
    listing = mirror.list_models()
    below = f"{PREFIX}manifests/registry.ollama.ai/library/"
    assert [entry.name for entry in listing] == ["bad:latest", "good:latest"]
    assert {each.path for each in listing.refused} == {f"{below}three", f"{below}a%2f..%2fb/x"}
    detailed = mirror.list_models(details=True)
    assert [entry.name for entry in detailed] == ["good:latest"]
    assert {each.path for each in detailed.refused} == {
        f"{below}three",
        f"{below}a%2f..%2fb/x",
        f"{below}bad/latest",
    }


@pytest.mark.parametrize("path", ["REGISTRY.ollama.ai/library", "registry.ollama.ai/Library"])
def test_every_name_of_a_listing_can_be_imported(
    target: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str, path: str
) -> None:
    content = put_model(s3, bucket, f"{path}/odd:latest", [b"x"])
    mirror = mirror_of(target)
    (entry,) = mirror.list_models(details=True)
    assert entry.digest == digest_of(content)
    assert mirror.import_model(entry.name).ok
    (local,) = mirror.store.list_models()
    assert (local.name, local.digest) == (entry.name, entry.digest)
    assert mirror.store.prune().removed == ()


def test_an_empty_bucket_has_no_models(tmp_path: Path, mirror_of: Callable[..., Mirror]) -> None:
    assert list(mirror_of(tmp_path).list_models(details=True)) == []
    with pytest.raises(ModelMissing, match="has no model 'x:latest'") as caught:
        mirror_of(tmp_path).import_model("x")
    assert caught.value.model == "x:latest"


def test_a_bucket_that_is_not_there_is_told(tmp_path: Path, moto: S3Server) -> None:
    keys = Credentials(moto.access_key, moto.secret_key)
    with Mirror("nowhere", endpoint_url=moto.endpoint_url, credentials=keys, store=tmp_path) as mirror:
        for look in (mirror.list_models, lambda: mirror.import_model("x")):
            with pytest.raises(BucketNotFound, match="check the name of the bucket"):
                look()
