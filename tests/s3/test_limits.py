"""Limits: what cannot be followed is refused, and what is set holds."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.s3 import SettingRefused, TransferSettings, limits
from ollama_ext.s3.limits import GIB, MIB, RateLimit, memory_limit, part_size_of

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("connections", [0, -1, 257, 1.0, True, "4", None], "a whole number from 1 to 256"),
        (
            "limit_rate",
            [0, 0.5, -1, NAN, INFINITY, True, "1M", 10**400],
            "bytes a second, at least 1, or None",
        ),
        ("start_jitter", [-1, NAN, INFINITY, True, "1", None, 10**400], "a number of seconds from 0 on"),
        ("reserve", [-1, 0.5, 1e9, True, "1G", None], "a number of bytes from 0 on"),
        ("stall", [0, -1, NAN, INFINITY, True, "30", None, 10**400], "a positive number of seconds"),
        ("attempts", [0, -1, 1.0, True, "6", None], "a whole number from 1 on"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_refused_by_its_name(
    name: str, values: list[Any], words: str
) -> None:
    for value in values:
        with pytest.raises(SettingRefused) as caught:
            TransferSettings(**{name: value})
        assert str(caught.value).startswith(f"{name} must be {words}")
        assert str(caught.value).endswith(f"; not {value!r:.80}")
        assert caught.value.argument == name


def test_a_setting_at_its_bound_is_taken() -> None:
    low = TransferSettings(
        connections=1, limit_rate=1, start_jitter=0, reserve=0, stall=0.001, attempts=1, trust_present=True
    )
    high = TransferSettings(
        connections=256, limit_rate=1e300, start_jitter=threading.TIMEOUT_MAX, reserve=10**30, stall=1e6
    )
    assert (low.connections, low.limit_rate, high.connections, high.reserve) == (1, 1, 256, 10**30)
    assert TransferSettings() == TransferSettings(
        connections=min(16, 4 * (os.cpu_count() or 4)),
        limit_rate=None,
        start_jitter=0.0,
        reserve=GIB,
        stall=30.0,
        attempts=6,
    )


def test_the_pause_at_the_start_is_by_chance_and_no_longer_than_set() -> None:
    waited: list[float] = []
    TransferSettings().pause_at_start(waited.append)
    assert waited == []
    for _ in range(50):
        TransferSettings(start_jitter=30).pause_at_start(waited.append)
    assert all(0 <= each <= 30 for each in waited)
    assert len(set(waited)) > 10


# -- the rate


class Clock:
    """A clock that goes on by what is waited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in for the clock of the module."""
        self.now = 1000.0
        monkeypatch.setattr(limits, "monotonic", lambda: self.now)

    def wait(self, seconds: float) -> None:
        """Go on by so much."""
        assert seconds > 0
        self.now += seconds


@given(st.floats(1, 1e9), st.lists(st.integers(1, 1 << 20), min_size=1, max_size=50))
def test_bytes_take_as_long_as_the_rate_says_but_for_a_tenth_of_a_second(
    rate: float, counts: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        limit = RateLimit(rate)
        waited = sum(limit.spend(count, clock.wait) for count in counts)
    assert waited == pytest.approx(clock.now - 1000)
    due = sum(counts) / rate
    assert due - 0.1 - 1e-6 <= waited <= due + 1e-6


def test_what_was_not_used_is_not_saved_up_beyond_a_tenth_of_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    limit = RateLimit(100)
    clock.now += 3600
    assert limit.spend(10, clock.wait) == 0.0
    assert limit.spend(100, clock.wait) == pytest.approx(1.0)
    assert limit.spend(100, clock.wait) == pytest.approx(1.0)
    clock.now += 0.05
    assert limit.spend(10, clock.wait) == pytest.approx(0.05)


def test_without_a_limit_nothing_is_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert RateLimit(None).spend(10**12, clock.wait) == 0.0
    assert clock.now == 1000


def test_threads_share_one_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)  # stands still: whoever waits notes it only
    limit, waited = RateLimit(100), list[float]()
    threads = [threading.Thread(target=limit.spend, args=(100, waited.append)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waited) == pytest.approx([1, 2, 3, 4, 5, 6, 7, 8])


# -- parts and memory


def test_parts_are_of_16_mib_and_above_4_gib_of_64() -> None:
    assert part_size_of(1) == part_size_of(4 * GIB) == 16 * MIB
    assert part_size_of(4 * GIB + 1) == part_size_of(2**53) == 64 * MIB


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups, in place of the kernel's."""
    monkeypatch.setattr(limits, "_GROUPS", tmp_path)
    return tmp_path


def told_by_proc(monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
    real = Path.read_text

    def read(path: Path, *arguments: Any, **named: Any) -> str:
        if str(path) != "/proc/self/cgroup":
            return real(path, *arguments, **named)
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)


MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("proc", "file"),
    [
        ("0::/user.slice/a:b\n", "user.slice/a:b/memory.max"),
        ("0::/\n", "memory.max"),
        (None, "memory.max"),
        ("1:cpu:/c\n5:cpuset,memory:/docker/x\n", "memory/docker/x/memory.limit_in_bytes"),
        ("5:memory:/docker/x\n", "memory/memory.limit_in_bytes"),  # in a container the path is the host's
    ],
)
def test_the_memory_is_that_of_the_control_group(
    groups: Path, monkeypatch: pytest.MonkeyPatch, proc: str | None, file: str
) -> None:
    told_by_proc(monkeypatch, proc)
    path = groups / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{256 * MIB}\n")
    assert memory_limit() == 256 * MIB
    path.write_text("max\n")
    assert memory_limit() == MACHINE
    path.write_text("9223372036854771712\n")  # version 1 for "max"
    assert memory_limit() == MACHINE
    path.unlink()
    assert memory_limit() == MACHINE


def test_the_group_of_another_kind_says_nothing(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told_by_proc(monkeypatch, "5:cpu:/x\n")
    (groups / "x").mkdir()
    (groups / "x" / "memory.max").write_text("1")
    assert memory_limit() == MACHINE
