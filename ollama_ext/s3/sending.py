"""Many blobs into a bucket at once, watched by one thread."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from .crew import Crew
from .download import Over
from .errors import MirrorError, TransferInterrupted
from .uploads import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from ollama_ext.cancel import CancelToken

    from .bucket_source import BucketSource
    from .limits import TransferSettings
    from .reporting import Tracker
    from .store import LocalStore

T = TypeVar("T")

_TELL_SECONDS: Final = 0.1
_SENDERS: Final = 8
_CANCELLED: Final = "it was cancelled; the next run goes on where this one stopped"


class Sending:
    """Sends blobs; `sending` makes it.

    Attributes:
        crew: Threads for what else is to be done at once.
    """

    def __init__(self, sender: Sender, crew: Crew, tracker: Tracker, cancel: CancelToken | None) -> None:
        """Take what sends one blob, and who does so."""
        self.crew = crew
        self._sender = sender
        self._tracker = tracker
        self._cancel = cancel

    def send(
        self, blobs: Mapping[str, int], *, grace: float, anew: bool = False
    ) -> Iterator[tuple[str, bool | MirrorError]]:
        """Have blobs in the bucket, the largest first; yield each as it is there.

        Args:
            blobs: The size of each by its digest.
            grace: How old in seconds a blob may be before a prune takes it; at half of it it is made young.
            anew: Whether what the bucket has of them is known to be bad.

        Yields:
            The digest, and whether the blob had to be sent, or why it is not there.

        Raises:
            TransferInterrupted: By the token.
        """
        renew_before = datetime.now(UTC) - timedelta(seconds=grace / 2)
        running: dict[Future[bool], str] = {}
        for digest, size in sorted(blobs.items(), key=lambda item: -item[1]):
            job = self.crew.submit(self._sender.send, digest, size, renew_before=renew_before, anew=anew)
            running[job] = digest
        left = set(running)
        while left:
            done, left = wait(left, _TELL_SECONDS, FIRST_COMPLETED)
            self._check_cancelled()
            for job in done:
                outcome = _outcome(job)
                failed = isinstance(outcome, MirrorError)
                self._tracker.state(running[job], "failed" if failed else "done" if outcome else "present")
                yield running[job], outcome
            self._tracker.tell()

    def ask(self, work: Callable[[], T]) -> T:
        """Return what a request of the bucket gives, whose answer may never come.

        Raises:
            TransferInterrupted: By the token.
        """
        job = self.crew.submit(work)
        while not wait({job}, _TELL_SECONDS).done:
            self._check_cancelled()
        return job.result()

    def _check_cancelled(self) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            raise TransferInterrupted(_CANCELLED)


def _outcome(job: Future[bool]) -> bool | MirrorError:
    try:
        return job.result()
    except MirrorError as error:
        return error


@contextmanager
def sending(
    store: LocalStore,
    target: BucketSource,
    *,
    settings: TransferSettings,
    tracker: Tracker,
    cancel: CancelToken | None,
) -> Generator[Sending]:
    """Have threads that send blobs of a store to a bucket; they end with the block."""
    stopping = threading.Event()
    hook = cancel.attach(stopping.set) if cancel is not None else 0
    with Crew(_SENDERS, "mirror-send") as senders, Crew(settings.connections, "mirror-part") as connections:
        sender = Sender(
            store, target, settings=settings, tracker=tracker, stopping=stopping, connections=connections
        )
        try:
            settings.pause_at_start(stopping.wait)
            yield Sending(sender, senders, tracker, cancel)
        except Over:  # of a jitter, or of a job, which only the token ends
            raise TransferInterrupted(_CANCELLED) from None
        finally:
            stopping.set()
            if cancel is not None:
                cancel.detach(hook)
