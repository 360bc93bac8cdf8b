from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.copy_request import CopyRequest
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
    body: CopyRequest,
) -> Request:
    """POST /api/copy: Give a model a second name"""
    path = "/api/copy"
    return Request(
        method="POST",
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
    body: CopyRequest,
) -> Response[None]:
    """POST /api/copy: Give a model a second name

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
    body: CopyRequest,
) -> None:
    """POST /api/copy: Give a model a second name

    A model that has the new name already is replaced without a question.

    Raises like `parse`.
    """
    sync_detailed(body=body, client=client)
