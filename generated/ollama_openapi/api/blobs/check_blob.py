from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ... import errors
from ...types import (
    Request,
    Response,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request(
    digest: str,
) -> Request:
    """HEAD /api/blobs/{digest}: Does the server have a blob?"""
    path = "/api/blobs/{digest}".format(
        digest=quote(str(digest), safe=""),
    )
    return Request(
        method="HEAD",
        path=path,
    )


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content)


def sync_detailed(
    digest: str,
    *,
    client: Client,
) -> Response[None]:
    """HEAD /api/blobs/{digest}: Does the server have a blob?

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(
        build_request(
            digest=digest,
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
) -> None:
    """HEAD /api/blobs/{digest}: Does the server have a blob?

    Only the existence of the file is looked at, not its content.

    Raises like `parse`.
    """
    sync_detailed(digest=digest, client=client)
