"""A blob in the staging of a store, in parts of 100 bytes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from model_stores import STAGING, digest_of

from ollama_ext.s3.staging import StagedBlob, Staging

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

CONTENT = bytes(range(250)) * 4
DIGEST = digest_of(CONTENT)
HEX = DIGEST.removeprefix("sha256:")
SIZE = len(CONTENT)


def files(store: Path) -> dict[str, int]:
    """Return what is staged, and its size."""
    where = store / STAGING
    return {entry.name: entry.stat().st_size for entry in where.iterdir()} if where.exists() else {}


@contextmanager
def blob(place: Staging, *, part_size: int = 100, size: int = SIZE) -> Generator[StagedBlob]:
    """Work on the blob as one process does: under its lock, and closed at the end."""
    lock = place.lock(DIGEST)
    assert lock is not None
    try:
        staged = StagedBlob(place, lock, digest=DIGEST, size=size, part_size=part_size)
        try:
            yield staged
        finally:
            staged.close()
    finally:
        lock.release()
