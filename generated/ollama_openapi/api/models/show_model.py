"""POST /api/show: Everything the server tells about one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.error_response import ErrorResponse
from ...models.show_request import ShowRequest
from ...models.show_response import ShowResponse
from ...reading import error_model, read_body
from ...types import Request, Response, encode_json

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, body: ShowRequest) -> Request:
    """Return the request.

    Raises:
        ValueError: The body holds what JSON cannot, such as NaN.
    """
    return Request(
        method="POST",
        path="/api/show",
        headers={"Content-Type": "application/json"},
        content=encode_json(body.to_dict()),
    )


def parse(status_code: int, content: bytes) -> ShowResponse:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
        InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))
    return read_body("ShowResponse", content, ShowResponse.from_dict)


def sync_detailed(*, client: Client, body: ShowRequest) -> Response[ShowResponse]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(body=body))
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(*, client: Client, body: ShowRequest) -> ShowResponse:
    """POST /api/show: Everything the server tells about one model.

    Raises like `parse`.
    """
    return sync_detailed(client=client, body=body).parsed
