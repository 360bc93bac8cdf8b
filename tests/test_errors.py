"""Errors: one tree, and what is known about a failure survives whatever is done with it."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest
from ollama_openapi.models import ChatResponse

from ollama_ext import ChatReply, errors
from ollama_ext.errors import (
    ConnectionFailed,
    ContextOverflow,
    InvalidArgument,
    OllamaError,
    RequestInfo,
    ResponseError,
    ServerError,
    TotalTimeout,
    Unauthorized,
)
from ollama_ext.progress import Overall, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator


def below(kind: type[OllamaError]) -> Iterator[type[OllamaError]]:
    """Return a class and those below it, but for what other modules of the library hang in there."""
    if kind.__module__ == errors.__name__:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)


#: In the order of the tree; a class with two parents once.
CLASSES = list(dict.fromkeys(below(OllamaError)))

# What the classes add to `OllamaError`, each with a value that is not its default.
EXTRA: dict[str, dict[str, Any]] = {
    "InvalidArgument": {"argument": "model"},
    "ConnectionFailed": {"stage": "receive", "reused": True},
    "ResponseError": {"retry_after": 1.5},
    "ContextOverflow": {"input_tokens": 3021, "context_length": 1024},
    "Unauthorized": {"signin_url": "https://ollama.com/connect"},
}
DEFAULTS: dict[str, Any] = {"stage": "connect", "reused": False, "body": b""}
RETRYABLE = {
    "ConnectionFailed",
    "OllamaTimeout",
    "ConnectTimeout",
    "FirstByteTimeout",
    "IdleTimeout",
    "RateLimited",
    "ServerBusy",
    "ServerError",
    "IncompleteReply",
    "StreamTruncated",
}


def reply() -> ChatReply:
    message = {"role": "assistant", "content": "half", "thinking": "hm"}
    body = {"model": "m", "created_at": "", "done": False, "message": message, "new": [1]}
    return ChatReply(ChatResponse.from_dict(body), 200)


def everything(kind: type[OllamaError]) -> dict[str, Any]:
    """Return a value for each attribute that errors of this class can be given."""
    known: dict[str, Any] = {
        "status": 500,
        "body": b"\xff",
        "request": RequestInfo(method="POST", url="http://x/api/chat"),
        "model": "m",
        "partial": reply(),
        "progress": Progress("pulling", "sha256:00", 1, 2, Overall(1, 2, 0.5)),
    }
    for each in kind.__mro__:
        known |= EXTRA.get(each.__name__, {})
    return known


# -- the tree


def drawn() -> dict[str, list[str]]:
    """Read the drawing in the docstring: the name of each class and those of its parents."""
    parents: dict[str, list[str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").split("Catch `OllamaError`")[0].splitlines()[1:]:
        match = re.fullmatch(r" {4}([│├└─ ]*)(\w+)(.*)", line)
        if match is None:
            assert not line.strip(), line
            continue
        lines, name, explained = match.groups()
        assert len(lines) % 4 == 0, line
        del path[len(lines) // 4 :]
        parents[name] = path[-1:] + re.findall(r"\(also an? (\w+)\)", explained)
        path.append(name)
    return parents


def test_the_drawing_in_the_docstring_is_the_tree_of_the_classes() -> None:
    bases = {each.__name__: [base.__name__ for base in each.__bases__] for each in CLASSES}
    assert drawn() == {**bases, "OllamaError": []}


def test_every_exception_of_the_module_is_in_the_tree_and_says_what_it_is() -> None:
    defined = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Exception)]
    assert set(defined) == set(CLASSES)
    assert all(each.__dict__["__doc__"] for each in CLASSES)


def test_a_repeat_has_a_fair_chance_after_exactly_these() -> None:
    assert {each.__name__ for each in CLASSES if each.retryable} == RETRYABLE
    assert {each.__name__ for each in CLASSES if each("words").retryable} == RETRYABLE
    assert not TotalTimeout("words").retryable


def test_one_error_can_differ_from_its_class_in_whether_a_repeat_has_a_chance() -> None:
    error = ServerError("words")
    error.retryable = False
    assert ServerError("words").retryable
    assert not pickle.loads(pickle.dumps(error)).retryable  # noqa: S301 - our own bytes
    assert not copy.copy(error).retryable


def test_a_wrong_argument_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="words"):
        raise InvalidArgument("words", argument="model")


# -- the attributes


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_holds_all_that_is_known(kind: type[OllamaError]) -> None:
    known = everything(kind)
    error = kind("words", **known)
    assert {name: getattr(error, name) for name in known} == known
    assert (error.message, str(error), error.args) == ("words", "words", ("words",))
    assert error.partial_text == "half"


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_not_known_is_none(kind: type[OllamaError]) -> None:
    error = kind("words")
    for name in everything(kind):
        assert getattr(error, name) == DEFAULTS.get(name), name
    assert error.partial_text == ""


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_pickled_and_copied_with_all_that_is_known(kind: type[OllamaError]) -> None:
    error = kind("words", **everything(kind))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        check_same(pickle.loads(pickle.dumps(error, protocol)), error)  # noqa: S301 - our own bytes
    for same in (copy.copy(error), copy.deepcopy(error)):
        check_same(same, error)
    assert copy.deepcopy(error).partial is not error.partial


def check_same(copied: Any, error: OllamaError) -> None:
    assert type(copied) is type(error)
    assert vars(copied) == vars(error)
    assert set(everything(type(error))) | {"message"} == set(vars(copied))
    assert (str(copied), copied.args) == ("words", ("words",))
    partial: Any = copied.partial
    assert partial.result["new"] == [1]


def test_the_attributes_of_one_class_are_no_argument_of_another() -> None:
    for kind, name in ((ResponseError, "signin_url"), (Unauthorized, "input_tokens"), (OllamaError, "stage")):
        unknown: dict[str, Any] = {name: None}
        with pytest.raises(TypeError, match=name):
            kind("words", **unknown)


def test_both_lengths_of_an_overflow_are_numbers_of_tokens() -> None:
    error = ContextOverflow("words", input_tokens=3021, context_length=1024, status=400)
    assert (error.input_tokens, error.context_length, error.status) == (3021, 1024, 400)


def test_a_failed_connection_says_how_far_the_call_had_come() -> None:
    assert ConnectionFailed("words").stage == "connect"
    error = ConnectionFailed("words", stage="send", reused=True)
    assert (error.stage, error.reused) == ("send", True)
