from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from ...models.error_response import ErrorResponse
from ...models.progress_chunk import ProgressChunk
from ...models.progress_response import ProgressResponse
from ...models.pull_request import PullRequest
from ...ndjson import ChunkStream
from ...types import (
    Request,
    Response,
    decode_json,
    encode_json,
    error_model,
    is_error,
    read_body,
)

if TYPE_CHECKING:
    from ...client import Client


def build_request(
    *,
    body: PullRequest,
    stream: bool = False,
) -> Request:
    """POST /api/pull: Download a model from a registry

    Whatever the body says, ``stream`` goes out as the argument of that name.
    """
    path = "/api/pull"
    return Request(
        method="POST",
        path=path,
        headers={
            "Content-Type": "application/json",
        },
        content=encode_json({**body.to_dict(), "stream": stream}),
    )


def parse(status_code: int, content: bytes) -> ProgressResponse:
    """Read an answer.

    Raises:
        errors.ApiError: The status is no success.
        errors.InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise errors.ApiError(status_code, content, error_model(ErrorResponse.from_dict, content))
    return read_body("ProgressResponse", content, ProgressResponse.from_dict)


def parse_chunk(line: bytes) -> ProgressChunk:
    """Read one line of the stream.

    Raises:
        errors.ApiError: It is the server's report of an error, after which the stream ends.
        errors.InvalidBody: It is not what the spec promises.
    """
    value = decode_json("ProgressChunk", line)
    if is_error(value):
        raise errors.ApiError(200, line, error_model(ErrorResponse.from_dict, line))
    return ProgressChunk.from_dict(value)


def sync_detailed(
    *,
    client: Client,
    body: PullRequest,
) -> Response[ProgressResponse]:
    """POST /api/pull: Download a model from a registry

    Sends the request and returns the answer with its status and headers; raises like `parse`.
    """
    answer = client.send(
        build_request(
            body=body,
        )
    )
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(
    *,
    client: Client,
    body: PullRequest,
) -> ProgressResponse:
    """POST /api/pull: Download a model from a registry

    Streams unless `stream` is false. While streaming, every failure of the registry, a missing model
    included, has status 200 and arrives as a line `{"error": "..."}`. A pull that was cut off resumes
    when it is asked for again.

    Raises like `parse`.
    """
    return sync_detailed(body=body, client=client).parsed


def stream(
    *,
    client: Client,
    body: PullRequest,
) -> ChunkStream[ProgressChunk]:
    """POST /api/pull: Download a model from a registry

    Opens the stream at once, so that a refusal is raised here, and yields its chunks as they come: use it
    in a ``with`` block. Raises like `parse` and `parse_chunk`.
    """
    return client.stream(build_request(body=body, stream=True), parse, parse_chunk)
