"""Every error of the mirror, below `OllamaError`, which is the root of all.

    MirrorError
    ├── NameRefused             no name of a model, or one that another differs from in case only
    ├── ManifestRefused         a manifest, or the config it names, that must not be acted upon
    │   └── RemoteModelRefused  a model that sends its prompts to another host
    ├── ModelMissing            no such model in the bucket or the store
    ├── BlobMissing             a model names a blob that is not there
    ├── DigestMismatch          bytes that are not what their name says
    ├── NoSpace                 the disk has no room for it
    ├── StoreRefused            a directory that is no model store, or that cannot be read or written
    ├── SettingRefused          an argument that cannot be right (also a ValueError)
    ├── ExtraMissing            boto3 is not installed
    ├── TransferInterrupted     ended by a `CancelToken`; what is staged is used again
    └── BucketError             the bucket cannot be reached, refuses, or answers with something odd
        ├── BucketUnreachable   no connection, or no whole answer, after all retries
        ├── BucketForbidden     credentials missing, wrong, expired or without the right
        ├── BucketNotFound      no such bucket, or it lies in another region
        ├── ObjectChanged       an object changed while it was read
        └── BucketAnswerRefused an answer that is not what S3 promises

None of them holds a credential, a header or a presigned URL.
"""

from __future__ import annotations

from typing import Any

from ollama_ext.errors import Cancelled, InvalidArgument, OllamaError


class MirrorError(OllamaError):
    """The root of what goes wrong between a bucket, a directory and a model store."""


class NameRefused(MirrorError, InvalidArgument):
    """The name of a model is not valid, or differs from an existing one in upper and lower case only."""


class ManifestRefused(MirrorError):
    """A manifest is not what Ollama would read in only one way, or names something that must not be."""


class RemoteModelRefused(ManifestRefused):
    """The model would send its prompts to another host; ``allow_remote=True`` takes it nevertheless."""


class ModelMissing(MirrorError):
    """The bucket or the store has no such model."""


class BlobMissing(MirrorError):
    """A model names a blob that is not there.

    Attributes:
        digest: The blob, as ``sha256:<hex>``.
        where: The bucket or the directory that lacks it.
    """

    def __init__(self, message: str, *, digest: str = "", where: str = "", **known: Any) -> None:
        """Take the message, the blob and the place."""
        super().__init__(message, **known)
        self.digest = digest
        self.where = where


class DigestMismatch(MirrorError):
    """Bytes are not what their name says; they were not published.

    Attributes:
        digest: What was promised, as ``sha256:<hex>``.
        got: What the bytes are.
        where: The object or file they came from.
    """

    def __init__(
        self, message: str, *, digest: str = "", got: str = "", where: str = "", **known: Any
    ) -> None:
        """Take the message, both digests and the place."""
        super().__init__(message, **known)
        self.digest = digest
        self.got = got
        self.where = where


class NoSpace(MirrorError):
    """The file system has no room, or a quota allows none.

    Attributes:
        needed: Bytes that are still to be written, or None where the operating system refused a write.
        free: Bytes that are free for this user.
        reserve: Bytes that are to be left free.
    """

    def __init__(
        self, message: str, *, needed: int | None = None, free: int = 0, reserve: int = 0, **known: Any
    ) -> None:
        """Take the message and the numbers."""
        super().__init__(message, **known)
        self.needed = needed
        self.free = free
        self.reserve = reserve


class StoreRefused(MirrorError):
    """The directory is no model store, is not to be trusted, or cannot be read or written."""


class SettingRefused(MirrorError, InvalidArgument):
    """An argument cannot be right; nothing was sent and nothing written."""


class ExtraMissing(MirrorError):
    """What is needed for a bucket is not installed; the message says what to type."""


class TransferInterrupted(MirrorError, Cancelled):
    """A `CancelToken` ended the transfer; the next one goes on where this one stopped."""


class BucketError(MirrorError):
    """The bucket did not do what was asked.

    Attributes:
        code: The error code of S3, such as ``SlowDown``, or empty.
    """

    def __init__(self, message: str, *, code: str = "", **known: Any) -> None:
        """Take the message and S3's code."""
        super().__init__(message, **known)
        self.code = code


class BucketUnreachable(BucketError):
    """No connection to the bucket, or none that lasted; what was transferred is kept."""

    retryable = True


class BucketForbidden(BucketError):
    """The credentials are missing, wrong, expired, or lack the right."""


class BucketNotFound(BucketError):
    """There is no such bucket, or it lies in another region."""


class ObjectChanged(BucketError):
    """An object was replaced while it was read."""

    retryable = True


class BucketAnswerRefused(BucketError):
    """An answer is not what S3 promises: another range than asked for, an encoding, a page that repeats."""
