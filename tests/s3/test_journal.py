"""The journal: what it records survives, in any order, and what is damaged or another's is not believed."""

from __future__ import annotations

import itertools
import json
import random
import struct
import tempfile
import threading
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sockets import open_files

from ollama_ext.s3 import StoreRefused
from ollama_ext.s3.directories import Directory
from ollama_ext.s3.journal import Journal, Part, sampled_crc

if TYPE_CHECKING:
    from collections.abc import Generator

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
HEADER, RECORD = 256, 16
NUMBERS = st.integers(0, 2**32 - 1)
RECORDS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=8)


@contextmanager
def journal(
    directory: Path, *, digest: str = A, size: int = 100, part_size: int = 10, remove: bool = False
) -> Generator[Journal]:
    with Directory.at(directory) as opened:
        made = Journal(opened, "x.parts", digest=digest, size=size, part_size=part_size)
        try:
            yield made
        finally:
            made.close(remove=remove)


@contextmanager
def directory() -> Generator[Path]:
    """Make a directory of its own for each example of a property."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def found_in(path: Path) -> dict[int, Part]:
    with journal(path) as again:
        return again.parts


def written(path: Path, records: list[tuple[int, int, int]]) -> bytes:
    """Write a journal and return its bytes."""
    with journal(path) as new:
        for record in records:
            new.add(*record)
    return (path / "x.parts").read_bytes()


def expected(records: list[tuple[int, int, int]]) -> dict[int, Part]:
    return {number: Part(length, crc) for number, length, crc in records}


@given(st.binary(max_size=3000), st.integers(0, 2**40), st.lists(st.integers(0, 3000), max_size=6))
def test_the_sample_of_a_part_does_not_depend_on_how_its_bytes_arrive(
    content: bytes, start: int, cuts: list[int]
) -> None:
    crc = 0
    for before, after in itertools.pairwise(
        sorted({0, *(min(cut, len(content)) for cut in cuts), len(content)})
    ):
        crc = sampled_crc(memoryview(content)[before:after], start + before, crc)
    assert crc == sampled_crc(content, start)
    assert crc == zlib.crc32(bytes(byte for place, byte in enumerate(content, start) if place % 512 == 0))


@given(st.data())
def test_a_page_that_never_reached_the_disk_is_seen_in_the_sample(data: st.DataObject) -> None:
    content = random.Random(data.draw(st.integers(0, 99))).randbytes(16 * 4096)  # noqa: S311 - no secrets
    page = data.draw(st.integers(0, 15)) * 4096
    lacking = content[:page] + bytes(4096) + content[page + 4096 :]
    assert sampled_crc(lacking, 0) != sampled_crc(content, 0)


@given(RECORDS, st.integers(0, 8))
def test_records_survive_in_any_order_and_over_any_number_of_runs(
    records: list[tuple[int, int, int]], runs: int
) -> None:
    with directory() as path:
        for batch in (records[:runs], records[runs:]):
            written(path, batch)
        assert found_in(path) == expected(records)  # of two of one part the later


@given(RECORDS, st.data())
def test_a_journal_that_was_cut_anywhere_has_the_whole_records_before_the_cut_and_goes_on(
    records: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    with directory() as path:
        content = written(path, records)
        cut = data.draw(st.integers(0, len(content)))
        (path / "x.parts").write_bytes(content[:cut])
        whole = records[: max(cut - HEADER, 0) // RECORD]
        assert found_in(path) == expected(whole)
        written(path, [(7, 8, 9)])
        assert found_in(path) == expected([*whole, (7, 8, 9)])


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5), st.data())
def test_a_damaged_record_is_lost_alone(records: list[tuple[int, int, int]], data: st.DataObject) -> None:
    with directory() as path:
        content = bytearray(written(path, records))
        at = data.draw(st.integers(HEADER, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        (path / "x.parts").write_bytes(content)
        lost = (at - HEADER) // RECORD
        assert found_in(path) == expected(records[:lost] + records[lost + 1 :])


@given(st.data())
def test_a_damaged_header_makes_all_of_it_worthless(data: st.DataObject) -> None:
    with directory() as path:
        content = bytearray(written(path, [(1, 2, 3)]))
        at = data.draw(st.integers(0, HEADER - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        (path / "x.parts").write_bytes(content)
        assert found_in(path) == {}
        assert (path / "x.parts").stat().st_size == HEADER  # begun anew


@given(st.binary(max_size=600))
def test_any_other_file_is_begun_anew(content: bytes) -> None:
    with directory() as path:
        (path / "x.parts").write_bytes(content)
        assert found_in(path) == {}
        written(path, [(1, 2, 3)])
        assert found_in(path) == {1: Part(2, 3)}


@pytest.mark.parametrize("other", [{"digest": B}, {"size": 101}, {"part_size": 11}])
def test_the_journal_of_another_blob_or_of_other_parts_is_begun_anew(
    tmp_path: Path, other: dict[str, str | int]
) -> None:
    written(tmp_path, [(1, 2, 3), (4, 5, 6)])
    with journal(tmp_path, **other) as theirs:  # type: ignore[arg-type] # of the right type each
        assert theirs.parts == {}
        theirs.add(7, 8, 9)
    with journal(tmp_path, **other) as theirs:  # type: ignore[arg-type]
        assert theirs.parts == {7: Part(8, 9)}
    assert found_in(tmp_path) == {}


def test_a_file_has_a_header_and_sixteen_bytes_a_part(tmp_path: Path) -> None:
    content = written(tmp_path, [(1, 2, 3)])
    assert len(content) == HEADER + RECORD
    told = struct.pack("<III", 1, 2, 3)
    assert content[HEADER:] == told + struct.pack("<I", zlib.crc32(told))
    assert content[:HEADER].endswith(b" \n")
    about = json.loads(content[:HEADER])
    assert about == {"version": 2, "digest": A, "size": 100, "part_size": 10}


def test_a_journal_that_was_cut_in_its_last_record_has_the_others(tmp_path: Path) -> None:
    content = written(tmp_path, [(1, 2, 3), (4, 5, 6)])
    for cut in range(HEADER, len(content) + 1):
        (tmp_path / "x.parts").write_bytes(content[:cut])
        assert len(found_in(tmp_path)) == (cut - HEADER) // RECORD


def test_a_record_is_in_the_file_as_soon_as_it_is_added(tmp_path: Path) -> None:
    with journal(tmp_path) as new:
        new.add(1, 2, 3)
        assert (tmp_path / "x.parts").stat().st_size == HEADER + RECORD
        assert new.parts == {}  # of earlier runs only


def test_threads_add_without_losing_one(tmp_path: Path) -> None:
    with journal(tmp_path) as new:

        def add(first: int) -> None:
            for number in range(first, first + 50):
                new.add(number, 1, number)

        threads = [threading.Thread(target=add, args=(first,)) for first in range(0, 400, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(found_in(tmp_path)) == set(range(400))


@pytest.mark.parametrize("remove", [True, False])
def test_a_journal_is_removed_only_with_its_blob(tmp_path: Path, remove: bool) -> None:
    with journal(tmp_path, remove=remove) as new:
        new.add(1, 2, 3)
    assert (tmp_path / "x.parts").exists() is not remove
    new.close()  # may be called again


def test_a_link_in_place_of_a_journal_is_refused_and_what_it_leads_to_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"important")
    (tmp_path / "x.parts").symlink_to("victim")
    with pytest.raises(StoreRefused), journal(tmp_path):
        pass
    assert (tmp_path / "victim").read_bytes() == b"important"


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = open_files()
    for _, remove in itertools.product(range(3), (False, True)):
        with journal(tmp_path, remove=remove):
            pass
    assert open_files() == before
