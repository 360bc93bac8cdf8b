"""What came, in order, and waiting for it instead of sleeping."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .checks import duration, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .requests import RecordedRequest


class Journal:
    """The requests of a server and those whose clients left early; safe to use from any thread."""

    def __init__(self) -> None:
        """Start empty."""
        self._changed = threading.Condition()
        self._requests: list[RecordedRequest] = []
        self._left: list[RecordedRequest] = []

    @property
    def requests(self) -> list[RecordedRequest]:
        """A copy of the list as it is now."""
        with self._changed:
            return list(self._requests)

    def add(self, request: RecordedRequest) -> None:
        """Note a request."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def note_disconnect(self, request: RecordedRequest) -> None:
        """Note that the client of a request left before it had the whole answer."""
        with self._changed:
            request.mark_disconnected()
            self._left.append(request)
            self._changed.notify_all()

    def wait_for_request(self, count: int, timeout: float) -> RecordedRequest:
        """Return the ``count``-th request; see `FakeOllama.wait_for_request`."""
        return self._wait(self._requests, count, timeout, "requests")

    def wait_for_disconnect(self, count: int, timeout: float) -> RecordedRequest:
        """Return the ``count``-th request left early; see `FakeOllama.wait_for_disconnect`."""
        return self._wait(self._left, count, timeout, "clients that left early")

    def _wait(
        self, kept: Sequence[RecordedRequest], count: int, timeout: float, what: str
    ) -> RecordedRequest:
        wanted = whole_number(count, "count", least=1)
        limit = min(duration(timeout, "timeout"), threading.TIMEOUT_MAX)
        with self._changed:
            if self._changed.wait_for(lambda: len(kept) >= wanted, limit):
                return kept[wanted - 1]
            raise TimeoutError(
                f"waited {timeout} s for {wanted} {what}, got {len(kept)}; "
                f"all requests so far: {self._requests}"
            )
