"""Requests to routes that the spec does not know: checked going out, decoded coming in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from ollama_openapi.ndjson import LineSplitter
from ollama_openapi.types import Request, encode_json, plain

from .errors import InvalidArgument, InvalidResponse
from .refusals import refusal, reported, shown, stream_refusal

if TYPE_CHECKING:
    from .transport import Answer

_METHOD: Final = re.compile(r"[A-Z]+")
#: What a URL may hold from its first slash on (RFC 3986), but for the fragment, which is not sent.
_PATH: Final = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?\[\]]*")


def raw_request(method: Any, path: Any, json: Any) -> Request:
    """Return a request to any route.

    Raises:
        InvalidArgument: It could not be sent as it is.
    """
    if not isinstance(method, str) or not _METHOD.fullmatch(method.upper()):
        raise InvalidArgument(f"method must be like 'GET' or 'POST', not {method!r:.40}", argument="method")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise InvalidArgument(
            f"path must start with '/' and hold what a URL may, the rest quoted, not {path!r:.80}",
            argument="path",
        )
    if json is None:
        return Request(method=method.upper(), path=path)
    try:
        content = encode_json(plain(json))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"json cannot be sent as JSON: {error}", argument="json") from None
    return Request(
        method=method.upper(), path=path, headers={"Content-Type": "application/json"}, content=content
    )


def read_raw(answer: Answer, path: str) -> Any:
    """Return what an answer holds, as far as its type says what that is.

    Raises:
        ResponseError: It is a refusal.
        InvalidResponse: It is not what its type says.
    """
    status, body = answer.status, answer.body
    if not 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls success
        raise refusal(status, answer.headers, body, path=path)
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return None
    if kind.startswith("text/"):
        return body.decode("utf-8", errors="replace")
    if kind == "application/x-ndjson":
        lines = LineSplitter()
        return [_line(line, status, path) for line in (*lines.feed(body), *lines.finish())]
    value = _decoded(body, status)
    if reported(body) is not None and set(value) == {"error"}:
        raise refusal(status, answer.headers, body, path=path)
    return value


def _line(line: bytes, status: int, path: str) -> Any:
    value = _decoded(line, status)
    if isinstance(value, dict) and "error" in value:
        raise stream_refusal(line, status=status, path=path)
    return value


def _decoded(data: bytes, status: int) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidResponse(
            f"the answer is not JSON ({error}); it starts with {shown(data)}", status=status, body=data
        ) from None
