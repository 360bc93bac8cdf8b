from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ... import errors
from ...models.error_response import ErrorResponse
from ...types import (
    File,
    Request,
    Response,
    error_model,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request(
    digest: str,
    *,
    body: File,
) -> Request:
    """POST /api/blobs/{digest}: Upload a blob"""
    path = "/api/blobs/{digest}".format(
        digest=quote(str(digest), safe=""),
    )
    return Request(
        method="POST",
        path=path,
        headers={
            "Content-Type": "application/octet-stream",
        },
        content=body.payload,
    )


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))


def sync_detailed(
    digest: str,
    *,
    client: Client,
    body: File,
) -> Response[None]:
    """POST /api/blobs/{digest}: Upload a blob

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(
        build_request(
            digest=digest,
            body=body,
        )
    )
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=None,
    )


def sync(
    digest: str,
    *,
    client: Client,
    body: File,
) -> None:
    """POST /api/blobs/{digest}: Upload a blob

    The server hashes what it receives. Where the hash differs from the path it answers 400 and keeps
    the bytes under their true digest. A blob that exists already is answered at once, the body unread,
    so ask with HEAD first.

    Raises like `parse`.
    """
    sync_detailed(digest=digest, body=body, client=client)
