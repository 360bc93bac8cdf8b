"""Trying again: how often, how long between two tries, and who hears of it.

`RetryPolicy` knows nothing of HTTP: which error is worth another try is a question to its caller (for the
calls of a `Client` it is answered by `ollama_ext.repeats`). The loop is tenacity's. It is loaded when the
first call has failed, with all else that only a failure needs: a call that succeeds pays for one reading of
the clock.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .errors import InvalidArgument, OllamaError, ResponseError

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from .cancel import CancelToken

T = TypeVar("T")

_LONGEST_WAIT = threading.TIMEOUT_MAX  # what the operating system can wait, some hundred years

#: One entry for each `ollama_ext.testing.no_wait` that is active: while there is any, nobody waits.
skipping_waits: set[object] = set()


class Retry(msgspec.Struct, frozen=True):
    """A try that failed and that another one will follow: what ``on_retry`` is called with.

    Attributes:
        attempt: Which try failed, counted from 1.
        attempts: How many tries the policy allows in all.
        wait: Seconds from now until the next one.
        error: Why it failed.
    """

    attempt: int
    attempts: int
    wait: float
    error: OllamaError


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a call is tried, and how long it waits in between. A value: may be shared by threads.

    The waits double from ``wait_initial`` to ``wait_max``; each is then made up to ``jitter`` longer or
    shorter, so that callers who failed together do not come back together. A server that says when to come
    back (``Retry-After``) is not asked earlier, unless that is later than ``wait_max`` from now.

    Every retry is logged as a warning to the logger ``ollama_ext.retry``.

    Attributes:
        attempts: Tries in all, the first one included.
        wait_initial: Seconds between the first and the second try.
        wait_max: The longest wait in seconds, whatever jitter and server say.
        jitter: The part of a wait, from 0.0 to 1.0, by which chance changes it at most.
        total: No try starts more than this many seconds after the first one did; one that runs is never
            cut. None is no limit.
        on_retry: Called before each wait, by the thread of the call. What it raises ends the call, and
            comes out of it.

    Raises:
        InvalidArgument: A field has a value that it cannot have.
    """

    attempts: int = 4
    wait_initial: float = 0.5
    wait_max: float = 16.0
    jitter: float = 0.2
    total: float | None = 60.0
    on_retry: Callable[[Retry], None] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        attempts = self.attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            self._refuse("attempts", "a whole number from 1 on, the first try included (1 is no retries)")
        if not 0 <= _number(self.wait_initial) <= _LONGEST_WAIT:
            self._refuse("wait_initial", "a number of seconds from 0 on, such as 0.5")
        if not 0 <= _number(self.wait_max) <= _LONGEST_WAIT:
            self._refuse("wait_max", "a number of seconds from 0 on, such as 16.0")
        if self.wait_max < self.wait_initial:
            self._refuse("wait_max", f"at least wait_initial, which is {self.wait_initial!r}: change either")
        if not 0 <= _number(self.jitter) <= 1:
            self._refuse("jitter", "a fraction from 0.0 to 1.0, such as 0.2 for up to 20 % more or less")
        if self.total is not None and not 0 < _number(self.total) <= _LONGEST_WAIT:
            self._refuse("total", "a positive number of seconds, or None for no limit")
        if self.on_retry is not None and not callable(self.on_retry):
            self._refuse("on_retry", "a function that takes a Retry, or None")

    def _refuse(self, name: str, wanted: str) -> None:
        value = getattr(self, name)
        raise InvalidArgument(f"{name} must be {wanted}; not {value!r:.80}", argument=name)

    def call(
        self,
        fn: Callable[[], T],
        *,
        worth_it: Callable[[OllamaError, int], bool] | None = None,
        cancel: CancelToken | None = None,
        deadline: float | None = None,
    ) -> T:
        """Call a function until it succeeds, and return what it returns.

        It gives up at once where waiting would be in vain: when the next try could not start within
        ``total``, or before ``deadline``. Exceptions that are no `OllamaError` are never retried.

        Args:
            fn: What to try. It does all its work again at each try.
            worth_it: Whether to try again, from the error and the number of tries so far (1 after the first
                one); asked after each but the last that ``attempts`` allows. Left out, ``error.retryable``
                decides.
            cancel: Ends a wait at once; not a try, unless the function heeds it too.
            deadline: The time, of `time.monotonic`, after which no further try starts.

        Raises:
            OllamaError: The error of the last try. If there was more than one, a note (``__notes__``) says
                how many, and how long they took.
            Cancelled: The token was cancelled before the first try, or while waiting.
        """
        if cancel is not None:
            cancel.raise_if_cancelled()
        began = monotonic()
        try:
            return fn()
        except OllamaError as error:
            worth_it = _retryable if worth_it is None else worth_it
            if self.attempts == 1 or not worth_it(error, 1):
                raise
            first = error
        failed = _FailedCall(self, first, began, deadline, cancel)
        try:
            return failed.go_on(fn, worth_it)
        finally:
            # Their tracebacks hold this frame: cycles, which would keep sockets and replies alive.
            del first, failed.error


class _FailedCall:
    """A call whose first try failed with an error that is worth another one.

    Its time is that of the clock and, on top, the waits that `no_wait` skipped.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        error: OllamaError,
        began: float,
        deadline: float | None,
        cancel: CancelToken | None,
    ) -> None:
        # All that only a failure needs is imported here and below: it takes tens of milliseconds.
        from random import Random  # noqa: PLC0415

        self.error = error
        self._tries = 1
        self._policy = policy
        self._cancel = cancel
        self._began = began
        self._latest = math.inf if policy.total is None else began + policy.total
        if deadline is not None:
            self._latest = min(self._latest, deadline)
        self._skipped = 0.0
        self._plain_wait = policy.wait_initial
        self._uniform = Random().uniform  # noqa: S311 - keeps callers apart; guards nothing

    def go_on(self, fn: Callable[[], T], worth_it: Callable[[OllamaError, int], bool]) -> T:
        """Try on until it succeeds or there is no more try."""
        from tenacity import Retrying, retry_always  # noqa: PLC0415

        rounds = Retrying(
            retry=retry_always,  # what gets no other try leaves the loop below
            wait=self._wait,
            stop=self._is_too_late,
            before_sleep=self._tell,
            sleep=self._pause,
            retry_error_callback=lambda _state: None,  # ends the loop without an exception of tenacity's
        )
        # Its first round stands for the try that was made. It sees no error: one that it catches it raises
        # anew, from a frame that holds it.
        for each in rounds:
            if each.retry_state.attempt_number > self._tries:
                if self._now() > self._latest:  # the wait took longer than it should
                    break
                self._tries += 1
                try:
                    return fn()
                except OllamaError as error:
                    self.error = error
                    if self._tries == self._policy.attempts or not worth_it(error, self._tries):
                        break
            each.retry_state.set_result(None)
        if self._tries > 1:
            self.error.add_note(f"tried {self._tries} times in {self._now() - self._began:.1f} s")
        raise self.error

    def _now(self) -> float:
        return monotonic() + self._skipped

    def _wait(self, _state: RetryCallState) -> float:
        """Return the seconds until the next try."""
        policy = self._policy
        wait = self._plain_wait * self._uniform(1 - policy.jitter, 1 + policy.jitter)
        self._plain_wait = min(self._plain_wait * 2, policy.wait_max)
        if isinstance(self.error, ResponseError) and self.error.retry_after is not None:
            wait = max(wait, self.error.retry_after)
        return min(wait, policy.wait_max)

    def _is_too_late(self, state: RetryCallState) -> bool:
        """Return whether the next try would start too late."""
        return self._now() + state.upcoming_sleep > self._latest

    def _tell(self, state: RetryCallState) -> None:
        """Log that a try failed and another one follows, and call ``on_retry``."""
        import logging  # noqa: PLC0415

        retry = Retry(self._tries, self._policy.attempts, state.upcoming_sleep, self.error)
        logging.getLogger(__name__).warning(
            "try %d of %d failed, the next one follows in %.2f s: %s: %s",
            retry.attempt,
            retry.attempts,
            retry.wait,
            type(retry.error).__name__,
            str(retry.error),  # whoever keeps the record does not keep the error
        )
        if self._policy.on_retry is not None:
            self._policy.on_retry(retry)

    def _pause(self, seconds: float) -> None:
        """Wait, or do as if; the one place where a retry waits."""
        if skipping_waits:
            self._skipped += seconds
        elif self._cancel is None:
            sleep(seconds)
        else:
            self._cancel.wait(seconds)
        if self._cancel is not None:
            self._cancel.raise_if_cancelled()


def _retryable(error: OllamaError, _tries: int) -> bool:
    return error.retryable


def _number(value: Any) -> float:
    """Return a number as it is, and for anything else one that is in no range."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
