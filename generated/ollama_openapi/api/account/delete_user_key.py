from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ... import errors
from ...models.error_response import ErrorResponse
from ...types import (
    Request,
    Response,
    error_model,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request(
    encoded_key: str,
) -> Request:
    """DELETE /api/user/keys/{encoded_key}: Sign the server out of its account (older form of /api/signout)"""
    path = "/api/user/keys/{encoded_key}".format(
        encoded_key=quote(str(encoded_key), safe=""),
    )
    return Request(
        method="DELETE",
        path=path,
    )


def parse(status_code: int, content: bytes) -> None:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))


def sync_detailed(
    encoded_key: str,
    *,
    client: Client,
) -> Response[None]:
    """DELETE /api/user/keys/{encoded_key}: Sign the server out of its account (older form of /api/signout)

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(
        build_request(
            encoded_key=encoded_key,
        )
    )
    parse(answer.status_code, answer.content)
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=None,
    )


def sync(
    encoded_key: str,
    *,
    client: Client,
) -> None:
    """DELETE /api/user/keys/{encoded_key}: Sign the server out of its account (older form of /api/signout)

    Raises like `parse`.
    """
    sync_detailed(encoded_key=encoded_key, client=client)
