"""HEAD /api/version: Does the version route answer? (without a body)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...types import Request, Response

if TYPE_CHECKING:
    from ...client import Client


def build_request() -> Request:
    """Return the request."""
    return Request(method="HEAD", path="/api/version")


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content)


def sync_detailed(*, client: Client) -> Response[None]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request())
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code, content=answer.content, headers=answer.headers, parsed=None
    )


def sync(*, client: Client) -> None:
    """HEAD /api/version: Does the version route answer? (without a body)

    Raises like `parse`.
    """
    sync_detailed(client=client)
