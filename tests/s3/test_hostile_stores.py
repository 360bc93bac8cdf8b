"""Links, pipes, wrong bytes, full and read-only disks are told, and nothing beside the store is touched."""

from __future__ import annotations

import errno
import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from guarded_stores import OLD, GuardedStore
from model_stores import (
    STAGING,
    blob_at,
    config_of,
    digest_of,
    make_model,
    manifest_at,
    manifest_of,
)

from ollama_ext.s3 import LocalStore, Mirror, MirrorError, NoSpace, StoreRefused, TransferProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hostile_buckets import HostileBucket


PART = 16 << 10
LAYER = bytes(range(256)) * 320  # fetched in parts, of which it has five
HEX = digest_of(LAYER).removeprefix("sha256:")


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut blobs into small parts."""
    monkeypatch.setattr("ollama_ext.s3.limits._SMALL_PART", PART)


@pytest.fixture
def mirror(mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore) -> Mirror:
    """A mirror of the models ``new`` and ``other``, whose config the store has already."""
    hostile.put_model("new", [LAYER])
    hostile.put_model("other", [b"another layer"])
    return mirror_of(guarded.path)


# -- what lies where blobs go

OBSTACLES: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "link to a file elsewhere": (lambda at, outside: at.symlink_to(outside / "canary"), "a symbolic link"),
    "link to nothing": (lambda at, outside: at.symlink_to(outside / "nothing"), "a symbolic link"),
    "link to a blob": (lambda at, _: at.symlink_to(next(at.parent.iterdir())), "a symbolic link"),
    "directory": (lambda at, _: at.mkdir(), "a directory"),
    "named pipe": (lambda at, _: os.mkfifo(at), "a pipe"),
}


@pytest.mark.parametrize(("put", "word"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_lies_in_the_place_of_a_blob_is_named_and_stops_no_other_model(
    put: Callable[[Path, Path], object], word: str, mirror: Mirror, guarded: GuardedStore
) -> None:
    at = blob_at(guarded.path, digest_of(LAYER))
    put(at, guarded.outside)
    guarded.remember()
    with guarded.refuses(StoreRefused, str(at), word, "move it away"):
        mirror.import_model("new")
    results = mirror.import_models(["new", "other"])
    assert [type(result.error) for result in results] == [StoreRefused, type(None)]
    assert (guarded.outside / "canary").read_bytes() == b"it sings"
    assert sorted(path.name for path in guarded.outside.iterdir()) == ["canary"]


@pytest.mark.parametrize(("put", "word"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_lies_in_the_place_of_a_blob_is_no_blob_to_those_who_read(
    put: Callable[[Path, Path], object], word: str, mirror: Mirror, guarded: GuardedStore
) -> None:
    make_model(guarded.path, "new", [LAYER])
    at = blob_at(guarded.path, digest_of(LAYER))
    at.unlink()
    put(at, guarded.outside)
    guarded.remember()
    (error,) = (each.error for each in mirror.verify_model("new").errors)
    assert isinstance(error, StoreRefused)
    with guarded.refuses(StoreRefused, str(at)):
        mirror.publish_model("new")
    assert word


def linked_away(path: Path, outside: Path) -> None:
    """Move a directory elsewhere, and leave a link to it."""
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)


@pytest.mark.parametrize(
    "level",
    ["blobs", "manifests", "manifests/registry.ollama.ai", "manifests/registry.ollama.ai/library"],
)
def test_a_level_of_the_store_that_is_a_link_is_refused(
    level: str, mirror: Mirror, guarded: GuardedStore
) -> None:
    linked_away(guarded.path / level, guarded.outside)
    before = sorted(str(path) for path in guarded.outside.rglob("*"))
    with pytest.raises(StoreRefused, match="reached through links") as caught:
        mirror.import_model("new")
    assert str(guarded.path / level) in str(caught.value)
    assert sorted(str(path) for path in guarded.outside.rglob("*")) == before


def test_the_store_itself_may_be_a_link(
    mirror_of: Callable[..., Mirror], mirror: Mirror, guarded: GuardedStore, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(guarded.path)
    assert mirror_of(link).import_model("new").ok
    assert mirror.verify_model("new").ok


@pytest.mark.parametrize("kind", ["link to a file elsewhere", "link to nothing", "named pipe"])
def test_what_lies_in_the_place_of_a_manifest_is_refused_before_anything_is_fetched(
    kind: str, mirror: Mirror, guarded: GuardedStore
) -> None:
    at = manifest_at(guarded.path, "new")
    at.parent.mkdir()
    OBSTACLES[kind][0](at, guarded.outside)
    guarded.remember()
    with guarded.refuses(StoreRefused, str(at)):
        mirror.import_model("new")
    assert not (guarded.path / STAGING).exists()
    assert (guarded.outside / "canary").read_bytes() == b"it sings"


def test_a_store_that_is_a_file_is_refused(
    mirror_of: Callable[..., Mirror], mirror: Mirror, guarded: GuardedStore
) -> None:
    assert mirror
    for path in (guarded.outside / "canary", guarded.outside / "canary" / "below"):
        with guarded.refuses(StoreRefused, str(path)):
            mirror_of(path).import_model("new")


# -- what the store has already


@pytest.mark.parametrize(
    "wrong", [b"?" * len(LAYER), LAYER[:-1], LAYER + b"!", b""], ids=["bytes", "short", "long", "empty"]
)
def test_a_wrong_blob_of_the_store_is_replaced(wrong: bytes, mirror: Mirror, guarded: GuardedStore) -> None:
    blob_at(guarded.path, digest_of(LAYER)).write_bytes(wrong)
    result = mirror.import_model("new")
    assert (result.blobs_fetched, result.bytes_fetched) == (1, len(LAYER))
    assert mirror.verify_model("new").ok


def test_a_wrong_blob_of_a_model_that_is_there_is_replaced_by_its_import(
    mirror: Mirror, guarded: GuardedStore
) -> None:
    assert mirror.import_model("new").ok
    blob_at(guarded.path, digest_of(LAYER)).write_bytes(b"?" * len(LAYER))
    assert not mirror.verify_model("new").ok
    result = mirror.import_model("new")
    assert (result.ok, result.changed, result.blobs_fetched) == (True, False, 1)
    assert mirror.verify_model("new").ok


# -- what lies in the staging directory

STAGED = ("lock", "part", "parts", "whole")


@pytest.mark.parametrize("suffix", STAGED)
@pytest.mark.parametrize("target", ["canary", "nothing"])
def test_a_staged_file_that_is_a_link_is_not_followed(
    target: str, suffix: str, mirror: Mirror, guarded: GuardedStore
) -> None:
    staging = guarded.path / STAGING
    staging.mkdir()
    # Without bytes, what is said of their parts is not looked at.
    (staging / f"{HEX}.part").write_bytes(bytes(len(LAYER)))
    at = staging / f"{HEX}.{suffix}"
    at.unlink(missing_ok=True)
    at.symlink_to(guarded.outside / target)
    with guarded.refuses(StoreRefused, str(at), "link"):
        mirror.import_model("new")
    assert at.is_symlink()
    at.unlink()
    assert mirror.import_model("new").ok


@pytest.mark.parametrize("suffix", STAGED)
def test_a_staged_file_that_is_a_pipe_does_not_hang(
    suffix: str, mirror: Mirror, guarded: GuardedStore
) -> None:
    staging = guarded.path / STAGING
    staging.mkdir()
    (staging / f"{HEX}.part").write_bytes(bytes(len(LAYER)))
    at = staging / f"{HEX}.{suffix}"
    at.unlink(missing_ok=True)
    os.mkfifo(at)
    with guarded.refuses(StoreRefused, f"{HEX}.{suffix}", "regular file"):
        mirror.import_model("new")


@pytest.mark.parametrize("target", ["directory", "canary", "nothing"])
def test_a_staging_directory_that_is_a_link_is_refused(
    target: str, mirror: Mirror, guarded: GuardedStore
) -> None:
    (guarded.outside / "directory").mkdir()
    (guarded.path / STAGING).symlink_to(guarded.outside / target)
    guarded.remember()
    with guarded.refuses(StoreRefused, str(guarded.path / STAGING), "link"):
        mirror.import_model("new")


def test_what_another_left_staged_is_hashed_before_it_is_used(mirror: Mirror, guarded: GuardedStore) -> None:
    staging = guarded.path / STAGING
    staging.mkdir()
    (staging / f"{HEX}.whole").write_bytes(b"?" * len(LAYER))
    assert mirror.import_model("new").ok
    assert mirror.verify_model("new").ok


# -- disks that are full, and disks that may not be written


class Disk:
    """Fails writes of this process as a disk does.

    Attributes:
        left: How many writes still succeed; None for all.
    """

    def __init__(self, number: int, left: int) -> None:
        """Take what a write fails with, and after how many."""
        self._number = number
        self.left: int | None = left

    def failing(self, write: Callable[[int, Any, int], int]) -> Callable[[int, Any, int], int]:
        """Return a function that writes, or fails."""

        def call(descriptor: int, data: Any, offset: int) -> int:
            if self.left is not None:
                if self.left <= 0:
                    raise OSError(self._number, os.strerror(self._number))
                self.left -= 1
            return write(descriptor, data, offset)

        return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=["ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("after", [0, 1, 5, 10], ids=lambda after: f"after {after} writes")
def test_a_disk_that_gets_full_in_the_middle_is_told_and_the_next_import_goes_on(
    after: int, number: int, mirror: Mirror, guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(number, after)
    for write in (os.pwrite, os.pwritev):
        monkeypatch.setattr(os, write.__name__, disk.failing(write))
    with guarded.refuses(NoSpace, STAGING, os.strerror(number), "free some space"):
        mirror.import_model("new")
    disk.left = None
    result = mirror.import_model("new")
    assert result.ok
    assert (after < 10) or result.bytes_fetched < len(LAYER)
    assert mirror.verify_model("new").ok


@contextmanager
def files_up_to(size: int) -> Generator[None]:
    """Have the kernel refuse larger files, as a quota does; of root, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_quota_smaller_than_a_blob_is_told_before_its_first_byte(
    mirror: Mirror, guarded: GuardedStore
) -> None:
    with files_up_to(len(LAYER) - 1), guarded.refuses(NoSpace, STAGING, "choose another store"):
        mirror.import_model("new")
    result = mirror.import_model("new")
    assert (result.ok, result.bytes_fetched) == (True, len(LAYER))


def test_no_room_for_the_manifest_leaves_the_old_one(
    mirror: Mirror, hostile: HostileBucket, guarded: GuardedStore
) -> None:
    manifest = json.loads(manifest_of([LAYER], config_of())) | {"note": "x" * len(LAYER) * 2}
    hostile.put_manifest(f"registry.ollama.ai/library/{OLD}/latest", json.dumps(manifest).encode())
    blobs = guarded.path / "blobs"
    before = {path.name for path in blobs.iterdir()}
    with files_up_to(len(LAYER)), pytest.raises(NoSpace, match="free some space"):
        mirror.import_model(OLD)
    more = {path.name for path in blobs.iterdir()} - before
    assert more == {f"sha256-{HEX}"}  # whole, and named by nothing
    assert LocalStore(guarded.path).verify_model(OLD).digest == guarded.model.digest
    assert list((guarded.path / STAGING).iterdir()) == []
    assert mirror.import_model(OLD).ok


def test_a_model_larger_than_the_free_space_is_refused_with_both_numbers(
    mirror_of: Callable[..., Mirror], mirror: Mirror, guarded: GuardedStore
) -> None:
    assert mirror
    reserve = 1 << 60
    with guarded.refuses(NoSpace, f"{len(LAYER):,}", f"{reserve:,}", "reserve", str(guarded.path)) as caught:
        mirror_of(guarded.path, reserve=reserve).import_model("new")
    error = caught.value
    assert isinstance(error, NoSpace)
    assert (error.needed, error.reserve) == (len(LAYER), reserve)
    assert error.free > 0
    assert not (guarded.path / STAGING).exists()


def test_a_model_that_says_it_has_petabytes_is_refused_before_a_byte_of_it(
    mirror: Mirror, hostile: HostileBucket, guarded: GuardedStore
) -> None:
    manifest = json.loads(manifest_of([LAYER], config_of()))
    manifest["layers"][0]["size"] = 1 << 53
    hostile.put_manifest("registry.ollama.ai/library/new/latest", json.dumps(manifest).encode())
    with guarded.refuses(NoSpace, "9,007,199,254,740,992"):
        mirror.import_model("new")
    assert not (guarded.path / STAGING).exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES], ids=["EROFS", "EACCES"])
def test_a_store_that_may_not_be_written_is_told(
    number: int, mirror: Mirror, guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, made = os.open, os.mkdir

    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    def open_file(path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            refuse()
        return opened(path, flags, *arguments, **keywords)

    def make_directory(*arguments: Any, **keywords: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:  # of one that is there, Linux says so first
            patch.setattr(os, "mkdir", made)
            if Path(arguments[0]).exists() and "dir_fd" not in keywords:
                made(*arguments, **keywords)
        refuse()

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_file)
        patch.setattr(os, "mkdir", make_directory)
        with pytest.raises(MirrorError) as caught:
            mirror.import_model("new")
    assert type(caught.value) is StoreRefused
    assert os.strerror(number) in str(caught.value)
    assert "choose another store" in str(caught.value)
    guarded.assert_untouched()


def test_a_store_that_may_not_be_made_is_told(
    mirror_of: Callable[..., Mirror], mirror: Mirror, guarded: GuardedStore
) -> None:
    assert mirror
    with guarded.refuses(StoreRefused, "/dev/null/store"):
        mirror_of("/dev/null/store").import_model("new")


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_staged_file_that_is_swapped_while_it_is_written_is_not_published(
    kind: str, mirror: Mirror, guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = guarded.path / STAGING / f"{HEX}.part"
    impostor = guarded.outside / "impostor"
    impostor.write_bytes(b"?" * len(LAYER))
    guarded.remember()
    fsync = os.fsync

    def swap(descriptor: int) -> None:
        fsync(descriptor)
        if part.exists() and not part.with_suffix(".away").exists():
            part.rename(part.with_suffix(".away"))
            (part.symlink_to if kind == "link" else part.hardlink_to)(impostor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", swap)
        with guarded.refuses(StoreRefused, str(part), "no longer the file"):
            mirror.import_model("new")
    part.unlink()
    assert mirror.import_model("new").ok
    assert mirror.verify_model("new").ok


def test_a_staged_blob_that_is_swapped_for_a_link_is_not_published(
    mirror: Mirror, guarded: GuardedStore
) -> None:
    whole = guarded.path / STAGING / f"{HEX}.whole"

    def swap(progress: TransferProgress) -> None:
        if progress.state == "publishing" and whole.exists():
            whole.unlink()
            whole.symlink_to(guarded.outside / "canary")

    with guarded.refuses(StoreRefused, str(whole), "a symbolic link"):
        mirror.import_model("new", on_progress=swap)
    whole.unlink()
    assert mirror.import_model("new").ok
