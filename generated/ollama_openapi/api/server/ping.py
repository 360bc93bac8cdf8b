"""GET /: Is a server there?"""

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
    return Request(method="GET", path="/")


def parse(status_code: int, content: bytes) -> str:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))
    return content.decode("utf-8", errors="replace")


def sync_detailed(*, client: Client) -> Response[str]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request())
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(*, client: Client) -> str:
    """GET /: Is a server there?

        Answers the text `Ollama is running`.

    Raises like `parse`.
    """
    return sync_detailed(client=client).parsed
