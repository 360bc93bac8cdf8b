from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.error_response import ErrorResponse
from ...models.status_response import StatusResponse
from ...types import (
    Request,
    Response,
    error_model,
    read_body,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """GET /api/status: Cloud policy of the server"""
    path = "/api/status"
    return Request(
        method="GET",
        path=path,
    )


def parse(status_code: int, content: bytes) -> StatusResponse:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))
    return read_body("StatusResponse", content, StatusResponse.from_dict)


def sync_detailed(
    *,
    client: Client,
) -> Response[StatusResponse]:
    """GET /api/status: Cloud policy of the server

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(build_request())
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(
    *,
    client: Client,
) -> StatusResponse:
    """GET /api/status: Cloud policy of the server

    Since 0.16.2; older servers answer 404 as plain text.

    Raises like `parse`.
    """
    return sync_detailed(client=client).parsed
