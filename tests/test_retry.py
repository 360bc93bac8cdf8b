"""Retries: when, how often, and what the caller gets to see of them."""

from __future__ import annotations

import gc
import logging
import math
import pickle
import random
import subprocess
import sys
import threading
import weakref
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext import retry
from ollama_ext.cancel import CancelToken
from ollama_ext.errors import (
    BadRequest,
    Cancelled,
    ConnectionFailed,
    InvalidArgument,
    OllamaError,
    RateLimited,
    ServerBusy,
    ServerError,
)
from ollama_ext.retry import Retry, RetryPolicy
from ollama_ext.testing.waiting import no_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


class Clock:
    """A clock that goes on only while somebody sleeps or a try runs."""

    def __init__(self) -> None:
        """Start at a time that is not zero."""
        self.began = self.now = 1000.0
        self.slept: list[float] = []
        self.oversleeps = 0.0

    def monotonic(self) -> float:
        """Stand in for `time.monotonic`."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Stand in for `time.sleep`."""
        self.slept.append(seconds)
        self.now += seconds + self.oversleeps

    @contextmanager
    def installed(self) -> Generator[None]:
        """Let retries go by this clock."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retry, "monotonic", self.monotonic)
            patch.setattr(retry, "sleep", self.sleep)
            yield


@pytest.fixture
def clock() -> Generator[Clock]:
    """Time that passes by itself; nobody waits for it."""
    made = Clock()
    with made.installed():
        yield made


class Server:
    """What is called: fails with these errors one after the other, then answers."""

    def __init__(self, *failures: BaseException, clock: Clock | None = None, takes: float = 0.0) -> None:
        """Take the errors, and how many seconds each try takes by which clock."""
        self.failures = failures
        self.starts: list[float] = []
        self._clock = clock or Clock()
        self._takes = takes

    def __call__(self) -> str:
        """Make a try."""
        self.starts.append(self._clock.now - self._clock.began)
        self._clock.now += self._takes
        if self.tries <= len(self.failures):
            raise self.failures[self.tries - 1]
        return "answer"

    @property
    def tries(self) -> int:
        """How often it was called."""
        return len(self.starts)


def busy(number: int = 0, retry_after: float | None = None) -> ServerBusy:
    return ServerBusy(f"busy {number}", status=503, retry_after=retry_after)


def notes(error: object) -> list[str]:
    """Return what was added to an error."""
    return getattr(error, "__notes__", [])


def tried(server: Callable[[], object], policy: RetryPolicy, **limits: Any) -> OllamaError | None:
    """Make the call, and return the error that it ends with."""
    try:
        assert policy.call(server, **limits) == "answer"
    except OllamaError as error:
        return error
    return None


# -- when


def eighths(least: float, most: float) -> st.SearchStrategy[float]:
    """Return numbers whose sums are exact, so that limits can be met to the point."""
    return st.integers(int(least * 8), int(most * 8)).map(lambda number: number / 8)


SECONDS = eighths(0, 100)
DEADLINES = st.none() | eighths(-10, 500)  # seconds after the first try
RETRY_AFTER = st.none() | st.sampled_from([-1.0, math.inf, math.nan]) | eighths(0, 200)


@st.composite
def policies(draw: st.DrawFn, most_jitter: float = 1.0) -> RetryPolicy:
    initial, most = sorted([draw(SECONDS), draw(SECONDS)])
    return RetryPolicy(
        attempts=draw(st.integers(1, 12)),
        wait_initial=initial,
        wait_max=most,
        jitter=draw(st.floats(0.0, most_jitter)),
        total=draw(st.none() | eighths(0.125, 500)),
    )


class Run:
    """A call to a server that is always busy."""

    def __init__(
        self,
        policy: RetryPolicy,
        takes: float,
        deadline: float | None = None,
        answers: Sequence[float | None] = (None,),
    ) -> None:
        """Make the call; ``answers`` are what the server says in ``Retry-After``, in turn."""
        clock = Clock()
        self.told: list[Retry] = []
        observed = RetryPolicy(
            **{name: getattr(policy, name) for name in policy.__struct_fields__[:-1]},
            on_retry=self.told.append,
        )
        errors = [busy(retry_after=answers[number % len(answers)]) for number in range(policy.attempts)]
        self.server = Server(*errors, clock=clock, takes=takes)
        with clock.installed():
            until = None if deadline is None else clock.began + deadline
            self.error = tried(self.server, observed, deadline=until)
        self.waits = [each.wait for each in self.told]
        self.slept = clock.slept
        self.elapsed = clock.now - clock.began


@given(policies(), SECONDS, RETRY_AFTER)
def test_there_are_never_more_tries_than_attempts(
    policy: RetryPolicy, takes: float, after: float | None
) -> None:
    run = Run(policy, takes, answers=[after])
    assert 1 <= run.server.tries <= policy.attempts
    assert isinstance(run.error, ServerBusy)


@given(policies(), SECONDS, DEADLINES, RETRY_AFTER)
def test_no_further_try_starts_after_the_total_or_the_deadline(
    policy: RetryPolicy, takes: float, deadline: float | None, after: float | None
) -> None:
    run = Run(policy, takes, deadline, [after])
    limits = [limit for limit in (policy.total, deadline) if limit is not None]
    for start in run.server.starts[1:]:
        assert start <= min(limits, default=math.inf) + 1e-9  # jitter is not exact


@given(policies(most_jitter=0.0), SECONDS, DEADLINES)
def test_it_gives_up_only_when_tries_or_time_are_used_up_and_then_without_a_wait(
    policy: RetryPolicy, takes: float, deadline: float | None
) -> None:
    run = Run(policy, takes, deadline)
    assert run.slept == run.waits
    assert len(run.waits) == run.server.tries - 1
    if run.server.tries < policy.attempts:
        limits = [limit for limit in (policy.total, deadline) if limit is not None]
        following = min(policy.wait_max, policy.wait_initial * 2.0 ** (run.server.tries - 1))
        assert run.elapsed + following > min(limits)


@given(policies(most_jitter=0.0), SECONDS)
def test_without_jitter_the_waits_double_up_to_the_longest(policy: RetryPolicy, takes: float) -> None:
    waits = Run(policy, takes).waits
    assert waits == sorted(waits)
    assert all(wait == policy.wait_max or wait == 2 * before for before, wait in pairwise(waits))
    assert waits[:1] in ([], [policy.wait_initial])


@given(policies(), SECONDS)
def test_jitter_changes_a_wait_by_its_fraction_at_most(policy: RetryPolicy, takes: float) -> None:
    for number, wait in enumerate(Run(policy, takes).waits):
        plain = min(policy.wait_max, policy.wait_initial * 2.0**number)
        assert abs(wait - plain) <= (policy.jitter + 1e-9) * plain
        assert 0 <= wait <= policy.wait_max


@given(policies(), SECONDS, st.lists(RETRY_AFTER, min_size=1, max_size=5))
def test_a_server_is_not_asked_before_it_says_unless_that_is_later_than_the_longest_wait(
    policy: RetryPolicy, takes: float, answers: list[float | None]
) -> None:
    for number, wait in enumerate(Run(policy, takes, answers=answers).waits):
        after = answers[number % len(answers)]
        if after is not None and not math.isnan(after):
            assert wait >= min(after, policy.wait_max)
        assert 0 <= wait <= policy.wait_max


@given(policies(most_jitter=0.0), DEADLINES, RETRY_AFTER)
def test_without_waits_the_tries_are_the_same_ones(
    policy: RetryPolicy, deadline: float | None, after: float | None
) -> None:
    real = Run(policy, 0.0, deadline, [after])
    with no_wait():
        skipped = Run(policy, 0.0, deadline, [after])
    assert skipped.slept == []
    assert skipped.waits == real.waits
    assert skipped.server.tries == real.server.tries


def test_the_waits_of_very_many_tries_stay_at_the_longest() -> None:
    waits = Run(RetryPolicy(attempts=1500, jitter=0.0, total=None), 0.0).waits
    assert waits[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    assert set(waits[6:]) == {16.0}
    assert len(waits) == 1499


def test_chance_makes_some_waits_shorter_and_some_longer() -> None:
    waits = [Run(RetryPolicy(attempts=2), 0.0).waits[0] for _ in range(64)]
    assert min(waits) < 0.5 < max(waits)


def test_callers_who_wait_longest_do_not_come_back_together_either() -> None:
    waits = Run(RetryPolicy(attempts=200, wait_initial=16.0, total=None), 0.0).waits
    assert len({wait for wait in waits if wait < 16.0}) > 20  # half of them, but for chance


def test_the_numbers_of_python_are_not_drawn_from() -> None:
    random.seed(7)
    before = random.getstate()
    Run(RetryPolicy(), 0.0)
    assert random.getstate() == before


def test_a_wait_that_took_too_long_is_followed_by_no_try(clock: Clock) -> None:
    clock.oversleeps = 60.0
    server = Server(busy(1), clock=clock)
    assert tried(server, RetryPolicy()) is server.failures[0]
    assert (server.tries, len(clock.slept)) == (1, 1)


def test_the_first_try_is_made_whatever_the_deadline(clock: Clock) -> None:
    server = Server(busy(1), clock=clock)
    assert tried(server, RetryPolicy(), deadline=clock.began - 1) is server.failures[0]
    assert tried(server, RetryPolicy(), deadline=clock.began - 1) is None
    assert clock.slept == []


# -- what


def test_a_try_that_succeeds_ends_the_call(clock: Clock) -> None:
    server = Server(busy(1), busy(2), clock=clock)
    assert RetryPolicy(jitter=0.0).call(server) == "answer"
    assert server.starts == [0.0, 0.5, 1.5]


def test_the_error_of_the_last_try_comes_out_and_says_how_often_it_was_tried(clock: Clock) -> None:
    server = Server(busy(1), busy(2), busy(3), busy(4), clock=clock, takes=0.95)
    error = tried(server, RetryPolicy(jitter=0.0))
    assert error is server.failures[3]
    assert notes(error) == ["tried 4 times in 7.3 s"]
    assert [notes(each) for each in server.failures[:3]] == [[], [], []]
    assert server.failures[3].__context__ is None


def test_the_note_survives_pickling(clock: Clock) -> None:
    error = tried(Server(busy(1), busy(2), clock=clock), RetryPolicy(attempts=2, jitter=0.0))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert notes(again) == ["tried 2 times in 0.5 s"]


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        (RetryPolicy(), BadRequest("wrong", status=400)),
        (RetryPolicy(attempts=1), busy()),
        (RetryPolicy(total=0.4, jitter=0.0), busy()),
    ],
)
def test_an_error_without_a_second_try_comes_out_as_it_is(
    policy: RetryPolicy, error: OllamaError, clock: Clock
) -> None:
    server = Server(error, clock=clock)
    assert tried(server, policy) is error
    assert server.tries == 1
    assert clock.slept == []
    assert notes(error) == []


def test_an_error_that_is_not_worth_it_ends_the_call_at_any_try(clock: Clock) -> None:
    server = Server(busy(1), BadRequest("wrong", status=400), clock=clock)
    error = tried(server, RetryPolicy(jitter=0.0))
    assert error is server.failures[1]
    assert notes(error) == ["tried 2 times in 0.5 s"]


def test_whether_it_is_worth_it_is_asked_once_after_each_try_but_the_last_one(
    clock: Clock,
) -> None:
    asked: list[tuple[OllamaError, int]] = []

    def worth_it(error: OllamaError, tries: int) -> bool:
        asked.append((error, tries))
        return tries < 3

    errors = [BadRequest("wrong", status=400), busy(2), busy(3)]
    assert tried(Server(*errors, clock=clock), RetryPolicy(), worth_it=worth_it) is errors[2]
    assert asked == [(errors[0], 1), (errors[1], 2), (errors[2], 3)]
    asked.clear()
    assert tried(Server(*errors, clock=clock), RetryPolicy(attempts=2), worth_it=worth_it) is errors[1]
    assert asked == [(errors[0], 1)]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), SystemExit(), ValueError(), OSError()])
@pytest.mark.parametrize("before", [[], [busy(1)], [busy(1), busy(2)]])
def test_other_exceptions_pass_through_at_once(
    failure: BaseException, before: list[OllamaError], clock: Clock
) -> None:
    server = Server(*before, failure, clock=clock)
    with pytest.raises(type(failure)) as caught:
        RetryPolicy().call(server)
    assert caught.value is failure
    assert server.tries == len(before) + 1


def test_ctrl_c_ends_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(retry, "sleep", interrupted)
    server = Server(busy(1))
    with pytest.raises(KeyboardInterrupt):
        RetryPolicy().call(server)
    assert server.tries == 1


def test_an_error_is_gone_as_soon_as_its_caller_lets_it_go() -> None:
    class Held(ServerBusy):
        """A class of our own can be referred to weakly, and nobody else makes one."""

    seen: list[weakref.ref[Held]] = []

    def fails() -> NoReturn:
        error = Held("busy", status=503)
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.collect()
    gc.disable()
    try:
        with no_wait():
            for policy in (RetryPolicy(), RetryPolicy(attempts=1), RetryPolicy(total=0.1)):
                with pytest.raises(Held):
                    policy.call(fails)
        assert [each() for each in seen] == [None] * 6
    finally:
        gc.enable()


# -- cancelling


class SeenWaiting(CancelToken):
    """A token that says when somebody waits for it."""

    def __init__(self) -> None:
        """Start without anybody waiting."""
        super().__init__()
        self.waiting = threading.Event()

    def wait(self, seconds: float | None = None) -> bool:
        """Say that somebody waits, and let them."""
        self.waiting.set()
        return super().wait(seconds)


def test_a_wait_ends_at_once_when_another_thread_cancels() -> None:
    token = SeenWaiting()
    server = Server(busy(1))

    def cancel() -> None:
        assert token.waiting.wait(60)
        token.cancel()

    other = threading.Thread(target=cancel)
    other.start()
    with pytest.raises(Cancelled):
        RetryPolicy(wait_initial=3600.0, wait_max=3600.0, total=None).call(server, cancel=token)
    other.join()
    assert server.tries == 1


def test_a_token_that_is_not_cancelled_is_waited_for_as_long_as_the_wait() -> None:
    token = SeenWaiting()
    server = Server(busy(1))
    assert RetryPolicy(wait_initial=0.001).call(server, cancel=token) == "answer"
    assert token.waiting.is_set()
    assert server.tries == 2


def test_a_cancelled_call_is_not_tried_at_all() -> None:
    token = CancelToken()
    token.cancel()
    server = Server()
    with pytest.raises(Cancelled):
        RetryPolicy().call(server, cancel=token)
    assert server.tries == 0


def test_a_try_that_was_cancelled_is_not_made_again(clock: Clock) -> None:
    server = Server(Cancelled("the call was cancelled"), clock=clock)
    assert isinstance(tried(server, RetryPolicy(), cancel=CancelToken()), Cancelled)
    assert server.tries == 1


# -- who hears of it


def test_on_retry_hears_of_every_try_that_another_one_follows(clock: Clock) -> None:
    told: list[Retry] = []
    server = Server(
        busy(1), RateLimited("slow down", status=429, retry_after=3.0), busy(3), busy(4), clock=clock
    )
    tried(server, RetryPolicy(jitter=0.0, on_retry=told.append))
    assert [(each.attempt, each.attempts, each.wait) for each in told] == [
        (1, 4, 0.5),
        (2, 4, 3.0),
        (3, 4, 2.0),
    ]
    assert [each.error for each in told] == list(server.failures[:3])


def test_what_on_retry_raises_ends_the_call_and_comes_out(clock: Clock) -> None:
    def enough(_retry: Retry) -> NoReturn:
        raise LookupError("enough")

    server = Server(busy(1), clock=clock)
    with pytest.raises(LookupError, match="enough"):
        RetryPolicy(on_retry=enough).call(server)
    assert (server.tries, clock.slept) == (1, [])


def test_every_retry_is_logged_with_its_error_its_number_and_its_wait(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    failed = ConnectionFailed("nothing listens at 'http://h:1'")
    server = Server(failed, ServerError("the runner stopped", status=500), clock=clock)
    with caplog.at_level(logging.WARNING, "ollama_ext.retry"):
        RetryPolicy(jitter=0.0).call(server)
    assert [(each.name, each.levelname) for each in caplog.records] == [("ollama_ext.retry", "WARNING")] * 2
    assert caplog.messages == [
        "try 1 of 4 failed, the next one follows in 0.50 s: ConnectionFailed: nothing listens at 'http://h:1'",
        "try 2 of 4 failed, the next one follows in 1.00 s: ServerError: the runner stopped",
    ]


def test_a_call_that_is_not_retried_logs_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    tried(Server(clock=clock), RetryPolicy())
    tried(Server(BadRequest("wrong", status=400), clock=clock), RetryPolicy())
    tried(Server(busy(), clock=clock), RetryPolicy(attempts=1))
    assert caplog.messages == []


# -- cost and sharing


def test_a_call_that_is_not_retried_never_loads_the_retry_library() -> None:
    program = """
import sys
from ollama_ext.errors import BadRequest, ServerBusy
from ollama_ext.retry import RetryPolicy
from ollama_ext.testing.waiting import no_wait

def fail(error):
    try:
        RetryPolicy().call(lambda: (_ for _ in ()).throw(error))
    except type(error):
        print("tenacity" in sys.modules)

print(RetryPolicy().call(lambda: "answer"), "tenacity" in sys.modules)
fail(BadRequest("wrong", status=400))
with no_wait():
    fail(ServerBusy("busy", status=503))
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ours
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines == ["answer False", "False", "True"], done.stderr


def test_threads_share_a_policy_but_no_tries() -> None:
    policy = RetryPolicy(attempts=3)
    barrier = threading.Barrier(16)
    results: list[tuple[int, OllamaError | None]] = []

    def work(failures: int) -> None:
        server = Server(*[busy(number) for number in range(failures)])
        barrier.wait()
        error = tried(server, policy)
        results.append((server.tries, error))

    with no_wait():
        threads = [threading.Thread(target=work, args=[number % 4]) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(tries for tries, _ in results) == [1] * 4 + [2] * 4 + [3] * 8
    assert sum(error is not None for _, error in results) == 4


# -- the policy as a value


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("attempts", 0, "1 is no retries"),
        ("attempts", -1, "from 1 on"),
        ("attempts", 2.0, "whole number"),
        ("attempts", True, "whole number"),
        ("attempts", "4", "whole number"),
        ("wait_initial", -0.1, "from 0 on"),
        ("wait_initial", math.nan, "from 0 on"),
        ("wait_initial", "1", "number of seconds"),
        ("wait_initial", None, "number of seconds"),
        ("wait_max", math.inf, "number of seconds"),
        ("wait_max", 10**400, "number of seconds"),
        ("wait_max", 0.1, "at least wait_initial, which is 0.5"),
        ("wait_max", False, "number of seconds"),
        ("jitter", 1.1, "0.0 to 1.0"),
        ("jitter", -0.1, "0.0 to 1.0"),
        ("jitter", math.nan, "0.0 to 1.0"),
        ("jitter", "20%", "fraction"),
        ("total", 0, "positive"),
        ("total", -1.0, "positive"),
        ("total", math.inf, "None for no limit"),
        ("total", math.nan, "None for no limit"),
        ("total", 10**400, "None for no limit"),
        ("total", "60", "positive number of seconds"),
        ("on_retry", "print", "a function that takes a Retry"),
    ],
)
def test_a_value_that_cannot_be_followed_is_refused_with_the_remedy(
    field: str, value: Any, remedy: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        RetryPolicy(**{field: value})
    assert caught.value.argument == field
    assert caught.value.message.startswith(f"{field} must be ")
    assert remedy in caught.value.message
    assert f"not {value!r:.80}" in caught.value.message


def test_a_first_wait_above_the_longest_is_refused() -> None:
    with pytest.raises(
        InvalidArgument, match=r"wait_max must be at least wait_initial, which is 17: .* not 16\.0"
    ):
        RetryPolicy(wait_initial=17)


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 1},
        {"wait_initial": 0, "wait_max": 0},
        {"wait_initial": 3, "wait_max": 3},
        {"jitter": 0},
        {"jitter": 1},
        {"total": None},
        {"total": 1},
        {"on_retry": print},
    ],
)
def test_values_at_the_edge_are_accepted(fields: dict[str, Any]) -> None:
    policy = RetryPolicy(**fields)
    assert {name: getattr(policy, name) for name in fields} == fields


def test_a_policy_is_a_value() -> None:
    policy = RetryPolicy(attempts=2)
    assert policy == RetryPolicy(attempts=2)
    assert len({policy, RetryPolicy(attempts=2), RetryPolicy()}) == 2
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301 - our own bytes
    with pytest.raises(AttributeError):
        policy.attempts = 3  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue] -- the point
    with pytest.raises(TypeError):
        RetryPolicy(3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] -- the point
