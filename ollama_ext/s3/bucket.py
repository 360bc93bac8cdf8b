"""The S3 operations that a mirror needs, on one bucket.

What comes out is checked: ranges are those that were asked for, pages do not repeat, sizes are sizes.
"""

from __future__ import annotations

import base64
import contextlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from .bucket_body import BodyReader, check_encoding, check_range
from .bucket_client import Access, make_client
from .bucket_errors import Conditional, Missing, translated
from .bucket_objects import ObjectInfo, bare, decoded, encoded, number
from .errors import (
    BucketAnswerRefused,
    BucketError,
    BucketNotFound,
    BucketUnreachable,
    ObjectChanged,
    SettingRefused,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from datetime import datetime

    from types_boto3_s3.client import S3Client

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", re.ASCII)
_PAGES: Final = 100_000
_READ_TRIES: Final = 5


class Bucket:
    """One bucket. For any number of threads.

    Attributes:
        bucket: Its name.
        name: What to call it in messages.
    """

    def __init__(self, bucket: str, access: Access | None = None) -> None:
        """Make a client; nothing is sent.

        Raises:
            ExtraMissing: boto3 is not installed.
            SettingRefused: A setting cannot be right.
            BucketForbidden: There is no such profile.
        """
        if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
            raise SettingRefused(f"bucket {bucket!r:.100} is not the name of a bucket", argument="bucket")
        access = access or Access()
        self.bucket = bucket
        self.name: str = f"s3://{bucket}"
        self._owner: dict[str, Any] = (
            {"ExpectedBucketOwner": access.expected_owner} if access.expected_owner else {}
        )
        self._client: S3Client = make_client(access, self.name)

    def __repr__(self) -> str:
        """Show the name only: the client knows secrets."""
        return f"<Bucket {self.bucket}>"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    # Reading.

    @contextmanager
    def open_range(
        self, key: str, size: int, start: int, end: int, version: str | None
    ) -> Generator[BodyReader]:
        """Open the bytes from ``start`` up to ``end`` of an object that must have ``size`` bytes.

        Raises:
            Missing: There is no such object.
            ObjectChanged: It is no longer the version that was asked for.
            BucketAnswerRefused: It has another size, or the answer is not the range that was asked for.
            BucketError: It cannot be read.
        """
        what = f"{self.name}/{key}"
        condition: dict[str, Any] = {"IfMatch": version} if version else {}
        try:
            with translated(what):
                answer = self._client.get_object(
                    Bucket=self.bucket, Key=key, Range=f"bytes={start}-{end - 1}", **condition, **self._owner
                )
        except Conditional:
            raise ObjectChanged(f"{what} changed while it was read") from None
        except BucketError as error:
            if error.code != "InvalidRange":
                raise
            problem = f"{what} has no byte {start:,}, and its manifest says {size:,}: publish it anew"
            raise BucketAnswerRefused(problem, code=error.code, status=error.status) from None
        reader = BodyReader(answer["Body"], what, answer.get("ETag"))
        try:
            check_range(answer["ResponseMetadata"], what, start, end, size)
            yield reader
        finally:
            reader.close()

    def read(self, key: str, most: int) -> bytes:
        """Return an object, but no more than one byte more than ``most``.

        Raises:
            Missing: There is no such object.
            BucketError: It cannot be read.
        """
        for _ in range(_READ_TRIES - 1):
            with contextlib.suppress(BucketUnreachable):  # botocore itself retries the head only
                return self._read_once(key, most)
        return self._read_once(key, most)

    def _read_once(self, key: str, most: int) -> bytes:
        what = f"{self.name}/{key}"
        with translated(what):
            answer = self._client.get_object(Bucket=self.bucket, Key=key, **self._owner)
        reader = BodyReader(answer["Body"], what, answer.get("ETag"))
        content = bytearray()
        try:
            check_encoding(answer["ResponseMetadata"], what)
            while len(content) <= most and (piece := reader.read()):
                content += piece
        finally:
            reader.close()
        told = answer.get("ContentLength", 0)
        if len(content) < min(told, most):
            problem = f"the connection ended after {len(content):,} of {told:,} bytes"
            raise BucketUnreachable(f"{what}: {problem}")
        return bytes(content[: most + 1])

    def head(self, key: str) -> ObjectInfo | None:
        """Return what S3 says of an object, with the checksums it has proven; None without one."""
        try:
            with translated(f"{self.name}/{key}"):
                answer: Any = self._client.head_object(
                    Bucket=self.bucket, Key=key, ChecksumMode="ENABLED", **self._owner
                )
                whole = answer.get("ChecksumType") != "COMPOSITE"
                return ObjectInfo(
                    key=key,
                    size=answer["ContentLength"],
                    etag=bare(answer.get("ETag")),
                    modified=answer["LastModified"],
                    sha256=decoded(answer.get("ChecksumSHA256")).hex() if whole else "",
                    crc32=number(answer.get("ChecksumCRC32")) if whole else None,
                    metadata=tuple(sorted((answer.get("Metadata") or {}).items())),
                )
        except Missing:
            return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects whose keys begin so, in pages of 1,000.

        Raises:
            BucketAnswerRefused: The server repeats a page, for ever.
            BucketError: They cannot be listed.
        """
        token: dict[str, Any] = {}
        seen: set[str] = set()
        while True:
            try:
                with translated(f"{self.name}/{prefix}"):
                    page: Any = self._client.list_objects_v2(
                        Bucket=self.bucket, Prefix=prefix, **token, **self._owner
                    )
                    found = [
                        ObjectInfo(
                            key=entry["Key"],
                            size=entry["Size"],
                            etag=bare(entry.get("ETag")),
                            modified=entry["LastModified"],
                        )
                        for entry in page.get("Contents") or ()
                    ]
            except Missing as error:  # of the bucket itself, or of an S3 server
                problem = f"{error}; check the name of the bucket and the endpoint"
                raise BucketNotFound(problem, code=error.code, status=error.status) from None
            if "IsTruncated" not in page:  # some other XML, such as the page of a portal, is no empty bucket
                problem = "the answer is not the listing of a bucket; check the endpoint"
                raise BucketAnswerRefused(f"{self.name}/{prefix}: {problem}")
            yield from found
            if not page["IsTruncated"]:
                return
            following = page.get("NextContinuationToken")
            if not following or following in seen or len(seen) > _PAGES:
                problem = "the listing never ends: the server gives the same page again"
                raise BucketAnswerRefused(f"{self.name}/{prefix}: {problem}")
            seen.add(following)
            token = {"ContinuationToken": following}

    # Writing.

    def put(
        self, key: str, body: Any, size: int, *, sha256: str = "", new: bool = False, media_type: str = ""
    ) -> str:
        """Write an object with one request; return its entity tag.

        Args:
            key: Its key.
            body: Bytes, or something to read and seek in.
            size: Bytes.
            sha256: What the server is to find, in hexadecimal digits; it refuses other bytes.
            new: Whether there must be none yet.
            media_type: What it is.

        Raises:
            Conditional: There is one.
            Unsupported: The server knows no such condition.
            BucketError: It cannot be written.
        """
        more: dict[str, Any] = dict(self._owner)
        if sha256:
            more |= {
                "ChecksumAlgorithm": "SHA256",
                "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
            }
        if new:
            more["IfNoneMatch"] = "*"
        if media_type:
            more["ContentType"] = media_type
        with translated(f"{self.name}/{key}"):
            answer = self._client.put_object(
                Bucket=self.bucket, Key=key, Body=body, ContentLength=size, **more
            )
        return bare(answer.get("ETag"))

    def begin_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        """Begin an upload in parts, to be proven by the CRC-32 of the whole; return its identifier."""
        with translated(f"{self.name}/{key}"):
            return self._client.create_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                Metadata=dict(metadata),
                ChecksumAlgorithm="CRC32",
                ChecksumType="FULL_OBJECT",
                **self._owner,
            )["UploadId"]

    def put_part(self, key: str, upload: str, number: int, *, body: Any, size: int, crc32: int) -> str:
        """Send one part, numbered from 1; return its entity tag.

        Raises:
            Missing: There is no such upload any more.
            BucketError: It cannot be sent.
        """
        with translated(f"{self.name}/{key} part {number}"):
            return self._client.upload_part(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=body,
                ContentLength=size,
                ChecksumCRC32=encoded(crc32),
                **self._owner,
            )["ETag"]

    def finish_upload(
        self,
        key: str,
        upload: str,
        parts: Mapping[int, tuple[str, int | None]],
        *,
        size: int,
        crc32: int,
        new: bool,
    ) -> None:
        """Make an object of the parts: of each its number, its entity tag, and its CRC-32 if known.

        Raises:
            Conditional: There is an object, and it must be new.
            Unsupported: The server knows no such condition.
            Missing: There is no such upload any more.
            BucketError: It is refused, because the server holds other bytes, for one.
        """
        more: dict[str, Any] = {"IfNoneMatch": "*"} if new else {}
        listed: Any = [
            {"PartNumber": number, "ETag": etag}
            | ({} if part_crc is None else {"ChecksumCRC32": encoded(part_crc)})
            for number, (etag, part_crc) in sorted(parts.items())
        ]
        with translated(f"{self.name}/{key}"):
            self._client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": listed},
                MpuObjectSize=size,
                ChecksumType="FULL_OBJECT",
                ChecksumCRC32=encoded(crc32),
                **more,
                **self._owner,
            )

    def abort_upload(self, key: str, upload: str) -> None:
        """End an upload and have its parts removed; it is no failure if there is none."""
        try:
            with translated(f"{self.name}/{key}"):
                self._client.abort_multipart_upload(
                    Bucket=self.bucket, Key=key, UploadId=upload, **self._owner
                )
        except Missing:
            pass

    def uploads(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """Yield the uploads that are not finished: key, identifier, and when each began."""
        with translated(f"{self.name}/{prefix}"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=prefix, **self._owner
            )
            for page in pages:
                uploads: list[Any] = list(page.get("Uploads") or ())
                for entry in uploads:
                    yield entry["Key"], entry["UploadId"], entry["Initiated"]

    def parts(self, key: str, upload: str) -> dict[int, tuple[int, str, int | None]]:
        """Return the parts that the server has of an upload: of each its size, tag, and CRC-32 if told.

        Raises:
            Missing: There is no such upload any more.
        """
        found: dict[int, tuple[int, str, int | None]] = {}
        with translated(f"{self.name}/{key}"):
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self.bucket, Key=key, UploadId=upload, **self._owner
            )
            for page in pages:
                parts: list[Any] = list(page.get("Parts") or ())
                for part in parts:
                    crc32 = number(part.get("ChecksumCRC32"))
                    found[part["PartNumber"]] = (part["Size"], part["ETag"], crc32)
        return found

    def renew(self, info: ObjectInfo) -> None:
        """Have the server copy an object onto itself, which makes it young.

        Raises:
            Unsupported: The server does not do this.
            BucketError: It refuses.
        """
        with translated(f"{self.name}/{info.key}"):
            self._client.copy_object(
                Bucket=self.bucket,
                Key=info.key,
                CopySource={"Bucket": self.bucket, "Key": info.key},
                CopySourceIfMatch=info.etag,
                Metadata=dict(info.metadata),
                MetadataDirective="REPLACE",
                **self._owner,
            )

    def copy_part(self, key: str, upload: str, number: int, *, start: int, end: int, etag: str) -> str:
        """Have the server copy bytes of an object as a part of an upload of the same key; return the tag."""
        with translated(f"{self.name}/{key} part {number}"):
            answer: Any = self._client.upload_part_copy(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySource={"Bucket": self.bucket, "Key": key},
                CopySourceRange=f"bytes={start}-{end - 1}",
                CopySourceIfMatch=etag,
                **self._owner,
            )
        return bare(answer["CopyPartResult"]["ETag"])

    def delete(self, key: str) -> None:
        """Remove an object; it is no failure if there is none.

        Raises:
            BucketError: It cannot be removed.
        """
        with translated(f"{self.name}/{key}"):
            self._client.delete_object(Bucket=self.bucket, Key=key, **self._owner)
