"""Directories: no link is followed, nothing waits, and what is made has Ollama's modes whatever the umask."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sockets import open_files

from ollama_ext.s3 import NoSpace, StoreRefused
from ollama_ext.s3.directories import Directory, failures_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Directory]:
    with Directory.at(tmp_path) as opened:
        yield opened


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o177)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- opening


def test_a_directory_is_closed_with_its_block_and_only_once(tmp_path: Path) -> None:
    with Directory.at(tmp_path) as opened:
        descriptor = opened.descriptor
        assert os.fstat(descriptor)
        assert opened.path == tmp_path
    opened.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_store_may_be_a_link_itself_as_its_owner_chose_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with Directory.at(tmp_path / "link") as opened:
        assert opened.names() == []


def test_a_directory_is_made_only_where_that_is_asked_for(tmp_path: Path, root: Directory) -> None:
    with pytest.raises(FileNotFoundError):
        Directory.at(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        root.enter("a")
    with pytest.raises(FileNotFoundError):
        root.descend(["a", "b"])
    assert root.names() == []
    with Directory.at(tmp_path / "a" / "b", create=True), root.enter("a", create=True) as entered:
        assert entered.names() == ["b"]
    with root.descend(["c", "d", "e"], create=True) as deep:
        assert deep.path == tmp_path / "c" / "d" / "e"
    assert sorted(root.names()) == ["a", "c"]


def test_levels_that_are_passed_are_not_left_open(root: Directory) -> None:
    before = open_files()
    with root.descend(["c", "d", "e"], create=True):
        assert open_files() == before + 1
    with pytest.raises(FileNotFoundError):
        root.descend(["c", "d", "none", "e"])
    assert open_files() == before


@pytest.mark.usefixtures("strict_umask")
def test_modes_are_those_of_ollama_whatever_the_umask(tmp_path: Path, root: Directory) -> None:
    with root.descend(["a", "b"], create=True) as directory:
        assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o755
        name = directory.write(b"content")
        assert mode(tmp_path / "a" / "b" / name) == 0o644
    with root.enter("private", create=True, mode=0o700):
        assert mode(tmp_path / "private") == 0o700


def test_the_mode_of_what_is_there_stays(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o2775)
    with root.enter("a", create=True):
        assert mode(tmp_path / "a") == 0o2775


def test_what_is_made_belongs_to_the_owner_of_the_store(tmp_path: Path) -> None:
    if os.geteuid() == 0:  # an init container that fills the store of another user
        os.chown(tmp_path, 4321, 8765)
    with Directory.at(tmp_path) as opened, opened.descend(["a", "b"], create=True) as deep:
        name = deep.write(b"content")
    owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / name):
        assert (path.stat().st_uid, path.stat().st_gid) == owner


# -- what is not followed


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def dangling_link(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket may have 107 bytes only
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


OTHERS = [link, dangling_link, os.mkfifo, os.mkdir, unix_socket]


@pytest.mark.parametrize("make", OTHERS, ids=lambda make: make.__name__)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(
    tmp_path: Path, root: Directory, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "x")
    before = open_files()
    for look in (
        lambda: root.open_file("x"),
        lambda: root.open_file("x", os.O_RDWR | os.O_CREAT),
        lambda: root.read("x", 10),
        lambda: root.size_of("x"),
    ):
        with pytest.raises(StoreRefused) as caught:
            look()
        assert str(tmp_path / "x") in str(caught.value)
    assert open_files() == before


@pytest.mark.parametrize("make", [link, dangling_link, os.mkfifo, Path.touch])
def test_what_is_no_directory_is_not_entered(
    tmp_path: Path, root: Directory, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "x")
    for create in (False, True):
        with pytest.raises(StoreRefused, match="symbolic link or no directory"):
            root.enter("x", create=create)


def test_a_link_to_a_directory_of_the_store_is_not_entered_either(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(StoreRefused, match="symbolic link"):
        root.enter("link")
    with pytest.raises(StoreRefused, match="symbolic link"):
        root.descend(["link", "b"], create=True)
    assert list((tmp_path / "a").iterdir()) == []


def test_a_directory_that_is_moved_away_is_not_left(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "a").mkdir()
    with root.enter("a") as entered:
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "a").symlink_to("/")
        name = entered.write(b"x")
    assert (tmp_path / "b" / name).read_bytes() == b"x"


# -- files


def test_a_file_is_read_up_to_one_byte_more_than_wanted(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert root.read("x", 10) == b"0123456789"
    assert root.read("x", 9) == b"0123456789"
    assert root.read("x", 5) == b"012345"
    assert (root.size_of("x"), root.size_of("y")) == (10, None)
    with pytest.raises(FileNotFoundError):
        root.read("y", 5)
    with pytest.raises(FileNotFoundError):
        root.status_of("y")


def test_a_file_is_moved_in_place_of_what_is_there(tmp_path: Path, root: Directory) -> None:
    with root.enter("a", create=True) as other:
        (tmp_path / "a" / "x").write_bytes(b"old")
        name = root.write(b"new")
        root.move(name, other, "x")
        with pytest.raises(FileNotFoundError):
            root.move(name, other, "x")
    assert (tmp_path / "a" / "x").read_bytes() == b"new"
    assert root.names() == ["a"]


def test_what_cannot_be_written_whole_leaves_nothing(
    tmp_path: Path, root: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="No space left on device; free some space"):
        root.write(b"content")
    assert list(tmp_path.iterdir()) == []


def test_the_time_of_a_file_is_set_to_now_but_not_that_of_what_a_link_leads_to(
    tmp_path: Path, root: Directory
) -> None:
    for name in ("x", "y"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1, 1))
    (tmp_path / "link").symlink_to("y")
    root.touch("x")
    root.touch("link")
    root.touch("none")
    assert (tmp_path / "x").stat().st_mtime > 1_000_000_000
    assert (tmp_path / "y").stat().st_mtime == 1


def test_what_is_removed_twice_is_gone(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "x").touch()
    root.remove("x")
    root.remove("x")
    assert root.names() == []
    (tmp_path / "d").mkdir()
    with pytest.raises(StoreRefused):
        root.remove("d")


def test_names_are_sorted_and_each_entry_has_its_own_status(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "b").write_bytes(b"12")
    (tmp_path / "a").symlink_to("b")
    assert root.names() == ["a", "b"]
    found = dict(root.entries())
    assert stat.S_ISLNK(found["a"].st_mode)
    assert found["b"].st_size == 2


def test_entries_that_vanish_meanwhile_are_left_out(tmp_path: Path, root: Directory) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    seen: list[str] = []
    for name, _ in root.entries():
        seen.append(name)
        (tmp_path / "b").unlink(missing_ok=True)
    assert seen == ["a", "c"]


# -- trees


def test_a_directory_is_reached_as_far_as_there_is_one(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    before = open_files()
    for levels, missing in ((["a", "b"], []), (["a", "b", "c", "d"], ["c", "d"]), (["x", "a"], ["x", "a"])):
        reached, left = root.reach(levels)
        with reached:
            assert list(left) == missing
            assert reached.path == tmp_path.joinpath(*levels[: len(levels) - len(missing)])
    (tmp_path / "a" / "link").symlink_to("b")
    with pytest.raises(StoreRefused, match="symbolic link"):
        root.reach(["a", "link", "c"])
    assert open_files() == before


def test_a_tree_is_removed_and_what_its_links_lead_to_stays(tmp_path: Path, root: Directory) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "x").write_bytes(b"important")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "a" / "pipe")
    root.remove_tree("a")
    root.remove_tree("a")
    assert root.names() == ["victim"]
    assert (tmp_path / "victim" / "x").read_bytes() == b"important"


@pytest.mark.usefixtures("strict_umask")
def test_a_file_is_written_in_new_directories(tmp_path: Path, root: Directory) -> None:
    first = root.write_below(["b", "c"], "file", b"content")
    assert root.names() == [first]
    assert (tmp_path / first / "b" / "c" / "file").read_bytes() == b"content"
    assert mode(tmp_path / first) == mode(tmp_path / first / "b" / "c") == 0o755
    assert mode(tmp_path / first / "b" / "c" / "file") == 0o644
    with root.enter("to", create=True) as other:
        root.move(first, other, "a")
    assert (tmp_path / "to" / "a" / "b" / "c" / "file").read_bytes() == b"content"


def test_new_directories_that_cannot_be_written_leave_nothing(
    root: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace):
        root.write_below(["b"], "file", b"content")
    assert root.names() == []


def test_a_directory_takes_the_place_of_an_empty_one_only(tmp_path: Path, root: Directory) -> None:
    for name in ("new", "empty", "full"):
        (tmp_path / name).mkdir()
        if name != "empty":
            (tmp_path / name / name).touch()
    with pytest.raises(FileExistsError):
        root.move("new", root, "full")
    root.move("new", root, "empty")
    assert root.names() == ["empty", "full"]
    assert (tmp_path / "empty" / "new").exists()


def test_a_lock_on_a_directory_keeps_out_those_who_want_it_alone(tmp_path: Path, root: Directory) -> None:
    with Directory.at(tmp_path) as other:
        try_it = fcntl.LOCK_NB | fcntl.LOCK_EX
        with root.locked(alone=False), other.locked(alone=False):
            pass  # both at once
        for alone in (False, True):
            with root.locked(alone=alone), pytest.raises(BlockingIOError):
                fcntl.flock(other.descriptor, try_it)
        with root.locked(alone=True), pytest.raises(BlockingIOError):
            fcntl.flock(other.descriptor, fcntl.LOCK_NB | fcntl.LOCK_SH)
        fcntl.flock(other.descriptor, try_it)


def test_where_there_are_no_locks_it_goes_on_without(
    root: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO):

        def refuse(_: int, __: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refuse)
        if number == errno.EIO:
            with pytest.raises(OSError, match="Input/output error"), root.locked(alone=True):
                pass
            continue
        with root.locked(alone=True):
            assert root.names() == []


# -- what the operating system refuses


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, NoSpace, "free some space, or choose another store"),
        (errno.EDQUOT, NoSpace, "free some space"),
        (errno.EFBIG, NoSpace, "free some space"),
        (errno.EACCES, StoreRefused, "run this as the user"),
        (errno.EPERM, StoreRefused, "run this as the user"),
        (errno.EROFS, StoreRefused, "Read-only file system; run this as the user"),
        (errno.ELOOP, StoreRefused, "nothing below a model directory is reached through links"),
        (errno.ENOTDIR, StoreRefused, "is a symbolic link or no directory"),
        (errno.EXDEV, StoreRefused, "on another file system than the model directory"),
        (errno.EIO, StoreRefused, "cannot be used: Input/output error"),
    ],
)
def test_each_refusal_is_one_of_ours_and_names_the_path(
    number: int, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught, failures_of(Path("/a/b")):
        raise OSError(number, os.strerror(number))
    assert str(caught.value).startswith("/a/b ")
    assert words in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_refusal_without_a_number_is_told_in_its_words() -> None:
    with pytest.raises(StoreRefused, match="/a cannot be used: odd"), failures_of(Path("/a")):
        raise OSError("odd")


def test_that_there_is_none_stays_what_it_is() -> None:
    with pytest.raises(FileNotFoundError), failures_of(Path("/a")):
        raise FileNotFoundError(errno.ENOENT, "none")
