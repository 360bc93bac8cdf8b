"""Requests and replies as they travel: properties and bodies, read and written. Pure.

docs/fleet-protocol.md says the same for people who publish from other languages. A request is read by
`parse_request`, which never raises: what cannot be a request is a `Refusal`, which is replied to like any
request. Replies are written by `reply_body`, `error_body` and `reply_properties`, and read by `parse_reply`;
`request_body` and `request_properties` write what callers publish.
"""

from __future__ import annotations

from .replies import (
    Reply,
    ReplyError,
    dead_properties,
    error_body,
    parse_reply,
    refused_body,
    reply_body,
    reply_properties,
)
from .requests import parse_request, request_body, request_properties
from .shapes import CODES, MAX_BYTES, Code, Envelope, Properties, Refusal, Request, unique_ids

__all__ = [
    "CODES",
    "MAX_BYTES",
    "Code",
    "Envelope",
    "Properties",
    "Refusal",
    "Reply",
    "ReplyError",
    "Request",
    "dead_properties",
    "error_body",
    "parse_reply",
    "parse_request",
    "refused_body",
    "reply_body",
    "reply_properties",
    "request_body",
    "request_properties",
    "unique_ids",
]
