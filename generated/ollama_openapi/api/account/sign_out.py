from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.error_response import ErrorResponse
from ...types import (
    Request,
    Response,
    error_model,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """POST /api/signout: Sign the server out of its account"""
    path = "/api/signout"
    return Request(
        method="POST",
        path=path,
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
    *,
    client: Client,
) -> Response[None]:
    """POST /api/signout: Sign the server out of its account

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
    """POST /api/signout: Sign the server out of its account

    Since 0.12.1.

    Raises like `parse`.
    """
    sync_detailed(client=client)
