"""How long one call may still take, and whether anybody wants it any more."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ollama_ext.errors import FirstByteTimeout, IdleTimeout, OllamaTimeout, TotalTimeout

if TYPE_CHECKING:
    from ollama_ext.cancel import CancelToken
    from ollama_ext.timeouts import Timeouts


class Limits:
    """The time-outs of one call, counted from its start, and its token.

    Attributes:
        timeouts: The limits on silence.
        cancel: The caller's token, or None.
        deadline: The end of ``timeouts.total`` by `time.monotonic`, or None.
    """

    __slots__ = ("cancel", "deadline", "timeouts")

    def __init__(self, timeouts: Timeouts, cancel: CancelToken | None = None) -> None:
        """Start the clock."""
        self.timeouts: Timeouts = timeouts
        self.cancel: CancelToken | None = cancel
        self.deadline: float | None = None if timeouts.total is None else monotonic() + timeouts.total

    def check(self) -> None:
        """Raise if the call must not go on: `Cancelled` or `TotalTimeout`."""
        if self.cancel is not None:
            self.cancel.raise_if_cancelled()
        self.left(None)

    def left(self, limit: float | None) -> float | None:
        """Return the seconds that a wait with this limit may take; None is for ever.

        Raises:
            TotalTimeout: There is no time left.
        """
        if self.deadline is None:
            return limit
        left = self.deadline - monotonic()
        if left <= 0:
            raise self.total_timeout()
        return left if limit is None or left < limit else limit

    def ran_out(self, waited_for: float | None) -> bool:
        """Whether a wait that ended by time-out ended because of the total."""
        return self.deadline is not None and (waited_for is None or monotonic() >= self.deadline - 0.001)

    def total_timeout(self) -> TotalTimeout:
        """Return the error of a call that took too long."""
        return TotalTimeout(
            f"the call took longer than {self.timeouts.total:g} s (Timeouts.total, or timeout=)"
        )

    def silence(self, url: str, limit: float | None, *, answering: bool) -> OllamaTimeout:
        """Return the error of a server that sent nothing for so long, before or while it answered."""
        if self.ran_out(limit):
            return self.total_timeout()
        if answering:
            name = "between" if limit == self.timeouts.between else "first_byte"
            return IdleTimeout(
                f"{url} fell silent in the middle of its answer, for {limit:g} s (Timeouts.{name})"
            )
        return FirstByteTimeout(
            f"no answer from {url} within {limit:g} s (Timeouts.first_byte): it may be loading the model, or "
            "its queue is long"
        )
