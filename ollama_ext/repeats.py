"""Which call may be made again after which error. Pure.

Two things decide: how far the call had come, which the error says, and what a second run of it would do,
which is the `Repeat` of the call. The rules, with where they come from (Ollama's server is that of v0.33):

* Nothing was sent: any call goes again. The only rule for a body that cannot be sent twice.
* The connection was one that an earlier call had used, and broke before the answer: once for any call.
  Servers close idle connections at any moment (RFC 9112, section 9.5), and then never saw the request.
* It broke otherwise, or the server fell silent: the request may be running. Ollama stops an inference whose
  caller leaves, but another run of it gives another text, after another wait.
* 503 and 429: refused before it was begun. Ollama says 503 when its queue is full; 429 is a cloud model's.
* 502: the proxy for cloud models did not reach them, or one of the user's did not reach Ollama.
* 500 of an inference, before its answer: once. A runner that has crashed is loaded again by the next request,
  but a model that does not fit fails each time. What is the caller's fault (a bad ``format``, option or
  template is 500 as well) comes with ``retryable`` False.
* 400 of embed: once, if it is a `ServerError`. The handler answers 400 for every failure of its runner.
* 504 and other failures of a server or a proxy: the request may be running.
* An error line in the stream of a pull, push or create: these go on where they were, if the error says that
  there is hope.

An error whose ``retryable`` is False is never worth another try, whatever its class.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from .errors import (
    ConnectionFailed,
    ConnectTimeout,
    IncompleteReply,
    ModelNotFound,
    OllamaTimeout,
    RateLimited,
    ServerBusy,
    ServerError,
    StreamError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .errors import OllamaError

# After how many tries, at most, another one is worth it.
_NO, _FIRST, _YES = 0, 1, math.inf


class Repeat(Enum):
    """What a second run of a call would do. The order is that of the columns below."""

    SAFE = "safe"
    """The same again: all that only reads (GET, HEAD, show, whoami), blobs (named by their content), copy,
    delete (see `counts_as_done`), pull and push (they resume), load, unload, and create but for one case."""

    INFERENCE = "inference"
    """A prompt twice, with another text: chat and generate."""

    EMBEDDING = "embedding"
    """The same vectors, computed twice: embed."""

    ONCE = "once"
    """Something else, or nobody knows: sign_out (401 the second time), web_search and web_fetch (the account
    pays), create with ``license`` from the model of the same name (each run appends the licence again), and
    requests to a route of the user's own choice by any method but GET and HEAD."""


def worth_repeating(error: OllamaError, kind: Repeat, tries: int) -> bool:
    """Return whether a call that failed may be made again, by the rules above.

    A stream is one call until the server has accepted it; what happens after that is not repeated.

    Args:
        error: What the last try failed with.
        kind: What a second run would do.
        tries: How often it was tried, 1 after the first time.
    """
    return error.retryable and tries <= dict(zip(Repeat, _row(error), strict=True))[kind]


def counts_as_done(error: OllamaError, earlier: Iterable[OllamaError]) -> bool:
    """Return whether the last try of a delete found that an earlier one had done it.

    A delete that is repeated gets 404, so a 404 means success if an earlier try can have had its effect: its
    answer was lost, or told of a failure on the way (the server forgets the name first, and may then fail to
    remove the layers). After tries that never came that far, it means what it says.

    Args:
        error: What the last try failed with.
        earlier: What the tries before it failed with.
    """
    return isinstance(error, ModelNotFound) and not all(map(_nothing_was_done, earlier))


def _row(error: OllamaError) -> tuple[float, float, float, float]:
    """Return what holds after this error for each member of `Repeat`."""
    row: tuple[float, float, float, float]
    match error:
        case _ if _nothing_was_done(error):
            row = _YES, _YES, _YES, _YES
        case ConnectionFailed(stage="send", reused=True):
            row = _YES, _FIRST, _FIRST, _FIRST
        case ServerError(status=502):
            row = _YES, _YES, _YES, _NO
        case ServerError(status=500):
            row = _YES, _FIRST, _FIRST, _NO
        case ServerError(status=400):
            row = _YES, _NO, _FIRST, _NO
        case ConnectionFailed() | OllamaTimeout() | IncompleteReply() | ServerError() | StreamError():
            row = _YES, _NO, _NO, _NO
        case _:
            row = _NO, _NO, _NO, _NO
    return row


def _nothing_was_done(error: OllamaError) -> bool:
    return _nothing_was_sent(error) or isinstance(error, RateLimited | ServerBusy)


def _nothing_was_sent(error: OllamaError) -> bool:
    if isinstance(error, ConnectionFailed):
        return error.stage == "connect"
    return isinstance(error, ConnectTimeout)
