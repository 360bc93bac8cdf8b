"""POST /api/embeddings: Embedding vector of one text (older form of /api/embed)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.embedding_request import EmbeddingRequest
from ...models.embedding_response import EmbeddingResponse
from ...models.error_response import ErrorResponse
from ...reading import error_model, read_body
from ...types import Request, Response, encode_json

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, body: EmbeddingRequest) -> Request:
    """Return the request.

    Raises:
        ValueError: The body holds what JSON cannot, such as NaN.
    """
    return Request(
        method="POST",
        path="/api/embeddings",
        headers={"Content-Type": "application/json"},
        content=encode_json(body.to_dict()),
    )


def parse(status_code: int, content: bytes) -> EmbeddingResponse:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
        InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))
    return read_body("EmbeddingResponse", content, EmbeddingResponse.from_dict)


def sync_detailed(*, client: Client, body: EmbeddingRequest) -> Response[EmbeddingResponse]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(body=body))
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(*, client: Client, body: EmbeddingRequest) -> EmbeddingResponse:
    """POST /api/embeddings: Embedding vector of one text (older form of /api/embed)

        The model's name must be spelled in the case it was created with.

    Raises like `parse`.
    """
    return sync_detailed(client=client, body=body).parsed
