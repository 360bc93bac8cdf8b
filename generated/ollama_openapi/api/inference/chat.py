"""POST /api/chat: The next message of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ApiError
from ...models.chat_chunk import ChatChunk
from ...models.chat_request import ChatRequest
from ...models.chat_response import ChatResponse
from ...models.error_response import ErrorResponse
from ...ndjson import ChunkStream
from ...reading import decode_json, error_model, is_error, read_body
from ...types import Request, Response, encode_json

if TYPE_CHECKING:
    from ...client import Client


def build_request(*, body: ChatRequest, stream: bool = False) -> Request:
    """Return the request.

    ``stream`` goes out as the argument of that name says, whatever the body has there.

    Raises:
        ValueError: The body holds what JSON cannot, such as NaN.
    """
    return Request(
        method="POST",
        path="/api/chat",
        headers={"Content-Type": "application/json"},
        content=encode_json({**body.to_dict(), "stream": stream}),
    )


def parse(status_code: int, content: bytes) -> ChatResponse:
    """Read an answer.

    Raises:
        ApiError: The status is no success.
        InvalidBody: The status is, but the body is not what the spec promises.
    """
    if not 200 <= status_code < 300:
        raise ApiError(status_code, content, error_model(content, ErrorResponse.from_dict))
    return read_body("ChatResponse", content, ChatResponse.from_dict)


def parse_chunk(line: bytes) -> ChatChunk:
    """Read one line of the stream.

    Raises:
        ApiError: It is the server's report of an error, after which the stream ends.
        InvalidBody: It is not what the spec promises.
    """
    value = decode_json("ChatChunk", line)
    if is_error(value):
        raise ApiError(200, line, error_model(line, ErrorResponse.from_dict))
    return ChatChunk.from_dict(value)


def sync_detailed(*, client: Client, body: ChatRequest) -> Response[ChatResponse]:
    """Send the request; return the answer with its status and headers. Raises like `parse`."""
    answer = client.send(build_request(body=body))
    return Response(
        status_code=answer.status_code,
        content=answer.content,
        headers=answer.headers,
        parsed=parse(answer.status_code, answer.content),
    )


def sync(*, client: Client, body: ChatRequest) -> ChatResponse:
    """POST /api/chat: The next message of a conversation.

        Streams unless `stream` is false. Nothing is sent, not even headers, until the model is loaded and
        has its first token. Without messages the model is only loaded, or unloaded where `keep_alive` is 0,
        and one JSON object answers even when streaming was asked for. A failure after the first line keeps
        status 200 and arrives as a last line `{"error": "..."}`. A reply is complete only with `done:
        true`; the last line may still carry text, thinking or tool calls.

    Returns the whole answer at once: ``stream`` goes out as false. Raises like `parse`.
    """
    return sync_detailed(client=client, body=body).parsed


def stream(*, client: Client, body: ChatRequest) -> ChunkStream[ChatChunk]:
    """POST /api/chat: The next message of a conversation.

    Opens the stream at once, so that a refusal is raised here, and yields its chunks as they come: use it
    in a ``with`` block. Raises like `parse` and `parse_chunk`.
    """
    return client.stream(build_request(body=body, stream=True), parse, parse_chunk)
