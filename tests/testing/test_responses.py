"""Responses are immutable values that combine, and they refuse what cannot be meant."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from ollama_ext.errors import InvalidArgument
from ollama_ext.testing import Body, FakeOllama, Json, Lines, Raw, Recording, Response

if TYPE_CHECKING:
    from collections.abc import Callable


def test_each_method_returns_a_new_response_and_leaves_the_old_one_alone() -> None:
    original = Json([1, 2])
    changed = original.split([1]).cut(2, "reset").stall(1.0, at=1).delay(0.5)
    assert original == Json([1, 2])
    assert changed != original
    assert type(changed) is Json


def test_methods_combine_in_any_order() -> None:
    one = Recording("chat-stream").split([1]).cut(at=100, how="reset").delay(2)
    other = Recording("chat-stream").delay(2).cut(at=100, how="reset").split([1])
    assert one == other


def test_a_changed_recording_still_tells_what_was_recorded() -> None:
    assert Recording("chat-stream").cut(5).exchange.name == "chat-stream"


def test_a_response_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        Json({}).status = 500  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue] # that is the test


def test_a_response_shows_itself_in_one_line() -> None:
    assert repr(Json([1]).cut(2, "reset")) == "<Json 200, 3 bytes, cut at 2 (reset)>"
    assert repr(Raw(b"abc")) == "<Raw 3 bytes>"


# Wrong types on purpose: callers without a type checker pass them.
BAD: list[tuple[str, Callable[[], Any], str]] = [
    ("how", lambda: Json({}).cut(0, "hard"), '"clean", "close" or "reset", not \'hard\''),  # type: ignore[arg-type]
    ("at", lambda: Json({}).cut(-1), "at least 0, not -1"),
    ("at", lambda: Json({}).cut(3), "past the end of the body, which has 2 bytes"),
    ("at", lambda: Json({}).cut(at=True), "integer, not True"),
    ("at", lambda: Json({}).cut(1.0), "integer, not 1.0"),  # type: ignore[arg-type]
    ("at", lambda: Json({}).stall(1, at=9), "past the end"),
    ("seconds", lambda: Json({}).stall(-1), "0 or more, not -1"),
    ("seconds", lambda: Json({}).stall(math.nan), "NaN"),
    ("seconds", lambda: Json({}).delay(-0.5), "0 or more, not -0.5"),
    ("seconds", lambda: Json({}).delay("1"), "not '1'"),  # type: ignore[arg-type]
    ("sizes", lambda: Json({}).split([]), "at least one size"),
    ("sizes", lambda: Json({}).split([3, 0]), "at least 1, not 0"),
    ("sizes", lambda: Json({}).split([-2]), "at least 1, not -2"),
    ("sizes", lambda: Json({}).split(1), r"such as \[1\]"),  # type: ignore[arg-type]
    ("status", lambda: Json({}, 99), "from 200 to 999, not 99"),
    ("status", lambda: Json({}, 100), "from 200 to 999, not 100"),
    ("status", lambda: Json({}, 204), "204 has no body"),
    ("body", lambda: Json(object()), "not JSON"),
    ("objects", lambda: Lines({1, 2}, object()), "not JSON"),
    ("content", lambda: Body(3), "bytes or text, not int"),  # type: ignore[arg-type]
    ("content", lambda: Body("\ud800"), "not text"),
    ("data", lambda: Raw(None), "bytes or text, not NoneType"),  # type: ignore[arg-type]
    ("headers", lambda: Json({}, headers={"a b": "c"}), "'a b' is no name"),
    ("headers", lambda: Json({}, headers={"A": "b\r\nC: d"}), "is no value"),
    ("headers", lambda: Json({}, headers={"Transfer-Encoding": "chunked"}), "not a free choice"),
    ("headers", lambda: Lines({}, headers={"Content-Length": "3"}), "exclude each other"),
    ("headers", lambda: Json({}, headers=[("A", "b")]), "a mapping"),  # type: ignore[arg-type]
    ("responses", lambda: FakeOllama().on("GET", "/"), "at least one response"),
    ("responses", lambda: FakeOllama().on("GET", "/", {}), "not dict"),  # type: ignore[arg-type]
    ("method", lambda: FakeOllama().on("GET /", "/", Json({})), "'GET /'"),
    ("path", lambda: FakeOllama().on("GET", "api/tags", Json({})), "'api/tags'"),
    ("path", lambda: FakeOllama().on("GET", "/api/tags?x=1", Json({})), "no query"),
    ("version", lambda: FakeOllama("v1"), "'v1'"),
    ("count", lambda: FakeOllama().wait_for_request(0), "at least 1, not 0"),
    ("timeout", lambda: FakeOllama().wait_for_disconnect(timeout=-1), "0 or more, not -1"),
]


@pytest.mark.parametrize(("argument", "call", "words"), BAD)
def test_a_bad_argument_is_refused_by_name(argument: str, call: Callable[[], Response], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        call()
    assert caught.value.argument == argument
