"""What threads share that read one blob: each part is taken once, and all end together."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.s3 import BucketUnreachable, MirrorError, ObjectChanged
from ollama_ext.s3.download import Download, Over, Reading

if TYPE_CHECKING:
    from collections.abc import Collection


class FakeReader:
    """A reader that only notes whether it was aborted."""

    def __init__(self, version: str | None = "v1") -> None:
        """Take the version that it reads."""
        self.version = version
        self.aborted = 0

    def read(self) -> bytes:
        """Nothing comes."""
        return b""

    def abort(self) -> None:
        """Count it."""
        self.aborted += 1


class FakeStaged:
    """What an earlier run has left."""

    def __init__(self, known: Collection[int]) -> None:
        """Take the numbers of the parts."""
        self.known = dict.fromkeys(known, None)


def download(size: int, part_size: int, *, known: Collection[int] = (), window: int = 1 << 30) -> Download:
    staged = cast("Any", FakeStaged(known))
    return Download(
        "sha256:x", size, part_size=part_size, staged=staged, changed=threading.Condition(), window=window
    )


# -- readers


def test_all_readers_read_the_same_version() -> None:
    reading = Reading("sha256:x", 10)
    assert reading.version is None
    with reading.reading(FakeReader("v1")), reading.reading(FakeReader("v1")):
        assert reading.version == "v1"
    with pytest.raises(ObjectChanged, match="sha256:x changed"), reading.reading(FakeReader("v2")):
        pass
    with pytest.raises(ObjectChanged), reading.reading(FakeReader(None)):
        pass


def test_a_source_without_versions_is_read_too() -> None:
    reading = Reading("sha256:x", 10)
    for _ in range(2):
        with reading.reading(FakeReader(None)):
            assert reading.version is None


def test_the_end_aborts_all_who_read_and_lets_nobody_else_begin() -> None:
    reading = Reading("sha256:x", 10)
    one, two, before = FakeReader(), FakeReader(), FakeReader()
    with reading.reading(before):
        pass
    with reading.reading(one), reading.reading(two):
        reading.end()
        assert (one.aborted, two.aborted, before.aborted) == (1, 1, 0)
    assert reading.over
    assert reading.error is None
    with pytest.raises(Over), reading.reading(FakeReader()):
        pass
    reading.wait_for_readers()


def test_the_first_error_is_why_it_has_failed() -> None:
    reading = Reading("sha256:x", 10)
    first, second = BucketUnreachable("first"), MirrorError("second")
    reading.end()
    reading.end(first)
    reading.end(second)
    assert reading.error is first


def test_whoever_waits_for_the_readers_waits_for_the_last() -> None:
    reading = Reading("sha256:x", 10)
    with ThreadPoolExecutor(1) as pool:
        with reading.reading(FakeReader()):
            with reading.reading(FakeReader()):
                reading.end()
                waiting = pool.submit(reading.wait_for_readers)
            assert not waiting.done()
        waiting.result(20)


# -- parts


@given(st.integers(1, 200), st.integers(1, 50))
def test_the_parts_cover_the_blob_without_a_gap(size: int, part_size: int) -> None:
    parts = download(size, part_size)
    bounds = [parts.bounds(number) for number in range(parts.parts)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == size
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    assert all(0 < end - start <= part_size for start, end in bounds)
    assert all(end - start == part_size for start, end in bounds[:-1])


def test_a_download_knows_where_its_bytes_go() -> None:
    staged = cast("Any", FakeStaged({1}))
    parts = Download(
        "sha256:x", 30, part_size=10, staged=staged, changed=threading.Condition(), window=1 << 30
    )
    assert parts.staged is staged
    assert (parts.digest, parts.size, parts.part_size, parts.parts) == ("sha256:x", 30, 10, 3)
    assert parts.resumed == {1}


@given(
    st.integers(1, 12),
    st.sets(st.integers(0, 11)),
    st.sets(st.integers(0, 11)),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_each_part_is_fetched_once_in_order_and_near_the_hash_and_what_turns_out_wrong_once_more(
    count: int, known: set[int], wrong: set[int], ahead: int, dice: Any
) -> None:
    known = {number for number in known if number < count}
    wrong = wrong & known
    parts = download(count * 10, 10, known=known, window=ahead * 10)
    assert parts.resumed == known
    taken: list[int] = []
    running: list[int] = []
    hashed = 0
    for _ in range(50 * count):
        number = parts.take()
        if number is not None:
            assert number not in taken
            assert number - hashed < max(ahead, 1) or number in wrong
            taken.append(number)
            running.append(number)
            if dice.random() < 0.5:
                continue
        if running:
            parts.written(running.pop(dice.randrange(len(running))))
        while hashed < count and (hashed in known or (hashed in taken and hashed not in running)):
            parts.wait_for(hashed)
            if hashed in wrong and hashed not in taken:
                parts.wrong(hashed)
                known.discard(hashed)
                break
            parts.hashed(hashed)
            hashed += 1
    assert hashed == count
    assert sorted(taken) == sorted(set(range(count)) - known)
    fresh = [number for number in taken if number not in wrong]
    assert fresh == sorted(fresh)
    assert parts.take() is None
    assert parts.resumed == known


@pytest.mark.parametrize("event", ["hashed", "wrong"])
def test_whoever_found_no_part_to_take_is_woken_when_there_is_one(event: str) -> None:
    changed = threading.Condition()
    staged = cast("Any", FakeStaged({0}))
    parts = Download("sha256:x", 30, part_size=10, staged=staged, changed=changed, window=10)
    assert parts.take() is None  # the first is there, and the second too far ahead
    with ThreadPoolExecutor(1) as pool:
        looked = threading.Event()

        def take_when_there_is_one() -> int | None:
            with changed:
                first = parts.take()
                looked.set()
                if first is None and changed.wait(20):
                    return parts.take()
                return first

        waiting = pool.submit(take_when_there_is_one)
        assert looked.wait(20)
        if event == "hashed":
            parts.hashed(0)
        else:
            parts.wrong(0)
        assert waiting.result(30) == (1 if event == "hashed" else 0)


def test_a_window_smaller_than_a_part_still_lets_one_through() -> None:
    parts = download(30, 10, window=1)
    assert parts.take() == 0
    assert parts.take() is None
    parts.written(0)
    parts.hashed(0)
    assert parts.take() == 1


def test_what_one_takes_whole_nobody_else_takes() -> None:
    parts = download(30, 10)
    parts.take_all()
    assert parts.take() is None
    parts = download(30, 10)
    parts.end()
    assert parts.take() is None


def test_whoever_waits_for_a_part_goes_on_when_it_is_written() -> None:
    parts = download(30, 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(parts.wait_for, 1)
        parts.written(0)
        assert not waiting.done()
        parts.written(1)
        waiting.result(20)


def test_whoever_waits_for_a_part_goes_on_when_all_is_over() -> None:
    parts = download(30, 10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(parts.wait_for, 1)
        parts.end(MirrorError("words"))
        with pytest.raises(Over):
            waiting.result(20)
    parts.written(1)
    with pytest.raises(Over):
        parts.wait_for(1)
