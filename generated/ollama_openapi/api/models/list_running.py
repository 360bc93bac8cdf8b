from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.error_response import ErrorResponse
from ...models.process_response import ProcessResponse
from ...types import (
    Request,
    Response,
    error_model,
    read_body,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """GET /api/ps: Models that are loaded in memory"""
    path = "/api/ps"
    return Request(
        method="GET",
        path=path,
    )


def parse(status_code: int, content: bytes) -> ProcessResponse:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))
    return read_body("ProcessResponse", content, ProcessResponse.from_dict)


def sync_detailed(
    *,
    client: Client,
) -> Response[ProcessResponse]:
    """GET /api/ps: Models that are loaded in memory

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
) -> ProcessResponse:
    """GET /api/ps: Models that are loaded in memory

    Names that share their weights share one entry. A model that was deleted while loaded stays listed
    until it expires.

    Raises like `parse`.
    """
    return sync_detailed(client=client).parsed
