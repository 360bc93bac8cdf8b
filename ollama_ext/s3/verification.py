"""Hashing what is there: the blobs of a model in a directory or a bucket, without writing anything."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from .carrying import Carrier
from .crew import Crew
from .download import Over, Reading
from .errors import DigestMismatch, MirrorError, TransferInterrupted
from .layout import blob_path
from .limits import MIB
from .results import BlobError, VerifyResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ollama_ext.cancel import CancelToken

    from .limits import TransferSettings
    from .manifests import Manifest
    from .reporting import Tracker
    from .source import Source

_PART: Final = 8 * MIB
_TELL_SECONDS: Final = 0.1


def verify(
    source: Source,
    model: str,
    manifest: Manifest,
    *,
    where: Literal["store", "bucket"],
    settings: TransferSettings,
    tracker: Tracker,
    cancel: CancelToken | None,
) -> VerifyResult:
    """Hash every blob of a model, and say what is wrong.

    Raises:
        TransferInterrupted: By the token.
    """
    started = monotonic()
    for digest, size in manifest.blobs.items():
        tracker.plan(model, digest, size)
    verdicts = verify_blobs(source, manifest.blobs, settings=settings, tracker=tracker, cancel=cancel)
    errors = _errors_of(verdicts)
    tracker.model(model, "failed" if errors else "done", manifest.size)
    tracker.tell(finished=not errors)
    return VerifyResult(
        model=model,
        digest=manifest.digest,
        where=where,
        blobs_good=len(verdicts) - len(errors),
        bytes_read=tracker.transferred,
        seconds=monotonic() - started,
        errors=errors,
    )


def repaired(
    result: VerifyResult, verdicts: Mapping[str, MirrorError | None], tracker: Tracker
) -> VerifyResult:
    """Return a result in which blobs that were repaired are counted as such, and tell that all is done."""
    errors = _errors_of(verdicts)
    tracker.model(result.model, "failed" if errors else "done")
    tracker.tell(finished=not errors)
    return msgspec.structs.replace(result, blobs_repaired=len(verdicts) - len(errors), errors=errors)


def _errors_of(verdicts: Mapping[str, MirrorError | None]) -> tuple[BlobError, ...]:
    return tuple(
        BlobError(digest=digest, error=error) for digest, error in verdicts.items() if error is not None
    )


def verify_blobs(
    source: Source,
    blobs: Mapping[str, int],
    *,
    settings: TransferSettings,
    tracker: Tracker,
    cancel: CancelToken | None,
) -> dict[str, MirrorError | None]:
    """Hash blobs; several at once, and each read ahead by several connections, with 8 MiB of memory for each.

    Returns:
        For each digest what is wrong with the blob, or None.

    Raises:
        TransferInterrupted: By the token.
    """
    stopping = threading.Event()
    carrier = Carrier(source, settings, tracker, stopping)
    hashers = min(4, os.cpu_count() or 1, len(blobs))
    readings = [Reading(digest, size) for digest, size in blobs.items()]
    readers = Crew(settings.connections, "mirror-read")
    with Crew(hashers, "mirror-hash") as pool:
        ahead = max(settings.connections // hashers, 1)
        running = {
            pool.submit(
                _verdict,
                reading,
                carrier=carrier,
                where=source.name,
                readers=readers,
                ahead=ahead,
                tracker=tracker,
                stopping=stopping,
            ): reading
            for reading in sorted(readings, key=lambda reading: -reading.size)
        }
        try:
            _watch(running, tracker, cancel)
        finally:
            stopping.set()
            for reading in readings:
                reading.end()
            readers.close()
    return {reading.digest: future.result() for future, reading in running.items()}


def _watch(
    running: Iterable[Future[MirrorError | None]], tracker: Tracker, cancel: CancelToken | None
) -> None:
    left = set(running)
    while left:
        _, left = wait(left, _TELL_SECONDS, FIRST_COMPLETED)
        tracker.tell()
        if cancel is not None and cancel.cancelled:
            for future in left:
                future.cancel()
            raise TransferInterrupted("the verification was cancelled; nothing was changed")


def _verdict(
    reading: Reading,
    *,
    carrier: Carrier,
    where: str,
    readers: Crew,
    ahead: int,
    tracker: Tracker,
    stopping: threading.Event,
) -> MirrorError | None:
    digest, size = reading.digest, reading.size
    tracker.state(digest, "verifying")

    def part(start: int) -> bytearray:
        end = min(start + _PART, size)
        buffer = bytearray(end - start)

        def take(piece: bytes | memoryview, position: int) -> None:
            buffer[position - start : position - start + len(piece)] = piece

        carrier.carry(reading, start, end, take)
        return buffer

    sha256 = hashlib.sha256()
    parts: deque[Future[bytearray]] = deque()
    starts = iter(range(0, size, _PART))
    try:
        while not stopping.is_set():
            while len(parts) < ahead and (start := next(starts, None)) is not None:
                parts.append(readers.submit(part, start))
            if not parts:
                break
            sha256.update(parts.popleft().result())
    except MirrorError as error:
        tracker.state(digest, "failed")
        return error
    except (Over, CancelledError):  # it is no longer wanted
        return None
    got = f"sha256:{sha256.hexdigest()}"
    if got == digest:
        tracker.state(digest, "done")
        return None
    tracker.state(digest, "failed")
    path = f"{where}/{blob_path(digest)}"
    return DigestMismatch(f"{path} is {got}, and its name says {digest}", digest=digest, got=got, where=path)
