"""The mirror: models go into a bucket and come out of it, exactly."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from model_stores import (
    blob_at,
    config_of,
    digest_of,
    make_model,
    manifest_at,
    manifest_of,
    put_manifest,
    tree,
)
from s3_wire import wire

from ollama_ext import CancelToken
from ollama_ext.s3 import (
    BlobMissing,
    DigestMismatch,
    LocalStore,
    ManifestRefused,
    Mirror,
    ModelMissing,
    NameRefused,
    NoSpace,
    RemoteModelRefused,
    SettingRefused,
    TransferInterrupted,
    TransferProgress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s3_servers import S3Server

WEIGHTS, LICENSE, OTHER = b"weights" * 1000, b"license", b"other weights" * 1000
PREFIX = "ollama/models/"


@pytest.fixture
def s3(moto: S3Server) -> Iterator[Any]:
    """A plain client, for a look at the bucket."""
    client = moto.client()
    yield client
    client.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A store with two models that share a blob."""
    path = tmp_path / "source"
    make_model(path, "one", [WEIGHTS, LICENSE])
    make_model(path, "me/two:1b", [OTHER, LICENSE])
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.fixture
def published(source: Path, mirror_of: Callable[..., Mirror]) -> Mirror:
    """A mirror whose bucket has both models."""
    mirror = mirror_of(source)
    for model in ("one", "me/two:1b"):
        mirror.publish_model(model)
    return mirror


def objects(s3: Any, bucket: str) -> dict[str, bytes]:
    """Return all that a bucket has."""
    found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found}


@pytest.fixture
def held(s3: Any, bucket: str) -> Callable[[], dict[str, bytes]]:
    """Return a function that returns all that the bucket has."""
    return lambda: objects(s3, bucket)


def key_of(digest: str) -> str:
    return f"{PREFIX}blobs/{digest.replace(':', '-')}"


# -- there and back


def test_a_model_goes_into_the_bucket_and_into_another_store_byte_for_byte(
    source: Path, target: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    steps: list[TransferProgress] = []
    manifest = LocalStore(source).manifest("one")
    sent = mirror_of(source).publish_model("one", on_progress=steps.append)
    assert (sent.ok, sent.changed, sent.way, sent.dry_run) == (True, True, "store to bucket", False)
    assert (sent.model, sent.digest) == ("one:latest", manifest.digest)
    assert (sent.blobs_sent, sent.blobs_skipped, sent.blobs_fetched) == (3, 0, 0)
    assert (sent.bytes_sent, sent.bytes_reused) == (manifest.size, 0)
    assert (steps[-1].state, steps[-1].overall.fraction) == ("done", 1.0)
    assert {
        path for path, content in tree(source).items() if objects(s3, bucket).get(PREFIX + path) == content
    } == {
        "manifests/registry.ollama.ai/library/one/latest",
        *(f"blobs/{digest.replace(':', '-')}" for digest in manifest.blobs),
    }
    assert len(objects(s3, bucket)) == 4

    steps.clear()
    came = mirror_of(target).import_model("one", on_progress=steps.append)
    assert (came.ok, came.changed, came.way, came.dry_run) == (True, True, "bucket to store", False)
    assert (came.model, came.digest) == ("one:latest", manifest.digest)
    assert (came.blobs_fetched, came.blobs_skipped, came.blobs_sent) == (3, 0, 0)
    assert (came.bytes_fetched, came.bytes_reused) == (manifest.size, 0)
    assert (steps[-1].state, steps[-1].overall.fraction) == ("done", 1.0)
    assert manifest_at(target, "one").read_bytes() == manifest.content
    assert LocalStore(target).verify_model("one").ok


def test_a_second_time_nothing_is_sent_and_nothing_fetched(
    published: Mirror, mirror_of: Callable[..., Mirror], target: Path
) -> None:
    with wire() as sent:
        again = published.publish_model("one")
    assert (again.ok, again.changed, again.blobs_sent, again.blobs_skipped) == (True, False, 0, 3)
    assert again.bytes_sent == 0
    assert not [each for each in sent if each.method == "PUT"]
    mirror = mirror_of(target)
    mirror.import_model("one")
    with wire() as sent:
        again = mirror.import_model("one")
    assert (again.ok, again.changed, again.blobs_fetched, again.blobs_skipped) == (True, False, 0, 3)
    assert [each.url.path.rpartition("/")[2] for each in sent] == ["latest"]  # its manifest only


def test_blobs_that_models_share_go_once(
    published: Mirror, mirror_of: Callable[..., Mirror], target: Path
) -> None:
    mirror = mirror_of(target)
    with wire() as sent:
        results = mirror.import_models(["one", "me/two:1b"])
    assert all(result.ok for result in results)
    asked = [each.url.path for each in sent if "/blobs/" in each.url.path]
    config = config_of()
    for blob in (WEIGHTS, LICENSE, OTHER):
        assert sum(digest_of(blob).removeprefix("sha256:") in path for path in asked) == 1
    assert sum(digest_of(config).removeprefix("sha256:") in path for path in asked) <= 3  # looked at first
    assert tree(target) == tree(published.store.path)


@pytest.mark.usefixtures("published")
def test_one_failure_stops_no_other_and_results_come_in_order(
    mirror_of: Callable[..., Mirror], target: Path, s3: Any, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key=key_of(digest_of(OTHER)), Body=b"Other weights" * 1000)
    put_manifest(s3, bucket, "registry.ollama.ai/library/broken/latest", b"{}")
    results = mirror_of(target).import_models(["none", "me/two:1b", "one", "a:b:c", "broken"])
    assert [type(result.error) for result in results] == [
        ModelMissing,
        DigestMismatch,
        type(None),
        NameRefused,
        ManifestRefused,
    ]
    assert [result.model for result in results] == [
        "none:latest",
        "me/two:1b",
        "one:latest",
        "a:b:c",
        "broken:latest",
    ]
    assert [entry.name for entry in LocalStore(target).list_models()] == ["one:latest"]
    with pytest.raises(DigestMismatch) as caught:
        mirror_of(target).import_model("me/two:1b")
    assert (caught.value.digest, caught.value.got) == (digest_of(OTHER), digest_of(b"Other weights" * 1000))


def test_a_list_of_names_is_wanted(published: Mirror, target: Path) -> None:
    with pytest.raises(SettingRefused, match=r"such as \['one'\]"):
        published.import_models("one")
    with pytest.raises(SettingRefused, match=r"such as \['one'\]"):
        published.export_models("one", target)
    assert published.import_models([]) == []


@pytest.mark.parametrize("prefix", ["", "a", "a/b c/\u00e9", "x/"])
def test_a_model_lies_below_the_prefix_and_nowhere_else(
    source: Path,
    target: Path,
    mirror_of: Callable[..., Mirror],
    held: Callable[[], dict[str, bytes]],
    prefix: str,
) -> None:
    mirror_of(source, prefix=prefix).publish_model("one")
    begins = f"{prefix.removesuffix('/')}/" if prefix else ""
    below = [f"{begins}blobs/", f"{begins}manifests/registry.ollama.ai/library/one/latest"]
    assert all(any(key.startswith(each) for each in below) for key in held())
    mirror = mirror_of(target, prefix=prefix)
    assert [entry.name for entry in mirror.list_models()] == ["one:latest"]
    assert mirror.import_model("one").ok
    assert mirror.verify_model("one", where="bucket").ok
    assert list(mirror_of(target, prefix="other").list_models()) == []
    assert mirror.prune_bucket().removed == ()


def test_models_are_exported_into_a_directory_of_the_same_layout(
    published: Mirror, tmp_path: Path, source: Path
) -> None:
    before = tree(source)
    disk, back = tmp_path / "disk", tmp_path / "back"
    results = published.export_models(["one", "me/two:1b"], disk)
    assert [(result.ok, result.way) for result in results] == [(True, "bucket to directory")] * 2
    assert tree(disk) == tree(source) == before
    assert published.export_models(["one"], LocalStore(disk))[0].changed is False
    (result,) = LocalStore(back).import_models(["one"], source=disk)
    assert result.ok


@pytest.mark.parametrize("size", [1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 500_001])
def test_a_blob_in_parts_comes_as_it_went(
    tmp_path: Path, target: Path, mirror_of: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("ollama_ext.s3.limits._SMALL_PART", 1 << 16)
    large = os.urandom(size)
    make_model(tmp_path / "large", "large", [large])
    assert mirror_of(tmp_path / "large").publish_model("large").ok
    with wire() as sent:
        result = mirror_of(target, connections=3).import_model("large")
    assert result.bytes_fetched == size + len(config_of())
    assert blob_at(target, digest_of(large)).read_bytes() == large
    parts = [each for each in sent if each.url.path.endswith(digest_of(large).removeprefix("sha256:"))]
    assert len(parts) == -(-size // (1 << 16))


def test_a_blob_that_goes_in_parts_is_proven_and_comes_as_it_went(
    tmp_path: Path, target: Path, mirror_of: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_ext.s3.uploads._SINGLE", 1 << 20)
    monkeypatch.setattr("ollama_ext.s3.uploads._PART", 5 << 20)
    large = os.urandom(11 << 20)
    make_model(tmp_path / "large", "large", [large])
    with wire() as sent:
        result = mirror_of(tmp_path / "large").publish_model("large")
    assert (result.blobs_sent, result.bytes_sent) == (2, len(large) + len(config_of()))
    parts = [each for each in sent if each.method == "PUT" and "partNumber" in each.query]
    assert sorted(int(each.query["partNumber"]) for each in parts) == [1, 2, 3]
    assert mirror_of(tmp_path / "large").publish_model("large").blobs_sent == 0
    assert mirror_of(target).import_model("large").ok
    assert blob_at(target, digest_of(large)).read_bytes() == large


# -- only telling


def test_a_dry_run_tells_what_would_be_done_and_changes_nothing(
    source: Path, target: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    mirror = mirror_of(source)
    would = mirror.publish_model("one", dry_run=True)
    assert objects(s3, bucket) == {}
    does = mirror.publish_model("one")
    numbers = ("model", "digest", "changed", "blobs_sent", "blobs_skipped", "bytes_sent", "bytes_reused")
    assert [getattr(would, name) for name in numbers] == [getattr(does, name) for name in numbers]
    assert (would.dry_run, does.dry_run) == (True, False)
    again = mirror.publish_model("one", dry_run=True)
    assert (again.changed, again.blobs_sent, again.bytes_sent, again.blobs_skipped) == (False, 0, 0, 3)
    more = mirror.publish_model("me/two:1b", dry_run=True)
    assert (more.changed, more.blobs_sent, more.bytes_sent) == (True, 1, len(OTHER))

    before = objects(s3, bucket)
    importing = mirror_of(target)
    would = importing.import_model("one", dry_run=True)
    assert not target.exists()
    (exported,) = importing.export_models(["one"], target / "disk", dry_run=True)
    assert not target.exists()
    does = importing.import_model("one")
    numbers = (
        "model",
        "digest",
        "changed",
        "blobs_fetched",
        "blobs_skipped",
        "bytes_fetched",
        "bytes_reused",
    )
    assert [getattr(would, name) for name in numbers] == [getattr(does, name) for name in numbers]
    assert exported.blobs_fetched == 3
    assert objects(s3, bucket) == before


# -- what is refused


def test_a_store_without_the_model_or_with_a_broken_one_publishes_nothing(
    source: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    mirror = mirror_of(source)
    with pytest.raises(ModelMissing):
        mirror.publish_model("none")
    with pytest.raises(NameRefused):
        mirror.publish_model("../../etc/passwd")
    blob_at(source, digest_of(OTHER)).unlink()
    with pytest.raises(BlobMissing) as missing:
        mirror.publish_model("me/two:1b")
    assert missing.value.digest == digest_of(OTHER)
    blob_at(source, digest_of(WEIGHTS)).write_bytes(b"Weights" * 1000)
    with pytest.raises(DigestMismatch) as mismatch:
        mirror.publish_model("one")
    assert (mismatch.value.digest, mismatch.value.got) == (digest_of(WEIGHTS), digest_of(b"Weights" * 1000))
    assert mismatch.value.model == "one:latest"
    found = objects(s3, bucket)
    assert not [key for key in found if "manifests" in key]
    assert key_of(digest_of(WEIGHTS)) not in found


def test_a_remote_model_goes_neither_way_unless_that_is_allowed(
    source: Path, target: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    make_model(source, "cloud", [], {"remote_host": "https://elsewhere.example"})
    with pytest.raises(RemoteModelRefused, match="allow_remote"):
        mirror_of(source).publish_model("cloud")
    assert objects(s3, bucket) == {}
    assert mirror_of(source, allow_remote=True).publish_model("cloud").ok
    with pytest.raises(RemoteModelRefused, match="allow_remote"):
        mirror_of(target).import_model("cloud")
    assert mirror_of(target, allow_remote=True).import_model("cloud").ok


def test_a_disk_without_room_is_told_before_a_byte_is_fetched(
    published: Mirror, target: Path, mirror_of: Callable[..., Mirror]
) -> None:
    with wire() as sent, pytest.raises(NoSpace) as caught:
        mirror_of(target, reserve=10**18).import_model("one")
    assert caught.value.needed == published.store.manifest("one").size
    assert not [each for each in sent if digest_of(WEIGHTS).removeprefix("sha256:") in each.url.path]
    assert not target.exists()


def test_a_cancelled_transfer_changes_nothing(
    published: Mirror, target: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    token = CancelToken()
    token.cancel()
    before = objects(s3, bucket)
    make_model(published.store.path, "new", [b"new"])
    mirror = mirror_of(target)
    for call in (
        lambda: mirror.import_model("one", cancel=token),
        lambda: mirror.export_models(["one"], target, cancel=token),
        lambda: published.publish_model("new", cancel=token),
        lambda: published.verify_model("one", where="bucket", cancel=token),
    ):
        with pytest.raises(TransferInterrupted):
            call()
    assert objects(s3, bucket).keys() - before.keys() <= {key_of(digest_of(b"new"))}
    assert list(LocalStore(target).list_models()) == []


def test_a_manifest_is_kept_byte_for_byte(
    source: Path, target: Path, mirror_of: Callable[..., Mirror], s3: Any, bucket: str
) -> None:
    odd = b"\n " + manifest_of([WEIGHTS, LICENSE], config_of(), annotations={"\u00e9": None}) + b"\n\n"
    manifest_at(source, "one").write_bytes(odd)
    mirror_of(source).publish_model("one")
    assert objects(s3, bucket)[f"{PREFIX}manifests/registry.ollama.ai/library/one/latest"] == odd
    result = mirror_of(target).import_model("one")
    assert manifest_at(target, "one").read_bytes() == odd
    assert result.digest == digest_of(odd)
