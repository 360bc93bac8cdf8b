"""Ollama for people who run it on more than one machine.

`Client` is where to start. Importing this package opens nothing and imports neither pika nor boto3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ollama_openapi import models as _models

from .client import Client
from .errors import (
    ConnectionFailed,
    IncompleteReply,
    InvalidArgument,
    InvalidResponse,
    OllamaError,
    OllamaTimeout,
    RequestInfo,
    ResponseError,
    StreamError,
    StreamNotFinished,
    StreamTruncated,
)
from .events import Done, Event, LogprobsDelta, TextDelta, ThinkingDelta, ToolCallDelta
from .hosts import Host, parse_host
from .replies import ChatReply, EmbedReply, GenerateReply, Reply, TextReply
from .state import ChatState, GenerateState, ReplyState
from .streaming import ChatStream, GenerateStream, ReplyStream
from .usage import EMPTY_USAGE, Usage, usage_of
from .version import __version__

if TYPE_CHECKING:
    from ollama_openapi.models import Message, Options, Tool

__all__ = [
    "EMPTY_USAGE",
    "ChatReply",
    "ChatState",
    "ChatStream",
    "Client",
    "ConnectionFailed",
    "Done",
    "EmbedReply",
    "Event",
    "GenerateReply",
    "GenerateState",
    "GenerateStream",
    "Host",
    "IncompleteReply",
    "InvalidArgument",
    "InvalidResponse",
    "LogprobsDelta",
    "Message",
    "OllamaError",
    "OllamaTimeout",
    "Options",
    "Reply",
    "ReplyState",
    "ReplyStream",
    "RequestInfo",
    "ResponseError",
    "StreamError",
    "StreamNotFinished",
    "StreamTruncated",
    "TextDelta",
    "TextReply",
    "ThinkingDelta",
    "Tool",
    "ToolCallDelta",
    "Usage",
    "__version__",
    "parse_host",
    "usage_of",
]

_MODELS = frozenset({"Message", "Options", "Tool"})


def __getattr__(name: str) -> Any:
    """Import a generated model when it is first asked for: each costs a fraction of a millisecond."""
    if name not in _MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_models, name)


def __dir__() -> list[str]:
    """Name what is imported on demand, too."""
    return sorted({*globals(), *_MODELS})
