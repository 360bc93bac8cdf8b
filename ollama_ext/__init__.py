"""Ollama for people who run it on more than one machine.

`Client` is where to start. Importing this package opens nothing and imports neither pika nor boto3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ollama_openapi import models as _models

from .cancel import CancelToken
from .client import Client
from .errors import (
    BadRequest,
    Cancelled,
    ConnectionFailed,
    ConnectTimeout,
    ContextOverflow,
    FirstByteTimeout,
    Forbidden,
    IdleTimeout,
    IncompleteReply,
    InvalidArgument,
    InvalidResponse,
    ModelNotFound,
    ModelNotInRegistry,
    OllamaError,
    OllamaTimeout,
    RateLimited,
    RequestInfo,
    ResponseError,
    RouteNotFound,
    ServerBusy,
    ServerError,
    StreamError,
    StreamNotFinished,
    StreamTruncated,
    TotalTimeout,
    Unauthorized,
)
from .events import Done, Event, LogprobsDelta, TextDelta, ThinkingDelta, ToolCallDelta
from .hints import OllamaWarning, PromptCut, UnknownName
from .hosts import Host, parse_host
from .progress import Overall, Progress
from .replies import ChatReply, EmbedReply, GenerateReply, Reply, TextReply
from .retry import Retry, RetryPolicy
from .state import ChatState, GenerateState, ReplyState
from .streaming import ChatStream, GenerateStream, ProgressStream, ReplyStream
from .timeouts import Timeouts
from .usage import EMPTY_USAGE, Usage, usage_of
from .version import __version__

if TYPE_CHECKING:
    from ollama_openapi.models import Message, Options, Tool

__all__ = [
    "EMPTY_USAGE",
    "BadRequest",
    "CancelToken",
    "Cancelled",
    "ChatReply",
    "ChatState",
    "ChatStream",
    "Client",
    "ConnectTimeout",
    "ConnectionFailed",
    "ContextOverflow",
    "Done",
    "EmbedReply",
    "Event",
    "FirstByteTimeout",
    "Forbidden",
    "GenerateReply",
    "GenerateState",
    "GenerateStream",
    "Host",
    "IdleTimeout",
    "IncompleteReply",
    "InvalidArgument",
    "InvalidResponse",
    "LogprobsDelta",
    "Message",
    "ModelNotFound",
    "ModelNotInRegistry",
    "OllamaError",
    "OllamaTimeout",
    "OllamaWarning",
    "Options",
    "Overall",
    "Progress",
    "ProgressStream",
    "PromptCut",
    "RateLimited",
    "Reply",
    "ReplyState",
    "ReplyStream",
    "RequestInfo",
    "ResponseError",
    "Retry",
    "RetryPolicy",
    "RouteNotFound",
    "ServerBusy",
    "ServerError",
    "StreamError",
    "StreamNotFinished",
    "StreamTruncated",
    "TextDelta",
    "TextReply",
    "ThinkingDelta",
    "Timeouts",
    "Tool",
    "ToolCallDelta",
    "TotalTimeout",
    "Unauthorized",
    "UnknownName",
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
