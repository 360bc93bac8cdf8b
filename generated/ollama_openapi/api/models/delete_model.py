from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.delete_request import DeleteRequest
from ...models.error_response import ErrorResponse
from ...types import (
    Request,
    Response,
    encode_json,
    error_model,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request(
    *,
    body: DeleteRequest,
) -> Request:
    """DELETE /api/delete: Delete a model"""
    path = "/api/delete"
    return Request(
        method="DELETE",
        path=path,
        headers={
            "Content-Type": "application/json",
        },
        content=encode_json(body.to_dict()),
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
    body: DeleteRequest,
) -> Response[None]:
    """DELETE /api/delete: Delete a model

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(
        build_request(
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
    *,
    client: Client,
    body: DeleteRequest,
) -> None:
    """DELETE /api/delete: Delete a model

    The name stands in the body. A loaded model stays in memory until it expires and can no longer be
    unloaded by name, so unload it first.

    Raises like `parse`.
    """
    sync_detailed(body=body, client=client)
