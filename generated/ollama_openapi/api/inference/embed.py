"""POST /api/embed: Embedding vectors of one or more texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.embed_request import EmbedRequest
from ...models.embed_response import EmbedResponse
from ...models.error_response import ErrorResponse
from ...reading import error_model, read_body
from ...types import Request, Response, encode_json

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, body: EmbedRequest) -> Request:
    """Return the request.

    Raises:
        ValueError: The body holds what JSON cannot, such as NaN.
    """
    return Request(
        method="POST",
        path="/api/embed",
        headers={"Content-Type": "application/json"},
        content=encode_json(body.to_dict()),
    )


def parse(status_code: int, content: bytes) -> EmbedResponse:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
        InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))
    return read_body("EmbedResponse", content, EmbedResponse.from_dict)


def sync_detailed(*, client: Client, body: EmbedRequest) -> Response[EmbedResponse]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(body=body))
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(*, client: Client, body: EmbedRequest) -> EmbedResponse:
    """POST /api/embed: Embedding vectors of one or more texts.

        Any model answers, whether or not it is made for embeddings. Most failures of the runner have status
        400, so a 400 need not be the caller's fault.

    Raises like `parse`.
    """
    return sync_detailed(client=client, body=body).parsed
