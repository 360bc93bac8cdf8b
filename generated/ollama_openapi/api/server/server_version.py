from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.error_response import ErrorResponse
from ...models.version_response import VersionResponse
from ...types import (
    Request,
    Response,
    error_model,
    read_body,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """GET /api/version: Version of the server"""
    path = "/api/version"
    return Request(
        method="GET",
        path=path,
    )


def parse(status_code: int, content: bytes) -> VersionResponse:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))
    return read_body("VersionResponse", content, VersionResponse.from_dict)


def sync_detailed(
    *,
    client: Client,
) -> Response[VersionResponse]:
    """GET /api/version: Version of the server

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
) -> VersionResponse:
    """GET /api/version: Version of the server

    Raises like `parse`.
    """
    return sync_detailed(client=client).parsed
