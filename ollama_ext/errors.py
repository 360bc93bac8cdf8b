"""Every error of this library, in one tree.

    OllamaError
    ├── InvalidArgument         refused before anything was sent (also a ValueError)
    ├── ConnectionFailed        no connection, or one that broke before the whole answer was there
    ├── OllamaTimeout           a limit of `Timeouts` was reached
    │   ├── ConnectTimeout      no connection in time; nothing was sent
    │   ├── FirstByteTimeout    no answer in time
    │   ├── IdleTimeout         the server fell silent in the middle
    │   └── TotalTimeout        the whole call took too long
    ├── Cancelled               a `CancelToken` or a stream's `cancel()` ended the call
    ├── ResponseError           the server answered with an error
    │   ├── BadRequest          400 and its like: the request is wrong
    │   │   └── ContextOverflow     it is longer than the model's context
    │   ├── Unauthorized        401: sign in, or send a key
    │   ├── Forbidden           403: not from here, or not with this account
    │   ├── ModelNotFound       404: the server has no such model
    │   │   └── ModelNotInRegistry  nor has the registry that it asked (also a StreamError)
    │   ├── RouteNotFound       404, 405: no such path; an older server, or something else than Ollama
    │   ├── RateLimited         429: too many requests
    │   ├── ServerBusy          503: the server's queue is full, or it cannot serve now
    │   └── ServerError         500 and its like: the server, its runner or a proxy failed
    ├── InvalidResponse         the server answered, but not with what its API promises
    ├── IncompleteReply         a reply without ``"done": true``
    │   └── StreamTruncated     a stream that ended, or broke, before its last chunk
    ├── StreamError             an error line inside a stream whose status was 200
    └── StreamNotFinished       the reply of a stream was asked for before its end

Catch `OllamaError` and nothing of the HTTP stack gets past you. What is known about a failure is in
the attributes of the error, whatever its class; what is not known is None (or ``b""``). How an answer of
the server becomes one of these is decided in `ollama_ext.refusals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from .progress import Progress
    from .replies import ChatReply, GenerateReply

#: How far a call had come when its connection failed.
Stage = Literal["connect", "send", "receive"]


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
        partial: The reply as far as it had arrived, for calls that produce text; else None.
        progress: The last step, for pulls, pushes and creates; else None.
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
        progress: Progress | None = None,
    ) -> None:
        """Take the message and whatever is known; all but the message is keyword-only."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.body = body
        self.request = request
        self.model = model
        self.partial = partial
        self.progress = progress

    @property
    def partial_text(self) -> str:
        """The text of ``partial``; empty where there is none."""
        return "" if self.partial is None else self.partial.text

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
    """The server could not be reached, or the connection broke before the whole answer was there.

    Attributes:
        stage: How far it had come: ``connect`` (nothing was sent), ``send`` (no byte of the answer was
            there), ``receive``.
        reused: Whether an earlier call had used the connection: servers close idle ones at any moment.
    """

    retryable = True

    def __init__(self, message: str, *, stage: Stage = "connect", reused: bool = False, **known: Any) -> None:
        """Take the message and how far the call had come."""
        super().__init__(message, **known)
        self.stage: Stage = stage
        self.reused = reused


class OllamaTimeout(OllamaError):
    """A limit was reached; the message says which, and what it was."""

    retryable = True


class ConnectTimeout(OllamaTimeout):
    """No connection within ``Timeouts.connect``: nothing was sent."""


class FirstByteTimeout(OllamaTimeout):
    """No answer within ``Timeouts.first_byte``: a server is silent while it queues and loads a model."""


class IdleTimeout(OllamaTimeout):
    """The server fell silent for ``Timeouts.between``, in the middle of an answer or of an upload."""


class TotalTimeout(OllamaTimeout):
    """The call, with all its tries, took longer than ``Timeouts.total``."""

    retryable = False


class Cancelled(OllamaError):
    """The call was cancelled, by its `CancelToken` or by ``cancel()`` of its stream."""


class ResponseError(OllamaError):
    """The server answered with an error; ``message`` holds its own words and what to do about them.

    Attributes:
        retry_after: Seconds after which the server wants to be asked again, or None if it does not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **known: Any) -> None:
        """Take the message and whatever is known."""
        super().__init__(message, **known)
        self.retry_after = retry_after


class BadRequest(ResponseError):
    """The request is wrong (400 and its like); made again unchanged, it fails again."""


class ContextOverflow(BadRequest):
    """The input is longer than the context of the model.

    Attributes:
        input_tokens: Length of the input in tokens, or None if the server does not say.
        context_length: Length of the context in tokens (``num_ctx``), or None if it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        input_tokens: int | None = None,
        context_length: int | None = None,
        **known: Any,
    ) -> None:
        """Take the message and the two counts."""
        super().__init__(message, **known)
        self.input_tokens = input_tokens
        self.context_length = context_length


class Unauthorized(ResponseError):
    """The server does not know who asks (401).

    Attributes:
        signin_url: Where to sign this machine in, or None if the server does not say.
    """

    def __init__(self, message: str, *, signin_url: str | None = None, **known: Any) -> None:
        """Take the message and the URL."""
        super().__init__(message, **known)
        self.signin_url = signin_url


class Forbidden(ResponseError):
    """The server refuses this caller or this model (403)."""


class ModelNotFound(ResponseError):
    """The server has no such model (404 that speaks of a model): pull it first."""


class RouteNotFound(ResponseError):
    """No such path or method there (404, 405): an older Ollama, or something else than Ollama."""


class RateLimited(ResponseError):
    """Too many requests (429)."""

    retryable = True


class ServerBusy(ResponseError):
    """The server cannot take the request now (503): its queue is full."""

    retryable = True


class ServerError(ResponseError):
    """The server, its runner or a proxy in between failed (500 and its like)."""

    retryable = True


class InvalidResponse(OllamaError):
    """The answer is not what Ollama's API promises: HTML, no body, a wrong type, a missing field."""


class IncompleteReply(OllamaError):
    """The answer ended without ``"done": true``: half a reply, which is in ``partial``.

    Ollama can do this with status 200, streamed or not, when its runner stops without a stop event.
    """

    retryable = True


class StreamTruncated(IncompleteReply):
    """A stream ended or broke before its last chunk; what had arrived is in ``partial``."""


class StreamError(OllamaError):
    """The server reported an error inside a stream, after status 200 had been sent."""


class ModelNotInRegistry(ModelNotFound, StreamError):
    """The registry that the server asked has no such model either: is the name right?"""


class StreamNotFinished(OllamaError):
    """``stream.reply`` was read before the stream was at its end: iterate on, or ``finish()``."""
