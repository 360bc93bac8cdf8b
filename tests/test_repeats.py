"""Which call is made again after which error."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext import errors
from ollama_ext.errors import (
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
from ollama_ext.repeats import Repeat, counts_as_done, worth_repeating


def hopeful(error: OllamaError, *, retryable: bool = True) -> OllamaError:
    """Say in an error whether there is hope, as whoever raises it can."""
    error.retryable = retryable
    return error


def status(code: int) -> ServerError:
    return ServerError("words", status=code)


def broken(stage: errors.Stage, *, reused: bool = False) -> ConnectionFailed:
    return ConnectionFailed("words", stage=stage, reused=reused)


# What is worth another try after the first one, after the second and so on, for SAFE, INFERENCE, EMBEDDING
# and ONCE in this order.
YES, FIRST, NO = "yes", "first", "no"
ALL = YES, YES, YES, YES
SAFE = YES, NO, NO, NO
NONE = NO, NO, NO, NO
Row = tuple[str, str, str, str]

# One entry per class. A class that is missing here fails the test below.
DECIDED: dict[type[OllamaError], Row] = {
    OllamaError: NONE,
    InvalidArgument: NONE,
    ConnectionFailed: ALL,  # made without a stage, it means that there was no connection
    OllamaTimeout: SAFE,
    ConnectTimeout: ALL,
    FirstByteTimeout: SAFE,
    IdleTimeout: SAFE,
    TotalTimeout: NONE,
    Cancelled: NONE,
    ResponseError: NONE,
    BadRequest: NONE,
    ContextOverflow: NONE,
    Unauthorized: NONE,
    Forbidden: NONE,
    ModelNotFound: NONE,
    ModelNotInRegistry: NONE,
    RouteNotFound: NONE,
    RateLimited: ALL,
    ServerBusy: ALL,
    ServerError: SAFE,  # of an unknown status
    InvalidResponse: NONE,
    IncompleteReply: SAFE,
    StreamTruncated: SAFE,
    StreamError: NONE,
    StreamNotFinished: NONE,
}

NAMED: dict[str, tuple[OllamaError, Row]] = {
    "nothing listens there": (broken("connect"), ALL),
    "no connection in time": (ConnectTimeout("words"), ALL),
    "a certificate is wrong": (hopeful(broken("connect"), retryable=False), NONE),
    "a connection used before broke before the answer": (
        broken("send", reused=True),
        (YES, FIRST, FIRST, FIRST),
    ),
    "a fresh connection broke before the answer": (broken("send"), SAFE),
    "a fresh connection broke in the answer": (broken("receive"), SAFE),
    "a connection used before broke in the answer": (broken("receive", reused=True), SAFE),
    "no answer in time": (FirstByteTimeout("words"), SAFE),
    "silence in the answer": (IdleTimeout("words"), SAFE),
    "the call took too long": (TotalTimeout("words"), NONE),
    "cancelled": (Cancelled("words"), NONE),
    "a wrong argument": (InvalidArgument("words"), NONE),
    "an answer that is not Ollama's": (InvalidResponse("words", status=200), NONE),
    "the queue is full": (ServerBusy("words", status=503), ALL),
    "too many requests": (RateLimited("words", status=429), ALL),
    "the proxy for cloud models failed": (status(502), (YES, YES, YES, NO)),
    "a proxy got no answer in time": (status(504), SAFE),
    "another failure of a proxy": (status(520), SAFE),
    "the runner crashed": (status(500), (YES, FIRST, FIRST, NO)),
    "a format that is refused with 500": (hopeful(status(500), retryable=False), NONE),
    "a dead runner of embed": (status(400), (YES, NO, FIRST, NO)),
    "a wrong request": (BadRequest("words", status=400), NONE),
    "an input longer than the context": (ContextOverflow("words", status=400), NONE),
    "not signed in": (Unauthorized("words", status=401), NONE),
    "not allowed": (Forbidden("words", status=403), NONE),
    "no such model": (ModelNotFound("words", status=404), NONE),
    "no such route": (RouteNotFound("words", status=405), NONE),
    "an error line of a pull that may work again": (hopeful(StreamError("words", status=200)), SAFE),
    "an error line of a pull that will not": (StreamError("words", status=200), NONE),
    "a registry without the model": (ModelNotInRegistry("words", status=200), NONE),
    "progress that broke off": (StreamTruncated("words", status=200), SAFE),
    "half a reply": (IncompleteReply("words", status=200), SAFE),
}

ANY_ERROR = st.one_of(
    st.sampled_from([error for error, _ in NAMED.values()]),
    st.sampled_from(list(DECIDED)).map(lambda kind: kind("words")),
)
KINDS = st.sampled_from(Repeat)
TRIES = st.integers(1, 100)


def row(error: OllamaError) -> tuple[str, ...]:
    """Return what is decided for each kind of call, in the words used above."""
    words = {(True, True): YES, (True, False): FIRST, (False, False): NO}
    return tuple(
        words[worth_repeating(error, kind, 1), worth_repeating(error, kind, 2)]
        for kind in (Repeat.SAFE, Repeat.INFERENCE, Repeat.EMBEDDING, Repeat.ONCE)
    )


@pytest.mark.parametrize("name", NAMED)
def test_each_failure_is_repeated_for_the_calls_that_bear_it(name: str) -> None:
    error, decided = NAMED[name]
    assert row(error) == decided


def test_every_class_of_error_is_decided_for_every_kind_of_call() -> None:
    classes = {
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, OllamaError) and value.__module__ == errors.__name__
    }
    assert set(DECIDED) == classes
    assert len(Repeat) == len(NONE)
    assert {kind: row(kind("words")) for kind in classes} == DECIDED


@given(ANY_ERROR, KINDS, TRIES)
def test_what_was_once_not_worth_it_never_becomes_so(error: OllamaError, kind: Repeat, tries: int) -> None:
    assert worth_repeating(error, kind, tries) or not worth_repeating(error, kind, tries + 1)


@given(ANY_ERROR, KINDS, TRIES)
def test_a_safe_call_bears_whatever_another_one_does(error: OllamaError, kind: Repeat, tries: int) -> None:
    assert worth_repeating(error, Repeat.SAFE, tries) or not worth_repeating(error, kind, tries)


@given(ANY_ERROR, KINDS, TRIES)
def test_nothing_is_repeated_that_has_no_hope(error: OllamaError, kind: Repeat, tries: int) -> None:
    assert error.retryable or not worth_repeating(error, kind, tries)


LOST: dict[str, tuple[OllamaError, bool]] = {
    "its answer was lost": (broken("receive"), True),
    "it was sent on a connection that broke": (broken("send", reused=True), True),
    "no answer came": (FirstByteTimeout("words"), True),
    "its layers could not be removed": (status(500), True),
    "a proxy lost the answer": (status(502), True),
    "nothing listened": (broken("connect"), False),
    "there was no connection in time": (ConnectTimeout("words"), False),
    "the server was busy": (ServerBusy("words", status=503), False),
    "there were too many requests": (RateLimited("words", status=429), False),
}


@pytest.mark.parametrize("name", LOST)
def test_a_model_that_is_gone_was_deleted_if_an_earlier_try_can_have_done_it(name: str) -> None:
    earlier, done = LOST[name]
    assert counts_as_done(ModelNotFound("words", status=404), [earlier]) is done


def test_one_try_that_can_have_deleted_it_is_enough() -> None:
    earlier: list[OllamaError] = [broken("connect"), broken("receive"), broken("connect")]
    assert counts_as_done(ModelNotFound("words", status=404), earlier)


def test_a_model_that_was_never_there_was_not_deleted() -> None:
    assert not counts_as_done(ModelNotFound("words", status=404), [])


@pytest.mark.parametrize("kind", [kind for kind in DECIDED if not issubclass(kind, ModelNotFound)])
def test_no_other_error_means_that_a_model_was_deleted(kind: Any) -> None:
    assert not counts_as_done(kind("words", status=404), [broken("receive")])
