"""What can go wrong between a client and S3, as values; `faulty_s3.FaultyFront` does it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Status:
    """Answer with this instead; the server behind never hears of the request."""

    code: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Reset:
    """End the connection with RST after that many bytes of the body; None: before the head of the answer.

    The server behind has done what it was asked: after a PUT, it holds the object.
    """

    after: int | None


@dataclass(frozen=True)
class Close:
    """End the connection with FIN after that many bytes of the body; None: before the head of the answer."""

    after: int | None


@dataclass(frozen=True)
class Stall:
    """Send that many bytes of the body (None: not even the head), then nothing until the client leaves."""

    after: int | None


@dataclass(frozen=True)
class Throttle:
    """Send the body at this rate, in small writes."""

    bytes_per_second: int


@dataclass(frozen=True)
class Headers:
    """Replace headers of the answer, or with None remove them.

    One that changes ``Content-Length`` ends the connection after the body: the client cannot know where the
    next answer begins.
    """

    changes: Mapping[str, str | None]


@dataclass(frozen=True)
class WholeBody:
    """Ignore the ``Range`` of the request: answer 200 with the whole object.

    The signature covers ``Range``: behind the front must be a server that checks none, as moto.
    """


@dataclass(frozen=True)
class Body:
    """Send this instead of the body, with its right length; all other headers stay."""

    content: bytes


@dataclass(frozen=True)
class Before:
    """Call this before the request is passed on, say to change an object between two parts of it."""

    callback: Callable[[], object]


Fault: TypeAlias = Status | Reset | Close | Stall | Throttle | Headers | WholeBody | Body | Before


def slow_down() -> Status:
    """Return S3's way to say: too many requests."""
    return _error(503, "SlowDown", "Please reduce your request rate.")


def access_denied() -> Status:
    """Return S3's answer to who may not."""
    return _error(403, "AccessDenied", "Access Denied")


def expired_token() -> Status:
    """Return S3's answer to credentials whose time is over."""
    return _error(400, "ExpiredToken", "The provided token has expired.")


def moved(region: str) -> Status:
    """Return S3's answer to who asks in the wrong region."""
    error = _error(301, "PermanentRedirect", "The bucket must be addressed at its own endpoint.")
    return replace(error, headers={**error.headers, "x-amz-bucket-region": region})


def _error(status: int, code: str, message: str) -> Status:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>FRONT</RequestId></Error>"
    )
    return Status(status, body.encode(), {"Content-Type": "application/xml"})


@dataclass(frozen=True)
class Request:
    """A request that came, as far as it has got.

    Attributes:
        method: As sent.
        path: Without the query, percent-decoded.
        query: As sent.
        range: The header of that name.
        fault: What was done to it.
        status: What was answered; None until then.
        sent: Bytes of the body that were written to the client.
        over: Whether nothing more will be sent.
    """

    method: str
    path: str
    query: str = ""
    range: str | None = None
    fault: Fault | None = None
    status: int | None = None
    sent: int = 0
    over: bool = False

    @property
    def range_starts(self) -> int | None:
        """The first byte that was asked for, where that was a range of bytes."""
        first = re.match(r"bytes=(\d+)-", self.range or "")
        return None if first is None else int(first[1])


@dataclass
class Rule:
    """When a fault is due.

    Attributes:
        fault: What goes wrong.
        method: Of the request.
        path_ends: How its path ends.
        range_starts: The first byte of its range; None for any, and for none.
        times: How often it is still due; None for ever.
        rate: The fraction of those that fit.
        dice: Chooses them.
    """

    fault: Fault
    method: str
    path_ends: str
    range_starts: int | None
    times: int | None
    rate: float = 1.0
    dice: random.Random = field(default_factory=random.Random)

    def applies(self, request: Request) -> bool:
        """Tell whether the fault is due, and count it."""
        if (
            self.times == 0
            or request.method != self.method
            or not request.path.endswith(self.path_ends)
            or self.range_starts not in {None, request.range_starts}
            or (self.rate < 1 and self.dice.random() >= self.rate)
        ):
            return False
        if self.times is not None:
            self.times -= 1
        return True
