"""POST /api/blobs/{digest}: Upload a blob."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.error_response import ErrorResponse
from ...reading import error_model
from ...types import File, Request, Response, path_segment

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, digest: str, body: File) -> Request:
    """Return the request.

    Raises:
        ValueError: `digest` is empty or dots.
    """
    return Request(
        method="POST",
        path=f"/api/blobs/{path_segment('digest', digest)}",
        headers={"Content-Type": "application/octet-stream"},
        content=body.payload,
    )


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))


def sync_detailed(*, client: Client, digest: str, body: File) -> Response[None]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(digest=digest, body=body))
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code, content=answer.content, headers=answer.headers, parsed=None
    )


def sync(*, client: Client, digest: str, body: File) -> None:
    """POST /api/blobs/{digest}: Upload a blob.

        The server hashes what it receives. Where the hash differs from the path it answers 400 and keeps
        the bytes under their true digest. A blob that exists already is answered at once, the body unread,
        so ask with HEAD first.

    Raises like `parse`.
    """
    sync_detailed(client=client, digest=digest, body=body)
