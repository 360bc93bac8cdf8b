"""GET /api/experimental/model-recommendations: Models that Ollama suggests to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.error_response import ErrorResponse
from ...models.model_recommendations_response import ModelRecommendationsResponse
from ...reading import error_model, read_body
from ...types import Request, Response

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """Return the request."""
    return Request(method="GET", path="/api/experimental/model-recommendations")


def parse(status_code: int, content: bytes) -> ModelRecommendationsResponse:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
        InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))
    return read_body("ModelRecommendationsResponse", content, ModelRecommendationsResponse.from_dict)


def sync_detailed(*, client: Client) -> Response[ModelRecommendationsResponse]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request())
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(*, client: Client) -> ModelRecommendationsResponse:
    """GET /api/experimental/model-recommendations: Models that Ollama suggests to use.

        Experimental, since 0.22.1. The server keeps the list from ollama.com for a while.

    Raises like `parse`.
    """
    return sync_detailed(client=client).parsed
