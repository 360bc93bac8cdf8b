"""Reading a range: each byte is taken once, in order, whatever happens to the connections."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.s3 import (
    BlobMissing,
    BucketForbidden,
    BucketUnreachable,
    MirrorError,
    NoSpace,
    ObjectChanged,
    TransferSettings,
    carrying,
)
from ollama_ext.s3.carrying import Carrier
from ollama_ext.s3.download import Over, Reading
from ollama_ext.s3.reporting import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

CONTENT = bytes(range(256))
DIGEST = "sha256:x"


class Stopping(threading.Event):
    """An event that nobody waits for: what would have been waited is noted."""

    def __init__(self) -> None:
        """Start as not set."""
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Note it, and return at once."""
        self.waited.append(timeout)
        return self.is_set()


class Connection:
    """A connection that gives pieces of the content, and then ends, or fails."""

    def __init__(self, pieces: list[bytes], error: MirrorError | None, version: str | None) -> None:
        """Take what comes, and how it ends."""
        self._pieces = pieces
        self._error = error
        self.version = version

    def read(self) -> bytes:
        """Return the next piece."""
        if self._pieces:
            return self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        return b""

    def abort(self) -> None:
        """Nobody waits in a `read`."""


class FakeSource:
    """A source whose connections break as it is told to: after so many bytes each, with these errors."""

    name = "somewhere"

    def __init__(self, *breaks: tuple[int, MirrorError | None], piece: int = 10) -> None:
        """Take after how many bytes each connection ends, and with what."""
        self._breaks = list(breaks)
        self._piece = piece
        self.versions: Callable[[], str | None] = lambda: "v1"
        self.asked: list[tuple[int, int, str | None]] = []

    @contextmanager
    def open(
        self, digest: str, size: int, start: int, end: int, version: str | None
    ) -> Generator[Connection]:
        """Open a connection, or fail at that."""
        assert (digest, size) == (DIGEST, len(CONTENT))
        self.asked.append((start, end, version))
        good, error = self._breaks.pop(0) if self._breaks else (end - start, None)
        if good < 0:
            assert error is not None
            raise error
        stop = min(start + good, end)
        pieces = [CONTENT[at : min(at + self._piece, stop)] for at in range(start, stop, self._piece)]
        yield Connection(pieces, error, self.versions())


def carrier(source: FakeSource, stopping: threading.Event | None = None, **settings: Any) -> Carrier:
    return Carrier(cast("Any", source), TransferSettings(**settings), Tracker(), stopping or Stopping())


def carried(source: FakeSource, start: int = 0, end: int = len(CONTENT), **settings: Any) -> bytes:
    """Carry a range, and see that its bytes come in order."""
    got = bytearray()

    def take(piece: bytes | memoryview, position: int) -> None:
        assert position == start + len(got)
        got.extend(piece)

    carrier(source, **settings).carry(Reading(DIGEST, len(CONTENT)), start, end, take)
    return bytes(got)


def nothing(_: bytes | memoryview, __: int) -> None:
    """Take a piece."""


def broken(after: int) -> tuple[int, MirrorError | None]:
    return after, BucketUnreachable("reset")


@given(
    st.integers(0, 200),
    st.integers(1, 56),
    st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=6),
    st.integers(1, 40),
)
def test_every_byte_comes_once_and_in_order_however_often_the_connection_breaks(
    start: int, length: int, breaks: list[tuple[int, bool]], piece: int
) -> None:
    plan = [broken(after) if reset else (after, None) for after, reset in breaks]
    source = FakeSource(*plan, piece=piece)
    assert carried(source, start, start + length) == CONTENT[start : start + length]
    assert source.asked[0] == (start, start + length, None)
    assert all(version == "v1" for _, _, version in source.asked[1:])


def test_a_new_connection_goes_on_at_the_byte_that_was_reached() -> None:
    source = FakeSource(broken(25), (30, None), broken(0))
    assert carried(source, 100, 200) == CONTENT[100:200]
    assert source.asked == [(100, 200, None), (125, 200, "v1"), (155, 200, "v1"), (155, 200, "v1")]


def test_a_connection_that_breaks_without_a_byte_has_as_many_tries_as_are_set() -> None:
    source = FakeSource(*[broken(0)] * 5)
    assert carried(source) == CONTENT
    assert len(source.asked) == 6
    source = FakeSource(*[broken(0)] * 6)
    with pytest.raises(BucketUnreachable, match="reset"):
        carried(source)
    assert len(source.asked) == 6
    source = FakeSource(*[broken(-1)] * 2)
    with pytest.raises(BucketUnreachable, match="reset"):
        carried(source, attempts=2)
    assert len(source.asked) == 2


def test_each_byte_gives_new_tries() -> None:
    plan = [broken(0), broken(0), broken(10)] * 20
    source = FakeSource(*plan)
    assert carried(source, attempts=4) == CONTENT


def test_the_waits_between_tries_grow_to_eight_seconds() -> None:
    stopping = Stopping()
    source = FakeSource(*[broken(0)] * 9)
    carrier(source, stopping, attempts=10).carry(Reading(DIGEST, 256), 0, 256, nothing)
    assert stopping.waited == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0, 8.0, 8.0]


def test_an_answer_that_ends_early_says_how_much_came() -> None:
    source = FakeSource(*[(20, None)] + [(0, None)] * 6)
    with pytest.raises(BucketUnreachable, match="somewhere sent 0 of 236 bytes and ended"):
        carried(source)


@pytest.mark.parametrize(
    "error", [BucketForbidden("no"), BlobMissing("none"), NoSpace("full"), ObjectChanged("x")]
)
def test_what_no_other_try_would_change_is_raised_at_once(error: MirrorError) -> None:
    source = FakeSource((10, error))
    with pytest.raises(type(error)):
        carried(source)
    assert len(source.asked) == 1


def test_an_object_that_changes_between_two_connections_is_noticed() -> None:
    source = FakeSource(broken(10))
    versions = iter(["v1", "v2"])
    source.versions = lambda: next(versions)
    with pytest.raises(ObjectChanged):
        carried(source)
    assert len(source.asked) == 2


def test_what_cannot_be_written_is_raised_as_it_is() -> None:
    def full(_: bytes | memoryview, __: int) -> None:
        raise NoSpace("full")

    with pytest.raises(NoSpace):
        carrier(FakeSource()).carry(Reading(DIGEST, 256), 0, 256, full)


def test_nothing_is_taken_any_more_once_it_is_over() -> None:
    for ends in ("reading", "stopping"):
        reading, stopping, got = Reading(DIGEST, 256), Stopping(), list[bytes]()

        def take(
            piece: bytes | memoryview,
            _: int,
            reading: Reading = reading,
            stopping: Stopping = stopping,
            ends: str = ends,
            got: list[bytes] = got,
        ) -> None:
            got.append(bytes(piece))
            reading.end() if ends == "reading" else stopping.set()

        with pytest.raises(Over):
            carrier(FakeSource(), stopping).carry(reading, 0, 256, take)
        assert got == [CONTENT[:10]]


def test_an_error_that_comes_of_the_end_is_not_told() -> None:
    reading = Reading(DIGEST, 256)

    def take(_: bytes | memoryview, __: int) -> None:
        reading.end()
        raise BucketUnreachable("the socket was shut")

    with pytest.raises(Over):
        carrier(FakeSource()).carry(reading, 0, 256, take)


# -- slow connections


class Clock:
    """A clock that goes on by so many seconds with each piece."""

    def __init__(self) -> None:
        """Start at any time."""
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def taking(self, seconds: float) -> Callable[[bytes | memoryview, int], None]:
        """Return what takes a piece in so many seconds."""

        def take(_: bytes | memoryview, __: int) -> None:
            self.now += seconds

        return take


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(carrying, "monotonic", made)
    return made


def slow_carrier(clock: Clock, rates: list[float], *, others: float = 1) -> list[int]:
    """Carry 100 bytes at these seconds for each 10, by connection; return the connections' first bytes.

    Before it others have carried as much, at ``others`` seconds for each 10 bytes.
    """
    source = FakeSource()
    made = carrier(source)
    pace = iter(rates)
    seconds = 0.0
    opened = 0

    def take(_: bytes | memoryview, __: int) -> None:
        nonlocal seconds, opened
        if len(source.asked) != opened:
            opened = len(source.asked)
            seconds = next(pace)
        clock.now += seconds

    for _ in range(4):
        made.carry(Reading(DIGEST, 256), 0, 100, clock.taking(others))
    source.asked.clear()
    made.carry(Reading(DIGEST, 256), 0, 100, take)
    return [start for start, _, _ in source.asked]


def test_a_connection_far_slower_than_others_is_replaced_where_it_is(clock: Clock) -> None:
    assert slow_carrier(clock, [11, 1]) == [0, 10]


def test_a_connection_that_is_a_little_slower_is_kept(clock: Clock) -> None:
    assert slow_carrier(clock, [9.9]) == [0]


def test_where_all_are_slow_the_fourth_is_kept(clock: Clock) -> None:
    assert slow_carrier(clock, [11, 11, 11, 11]) == [0, 10, 20, 30]


def test_a_connection_has_five_seconds_before_it_is_compared(clock: Clock) -> None:
    assert slow_carrier(clock, [4.9, 0.1], others=0.1) == [0, 20]
    assert slow_carrier(clock, [5.1, 0.1], others=0.1) == [0, 10]


def test_without_others_to_compare_with_no_connection_is_slow(clock: Clock) -> None:
    source = FakeSource()
    carrier(source).carry(Reading(DIGEST, 256), 0, 100, clock.taking(1000))
    assert len(source.asked) == 1


def test_what_the_limit_on_the_rate_waits_makes_no_connection_slow(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Limit:
        """A limit for which 100 seconds are waited for each byte."""

        def __init__(self, rate: float | None) -> None:
            """See that it is the rate that was set."""
            assert rate == 5

        def spend(self, count: int, _: Callable[[float], object]) -> float:
            """Wait by the clock."""
            clock.now += count * 100
            return float(count * 100)

    source = FakeSource()
    monkeypatch.setattr(carrying, "RateLimit", Limit)
    made = carrier(source, limit_rate=5)
    for _ in range(8):
        made.carry(Reading(DIGEST, 256), 0, 100, clock.taking(1))
    assert len(source.asked) == 8
