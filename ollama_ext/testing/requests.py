"""What a client sent, as the tests see it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


class Headers(Mapping[str, str]):
    """Headers by name, whatever the case; a name that came twice has its values joined by ", ".

    Attributes:
        pairs: All headers in the order and spelling they came in.
    """

    __slots__ = ("_values", "pairs")

    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        """Take the pairs of name and value."""
        self.pairs: tuple[tuple[str, str], ...] = pairs
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        """Return the value of the header of that name."""
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a header."""
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        """Yield the names in lower case."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._values)

    def __repr__(self) -> str:
        """Show the names only: values may be secrets, and this ends up in test reports."""
        return f"Headers({', '.join(self._values)})"


class RecordedRequest:
    """One request that a `FakeOllama` received.

    Attributes:
        method: Such as ``"POST"``.
        path: Such as ``"/api/chat"``, as sent, without the query.
        query: What followed the ``?``, or ``""``.
        headers: By name, in any case.
        body: The bytes of the body; of a body above 16 MiB only the first 16 MiB are kept.
        body_size: Its length in bytes, all of it.
        body_sha256: The SHA-256 of all of it, in hexadecimal.
        complete: False when the client left, or garbled the framing, within the body.
        connection: The number of the connection that it came on, from 1: requests with the same
            number shared one.
    """

    def __init__(
        self,
        *,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        body: bytes,
        body_size: int,
        body_sha256: str,
        complete: bool,
        connection: int,
    ) -> None:
        """Take what came."""
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.body_size = body_size
        self.body_sha256 = body_sha256
        self.complete = complete
        self.connection = connection
        self._left = threading.Event()

    @property
    def disconnected(self) -> bool:
        """Whether the client went away before it had the whole answer.

        Seen while the server still has something to send (a stalled answer, for example) and when
        the client closes with bytes of the answer unread. A client that leaves with the whole
        answer in hand did not leave early.
        """
        return self._left.is_set()

    def mark_disconnected(self) -> None:
        """Note that the client went away (called by the server)."""
        self._left.set()

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ValueError: The body is empty, no JSON, or was not kept whole.
        """
        if len(self.body) != self.body_size:
            raise ValueError(f"only {len(self.body)} of {self.body_size} bytes of the body were kept")
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise ValueError(f"the body is no JSON ({error}): {self.body[:100]!r}") from error

    def __repr__(self) -> str:
        """Say what it is in one line."""
        left = ", client left" if self.disconnected else ""
        return f"<RecordedRequest {self.method} {self.path}, {self.body_size} bytes{left}>"
