"""The model directory: what lies there is listed and verified, and nothing of it changed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from model_stores import (
    blob_at,
    digest_of,
    make_model,
    manifest_at,
    tree,
)

from ollama_ext import CancelToken
from ollama_ext.s3 import (
    BlobMissing,
    DigestMismatch,
    LocalStore,
    ManifestRefused,
    ModelMissing,
    NameRefused,
    SettingRefused,
    StoreRefused,
    TransferInterrupted,
    TransferProgress,
)

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS, LICENSE, OTHER = b"weights" * 1000, b"license", b"other weights" * 1000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with two models that share a blob."""
    path = tmp_path / "source"
    make_model(path, "one", [WEIGHTS, LICENSE])
    make_model(path, "me/two:1b", [OTHER, LICENSE])
    return path


# -- looking


def test_models_of_all_hosts_and_namespaces_are_listed_by_name(tmp_path: Path) -> None:
    made = {
        name: make_model(tmp_path, name, [name.encode()])
        for name in ("zebra", "me/x:1b", "hf.co/user/model:Q4_K_M", "localhost:5000/ns/m", "alpha:2", "alpha")
    }
    listing = LocalStore(tmp_path).list_models()
    assert [entry.name for entry in listing] == [
        "alpha:2",
        "alpha:latest",
        "hf.co/user/model:Q4_K_M",
        "localhost:5000/ns/m:latest",
        "me/x:1b",
        "zebra:latest",
    ]
    assert {entry.name: (entry.digest, entry.size) for entry in listing} == {
        name if ":" in name.rpartition("/")[2] else f"{name}:latest": (each.digest, each.size)
        for name, each in made.items()
    }
    assert listing.refused == ()


def test_a_listing_says_when_a_model_was_written(source: Path) -> None:
    os.utime(manifest_at(source, "one"), (1_700_000_000, 1_700_000_000))
    entry = next(entry for entry in LocalStore(source).list_models() if entry.name == "one:latest")
    assert entry.modified == datetime.fromtimestamp(1_700_000_000, UTC)


@pytest.mark.parametrize("there", ["nothing", "empty", "manifests"])
def test_a_store_without_models_lists_none(tmp_path: Path, there: str) -> None:
    if there != "nothing":
        (tmp_path / "store").mkdir()
    if there == "manifests":
        (tmp_path / "store" / "manifests" / "registry.ollama.ai" / "library").mkdir(parents=True)
    before = tree(tmp_path)
    assert list(LocalStore(tmp_path / "store").list_models()) == []
    with pytest.raises(ModelMissing, match="has no model 'x:latest'") as caught:
        LocalStore(tmp_path / "store").manifest("x")
    assert caught.value.model == "x:latest"
    assert tree(tmp_path) == before


def test_what_is_no_model_is_told_beside_those_that_are(source: Path) -> None:
    library = manifest_at(source, "x").parent.parent
    (library / "file").write_bytes(b"")
    (library / "a").mkdir()
    (library / "a" / ".DS_Store").write_bytes(b"")
    (library / "a" / "deep").mkdir()
    (library / "a" / "deep" / "er").write_bytes(b"")
    (library / "b").symlink_to(library / "one")
    (library / "one" / "link").symlink_to("latest")
    (library / "one" / "dangling").symlink_to("nowhere")
    os.mkfifo(library / "one" / "pipe")
    (library / "one" / "broken").write_bytes(b"{")
    (library / "one" / "empty").write_bytes(b"")
    listing = LocalStore(source).list_models()
    assert [entry.name for entry in listing] == ["me/two:1b", "one:latest"]
    inside = "manifests/registry.ollama.ai/library/"
    reasons = {refusal.path.removeprefix(inside): refusal.reason for refusal in listing.refused}
    expected = {
        "file": "host/namespace/model/tag",
        "a/.DS_Store": "is no manifest",
        "a/deep": "is no regular file",
        "b": "host/namespace/model/tag",
        "one/link": "symbolic link",
        "one/dangling": "symbolic link",
        "one/pipe": "is no regular file",
        "one/broken": "no JSON",
        "one/empty": "empty",
    }
    assert reasons.keys() == expected.keys()
    for path, words in expected.items():
        assert words in reasons[path]


def test_a_store_behind_a_file_or_a_link_is_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused):
        LocalStore(tmp_path / "file").list_models()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "manifests").symlink_to(source / "manifests")
    with pytest.raises(StoreRefused, match="symbolic link"):
        LocalStore(tmp_path / "store").list_models()
    with pytest.raises(StoreRefused, match="symbolic link"):
        LocalStore(tmp_path / "store").manifest("one")
    (tmp_path / "link").symlink_to(source)  # but the store itself may be one
    assert len(LocalStore(tmp_path / "link").list_models()) == 2
    with pytest.raises(SettingRefused, match="is no path of a directory"):
        LocalStore("a\0b")


def test_a_model_is_what_its_manifest_says(source: Path) -> None:
    manifest = LocalStore(source).manifest("one")
    assert manifest.content == manifest_at(source, "one").read_bytes()
    assert [layer.digest for layer in manifest.layers] == [digest_of(WEIGHTS), digest_of(LICENSE)]
    with pytest.raises(NameRefused):
        LocalStore(source).manifest("../../etc/passwd")
    manifest_at(source, "one").write_bytes(b"[]")
    with pytest.raises(ManifestRefused, match=str(manifest_at(source, "one"))):
        LocalStore(source).manifest("one")


# -- verifying


def test_a_whole_model_is_verified(source: Path) -> None:
    told: list[TransferProgress] = []
    result = LocalStore(source).verify_model("one", on_progress=told.append)
    size = LocalStore(source).manifest("one").size
    assert (result.ok, result.where, result.model) == (True, "store", "one:latest")
    assert result.digest == LocalStore(source).manifest("one").digest
    assert (result.blobs_good, result.blobs_repaired, result.bytes_read) == (3, 0, size)
    assert told[-1].state == "done"
    assert (told[-1].overall.completed, told[-1].overall.fraction) == (size, 1.0)


def test_each_bad_blob_of_a_model_is_told(source: Path) -> None:
    blob_at(source, digest_of(WEIGHTS)).write_bytes(b"Weights" * 1000)
    blob_at(source, digest_of(LICENSE)).unlink()
    before = tree(source)
    told: list[TransferProgress] = []
    result = LocalStore(source).verify_model("one", on_progress=told.append)
    assert not result.ok
    assert result.blobs_good == 1
    errors = {each.digest: each.error for each in result.errors}
    mismatch, missing = errors[digest_of(WEIGHTS)], errors[digest_of(LICENSE)]
    assert isinstance(mismatch, DigestMismatch)
    assert (mismatch.digest, mismatch.got) == (digest_of(WEIGHTS), digest_of(b"Weights" * 1000))
    assert isinstance(missing, BlobMissing)
    assert told[-1].state == "failed"
    assert told[-1].overall.fraction < 1
    assert tree(source) == before


@pytest.mark.parametrize("content", [b"", b"short", WEIGHTS + b"x"])
def test_a_blob_of_another_size_is_bad(source: Path, content: bytes) -> None:
    blob_at(source, digest_of(WEIGHTS)).write_bytes(content)
    (bad,) = LocalStore(source).verify_model("one").errors
    assert bad.digest == digest_of(WEIGHTS)
    assert f"{len(content):,} bytes" in str(bad.error)


def test_a_verification_ends_when_it_is_cancelled(source: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(TransferInterrupted, match="cancelled"):
        LocalStore(source).verify_model("one", cancel=token)
