"""Whose failure is it, when a request that a worker took from a queue could not be done? Pure.

The answer decides what a worker does with the request:

* The caller's: it would fail on every machine. The caller gets the error, the message is acknowledged.
* The machine's: another machine, or this one later, may do it. The caller hears nothing, the message goes
  back into its queue, and a machine that fails twice in a row stops asking for more: a sick machine must not
  eat the queue.
* Unsure: the answer says neither, as Ollama answers 500 to a bad template and to a broken GPU alike. A probe
  of the machine decides: if it passes, the caller's.

The class of the error decides where it can. Where Ollama's status is no help, it goes by the same texts that
`ollama_ext.refusals` goes by. Statuses about who may ask, or about the path (401, 402, 403, 405, 407, and 404
without a word of a model), are left to the probe: only three paths are ever asked for, so what a caller wrote
cannot be at fault, and a proxy that lets nobody in would answer every request of the queue like that.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from ollama_ext.errors import (
    BadRequest,
    Cancelled,
    ConnectionFailed,
    Forbidden,
    IncompleteReply,
    InvalidArgument,
    ModelNotFound,
    OllamaTimeout,
    RateLimited,
    ResponseError,
    RouteNotFound,
    ServerBusy,
    StreamError,
    TotalTimeout,
    Unauthorized,
)
from ollama_ext.refusal_texts import MACHINE, OVERFLOW, REQUEST
from ollama_ext.refusals import error_text, reported

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ollama_ext.errors import OllamaError


class Fault(Enum):
    """Whose failure an error is."""

    CALLER = "caller"
    """The request is wrong: it would fail everywhere."""

    MACHINE = "machine"
    """This machine cannot do it now: another one may."""

    MODEL_MISSING = "model_missing"
    """This machine's Ollama has no such model. Another one may have it; other models may be there."""

    UNSURE = "unsure"
    """A probe of the machine decides."""

    CANCELLED = "cancelled"
    """Somebody ended it on purpose."""

    DEADLINE = "deadline"
    """It took longer than it was allowed to in all."""


# Characters. A runner's last lines can be 8 KiB, and a search takes longer than the text is long.
_LONGEST_SEARCHED: Final = 10_000
# After these words Ollama quotes what the model wrote (harmony/harmonyparser.go), which can be anything.
_QUOTES_THE_MODEL: Final = b"error parsing tool call"
_MACHINE: Final = tuple(known.pattern for known in MACHINE)
_REQUEST: Final = tuple(known.pattern for known in REQUEST)


def fault_of(error: OllamaError, *, first_token: bool) -> Fault:
    """Return whose failure an error of a chat, generate or embed is.

    Args:
        error: What the client raised.
        first_token: Whether any part of the reply had come before. A request that Ollama has begun to answer
            was a good one, so what then goes wrong is not blamed on its format, options or template.
    """
    fault = Fault.UNSURE
    match error:
        case _ if _QUOTES_THE_MODEL in error.body:
            pass
        case InvalidArgument():
            fault = Fault.CALLER
        case Cancelled():
            fault = Fault.CANCELLED
        case TotalTimeout():
            fault = Fault.DEADLINE
        case ConnectionFailed() | OllamaTimeout() | IncompleteReply() | RateLimited() | ServerBusy():
            fault = Fault.MACHINE
        case ModelNotFound():
            fault = Fault.MODEL_MISSING
        case BadRequest():
            fault = Fault.CALLER
        case Unauthorized() | Forbidden() | RouteNotFound():
            pass
        case ResponseError() | StreamError():
            fault = _by_words(error.body, first_token=first_token)
        case _:  # no answer of Ollama's at all, or something that a call never raises
            pass
    return fault


def _by_words(body: bytes, *, first_token: bool) -> Fault:
    outer = reported(body)
    if outer is None:  # not in Ollama's form: a proxy's page may say anything
        return Fault.UNSURE
    # As Ollama sent it, whole; and unwrapped where a runner's JSON is inside, for patterns that start with ^.
    texts = outer[:_LONGEST_SEARCHED], error_text(body)
    if _any_in((OVERFLOW,), texts):  # in a stream; elsewhere it is a class of its own
        return Fault.CALLER
    if _any_in(_MACHINE, texts):
        return Fault.MACHINE
    return Fault.CALLER if not first_token and _any_in(_REQUEST, texts) else Fault.UNSURE


def _any_in(patterns: Iterable[str], texts: Iterable[str]) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns for text in texts)
