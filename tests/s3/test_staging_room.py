"""Room on the disk: all that a blob needs is taken before its first byte, where the file system can."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from model_stores import STAGING
from staged_blobs import HEX, SIZE, blob, files

from ollama_ext.s3 import NoSpace, staging
from ollama_ext.s3.staging import Staging, allocate

if TYPE_CHECKING:
    from pathlib import Path


class _Libc:
    """A C library whose ``fallocate`` ends as it is told to."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fallocate(self, *_: object) -> int:
        ctypes.set_errno(self._number)
        return -1 if self._number else 0


class _OldLibc:
    """A C library without it."""


def test_all_of_the_room_is_taken_at_once(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        allocate(file.fileno(), 1 << 20)
        status = os.fstat(file.fileno())
    assert status.st_size == 1 << 20
    assert status.st_blocks * 512 >= 1 << 20


@pytest.mark.parametrize(
    "libc",
    [_OldLibc(), *map(_Libc, (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL))],
    ids=["old", "no support", "no call", "no sense"],
)
def test_where_the_file_system_cannot_do_that_a_file_gets_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libc: Any
) -> None:
    monkeypatch.setattr(staging, "_libc", lambda: libc)
    with (tmp_path / "x").open("wb") as file:
        allocate(file.fileno(), 1 << 20)
        assert os.fstat(file.fileno()).st_size == 1 << 20


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_blob_without_room_is_refused_before_its_first_byte(
    tmp_path: Path, place: Staging, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    libc = _Libc(number)
    monkeypatch.setattr(staging, "_libc", lambda: libc)
    with pytest.raises(NoSpace, match=rf"{STAGING}/{HEX}\.part cannot be written"), blob(place):
        pass
    monkeypatch.undo()
    with blob(place) as staged:  # the next finds nothing to resume
        assert staged.known == {}
        assert files(tmp_path)[f"{HEX}.part"] == SIZE
