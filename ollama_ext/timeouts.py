"""How long to wait for what."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .errors import InvalidArgument

#: What the operating system can wait for a socket: 2**31 milliseconds, 24 days.
_LONGEST: Final = 2_147_483


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one call, in seconds; None is no limit.

    A limit is on silence, so a long reply that keeps coming is never cut, except by ``total``.

    Attributes:
        connect: Until the connection stands, with name resolution and TLS.
        first_byte: From the request until the answer begins. A server is silent while the request waits in
            its queue and while it loads the model. A plain (not streamed) reply comes all at once at its
            end, so this is the limit on the whole of it; pulls, pushes and creates may be silent for this
            long at any time, while the server verifies or converts.
        between: Between two pieces of an answer once it has begun, and of an upload.
        total: For the whole call: retries, waits and, of a stream, the reading of it.
    """

    connect: float | None = 5.0
    first_byte: float | None = 600.0
    between: float | None = 120.0
    total: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no number of seconds."""
        for name in self.__struct_fields__:
            _check(getattr(self, name), name)


def timeouts_of(timeout: Timeouts | float | None) -> Timeouts:
    """Return the limits that a ``timeout=`` argument means: a number is the total, None is no limit.

    Raises:
        InvalidArgument: It is none of these, or no positive number.
    """
    if timeout is None:
        return UNLIMITED
    if isinstance(timeout, Timeouts):
        return timeout
    _check(timeout, "timeout")
    return Timeouts(total=timeout)


def _check(value: Any, name: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(
            f"{name} must be a number of seconds, Timeouts or None (no limit), not {value!r:.80}",
            argument="timeout",
        )
    if not 0 < value <= _LONGEST:
        raise InvalidArgument(
            f"{name} must be a positive number of seconds, at most {_LONGEST}, not {value!r:.80}; for no "
            "limit, pass None",
            argument="timeout",
        )


#: No limits at all: what ``timeout=None`` means.
UNLIMITED = Timeouts(connect=None, first_byte=None, between=None)
