"""What botocore would send: recorded, and answered without a network or passed on."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import SplitResult, parse_qs, urlsplit
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Sent:
    """A request that botocore has signed.

    Attributes:
        method: Such as ``GET``.
        url: In its parts.
        headers: By their names in lower case.
    """

    method: str
    url: SplitResult
    headers: Mapping[str, str]

    @property
    def query(self) -> dict[str, str]:
        """The query, each key once."""
        return {key: values[0] for key, values in parse_qs(self.url.query, keep_blank_values=True).items()}


@dataclass(frozen=True)
class Answer:
    """What S3 would answer."""

    status: int = 200
    body: bytes = b""


class _Body:
    """Just enough of urllib3's answer."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


@contextmanager
def wire(answer: Callable[[Sent], Answer] | None = None) -> Generator[list[Sent]]:
    """Record the requests of the block; without ``answer`` they go where they are meant to go."""
    sent: list[Sent] = []
    real: Any = URLLib3Session.send

    def send(session: URLLib3Session, request: Any) -> Any:
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            headers[name.lower()] = value.decode() if isinstance(value, bytes) else str(value)
        sent.append(Sent(request.method, urlsplit(request.url), headers))
        if answer is None:
            return real(session, request)
        told = answer(sent[-1])
        about: Any = {"Content-Type": "application/xml", "Content-Length": str(len(told.body))}
        body: Any = _Body(told.body)
        return AWSResponse(request.url, told.status, about, body)

    with mock.patch.object(URLLib3Session, "send", send):
        yield sent


def page(keys: Sequence[str], following: str | None = None) -> Answer:
    """Return one page of a listing."""
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>10</Size><ETag>&quot;x&quot;</ETag>"
        "<LastModified>2026-11-25T00:00:00Z</LastModified></Contents>"
        for key in keys
    )
    more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    truncated = str(following is not None).lower()
    body = (
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{truncated}</IsTruncated>{contents}{more}</ListBucketResult>"
    )
    return Answer(body=body.encode())
