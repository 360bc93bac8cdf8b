"""SIGKILL at every step of a transfer: what somebody sees then, and whether the next run finishes.

One run tells its steps; then it is run once for each of them and killed there, and once more for each that
can be half done. After every kill an independent reader looks, and the same is run again to its end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from independent_reader import models_in_bucket, models_in_store
from model_stores import STAGING, blob_at, digest_of, make_model, manifest_at, put_model
from nursery import PART, TRIES, UPLOAD_PART, Nursery, mirror_arguments

from ollama_ext.s3 import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nursery import Ended
    from s3_servers import S3Server

_dice = random.Random(5)  # noqa: S311 - bytes to store
LARGE = _dice.randbytes(2 * PART + 1000)
OTHER_LARGE = _dice.randbytes(PART + 1)
SHARED = _dice.randbytes(5000)
SMALL = _dice.randbytes(100)
OLD = _dice.randbytes(300)
LARGEST = _dice.randbytes(UPLOAD_PART + 1000)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a directory with two models that share a blob."""
    make_model(tmp_path / "source", "first", [LARGE, SHARED])
    make_model(tmp_path / "source", "second", [SHARED, SMALL])
    return tmp_path / "source"


def kill_at_every_step(
    nursery: Nursery,
    reset: Callable[[], None],
    look: Callable[[], dict[str, bytes]],
    work: str,
    *,
    killed: Callable[[], Any] = lambda: None,
    finished: Callable[[Any, Ended], object] = lambda _, __: None,
    **arguments: Any,
) -> None:
    """Kill a transfer at every step, look, and have it finished.

    Args:
        nursery: Where it is run.
        reset: Puts everything into the state that it begins with.
        look: Sees that there are whole models only, and returns their manifests.
        work: What it does.
        killed: Looks at what else a kill may leave, and returns that.
        finished: Looks at the end of the next run; is given what ``killed`` returned.
        arguments: Of the work.
    """
    reset()
    before = look()
    told = nursery.run(work, tell=True, **arguments)
    assert told.ok, told
    after = look()
    for step in told.steps:
        for torn in (False, True) if step.divisible else (False,):
            try:
                ended = told
                for _ in range(TRIES):
                    if not ended.killed:
                        reset()
                        ended = nursery.run(work, kill_at=step.name, torn=torn, **arguments)
                assert ended.killed, ended
                seen = look()
                for path in before | after | seen:
                    assert seen.get(path) in {before.get(path), after.get(path)}, path
                left = killed()
                again = nursery.run(work, **arguments)
                assert again.ok, again
                assert look() == after
                finished(left, again)
            except AssertionError as error:
                error.add_note(
                    f"killed in the middle of {step.name}" if torn else f"killed before {step.name}"
                )
                raise


def store_reset(store: Path, base: Path | None = None) -> Callable[[], None]:
    """Return what makes a store like another one, with its times, or removes it."""

    def reset() -> None:
        if store.exists():
            shutil.rmtree(store)
        if base is not None:
            shutil.copytree(base, store)

    return reset


def bytes_missing(store: Path, source: Path, name: str) -> int:
    """Return how many bytes of a model a store has neither in its blobs nor staged, whole or in parts."""
    manifest = json.loads(manifest_at(source, name).read_bytes())
    missing: int = 2 * manifest["config"]["size"]  # which is looked at before anything else
    for layer in manifest["layers"]:
        hexadecimal = layer["digest"].removeprefix("sha256:")
        journal = store / STAGING / f"{hexadecimal}.parts"
        if blob_at(store, layer["digest"]).exists() or (store / STAGING / f"{hexadecimal}.whole").exists():
            continue
        records = journal.read_bytes()[256:] if journal.exists() else b""
        whole = records[: len(records) // 16 * 16]
        missing += layer["size"] - sum(length for _, length, _, _ in struct.iter_unpack("<IIII", whole))
    return missing


def nothing_is_left_after_a_prune(store: Path) -> None:
    LocalStore(store).prune(grace=0)
    assert not list((store / STAGING).iterdir())


def test_a_killed_import_shows_only_whole_models_and_the_next_finishes_it(
    nursery: Nursery, source: Path, tmp_path: Path
) -> None:
    store, models = tmp_path / "store", ["first", "second"]

    def finished(missing: list[int], again: Ended) -> None:
        for result, most in zip(again.results, missing, strict=True):
            assert result["bytes_fetched"] <= most  # what there was is not fetched again
        nothing_is_left_after_a_prune(store)

    kill_at_every_step(
        nursery,
        store_reset(store),
        lambda: models_in_store(store),
        "import from directory",
        killed=lambda: [bytes_missing(store, source, name) for name in models],
        finished=finished,
        store=store,
        source=source,
        models=models,
    )


def test_a_killed_update_of_a_tag_shows_the_old_model_or_the_new_one(
    nursery: Nursery, source: Path, tmp_path: Path
) -> None:
    base, store = tmp_path / "base", tmp_path / "store"
    make_model(base, "first", [SHARED, OLD])
    os.utime(blob_at(base, digest_of(SHARED)), (0, 0))
    kill_at_every_step(
        nursery,
        store_reset(store, base),
        lambda: models_in_store(store),
        "import from directory",
        finished=lambda _, __: nothing_is_left_after_a_prune(store),
        store=store,
        source=source,
        models=["first"],
    )
    assert blob_at(store, digest_of(SHARED)).stat().st_mtime > 0  # it was in use


def test_a_run_that_goes_on_after_a_kill_can_be_killed_as_well(
    nursery: Nursery, source: Path, tmp_path: Path
) -> None:
    base, store = tmp_path / "base", tmp_path / "store"
    arguments: dict[str, Any] = {"source": source, "models": ["first"]}
    part = f"{digest_of(LARGE)[7:15]}.part"
    # Its last part was written, and the first half of its record.
    stop = f"pwrite {part}s {256 + 2 * 16} #1"
    kill = {"kill_at": stop, "torn": True}
    assert nursery.run("import from directory", store=base, **kill, **arguments).killed
    staged = base / STAGING / f"{digest_of(LARGE)[7:]}.part"
    damaged = bytearray(staged.read_bytes())
    damaged[0] ^= 1  # of the first part the record is a lie
    staged.write_bytes(damaged)
    kill_at_every_step(
        nursery,
        store_reset(store, base),
        lambda: models_in_store(store),
        "import from directory",
        finished=lambda _, __: nothing_is_left_after_a_prune(store),
        store=store,
        **arguments,
    )


def test_a_killed_export_shows_only_whole_models_and_the_next_finishes_it(
    nursery: Nursery, source: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "disk"
    make_model(source, "third", [SMALL])
    kill_at_every_step(
        nursery,
        store_reset(directory),
        lambda: models_in_store(directory),
        "export to directory",
        store=source,
        directory=directory,
        models=["third"],
    )


def test_a_killed_prune_of_a_store_has_removed_nothing_that_is_named(
    nursery: Nursery, source: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for content in (OLD, OTHER_LARGE):
        blob_at(source, digest_of(content)).write_bytes(content)
    partial = f"sha256-{'0' * 64}-partial"
    (source / "blobs" / partial).write_bytes(b"half")
    (source / STAGING).mkdir()
    for name in ("part", "parts", "whole", "lock"):
        (source / STAGING / f"{'1' * 64}.{name}").write_bytes(OLD)
    kill_at_every_step(
        nursery,
        store_reset(store, source),
        lambda: models_in_store(store, foreign=[partial]),
        "prune store",
        finished=lambda _, __: nothing_is_left_after_a_prune(store),
        store=store,
        grace=0,
    )
    assert len(list(store.glob("blobs/*"))) == 4  # three layers, and the config that both have


@pytest.fixture
def mirror(moto: S3Server, bucket: str, tmp_path: Path) -> dict[str, Any]:
    """Tell the nursery of a mirror of the bucket with a store that is not there yet."""
    keys = [moto.access_key, moto.secret_key]
    more = {"prune_grace": 0, "allow_short_grace": True}
    return mirror_arguments(moto.endpoint_url, bucket, tmp_path / "store", keys, **more)


@pytest.fixture
def client(moto: S3Server) -> Iterator[Any]:
    """Return a plain client, which knows nothing of mirrors."""
    with closing(moto.client()) as plain:
        yield plain


def test_a_killed_import_from_a_bucket_shows_only_whole_models_and_the_next_finishes_it(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], tmp_path: Path
) -> None:
    put_model(client, bucket, "first", [OTHER_LARGE])
    store = tmp_path / "store"
    kill_at_every_step(
        nursery,
        store_reset(store),
        lambda: models_in_store(store),
        "import",
        mirror=mirror,
        models=["first"],
    )


def test_a_killed_repair_of_a_store_leaves_the_bad_blob_or_the_good_one(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], tmp_path: Path
) -> None:
    put_model(client, bucket, "first", [OTHER_LARGE, SMALL])
    base, store = tmp_path / "base", tmp_path / "store"
    make_model(base, "first", [OTHER_LARGE, SMALL])
    bad = bytes(len(OTHER_LARGE))
    repaired = blob_at(base, digest_of(OTHER_LARGE))
    repaired.write_bytes(bad)

    def look() -> dict[str, bytes]:
        assert (store / "blobs" / repaired.name).read_bytes() in {bad, OTHER_LARGE}
        return models_in_store(store, foreign=[repaired.name])

    kill_at_every_step(
        nursery,
        store_reset(store, base),
        look,
        "repair",
        finished=lambda _, __: models_in_store(store),
        mirror=mirror,
        model="first",
        where="store",
    )


# Buckets.


def bucket_reset(client: Any, bucket: str, objects: dict[str, bytes], upload: str = "") -> Callable[[], None]:
    """Return what puts objects into a bucket, and perhaps an upload that nobody finishes; all else goes."""

    def reset() -> None:
        there = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ())]
        for key in there:
            client.delete_object(Bucket=bucket, Key=key)
        for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])
        for key, content in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=content)
        if upload:
            client.create_multipart_upload(Bucket=bucket, Key=upload)

    return reset


def objects_of(directory: Path) -> dict[str, bytes]:
    """Return what a bucket holds that is like a directory."""
    return {
        f"ollama/models/{path.relative_to(directory)}": path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def no_upload_is_left(client: Any, bucket: str) -> None:
    assert not client.list_multipart_uploads(Bucket=bucket).get("Uploads")


@pytest.mark.parametrize("before", ["nothing", "another version"])
def test_a_killed_publication_shows_the_old_model_or_the_new_one_and_the_next_finishes_it(
    nursery: Nursery, client: Any, mirror: dict[str, Any], tmp_path: Path, before: str
) -> None:
    bucket = mirror["bucket"]
    if before == "nothing":
        make_model(tmp_path / "store", "first", [LARGEST, SMALL])
    else:
        make_model(tmp_path / "store", "first", [SHARED, SMALL])
        make_model(tmp_path / "old", "first", [SHARED, OLD])
    kill_at_every_step(
        nursery,
        bucket_reset(client, bucket, objects_of(tmp_path / "old")),
        lambda: models_in_bucket(client, bucket),
        "publish",
        finished=lambda _, __: no_upload_is_left(client, bucket),
        mirror=mirror,
        model="first",
    )


def test_a_killed_repair_of_a_bucket_leaves_the_bad_blob_or_the_good_one(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], tmp_path: Path
) -> None:
    make_model(tmp_path / "store", "first", [SHARED, SMALL])
    objects = objects_of(tmp_path / "store")
    name = blob_at(tmp_path, digest_of(SHARED)).name
    objects[f"ollama/models/blobs/{name}"] = bad = bytes(len(SHARED))

    def look() -> dict[str, bytes]:
        there = client.get_object(Bucket=bucket, Key=f"ollama/models/blobs/{name}")["Body"].read()
        assert there in {bad, SHARED}
        return models_in_bucket(client, bucket, foreign=[name])

    kill_at_every_step(
        nursery,
        bucket_reset(client, bucket, objects),
        look,
        "repair",
        finished=lambda _, __: models_in_bucket(client, bucket),
        mirror=mirror,
        model="first",
        where="bucket",
    )


def test_a_killed_prune_of_a_bucket_has_removed_nothing_that_is_named(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], source: Path
) -> None:
    for content in (OLD, OTHER_LARGE):
        blob_at(source, digest_of(content)).write_bytes(content)
    upload = f"ollama/models/blobs/{blob_at(source, digest_of(b'never sent')).name}"
    kill_at_every_step(
        nursery,
        bucket_reset(client, bucket, objects_of(source), upload),
        lambda: models_in_bucket(client, bucket),
        "prune bucket",
        finished=lambda _, __: no_upload_is_left(client, bucket),
        mirror=mirror,
    )
    assert client.list_objects_v2(Bucket=bucket, Prefix="ollama/models/blobs/")["KeyCount"] == 4
