"""Blobs on their way to a server: hashed once, sent only if the server lacks them, in constant memory."""

from __future__ import annotations

import threading
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from ollama_openapi.api import blobs as operations
from ollama_openapi.types import File, Request

from .calls import parsed
from .errors import InvalidArgument
from .repeats import Repeat

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from .blobs import Blob
    from .calls import Calls
    from .options import Call
    from .progress import Progress, ProgressState
    from .transport import Answer

    Tell = Callable[[Progress], object]

_NOT_FOUND: Final = 404


def has_blob(calls: Calls, digest: str, call: Call) -> bool:
    """Ask whether the server has a blob; it looks for the file, not into it."""
    request = operations.check_blob.build_request(digest=digest)

    def read(answer: Answer) -> bool:
        if answer.status == _NOT_FOUND:
            return False
        parsed(operations.check_blob.parse, answer, answer.body, request, None)
        return True

    return calls.send(lambda: request, read, None, call, Repeat.SAFE)


def upload(
    calls: Calls,
    blobs: Sequence[Blob],
    call: Call,
    state: ProgressState,
    tell: Tell,
    *,
    expected: str | None = None,
) -> list[str]:
    """Send the blobs that the server lacks; return the digests of all, in order.

    All are hashed before the first is sent, so that the progress knows of all from the start.

    Raises:
        InvalidArgument: One has another digest than the expected one; nothing was sent.
    """

    def hashed(done: int, total: int) -> None:
        call.limits.check()
        tell(state.hashing(done, total))

    for blob in blobs:
        digest = blob.hash(hashed, call.limits.cancel)
        if expected is not None and digest != expected:
            raise InvalidArgument(
                f"the content has the digest {digest}, not {expected}: is it the right file, and whole?",
                argument="digest",
            )
    for blob in blobs:
        tell(state.uploading(blob.digest, 0, blob.size))
    for blob in blobs:
        if not has_blob(calls, blob.digest, call):
            _send(calls, blob, call, partial(_tell_sent, blob, state, tell))
        _tell_sent(blob, state, tell, blob.size)
    return [blob.digest for blob in blobs]


def _tell_sent(blob: Blob, state: ProgressState, tell: Tell, done: int) -> None:
    tell(state.uploading(blob.digest, done, blob.size))


def _send(calls: Calls, blob: Blob, call: Call, sent: Callable[[int], None]) -> None:
    def pieces() -> Iterator[bytes]:
        done = 0
        for piece in blob.pieces():
            yield piece
            done += len(piece)  # we come back when it is sent
            sent(done)

    def build() -> Request:
        request = operations.push_blob.build_request(digest=blob.digest, body=File(pieces()))
        request.headers["Content-Length"] = str(blob.size)
        return request

    def read(answer: Answer) -> None:
        parsed(operations.push_blob.parse, answer, answer.body, build(), None)

    calls.send(build, read, None, call, Repeat.SAFE)


def steps_of(work: Callable[[Tell], None], cancel: Callable[[], None]) -> Generator[Progress]:
    """Run work that tells its progress in a thread, and yield what it tells.

    Args:
        work: Called with what it is to call with each step.
        cancel: Called when nobody wants the steps any more; it has to end the work soon.
    """
    told: SimpleQueue[Progress | BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            work(told.put)
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the thread that reads
            told.put(error)
        else:
            told.put(None)

    thread = threading.Thread(target=run, name="ollama-ext upload", daemon=True)
    thread.start()
    finished = False
    try:
        while (step := told.get()) is not None:
            if isinstance(step, BaseException):
                finished = True
                raise step
            yield step
        finished = True
    finally:
        if not finished:
            cancel()
        thread.join()
