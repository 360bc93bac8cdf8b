"""Connections that are kept: which one the next call gets, who waits how long, and what is closed when."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from background import background, cancelled, hooks, wait_until

from ollama_ext import CancelToken, ConnectTimeout, FirstByteTimeout, OllamaError, Timeouts, TotalTimeout
from ollama_ext.transport import pool as pool_module
from ollama_ext.transport.limits import Limits
from ollama_ext.transport.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable


class Wire:
    """Stands for a connection, and knows what was done to it."""

    def __init__(self) -> None:
        """Be new and alive."""
        self.reused = False
        self.idle_since = 0.0
        self.stale = False
        self.ended = False
        self.closed = False

    def is_stale(self) -> bool:
        """Return what the test says."""
        return self.stale

    def shut_down(self) -> None:
        """Note it."""
        self.ended = True

    def close(self) -> None:
        """Note it."""
        self.closed = True


def make(most: int | None = None, most_idle: int = 20, idle_limit: float = 60.0) -> Pool[Wire]:
    """Return a pool of such."""
    return Pool(lambda _: Wire(), most, most_idle, idle_limit)


def limits(**timeouts: float | None) -> Limits:
    """Return limits that are far away but for these."""
    return Limits(Timeouts(**{"first_byte": 60.0, **timeouts}))


def test_the_connection_that_was_used_last_is_used_next() -> None:
    pool = make()
    first, second = pool.take(limits()), pool.take(limits())
    pool.put_back(first)
    pool.put_back(second)
    assert pool.take(limits()) is second
    assert pool.take(limits()) is first
    assert first.reused


def test_one_that_the_server_closed_meanwhile_is_closed_and_not_used() -> None:
    pool = make()
    stale, alive = pool.take(limits()), pool.take(limits())
    pool.put_back(alive)
    pool.put_back(stale)
    stale.stale = True
    assert pool.take(limits()) is alive
    assert (stale.closed, alive.closed) == (True, False)


def test_one_that_was_idle_for_too_long_is_closed_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(pool_module, "monotonic", lambda: now)
    pool = make(idle_limit=60.0)
    kept = pool.take(limits(first_byte=None))
    pool.put_back(kept)
    now += 60.0
    assert pool.take(limits(first_byte=None)) is kept
    pool.put_back(kept)
    now += 60.1
    assert pool.take(limits(first_byte=None)) is not kept
    assert kept.closed


@pytest.mark.parametrize(("most_idle", "kept"), [(0, 0), (1, 1), (3, 3), (9, 5)])
def test_no_more_are_kept_than_is_allowed_and_the_longest_idle_go_first(most_idle: int, kept: int) -> None:
    pool = make(most_idle=most_idle)
    wires = [pool.take(limits()) for _ in range(5)]
    for wire in wires:
        pool.put_back(wire)
    assert [wire.closed for wire in wires] == [True] * (5 - kept) + [False] * kept


def test_one_that_cannot_be_used_again_is_closed_at_once() -> None:
    pool = make()
    wire = pool.take(limits())
    pool.drop(wire)
    assert wire.closed
    assert pool.take(limits()) is not wire


def test_a_failure_to_connect_leaves_the_place_to_others() -> None:
    failures = [ConnectTimeout("no"), KeyboardInterrupt()]

    def connect(_: Limits) -> Wire:
        if failures:
            raise failures.pop(0)
        return Wire()

    pool = Pool(connect, 1, 20, 60.0)
    with pytest.raises(ConnectTimeout):
        pool.take(limits())
    with pytest.raises(KeyboardInterrupt):
        pool.take(limits())
    assert pool.take(limits())


def give_back(pool: Pool[Wire], wire: Wire) -> None:
    pool.put_back(wire)


def drop(pool: Pool[Wire], wire: Wire) -> None:
    pool.drop(wire)


def waiting(pool: Pool[Wire]) -> Callable[[], bool]:
    """Return what tells whether somebody waits for a connection."""
    condition: Any = pool._changed  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no other sign tells it
    return lambda: bool(condition._waiters)  # noqa: SLF001


@pytest.mark.parametrize("end", [give_back, drop])
def test_who_waits_gets_the_place_as_soon_as_it_is_free(end: Callable[[Pool[Wire], Wire], None]) -> None:
    pool = make(most=1)
    first = pool.take(limits())
    with background(lambda: pool.take(limits())) as call:
        wait_until(waiting(pool))
        end(pool, first)
        assert (call.result(20) is first) == (end is give_back)


def test_everybody_who_waits_is_served_in_the_end() -> None:
    pool = make(most=2)
    done, together = list[Wire](), list[int]()
    lock, used = threading.Lock(), [0]

    def work() -> None:
        for _ in range(20):
            wire = pool.take(limits())
            with lock:
                used[0] += 1
                together.append(used[0])
                done.append(wire)
            with lock:
                used[0] -= 1
            (pool.put_back if len(done) % 3 else pool.drop)(wire)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert len(done) == 160
    assert max(together) <= 2


def test_who_waits_for_too_long_is_told_what_to_do() -> None:
    pool = make(most=1)
    pool.take(limits())
    with pytest.raises(FirstByteTimeout, match=r"all 1 connections .* for 0\.02 s .*raise max_connections"):
        pool.take(limits(first_byte=0.02))
    with pytest.raises(TotalTimeout, match=r"0\.02 s"):
        pool.take(limits(total=0.02))


def test_who_is_cancelled_while_waiting_leaves_at_once_and_takes_no_place() -> None:
    pool = make(most=1)
    first, token = pool.take(limits()), CancelToken()
    with background(lambda: pool.take(Limits(Timeouts(), token))) as call:
        wait_until(lambda: hooks(token))
        token.cancel()
        cancelled(call)
    pool.put_back(first)
    assert pool.take(limits()) is first
    assert hooks(token) == {}


def test_a_client_that_is_closed_wakes_who_waits_ends_who_reads_and_closes_the_rest() -> None:
    pool = make(most=2)
    read, idle = pool.take(limits()), pool.take(limits())
    pool.put_back(idle)
    pool.take(limits())
    idle.stale = False
    with background(lambda: pool.take(limits())) as call:
        wait_until(waiting(pool))
        pool.close()
        error = call.exception(20)
    assert isinstance(error, OllamaError)
    assert "this client is closed: make a new one" in str(error)
    assert (read.ended, read.closed) == (True, False)  # whoever reads from it closes it
    pool.drop(read)
    assert read.closed
    with pytest.raises(OllamaError, match="closed"):
        pool.take(limits())
    pool.close()


def test_what_comes_back_to_a_closed_client_is_closed() -> None:
    pool = make()
    wire = pool.take(limits())
    pool.close()
    pool.put_back(wire)
    assert wire.closed


def test_a_connection_that_stands_when_the_client_was_closed_is_closed() -> None:
    made = list[Wire]()

    def connect(_: Limits) -> Wire:
        pool.close()
        made.append(Wire())
        return made[0]

    pool = Pool(connect, None, 20, 60.0)
    with pytest.raises(OllamaError, match="closed"):
        pool.take(limits())
    assert made[0].closed
