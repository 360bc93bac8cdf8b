"""Staging: one process works on a blob, and what a dead one left is found again."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from model_stores import STAGING, digest_of
from sockets import open_files
from staged_blobs import CONTENT, DIGEST, HEX, SIZE, blob, files

from ollama_ext.s3 import StoreRefused
from ollama_ext.s3.directories import Directory
from ollama_ext.s3.journal import Part
from ollama_ext.s3.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


#: Takes the lock on a blob of a store and holds it until it is killed.
HOLDER = """
import sys
from pathlib import Path
from ollama_ext.s3.directories import Directory
from ollama_ext.s3.staging import Staging
lock = Staging(Directory.at(Path(sys.argv[1]))).lock(sys.argv[2])
print("held" if lock else "refused", flush=True)
sys.stdin.read()
if lock:
    lock.release()
"""


@contextmanager
def held_elsewhere(store: Path) -> Generator[subprocess.Popen[str]]:
    """Hold the lock in another process."""
    command = [sys.executable, "-c", HOLDER, str(store), DIGEST]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


# -- the directory


def test_nothing_is_made_before_it_is_needed(tmp_path: Path, place: Staging) -> None:
    assert not place.exists
    assert place.staged_bytes(DIGEST, SIZE) == 0
    assert list(place.leftovers()) == []
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_can_look_into_it(tmp_path: Path, place: Staging) -> None:
    before = os.umask(0)
    try:
        with blob(place):
            assert stat.S_IMODE((tmp_path / STAGING).stat().st_mode) == 0o700
            assert stat.S_IMODE((tmp_path / STAGING / f"{HEX}.part").stat().st_mode) == 0o600
            assert stat.S_IMODE((tmp_path / STAGING / f"{HEX}.lock").stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert place.exists


def test_what_root_leaves_belongs_to_the_owner_of_the_store_who_goes_on_with_it(tmp_path: Path) -> None:
    if os.geteuid() == 0:  # an init container that was ended in the middle
        os.chown(tmp_path, 4321, 8765)
    with Directory.at(tmp_path) as root, Staging(root) as place, blob(place) as staged:
        staged.write(CONTENT, 0)
        staged.record(0, 100, 5)
        found = sorted((tmp_path / STAGING).iterdir())
        assert [path.suffix for path in found] == [".lock", ".part", ".parts"]
        for path in (tmp_path / STAGING, *found):
            assert (path.stat().st_uid, path.stat().st_gid) == (
                tmp_path.stat().st_uid,
                tmp_path.stat().st_gid,
            )


def test_a_link_in_its_place_is_refused(tmp_path: Path, place: Staging) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / STAGING).symlink_to("elsewhere")
    with pytest.raises(StoreRefused):
        place.lock(DIGEST)
    with pytest.raises(StoreRefused):
        _ = place.exists
    assert list((tmp_path / "elsewhere").iterdir()) == []


# -- locks


def test_a_blob_is_worked_on_once(place: Staging) -> None:
    lock = place.lock(DIGEST)
    assert lock is not None
    assert lock.resumable
    assert place.lock(DIGEST) is None
    other = place.lock(digest_of(b"other"))
    assert other is not None
    lock.release()
    lock.release()
    again = place.lock(DIGEST)
    assert again is not None
    again.release()
    other.release()


def test_it_can_be_asked_whether_somebody_works_on_a_blob_and_nothing_changes(
    tmp_path: Path, place: Staging
) -> None:
    assert not place.is_locked(DIGEST)
    assert files(tmp_path) == {}
    with blob(place):
        assert place.is_locked(DIGEST)
        assert not place.is_locked(digest_of(b"other"))
    with held_elsewhere(tmp_path) as process:
        assert place.is_locked(DIGEST)
        process.kill()
        process.wait()
        assert not place.is_locked(DIGEST)
        assert f"{HEX}.lock" in files(tmp_path)  # for a prune to remove


def test_no_lock_file_is_left(tmp_path: Path, place: Staging) -> None:
    lock = place.lock(DIGEST)
    assert lock is not None
    assert files(tmp_path) == {f"{HEX}.lock": 0}
    lock.release()
    assert files(tmp_path) == {}


def test_another_process_holds_a_lock_until_it_gives_it_back(tmp_path: Path, place: Staging) -> None:
    with held_elsewhere(tmp_path) as process:
        assert place.lock(DIGEST) is None
        process.communicate("")
        assert files(tmp_path) == {}
        lock = place.lock(DIGEST)
        assert lock is not None
        lock.release()


def test_a_lock_ends_with_its_process(tmp_path: Path, place: Staging) -> None:
    with held_elsewhere(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert files(tmp_path) == {f"{HEX}.lock": 0}  # it had no time to remove it
        lock = place.lock(DIGEST)
        assert lock is not None
        lock.release()
    assert files(tmp_path) == {}


def test_a_lock_on_a_file_that_its_holder_has_removed_meanwhile_is_no_lock(
    place: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.lock(DIGEST)
    assert first is not None
    real, opened = fcntl.flock, list[int]()

    def late(descriptor: int, operation: int) -> None:
        opened.append(descriptor)
        if len(opened) == 1:  # between our open and our lock
            first.release()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    second = place.lock(DIGEST)
    assert second is not None
    assert len(opened) == 2
    assert place.lock(DIGEST) is None  # the file that is there now is the one that is locked
    second.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_each_works_under_a_name_of_its_own_and_nothing_is_resumed(
    tmp_path: Path, place: Staging, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_locks(_: int, __: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with blob(place) as one, blob(place) as two:
        assert files(tmp_path).keys().isdisjoint({f"{HEX}.part", f"{HEX}.lock"})
        assert len(files(tmp_path)) == 4  # the bytes and the journal of each
        one.write(CONTENT, 0)
        one.record(0, 100, 5)
        two.write(CONTENT, 0)
        one.finish()
        assert place.whole_size(DIGEST) == SIZE
        two.finish()  # the same bytes, in place of the others
    assert files(tmp_path) == {f"{HEX}.whole": SIZE}
    place.remove_whole(DIGEST)
    with blob(place) as broken_off:
        broken_off.record(0, 100, 5)
    assert files(tmp_path) == {}


def test_other_failures_of_a_lock_are_no_lock(place: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int, __: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    before = open_files()
    with pytest.raises(OSError, match="Input/output error"):
        place.lock(DIGEST)
    assert open_files() == before + 1  # the directory


# -- the bytes


def test_the_pieces_may_come_in_any_order(tmp_path: Path, place: Staging) -> None:
    with blob(place) as staged:
        for start in (600, 0, 400, 200, 800):
            staged.write(memoryview(CONTENT)[start : start + 200], start)
        buffer = bytearray(SIZE)
        assert staged.read(memoryview(buffer), 0) == SIZE
        assert bytes(buffer) == CONTENT
        staged.start_writing_back(0, SIZE)
        staged.forget(0, SIZE)
        staged.finish()
    whole = tmp_path / STAGING / f"{HEX}.whole"
    assert whole.read_bytes() == CONTENT
    assert stat.S_IMODE(whole.stat().st_mode) == 0o644
    assert files(tmp_path) == {f"{HEX}.whole": SIZE}


def test_large_pieces_arrive_whole(place: Staging) -> None:
    large = os.urandom(100_001)
    with blob(place, size=len(large)) as staged:
        staged.write(large, 0)
        buffer = bytearray(len(large))
        assert staged.read(memoryview(buffer), 0) == len(large)
        assert bytes(buffer) == large


def test_what_was_recorded_is_known_to_the_next(tmp_path: Path, place: Staging) -> None:
    with blob(place) as staged:
        assert staged.known == {}
        staged.write(CONTENT[100:200], 100)
        staged.record(1, 100, 77)
    assert files(tmp_path) == {f"{HEX}.part": SIZE, f"{HEX}.parts": 256 + 16}
    with blob(place) as staged:
        assert staged.known == {1: Part(100, 77)}
        buffer = bytearray(100)
        staged.read(memoryview(buffer), 100)
        assert bytes(buffer) == CONTENT[100:200]


def test_a_blob_of_one_part_has_no_journal(tmp_path: Path, place: Staging) -> None:
    with blob(place, part_size=SIZE) as staged:
        staged.record(0, SIZE, 77)
    assert files(tmp_path) == {f"{HEX}.part": SIZE}
    with blob(place, part_size=SIZE - 1):
        assert files(tmp_path)[f"{HEX}.parts"] == 256


@pytest.mark.parametrize("found", [0, SIZE - 1, SIZE + 1])
def test_bytes_of_another_size_are_begun_anew_with_their_journal(
    tmp_path: Path, place: Staging, found: int
) -> None:
    with blob(place) as staged:
        staged.write(CONTENT, 0)
        staged.record(0, 100, 77)
    with (tmp_path / STAGING / f"{HEX}.part").open("r+b") as file:
        file.truncate(found)
    with blob(place) as staged:
        assert staged.known == {}
        assert (tmp_path / STAGING / f"{HEX}.part").read_bytes() == bytes(SIZE)


def test_what_was_wrong_is_thrown_away(tmp_path: Path, place: Staging) -> None:
    with blob(place) as staged:
        staged.write(CONTENT, 0)
        staged.record(0, 100, 77)
        staged.discard()
    assert files(tmp_path) == {}


@pytest.mark.parametrize("name", [f"{HEX}.part", f"{HEX}.parts", f"{HEX}.lock"])
def test_a_link_in_place_of_a_staged_file_is_refused_and_what_it_leads_to_is_not_touched(
    tmp_path: Path, place: Staging, name: str
) -> None:
    (tmp_path / "victim").write_bytes(b"important")
    with blob(place):
        pass
    (tmp_path / STAGING / name).unlink(missing_ok=True)
    (tmp_path / STAGING / name).symlink_to(tmp_path / "victim")
    with pytest.raises(StoreRefused), blob(place):
        pass
    assert (tmp_path / "victim").read_bytes() == b"important"


# -- whole blobs


def test_a_whole_blob_is_opened_moved_and_removed_by_its_digest(tmp_path: Path, place: Staging) -> None:
    assert place.whole_size(DIGEST) is None
    with blob(place) as staged:
        staged.write(CONTENT, 0)
        staged.finish()
    assert place.whole_size(DIGEST) == SIZE
    descriptor = place.open_whole(DIGEST)
    assert os.pread(descriptor, SIZE + 1, 0) == CONTENT
    os.close(descriptor)
    os.utime(tmp_path / STAGING / f"{HEX}.whole", (1, 1))
    place.touch_whole(DIGEST)
    assert (tmp_path / STAGING / f"{HEX}.whole").stat().st_mtime > 1_000_000_000
    with Directory.at(tmp_path) as root:
        place.move_whole(DIGEST, root, "x")
        with pytest.raises(FileNotFoundError):
            place.move_whole(DIGEST, root, "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert place.whole_size(DIGEST) is None
    with pytest.raises(FileNotFoundError):
        place.open_whole(DIGEST)
    place.remove_whole(DIGEST)
    place.touch_whole(DIGEST)
    (tmp_path / STAGING / f"{HEX}.whole").mkdir()
    with Directory.at(tmp_path) as root, pytest.raises(StoreRefused, match="is a directory"):
        place.move_whole(DIGEST, root, "x")
    with pytest.raises(StoreRefused, match="is a directory"):
        place.whole_size(DIGEST)


def test_what_is_staged_needs_no_more_room(tmp_path: Path, place: Staging) -> None:
    with blob(place, size=1 << 20) as staged:
        staged.write(bytes(1 << 20), 0)
        assert place.staged_bytes(DIGEST, 1 << 20) == 1 << 20
        assert place.staged_bytes(DIGEST, 4096) == 4096
        assert place.staged_bytes(digest_of(b"other"), SIZE) == 0
    (tmp_path / STAGING / f"{HEX}.part").unlink()
    with (tmp_path / STAGING / f"{HEX}.part").open("wb") as sparse:
        sparse.truncate(1 << 20)  # has a size, and no room on the disk
    assert place.staged_bytes(DIGEST, 1 << 20) == 0


def test_what_is_left_over_is_told_by_its_digest(tmp_path: Path, place: Staging) -> None:
    with blob(place) as staged:
        staged.record(0, 100, 77)
    (tmp_path / STAGING / "directory").mkdir()
    (tmp_path / STAGING / "link").symlink_to("directory")
    found = [(digest, name) for digest, name, _ in place.leftovers()]
    assert found == [(HEX, f"{HEX}.part"), (HEX, f"{HEX}.parts"), ("directory", "directory")]
    assert [status.st_size for _, _, status in place.leftovers()][:2] == [SIZE, 272]
