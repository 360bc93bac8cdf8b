"""HEAD /api/blobs/{digest}: Does the server have a blob?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...types import Request, Response, path_segment

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, digest: str) -> Request:
    """Return the request.

    Raises:
        ValueError: `digest` is empty or dots.
    """
    return Request(method="HEAD", path=f"/api/blobs/{path_segment('digest', digest)}")


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content)


def sync_detailed(*, client: Client, digest: str) -> Response[None]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(digest=digest))
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code, content=answer.content, headers=answer.headers, parsed=None
    )


def sync(*, client: Client, digest: str) -> None:
    """HEAD /api/blobs/{digest}: Does the server have a blob?

        Only the existence of the file is looked at, not its content.

    Raises like `parse`.
    """
    sync_detailed(client=client, digest=digest)
