"""POST /api/signout: Sign the server out of its account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.error_response import ErrorResponse
from ...reading import error_model
from ...types import Request, Response

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """Return the request."""
    return Request(method="POST", path="/api/signout")


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))


def sync_detailed(*, client: Client) -> Response[None]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request())
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code, content=answer.content, headers=answer.headers, parsed=None
    )


def sync(*, client: Client) -> None:
    """POST /api/signout: Sign the server out of its account.

        Since 0.12.1.

    Raises like `parse`.
    """
    sync_detailed(client=client)
