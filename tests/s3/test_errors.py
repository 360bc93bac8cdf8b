"""Errors of the mirror: one tree below `OllamaError`, and what is known survives whatever is done with it."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

import ollama_ext.s3
from ollama_ext.errors import Cancelled, InvalidArgument, OllamaError
from ollama_ext.s3 import MirrorError, TransferInterrupted, errors

if TYPE_CHECKING:
    from collections.abc import Iterator


def below(kind: type[MirrorError]) -> Iterator[type[MirrorError]]:
    """Return a class and those below it, but for those that other modules have for themselves."""
    if kind.__module__ == errors.__name__:
        yield kind
    for each in kind.__subclasses__():
        yield from below(each)


CLASSES = list(dict.fromkeys(below(MirrorError)))

# What the classes add, each with a value that is not its default.
EXTRA: dict[str, dict[str, Any]] = {
    "NameRefused": {"argument": "model"},
    "SettingRefused": {"argument": "reserve"},
    "BlobMissing": {"digest": "sha256:x", "where": "s3://b"},
    "DigestMismatch": {"digest": "sha256:x", "got": "sha256:y", "where": "s3://b"},
    "NoSpace": {"needed": 10, "free": 5, "reserve": 1},
    "BucketError": {"code": "SlowDown"},
}
DEFAULTS: dict[str, Any] = {
    "argument": None,
    "digest": "",
    "where": "",
    "got": "",
    "needed": None,
    "free": 0,
    "reserve": 0,
    "code": "",
}


def extra(kind: type[MirrorError]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for each in kind.__mro__:
        known |= EXTRA.get(each.__name__, {})
    return known


def drawn() -> dict[str, list[str]]:
    """Read the drawing in the docstring: the name of each class and those of its parents."""
    parents: dict[str, list[str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines()[1:]:
        match = re.fullmatch(r" {4}([│├└─ ]*)(\w+)(.*)", line)
        if match is None:
            assert not line.startswith(" "), line
            continue
        lines, name, explained = match.groups()
        assert len(lines) % 4 == 0, line
        del path[len(lines) // 4 :]
        parents[name] = path[-1:] + re.findall(r"also an? (\w+)\)", explained)
        path.append(name)
    return parents


def test_the_drawing_in_the_docstring_is_the_tree_of_the_classes() -> None:
    tree = drawn()
    assert tree.keys() == {each.__name__ for each in CLASSES}
    assert tree.pop("MirrorError") == []
    for kind in CLASSES[1:]:
        for parent in tree[kind.__name__]:
            assert parent in {each.__name__ for each in kind.__mro__}
        ours = [base.__name__ for base in kind.__bases__ if issubclass(base, MirrorError)]
        assert tree[kind.__name__][:1] == ours


def test_all_of_them_are_errors_of_the_library_and_offered_beside_the_mirror() -> None:
    assert MirrorError.__bases__ == (OllamaError,)
    for kind in CLASSES:
        assert getattr(ollama_ext.s3, kind.__name__) is kind
        assert kind.__name__ in ollama_ext.s3.__all__
        assert kind.__dict__["__doc__"]
    defined = [
        each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, MirrorError)
    ]
    assert set(defined) == set(CLASSES)


def test_what_a_caller_said_wrong_is_a_value_error_too() -> None:
    assert {each.__name__ for each in CLASSES if issubclass(each, ValueError)} == {
        "NameRefused",
        "SettingRefused",
    }
    assert all(issubclass(each, InvalidArgument) for each in CLASSES if issubclass(each, ValueError))


def test_an_interrupted_transfer_is_caught_as_any_cancelled_call() -> None:
    assert issubclass(TransferInterrupted, Cancelled)


def test_a_repeat_has_a_chance_after_exactly_these() -> None:
    assert {each.__name__ for each in CLASSES if each("words").retryable} == {
        "BucketUnreachable",
        "ObjectChanged",
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_holds_what_is_known_and_nothing_else_is_its_argument(kind: type[MirrorError]) -> None:
    error = kind("words", model="m:latest", **extra(kind))
    assert {name: getattr(error, name) for name in extra(kind)} == extra(kind)
    assert (str(error), error.message, error.model) == ("words", "words", "m:latest")
    bare = kind("words")
    assert {name: getattr(bare, name) for name in extra(kind)} == {
        name: DEFAULTS[name] for name in extra(kind)
    }
    assert bare.model is None
    unknown: dict[str, Any] = {"nonsense": 1}
    with pytest.raises(TypeError, match="nonsense"):
        kind("words", **unknown)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_pickled_and_copied_with_all_that_is_known(kind: type[MirrorError]) -> None:
    error = kind("words", model="m:latest", status=503, **extra(kind))
    copies = [pickle.loads(pickle.dumps(error, each)) for each in range(pickle.HIGHEST_PROTOCOL + 1)]  # noqa: S301 - our own
    for same in (*copies, copy.copy(error), copy.deepcopy(error)):
        assert type(same) is kind
        assert vars(same) == vars(error)
        assert (str(same), same.args) == ("words", ("words",))
