"""One blob from a file into a bucket, so that what the bucket then has is proven to be the blob.

A small blob goes with its SHA-256, and the server refuses other bytes. A larger one goes in parts, many at
once, each with its CRC-32, while one reading of the file adds up SHA-256 and CRC-32 of the whole: the first
must be the blob's digest, and with the second the server is asked to make the object, which it does only if
it has these bytes.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from .bucket_errors import Conditional, Missing, Unsupported
from .directories import failures_of
from .download import Over
from .errors import BlobMissing, BucketError, DigestMismatch, MirrorError
from .layout import blob_path
from .limits import GIB, MIB, RateLimit
from .sums import Sums, add_up, needs_md5, proven

if TYPE_CHECKING:
    import threading
    from datetime import datetime

    from .bucket_objects import ObjectInfo
    from .bucket_source import BucketSource
    from .crew import Crew
    from .limits import TransferSettings
    from .reporting import State, Tracker
    from .store import LocalStore

_SINGLE: Final = 32 * MIB  # up to this size one request is as fast
_PART: Final = 64 * MIB
_MOST_PARTS: Final = 9_900  # S3 has 10,000
_COPY_AT_ONCE: Final = 5 * GIB
_COPY_PART: Final = 4 * GIB
_TRIES: Final = 3
_PIECE: Final = 256 << 10
_OTHER_BYTES: Final = frozenset(
    {"BadDigest", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "XAmzContentChecksumMismatch"}
)


def upload_part_size(size: int) -> int:
    """Return in which parts a blob is sent: 64 MiB, or as much more as S3's limit of 10,000 parts wants."""
    return max(_PART, -(-size // _MOST_PARTS // MIB) * MIB) if size > _PART * _MOST_PARTS else _PART


class _File(msgspec.Struct, frozen=True):
    """An open blob of the store, and where it goes."""

    descriptor: int
    path: Path
    digest: str
    size: int
    key: str


class Sender:
    """Sends blobs of one store to one bucket, for any number of threads."""

    def __init__(
        self,
        store: LocalStore,
        target: BucketSource,
        *,
        settings: TransferSettings,
        tracker: Tracker,
        stopping: threading.Event,
        connections: Crew,
    ) -> None:
        """Take where blobs are, where they go, and what may be taken."""
        self._store = store
        self._target = target
        self._bucket = target.bucket
        self._tracker = tracker
        self._stopping = stopping
        self._connections = connections
        self._limit = RateLimit(settings.limit_rate)

    def send(self, digest: str, size: int, *, renew_before: datetime, anew: bool = False) -> bool:
        """Have a blob in the bucket, proven; return whether it had to be sent.

        Args:
            digest: The blob.
            size: Its size in bytes.
            renew_before: An object that was written before this is made young, so that no prune takes it.
            anew: Whether what the bucket has is known to be bad, whatever the server says.

        Raises:
            BlobMissing: The store has no such blob.
            DigestMismatch: What the store has is not the blob; the bucket has nothing of it.
            BucketError: The bucket does not take it.
            Over: It is not to go on.
        """
        file = self._open(digest, size)
        try:
            with failures_of(file.path):
                info = self._bucket.head(file.key)
                if info is not None and not anew and self._is_good(file, info, renew_before):
                    return False
                return self._send_until_it_is_there(file, new=info is None)
        finally:
            os.close(file.descriptor)

    def _open(self, digest: str, size: int) -> _File:
        path = self._store.path / blob_path(digest)
        try:
            descriptor = self._store.open_blob(digest)
        except FileNotFoundError:
            problem = f"{path} is missing: the model is broken"
            raise BlobMissing(problem, digest=digest, where=str(path)) from None
        if (found := os.fstat(descriptor).st_size) != size:
            os.close(descriptor)
            problem = f"{path} has {found:,} bytes, and its manifest says {size:,}"
            raise DigestMismatch(problem, digest=digest, where=str(path))
        return _File(descriptor, path, digest, size, self._target.blob_key(digest))

    def _is_good(self, file: _File, info: ObjectInfo, renew_before: datetime) -> bool:
        """Whether the bucket has the blob already, proven, and no prune will take it."""
        if info.size != file.size:
            return False
        sums = self._sums(file, "verifying", with_md5=needs_md5(info))
        return proven(info, sums, file.size) and (info.modified >= renew_before or self._renew(info, sums))

    def _send_until_it_is_there(self, file: _File, *, new: bool) -> bool:
        """Send the blob, as often as others get in the way; return whether it was this that made it."""
        where = f"{self._bucket.name}/{file.key}"
        problem: MirrorError = BucketError(f"{where} cannot be written")
        for _ in range(_TRIES):
            self._tracker.restart(file.digest)
            try:
                self._send_once(file, new=new)
            except Conditional:
                info = self._bucket.head(file.key)
                if info is not None and proven(
                    info, self._sums(file, "verifying", with_md5=needs_md5(info)), file.size
                ):
                    return False  # somebody else has sent it meanwhile
                new = info is None
                problem = BucketError(f"{where} is being written by others all the time: try again later")
            except Missing:
                problem = BucketError(f"uploads of {where} are aborted by others: try again later")
            except BucketError as error:
                if error.code not in _OTHER_BYTES:
                    raise
                problem = error
            else:
                return True
        raise problem

    def _sums(self, file: _File, state: State, *, with_md5: bool) -> Sums:
        """Add up the file, and refuse it if it is not the blob."""

        def on_piece(count: int) -> None:
            if self._stopping.is_set():
                raise Over
            if state == "verifying":
                self._tracker.advance(file.digest, count, transferred=False)

        self._tracker.state(file.digest, state)
        part_size = upload_part_size(file.size)
        sums = add_up(file.descriptor, file.size, part_size=part_size, with_md5=with_md5, on_piece=on_piece)
        if sums.digest != file.digest:
            problem = f"{file.path} is {sums.digest}, and its name says {file.digest}"
            raise DigestMismatch(
                f"{problem}: it was not published; import it anew",
                digest=file.digest,
                got=sums.digest,
                where=str(file.path),
            )
        return sums

    def _send_once(self, file: _File, *, new: bool) -> None:
        if file.size > _SINGLE:
            self._send_parts(file, new=new)
            return
        self._sums(file, "uploading", with_md5=False)
        try:
            self._put(file, new=new)
        except Unsupported:  # the condition
            self._put(file, new=False)

    def _put(self, file: _File, *, new: bool) -> None:
        body = self._slice(file, 0, file.size)
        self._bucket.put(file.key, body, file.size, sha256=file.digest.removeprefix("sha256:"), new=new)

    def _slice(self, file: _File, start: int, length: int) -> _Slice:
        return _Slice(file, start, length, tracker=self._tracker, limit=self._limit, stopping=self._stopping)

    def _send_parts(self, file: _File, *, new: bool) -> None:
        part_size = upload_part_size(file.size)
        upload, there = self._unfinished(file, part_size)
        if upload is None:
            upload = self._bucket.begin_upload(file.key, {})
        parts: dict[int, Future[tuple[str, int | None]]] = {}
        for number, start in enumerate(range(0, file.size, part_size), 1):
            part = _Part(number, start, min(part_size, file.size - start), there.get(number))
            parts[number] = self._connections.submit(self._send_part, file, upload, part)
        try:
            sums = self._sums(file, "uploading", with_md5=False)
            wait(parts.values(), return_when=FIRST_EXCEPTION)
            sent = {number: future.result() for number, future in parts.items() if future.done()}
            self._finish(file, upload, sent, sums.crc32, new=new)
        except (DigestMismatch, Conditional):
            self._bucket.abort_upload(file.key, upload)
            raise
        except BucketError as error:
            if (
                error.code in _OTHER_BYTES
            ):  # what an earlier run has sent, perhaps: nothing of it is used again
                self._bucket.abort_upload(file.key, upload)
            raise
        finally:
            for future in parts.values():
                future.cancel()
            wait(parts.values())  # they read from the descriptor, which is closed next

    def _unfinished(
        self, file: _File, part_size: int
    ) -> tuple[str | None, dict[int, tuple[int, str, int | None]]]:
        """Return the youngest upload of this blob that was begun and not finished, and the parts it has."""

        def fits(number: int, length: int) -> bool:
            return length == min(part_size, file.size - (number - 1) * part_size)

        try:
            found = sorted(
                (began, upload) for key, upload, began in self._bucket.uploads(file.key) if key == file.key
            )
            for _, upload in reversed(found):
                parts = self._bucket.parts(file.key, upload)
                if all(fits(number, length) for number, (length, _, _) in parts.items()):
                    return upload, parts
        except (Missing, Unsupported):
            pass  # it was ended meanwhile, or the server lists none
        return None, {}

    def _send_part(self, file: _File, upload: str, part: _Part) -> tuple[str, int | None]:
        """Send a part unless the server has it; return its entity tag and CRC-32."""
        crc, md5, position = 0, hashlib.md5(usedforsecurity=False), part.start
        needs_md5 = part.there is not None and part.there[2] is None
        while position < part.start + part.length:
            if self._stopping.is_set():
                raise Over
            piece = os.pread(file.descriptor, min(_PIECE, part.start + part.length - position), position)
            if not piece:
                raise BlobMissing(f"{file.path} became shorter", digest=file.digest, where=str(file.path))
            crc = zlib.crc32(piece, crc)
            if needs_md5:
                md5.update(piece)
            position += len(piece)
        if part.there is not None:
            _, etag, their_crc = part.there
            if their_crc == crc or (needs_md5 and etag.strip('"') == md5.hexdigest()):
                self._tracker.advance(file.digest, part.length, transferred=False)
                return etag, crc
        body = self._slice(file, part.start, part.length)
        etag = self._bucket.put_part(file.key, upload, part.number, body=body, size=part.length, crc32=crc)
        return etag, crc

    def _finish(
        self, file: _File, upload: str, parts: dict[int, tuple[str, int | None]], crc32: int, *, new: bool
    ) -> None:
        try:
            self._bucket.finish_upload(file.key, upload, parts, size=file.size, crc32=crc32, new=new)
        except Unsupported:  # the condition
            self._bucket.finish_upload(file.key, upload, parts, size=file.size, crc32=crc32, new=False)

    def _renew(self, info: ObjectInfo, sums: Sums) -> bool:
        """Make an object young on the server; return whether it has become so."""
        try:
            if info.size <= _COPY_AT_ONCE:
                self._bucket.renew(info)
            else:
                self._renew_in_parts(info, sums)
        except (Conditional, Missing, Unsupported, BucketError):
            return False  # it is sent again, which makes it young as well
        now = self._bucket.head(info.key)
        return now is not None and now.size == info.size and now.modified > info.modified

    def _renew_in_parts(self, info: ObjectInfo, sums: Sums) -> None:
        upload = self._bucket.begin_upload(info.key, dict(info.metadata))
        parts: dict[int, tuple[str, int | None]] = {}
        for number, start in enumerate(range(0, info.size, _COPY_PART), 1):
            end = min(start + _COPY_PART, info.size)
            etag = self._bucket.copy_part(info.key, upload, number, start=start, end=end, etag=info.etag)
            parts[number] = (etag, None)
        self._bucket.finish_upload(info.key, upload, parts, size=info.size, crc32=sums.crc32, new=False)


class _Part(msgspec.Struct, frozen=True):
    """A part to send: its number from 1, its place, and what the server says to have of it."""

    number: int
    start: int
    length: int
    there: tuple[int, str, int | None] | None


class _Slice:
    """Some bytes of a file as a body to send: read by position, so that parts share a descriptor."""

    def __init__(
        self,
        file: _File,
        start: int,
        length: int,
        *,
        tracker: Tracker,
        limit: RateLimit,
        stopping: threading.Event,
    ) -> None:
        self._file = file
        self._start = start
        self._length = length
        self._position = 0
        self._reached = 0  # of these bytes the progress has been told; a body may be sent more than once
        self._tracker = tracker
        self._limit = limit
        self._stopping = stopping

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes; more than asked for, as every call costs and S3 clients ask for 16 KiB."""
        if self._stopping.is_set():
            raise Over
        left = self._length - self._position
        count = left if count < 0 else min(max(count, _PIECE), left)
        piece = os.pread(self._file.descriptor, count, self._start + self._position)
        self._position += len(piece)
        self._limit.spend(len(piece), self._stopping.wait)
        if self._position > self._reached:
            self._tracker.advance(self._file.digest, self._position - self._reached, transferred=True)
            self._reached = self._position
        return piece

    def seek(self, offset: int, whence: int = 0) -> int:
        """Set the position."""
        self._position = offset + (0, self._position, self._length)[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seekable(self) -> bool:
        """It is."""
        return True

    def __len__(self) -> int:
        return self._length
