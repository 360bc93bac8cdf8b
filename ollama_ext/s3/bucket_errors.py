"""What botocore and urllib3 raise, as errors of ours: none of theirs gets out, and no secret with it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from .errors import (
    BucketAnswerRefused,
    BucketError,
    BucketForbidden,
    BucketNotFound,
    BucketUnreachable,
    MirrorError,
    SettingRefused,
)

if TYPE_CHECKING:
    from collections.abc import Generator

# What S3's codes, or else the HTTP statuses, mean to us.
_CODES: Final = {
    "missing": ("NoSuchKey", "NotFound", "NoSuchVersion", "NoSuchUpload"),
    "conditional": ("PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"),
    "no bucket": ("NoSuchBucket",),
    "elsewhere": ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    "forbidden": (
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "RequestTimeTooSkewed",
        "AllAccessDisabled",
        "AccountProblem",
        "Forbidden",
    ),
    "unsupported": ("NotImplemented",),
    "temporary": ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"),
}
_KIND_OF_CODE: Final = {code: kind for kind, codes in _CODES.items() for code in codes}
_KIND_OF_STATUS: Final = {
    301: "elsewhere",
    401: "forbidden",
    403: "forbidden",
    404: "missing",
    409: "conditional",
    412: "conditional",
    429: "temporary",
    501: "unsupported",
}
_HINTS: Final = {
    "RequestTimeTooSkewed": "set the clock of this machine",
    "ExpiredToken": "get new credentials",
    "SignatureDoesNotMatch": "check the secret key, and that no proxy changes the requests",
    "InvalidAccessKeyId": "check the access key",
    "AccessDenied": "allow s3:GetObject, s3:PutObject and s3:ListBucket there (without s3:ListBucket a key "
    "that is missing looks like this too)",
}
_NO_CREDENTIALS: Final = (
    "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or pass credentials= "
    "(anonymous=True for a public bucket)"
)
# What botocore raises where a size is no number, a time no time, or one of them missing.
_UNEXPECTED: Final = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
_LONGEST: Final = 300
_SERVER_ERRORS: Final = 500


class Missing(BucketError):
    """The key is not there: what that means, the caller knows."""


class Conditional(BucketError):
    """A condition of a write does not hold: there is an object already, or another is being written."""


class Unsupported(BucketError):
    """The server does not know what was asked for."""


@contextlib.contextmanager
def translated(what: str) -> Generator[None]:
    """Turn whatever botocore and urllib3 raise into errors of ours.

    Args:
        what: What it is about, for messages: ``s3://bucket/key`` and the like.

    Raises:
        BucketError: What went wrong.
        Missing: There is no such key.
        Conditional: The condition of a write does not hold.
        Unsupported: The server does not do this.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - needs the extra
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it

    try:
        yield
    except MirrorError:  # one that is a ValueError as well
        raise
    except (ClientError, BotoCoreError, HTTPError, OSError, RecursionError, *_UNEXPECTED) as error:
        # No local name for ours: it would be in the frames that it holds, and these hold the connection.
        raise _translation(what, error) from None


def _translation(what: str, error: Exception) -> Exception:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - needs the extra
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it

    error.__traceback__ = None  # its frames hold the request, with the keys that signed it
    if isinstance(error, ClientError):
        refusal = _refusal(what, error.response)
        vars(error)["response"] = {}  # it may quote the request, session token and all
        return refusal
    if isinstance(error, BotoCoreError):
        return _failure(what, error)
    if isinstance(error, HTTPError | OSError):
        return BucketUnreachable(f"{what}: the connection failed: {_short(error)}")
    if isinstance(error, RecursionError):
        return _astray(what)
    problem = f"it lacks {error}" if isinstance(error, LookupError) else _short(error)
    return BucketAnswerRefused(f"{what}: the answer is not S3's: {problem}; check the endpoint")


def _refusal(what: str, response: Any) -> Exception:
    error, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(about.get("HTTPStatusCode", 0))
    words = f"{what}: S3 answers {code or status}: {_short(error.get('Message') or 'no reason given')}"
    known: dict[str, Any] = {"code": code, "status": status}
    otherwise = "temporary" if status >= _SERVER_ERRORS else "other"
    kind = _KIND_OF_CODE.get(code) or _KIND_OF_STATUS.get(status, otherwise)
    match kind:
        case "missing":
            translation: Exception = Missing(words, **known)
        case "conditional":
            translation = Conditional(words, **known)
        case "unsupported":
            translation = Unsupported(words, **known)
        case "no bucket":
            translation = BucketNotFound(f"{words}; check the name of the bucket and the endpoint", **known)
        case "elsewhere":
            region = about.get("HTTPHeaders", {}).get("x-amz-bucket-region") or error.get("Region")
            hint = (
                f"set region={region!r:.40}" if region else "set the region of the bucket, and its endpoint"
            )
            translation = BucketNotFound(f"{words}; the bucket lies elsewhere: {hint}", **known)
        case "forbidden":
            hint = _HINTS.get(
                "AccessDenied" if code.isdecimal() else code, "check the credentials and their rights"
            )
            translation = BucketForbidden(f"{words}; {hint}", **known)
        case "temporary":
            translation = BucketUnreachable(words, **known)
        case _:
            translation = BucketError(words, **known)
    return translation


def _astray(what: str) -> BucketNotFound:
    # Without x-amz-bucket-region botocore asks for the region, is redirected again, and asks again.
    return BucketNotFound(f"{what}: the server redirects, and does not say where to; check the endpoint")


def _failure(what: str, error: Exception) -> MirrorError:
    from botocore import exceptions as theirs  # noqa: PLC0415 - needs the extra
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    if isinstance(error, theirs.HTTPClientError) and isinstance(error.kwargs.get("error"), RecursionError):
        return _astray(what)
    if isinstance(
        error,
        theirs.ParamValidationError | theirs.InvalidRegionError | theirs.UnsupportedSignatureVersionError,
    ):
        return SettingRefused(f"{what}: {_short(error)}")
    credentials = (
        theirs.NoCredentialsError,
        theirs.PartialCredentialsError,
        theirs.CredentialRetrievalError,
        theirs.ProfileNotFound,
        theirs.NoAuthTokenError,
        theirs.TokenRetrievalError,
        theirs.SSOError,
    )
    if isinstance(error, credentials):
        return BucketForbidden(f"{what}: {_short(error)}{_NO_CREDENTIALS}")
    if isinstance(error, theirs.SSLError):
        return BucketUnreachable(
            f"{what}: the certificate or the TLS of the server is not good: {_short(error)}; a private "
            "authority is named with ca_bundle= (--ca-bundle) or AWS_CA_BUNDLE"
        )
    if isinstance(error, ResponseParserError):
        return BucketAnswerRefused(f"{what}: the answer is not S3's: {_short(error)}; check the endpoint")
    return BucketUnreachable(f"{what}: {_short(error)}")


def _short(words: object) -> str:
    text = " ".join(str(words).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
