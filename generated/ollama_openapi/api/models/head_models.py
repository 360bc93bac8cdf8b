from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...types import (
    Request,
    Response,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """HEAD /api/tags: Does the list of models answer? (without a body)"""
    path = "/api/tags"
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
    *,
    client: Client,
) -> Response[None]:
    """HEAD /api/tags: Does the list of models answer? (without a body)

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(build_request())
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=None,
    )


def sync(
    *,
    client: Client,
) -> None:
    """HEAD /api/tags: Does the list of models answer? (without a body)

    Raises like `parse`.
    """
    sync_detailed(client=client)
