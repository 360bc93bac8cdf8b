"""Every error of this library, in one tree.

    OllamaError
    ├── InvalidArgument     refused before anything was sent (also a ValueError)
    ├── ConnectionFailed    no connection, or one that broke before the whole answer was there
    ├── OllamaTimeout       the server was silent for longer than the limit
    ├── ResponseError       the server answered with an error status
    ├── InvalidResponse     the server answered, but not with what its API promises
    ├── IncompleteReply     a reply without ``"done": true``
    │   └── StreamTruncated a stream that ended, or broke, before its last chunk
    ├── StreamError         an error line inside a stream whose status was 200
    └── StreamNotFinished   the reply of a stream was asked for before its end

Catch `OllamaError` and nothing of the HTTP stack gets past you. What is known about a failure is in
the attributes of the error, whatever its class; what is not known is None (or ``b""``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .replies import ChatReply, GenerateReply

_SHOWN_BYTES = 200


class RequestInfo(msgspec.Struct, frozen=True):
    """Which request an error is about. Headers and bodies stay out: they hold secrets."""

    method: str
    url: str


class OllamaError(Exception):
    """The root of the tree.

    Attributes:
        message: What happened and, where we know it, what to do about it.
        status: The HTTP status, or None when there was no answer.
        body: The bytes of the answer that the error is about, as they came.
        request: Method and URL, or None when nothing was about to be sent.
        model: The model that was asked for, or None.
        partial: The reply as far as it had arrived, for calls that produce text.
    """

    #: Whether the same call, made again unchanged, has a fair chance.
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: bytes = b"",
        request: RequestInfo | None = None,
        model: str | None = None,
        partial: ChatReply | GenerateReply | None = None,
    ) -> None:
        """Take the message and whatever is known; all but the message is keyword-only."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.body = body
        self.request = request
        self.model = model
        self.partial = partial

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with every attribute (exceptions pickle only their positional arguments)."""
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[OllamaError], message: str, state: dict[str, Any]) -> OllamaError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class InvalidArgument(OllamaError, ValueError):
    """An argument that cannot be right; nothing was sent.

    Attributes:
        argument: The name of the parameter.
    """

    def __init__(self, message: str, *, argument: str | None = None, **known: Any) -> None:
        """Take the message and the name of the parameter at fault."""
        super().__init__(message, **known)
        self.argument = argument


class ConnectionFailed(OllamaError):
    """The server could not be reached, or the connection broke before the whole answer was there."""

    retryable = True


class OllamaTimeout(OllamaError):
    """The server was silent for longer than the limit; the message says which limit."""

    retryable = True


class ResponseError(OllamaError):
    """The server answered with an error status; ``message`` holds its own words."""


class InvalidResponse(OllamaError):
    """The answer is not what Ollama's API promises: HTML, no body, a wrong type, a missing field."""


class IncompleteReply(OllamaError):
    """The answer ended without ``"done": true``: half a reply, which is in ``partial``.

    Ollama can do this with status 200, streamed or not, when its runner stops without a stop event.
    """

    retryable = True
    partial: ChatReply | GenerateReply  # pyright: ignore[reportIncompatibleVariableOverride] - always set


class StreamTruncated(IncompleteReply):
    """A stream ended or broke before its last chunk; what had arrived is in ``partial``."""


class StreamError(OllamaError):
    """The server reported an error inside a stream, after status 200 had been sent."""

    partial: ChatReply | GenerateReply  # pyright: ignore[reportIncompatibleVariableOverride] - always set


class StreamNotFinished(OllamaError):
    """``stream.reply`` was read before the stream was at its end: iterate on, or ``finish()``."""

    partial: ChatReply | GenerateReply  # pyright: ignore[reportIncompatibleVariableOverride] - always set


def error_text(body: bytes) -> str:
    """Return what an error body says, in words; empty if it says nothing.

    Ollama sends ``{"error": text}``; the text of a runner's error is JSON once more
    (``{"error": {"code": ..., "message": text}}``), which is unwrapped. Anything else is told if it is a
    line of text, such as "404 page not found", and shown from its start if not, such as a proxy's HTML.
    """
    words = reported(body)
    if words is None:
        text = body.decode("utf-8", errors="replace").strip()
        return text if text.isprintable() and len(body) <= _SHOWN_BYTES else shown(body)
    while (inner := reported(words)) is not None:  # ends: what is inside is shorter
        words = inner
    return words.strip()


def reported(body: bytes | str) -> str | None:
    """Return the text of the error in a body, or None if it is not in Ollama's form."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    for key in ("error", "message"):
        if not isinstance(value, dict):
            break
        fields: dict[Any, Any] = value
        value = fields.get(key)
        if isinstance(value, str):
            return value
    return None


def shown(body: bytes) -> str:
    """Return the first bytes of a body, printable, for a message."""
    text = body[:_SHOWN_BYTES].decode("utf-8", errors="replace")
    return repr(text) + (" ..." if len(body) > _SHOWN_BYTES else "")
