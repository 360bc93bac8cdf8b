from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.embed_request import EmbedRequest
from ...models.embed_response import EmbedResponse
from ...models.error_response import ErrorResponse
from ...types import (
    Request,
    Response,
    encode_json,
    error_model,
    read_body,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request(
    *,
    body: EmbedRequest,
) -> Request:
    """POST /api/embed: Embedding vectors of one or more texts"""
    path = "/api/embed"
    return Request(
        method="POST",
        path=path,
        headers={
            "Content-Type": "application/json",
        },
        content=encode_json(body.to_dict()),
    )


def parse(status_code: int, content: bytes) -> EmbedResponse:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))
    return read_body("EmbedResponse", content, EmbedResponse.from_dict)


def sync_detailed(
    *,
    client: Client,
    body: EmbedRequest,
) -> Response[EmbedResponse]:
    """POST /api/embed: Embedding vectors of one or more texts

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(
        build_request(
            body=body,
        )
    )
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(
    *,
    client: Client,
    body: EmbedRequest,
) -> EmbedResponse:
    """POST /api/embed: Embedding vectors of one or more texts

    Any model answers, whether or not it is made for embeddings. Most failures of the runner have status
    400, so a 400 need not be the caller's fault.

    Raises like `parse`.
    """
    return sync_detailed(body=body, client=client).parsed
