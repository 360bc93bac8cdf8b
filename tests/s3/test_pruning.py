"""What a prune removes, and what it never does: laws over any store and any bucket."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_stores import (
    STAGING,
    blob_at,
    config_of,
    digest_of,
    manifest_at,
    manifest_of,
    put_manifest,
    tree,
)

from ollama_ext.names import parse_name
from ollama_ext.s3 import BucketError, LocalStore, Mirror, PruneResult, SettingRefused, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s3_servers import S3Server

NAMES = ["small", "small:other", "someone/small", "hf.co/someone/Small:Q4_K_M", "localhost:5000/a/b:c"]
CONTENTS = [b"one", b"two", b"three" * 1000, config_of()]
ONE, TWO = (digest_of(content)[7:] for content in (b"somewhere else", b"nowhere"))
PARTIALS = [f"sha256-{ONE}-partial", f"sha256-{ONE}-partial-0", f"sha256-{TWO}-partial-15"]
# Nothing that a prune of ours knows: what it is, and whether it matters, only others can tell.
STRANGE = ["README", f"sha256-{ONE.upper()}", f"sha256:{ONE}", f"sha256-{ONE[1:]}", f"sha256-{ONE}-partial-x"]
LEFTOVERS = [
    *(f"{ONE}.{suffix}" for suffix in ("part", "parts", "whole")),
    *(f"{TWO}.part", f"{TWO}.1f2e3d4c.part", f"{'0' * 16}.new"),
]
LOCKS = [f"{ONE}.lock", f"{TWO}.lock"]

MARGIN = 60.0  # seconds by which files are older or younger than the grace: no test takes as long

ages = st.sampled_from(["younger", "older"])


@dataclass(frozen=True)
class World:
    """A store: its models, and of all else whether it is older or younger than the grace."""

    grace: float
    models: dict[str, list[bytes]]
    blobs: dict[bytes, str]
    others: dict[str, str]
    staged: dict[str, str]

    def named(self) -> set[bytes]:
        """Return the contents of the blobs that a model names."""
        return {content for layers in self.models.values() for content in [*layers, config_of()]}

    def build(self, store: Path) -> None:
        """Make it so."""
        for directory in ("blobs", STAGING):
            (store / directory).mkdir(parents=True)
        for name, layers in self.models.items():
            path = manifest_at(store, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(manifest_of(layers, config_of()))
        for content, age in self.blobs.items():
            self._write(blob_at(store, digest_of(content)), content, age)
        for name, age in self.others.items():
            self._write(store / "blobs" / name, name.encode(), age)
        for name, age in self.staged.items():
            self._write(store / STAGING / name, name.encode(), age)

    def _write(self, path: Path, content: bytes, age: str) -> None:
        path.write_bytes(content)
        seconds = self.grace + (MARGIN if age == "older" else -MARGIN)
        then = datetime.now(UTC).timestamp() - seconds
        os.utime(path, (then, then))


def worlds() -> st.SearchStrategy[World]:
    """Return stores of any kind."""
    return st.builds(
        World,
        grace=st.sampled_from([0.0, 1.5, 3600.0, 1e6]),
        models=st.dictionaries(
            st.sampled_from(NAMES), st.lists(st.sampled_from(CONTENTS), max_size=4, unique=True), max_size=3
        ),
        blobs=st.dictionaries(st.sampled_from(CONTENTS), ages),
        others=st.dictionaries(st.sampled_from(PARTIALS + STRANGE), ages),
        staged=st.dictionaries(st.sampled_from(LEFTOVERS + LOCKS), ages),
    )


@settings(max_examples=150, deadline=None)
@given(world=worlds())
def test_a_prune_removes_what_no_model_names_and_is_old_enough_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, world: World
) -> None:
    store = tmp_path_factory.mktemp("store")
    world.build(store)
    before = tree(store)
    removable = {
        str(blob_at(store, digest_of(content)).relative_to(store)): age
        for content, age in world.blobs.items()
        if content not in world.named()
    }
    removable |= {f"blobs/{name}": age for name, age in world.others.items() if name in PARTIALS}
    removable |= {f"{STAGING}/{name}": age for name, age in world.staged.items() if name in LEFTOVERS}
    old = {path for path, age in removable.items() if age == "older"}
    freed = sum(
        status.st_blocks * 512 if path.startswith(STAGING) else status.st_size
        for path, status in ((path, (store / path).lstat()) for path in old)
    )

    result = LocalStore(store).prune(grace=world.grace)

    after = tree(store)
    locks = {f"{STAGING}/{name}" for name in LOCKS}  # nobody holds them: they may go, and the old ones must
    old_locks = {
        f"{STAGING}/{name}" for name, age in world.staged.items() if name in LOCKS and age == "older"
    }
    assert {path: what for path, what in after.items() if path not in locks and path != STAGING} == {
        path: what for path, what in before.items() if path not in locks | old and path != STAGING
    }
    assert not old_locks & after.keys()
    told = {path.removeprefix("blobs/").replace("sha256-", "sha256:") for path in old}
    assert {each.replace("sha256-", "sha256:") for each in result.removed} == told
    assert len(result.removed) == len(told)
    assert result.bytes_freed == freed
    assert result.spared == len(removable) - len(old)
    assert LocalStore(store).prune(grace=world.grace).removed == ()


def everything(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return all below a path with its times and its inode."""
    found = {str(entry): entry.lstat() for entry in [path, *path.rglob("*")]}
    return {name: (status.st_ino, status.st_mtime_ns, status.st_size) for name, status in found.items()}


@settings(max_examples=100, deadline=None)
@given(world=worlds())
def test_a_dry_run_tells_what_a_prune_would_remove_and_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, world: World
) -> None:
    store = tmp_path_factory.mktemp("store")
    world.build(store)
    before = everything(store)
    told = LocalStore(store).prune(grace=world.grace, dry_run=True)
    assert everything(store) == before
    done = LocalStore(store).prune(grace=world.grace)
    assert (told.dry_run, done.dry_run) == (True, False)
    assert (told.removed, told.bytes_freed, told.spared) == (done.removed, done.bytes_freed, done.spared)


@settings(max_examples=50, deadline=None)
@given(
    world=worlds(),
    bad=st.sampled_from([b"", b"{", b'{"layers": null}', b"<html>", b'{"config": {}, "layers": []}']),
    path=st.sampled_from(["registry.ollama.ai/library/bad/latest", "registry.ollama.ai/library/-/x", "a/b"]),
)
def test_a_prune_of_a_store_with_a_manifest_that_cannot_be_trusted_is_refused(
    tmp_path_factory: pytest.TempPathFactory, world: World, bad: bytes, path: str
) -> None:
    store = tmp_path_factory.mktemp("store")
    world.build(store)
    manifest = store / "manifests" / path
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_bytes(bad)
    before = everything(store)
    with pytest.raises(StoreRefused, match=r"nothing was pruned") as caught:
        LocalStore(store).prune(grace=world.grace)
    assert path in str(caught.value)
    assert everything(store) == before


@pytest.mark.parametrize("there", [[], ["blobs"], ["manifests"], [STAGING]], ids=str)
def test_a_store_with_parts_of_it_missing_has_nothing_to_prune(tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (tmp_path / "store" / name).mkdir(parents=True)
    assert LocalStore(tmp_path / "store").prune(grace=0) == PruneResult()
    assert sorted(path.name for path in (tmp_path / "store").glob("*")) == there


@pytest.mark.parametrize("grace", [-1, float("nan"), "3600", None, True])
def test_a_grace_that_is_no_time_is_refused(tmp_path: Path, grace: Any) -> None:
    with pytest.raises(SettingRefused, match=r"grace must be a number of seconds") as caught:
        LocalStore(tmp_path).prune(grace=grace)
    assert repr(grace) in str(caught.value)


def test_a_prune_does_not_go_through_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (store := tmp_path / "store").joinpath("blobs").mkdir(parents=True)
    outside.write_bytes(b"mine")
    link = store / "blobs" / f"sha256-{ONE}"
    link.symlink_to(outside)
    assert LocalStore(store).prune(grace=0).removed == ()
    assert outside.read_bytes() == b"mine"
    assert link.is_symlink()


# Buckets.

PREFIX = "ollama/models/"
STRANGE_KEYS = [
    *(f"{PREFIX}blobs/{name}" for name in ("README", ONE, f"sha256-{ONE}/x", "")),
    *(f"elsewhere/blobs/sha256-{ONE}", f"{PREFIX}manifests/", f"blobs/sha256-{ONE}"),
]
GRACE = 3600.0


def key_of(content: bytes) -> str:
    return f"{PREFIX}blobs/{digest_of(content).replace(':', '-')}"


@dataclass(frozen=True)
class BucketWorld:
    """A bucket: its models, other objects and unfinished uploads; and whether all of it is old.

    Nobody can set the times in a bucket. So all is older than the grace, or younger, by the prune's clock.
    """

    models: dict[str, list[bytes]]
    blobs: list[bytes]
    others: list[str]
    uploads: list[bytes]
    old: bool

    def build(self, client: Any, bucket: str) -> dict[str, bytes]:
        """Make it so, and return what is there then, by key."""
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=entry["Key"])
        for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])
        objects = {key_of(content): content for content in self.blobs}
        objects |= {key: key.encode() for key in self.others}
        for name, layers in self.models.items():
            objects[f"{PREFIX}manifests/{parse_name(name).path}"] = manifest_of(layers, config_of())
        for key, content in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=content)
        for content in self.uploads:
            client.create_multipart_upload(Bucket=bucket, Key=key_of(content))
        return objects

    @property
    def removable(self) -> set[bytes]:
        """The contents of the blobs that no model names."""
        return set(self.blobs) - {each for layers in self.models.values() for each in [*layers, config_of()]}


def bucket_worlds() -> st.SearchStrategy[BucketWorld]:
    """Return buckets of any kind, but for young uploads: to moto each began in 2010."""
    contents = st.lists(st.sampled_from(CONTENTS), max_size=4, unique=True)
    return st.builds(
        BucketWorld,
        models=st.dictionaries(st.sampled_from(NAMES), contents, max_size=3),
        blobs=contents,
        others=st.lists(st.sampled_from(STRANGE_KEYS), max_size=3, unique=True),
        uploads=contents,
        old=st.booleans(),
    ).filter(lambda world: world.old or not world.uploads)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what sets the clock of the prune forward by seconds."""
    ahead = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + ahead

    def set_forward(by: float) -> None:
        nonlocal ahead
        ahead = timedelta(seconds=by)

    monkeypatch.setattr("ollama_ext.s3.bucket_pruning.datetime", Clock)
    return set_forward


@pytest.fixture
def client(moto: S3Server) -> Iterator[Any]:
    """Return a plain client, which knows nothing of mirrors."""
    with closing(moto.client()) as plain:
        yield plain


@pytest.fixture
def mirror(mirror_of: Callable[..., Mirror], tmp_path: Path) -> Mirror:
    """Make a mirror of the bucket with a grace of an hour."""
    return mirror_of(tmp_path, prune_grace=GRACE, allow_short_grace=True)


def objects_in(client: Any, bucket: str) -> dict[str, bytes]:
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ())]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def uploads_in(client: Any, bucket: str) -> list[str]:
    return [each["Key"] for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]


# Every example begins with an empty bucket.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=bucket_worlds())
def test_a_prune_of_a_bucket_removes_what_no_model_names_and_is_old_enough_and_nothing_else(
    client: Any, bucket: str, mirror: Mirror, set_clock: Callable[[float], None], world: BucketWorld
) -> None:
    before = world.build(client, bucket)
    set_clock(GRACE + (MARGIN if world.old else -MARGIN))
    old = {key_of(content) for content in world.removable} if world.old else set[str]()

    told = mirror.prune_bucket(dry_run=True)
    assert objects_in(client, bucket) == before
    assert sorted(uploads_in(client, bucket)) == sorted(map(key_of, world.uploads))

    done = mirror.prune_bucket()
    assert objects_in(client, bucket) == {key: what for key, what in before.items() if key not in old}
    assert not uploads_in(client, bucket)
    blobs = {digest_of(before[key]) for key in old}
    assert set(done.removed) == blobs | {f"unfinished upload of {digest_of(each)}" for each in world.uploads}
    assert done.bytes_freed == sum(len(before[key]) for key in old)
    assert done.spared == (0 if world.old else len(world.removable))
    assert (told.dry_run, done.dry_run) == (True, False)
    assert (told.removed, told.bytes_freed, told.spared) == (done.removed, done.bytes_freed, done.spared)
    assert mirror.prune_bucket().removed == ()


@pytest.mark.parametrize(
    "bad", [b"", b"{", b'{"config": {}, "layers": []}'], ids=["empty", "cut", "no config"]
)
@pytest.mark.parametrize("path", ["registry.ollama.ai/library/bad/latest", "a/b"])
def test_a_prune_of_a_bucket_with_a_manifest_that_cannot_be_trusted_is_refused(
    client: Any, bucket: str, mirror: Mirror, bad: bytes, path: str
) -> None:
    world = BucketWorld({"small": CONTENTS[:2]}, CONTENTS, [], [b"half"], old=True)
    before = world.build(client, bucket)
    put_manifest(client, bucket, path, bad)
    with pytest.raises(BucketError, match=r"nothing was pruned") as caught:
        mirror.prune_bucket()
    assert path in str(caught.value)
    assert objects_in(client, bucket) == before | {f"{PREFIX}manifests/{path}": bad}
    assert uploads_in(client, bucket)
