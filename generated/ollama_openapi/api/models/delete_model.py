"""DELETE /api/delete: Delete a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.delete_request import DeleteRequest
from ...models.error_response import ErrorResponse
from ...reading import error_model
from ...types import Request, Response, encode_json

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, body: DeleteRequest) -> Request:
    """Return the request.

    Raises:
        ValueError: The body holds what JSON cannot, such as NaN.
    """
    return Request(
        method="DELETE",
        path="/api/delete",
        headers={"Content-Type": "application/json"},
        content=encode_json(body.to_dict()),
    )


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))


def sync_detailed(*, client: Client, body: DeleteRequest) -> Response[None]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(body=body))
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code, content=answer.content, headers=answer.headers, parsed=None
    )


def sync(*, client: Client, body: DeleteRequest) -> None:
    """DELETE /api/delete: Delete a model.

        The name stands in the body. A loaded model stays in memory until it expires and can no longer be
        unloaded by name, so unload it first.

    Raises like `parse`.
    """
    sync_detailed(client=client, body=body)
