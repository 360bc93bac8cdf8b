from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.embedding_request import EmbeddingRequest
from ...models.embedding_response import EmbeddingResponse
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
    body: EmbeddingRequest,
) -> Request:
    """POST /api/embeddings: Embedding vector of one text (older form of /api/embed)"""
    path = "/api/embeddings"
    return Request(
        method="POST",
        path=path,
        headers={
            "Content-Type": "application/json",
        },
        content=encode_json(body.to_dict()),
    )


def parse(status_code: int, content: bytes) -> EmbeddingResponse:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))
    return read_body("EmbeddingResponse", content, EmbeddingResponse.from_dict)


def sync_detailed(
    *,
    client: Client,
    body: EmbeddingRequest,
) -> Response[EmbeddingResponse]:
    """POST /api/embeddings: Embedding vector of one text (older form of /api/embed)

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
    body: EmbeddingRequest,
) -> EmbeddingResponse:
    """POST /api/embeddings: Embedding vector of one text (older form of /api/embed)

    The model's name must be spelled in the case it was created with.

    Raises like `parse`.
    """
    return sync_detailed(body=body, client=client).parsed
