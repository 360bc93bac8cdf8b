"""DELETE /api/user/keys/{encoded_key}: Sign the server out of its account (older form of /api/signout)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.error_response import ErrorResponse
from ...reading import error_model
from ...types import Request, Response, path_segment

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, encoded_key: str) -> Request:
    """Return the request.

    Raises:
        ValueError: `encoded_key` is empty or dots.
    """
    return Request(method="DELETE", path=f"/api/user/keys/{path_segment('encoded_key', encoded_key)}")


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))


def sync_detailed(*, client: Client, encoded_key: str) -> Response[None]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(encoded_key=encoded_key))
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code, content=answer.content, headers=answer.headers, parsed=None
    )


def sync(*, client: Client, encoded_key: str) -> None:
    """DELETE /api/user/keys/{encoded_key}: Sign the server out of its account (older form of /api/signout)

    Raises like `parse`.
    """
    sync_detailed(client=client, encoded_key=encoded_key)
