"""Strict JSON: what is read here is what Ollama reads, and all the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.s3 import ManifestRefused
from ollama_ext.s3.strict_json import exactly, read_object

KEYS = st.text(st.characters(codec="utf-8"), max_size=5)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
)


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects whose keys differ in more than upper and lower case."""
    pairs = st.lists(st.tuples(KEYS, values), max_size=4, unique_by=lambda pair: pair[0].casefold())
    return pairs.map(dict)


VALUES = st.recursive(SCALARS, lambda below: st.lists(below, max_size=3) | objects(below), max_leaves=12)
OBJECTS = objects(VALUES)

REFUSED = [
    (b"", "it is empty"),
    (b" \n", "it is empty"),
    (b"[]", "no object"),
    (b"null", "no object"),
    (b"true", "no object"),
    (b"1", "no object"),
    (b"0.5", "no object"),
    (b'"{}"', "no object"),
    (b"{} {}", "Extra data"),
    (b"{}x", "Extra data"),
    (b'{"a":1,}', "it is no JSON"),
    (b"{'a':1}", "it is no JSON"),
    (b'{"a":01}', "it is no JSON"),
    (b'{"a":+1}', "it is no JSON"),
    (b'{"a":1_0}', "it is no JSON"),
    (b'{"a":"\t"}', "it is no JSON"),
    (b'{"a":"\\x41"}', "it is no JSON"),
    (b'{"a":"\\u12 4"}', "it is no JSON"),
    (b'{"a":1}//', "it is no JSON"),
    ('{"a":\u00a01}'.encode(), "it is no JSON"),
    ('{"a":\u0661}'.encode(), "it is no JSON"),  # a digit, but not JSON's
    (b"<html><body>It works!</body></html>", "it is no JSON"),
    (b'{"a":NaN}', "NaN is no JSON"),
    (b'{"a":Infinity}', "Infinity is no JSON"),
    (b'{"a":-Infinity}', "-Infinity is no JSON"),
    (b"\xef\xbb\xbf{}", "BOM"),
    (b'{"a":"\xff"}', "it is not UTF-8 (byte 6: invalid start byte)"),
    (b'{"a":"\xed\xa0\x80"}', "it is not UTF-8 (byte 6:"),
    (b'{"a":"\xc0\x80"}', "it is not UTF-8 (byte 6:"),
    ("{}".encode("utf-16"), "it is not UTF-8"),
    ("{}".encode("utf-32-le"), "it is no JSON"),
    (b'{"a":' + b"9" * 5000 + b"}", "it is no JSON"),
    (b'{"a":9223372036854775808}', "the number 9223372036854775808 has no room in 64 bits"),
    (b'{"a":[-9223372036854775809]}', "the number -9223372036854775809 has no room in 64 bits"),
    (b'{"a":' + b"[" * 100_000, "it is nested too deep"),
    (b'{"a":' * 100_000, "it is nested too deep"),
    (b'{"a":"\\ud800"}', r"\ud800 is half a character"),
    (b'{"a":["\\uDFFF"]}', r"\uDFFF is half a character"),
    (b'{"\\ud800":1}', r"\ud800 is half a character"),
    (b'{"a":"\\\\\\udc00"}', r"\udc00 is half a character"),
    (b'{"a":"\\ud800\\ud800\\udc00"}', r"\ud800 is half a character"),
    (b'{"a":"\\ud83d \\ude00"}', r"\ud83d is half a character"),
    (b'{"a":1,"a":1}', "the key 'a' is there twice"),
    (b'{"a":1,"A":1}', "the key 'A' is there twice"),
    (b'{"a":1,"\\u0041":1}', "the key 'A' is there twice"),
    ('{"s":1,"\u017f":1}'.encode(), "the key '\u017f' is there twice"),  # Go folds both of these too
    ('{"k":1,"\u212a":1}'.encode(), "the key '\u212a' is there twice"),
    (b'{"x":[{"y":{"b":1,"c":2,"B":3}}]}', "the key 'B' is there twice"),
]


@pytest.mark.parametrize(("content", "words"), REFUSED, ids=lambda value: repr(value)[:50])
def test_what_two_readers_could_read_in_two_ways_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ManifestRefused) as caught:
        read_object(content, what="x")
    assert words in str(caught.value)
    assert str(caught.value).startswith("x is refused: ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"{}", {}),
        (b' \r\n\t{"a" : [ ] } ', {"a": []}),
        (b'{"a":{"k":1},"b":{"k":2}}', {"a": {"k": 1}, "b": {"k": 2}}),
        (b'{"a":9223372036854775807,"b":-9223372036854775808}', {"a": 2**63 - 1, "b": -(2**63)}),
        (b'{"a":-0,"b":1e2,"c":0.5E-1}', {"a": 0, "b": 100.0, "c": 0.05}),
        (b'{"a":"\\ud83d\\ude00\\uD83D\\uDE00"}', {"a": "\U0001f600\U0001f600"}),
        (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),  # an escaped backslash and four letters
        (b'{"a":"\\\\\\ud83d\\ude00\\n"}', {"a": "\\\U0001f600\n"}),
        ('{"\u00df":1,"s":2}'.encode(), {"\u00df": 1, "s": 2}),
    ],
)
def test_other_json_is_read_as_it_is(content: bytes, value: dict[str, Any]) -> None:
    assert read_object(content, what="x") == value


@given(OBJECTS, st.booleans())
def test_every_object_whose_keys_differ_is_read_as_it_was_written(
    value: dict[str, Any], escaped: bool
) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    assert read_object(text.encode(), what="x") == value


@given(OBJECTS, st.text("abkKsS\u017f\u212a", min_size=1, max_size=4), st.data())
def test_a_key_is_refused_the_second_time_whatever_its_case_and_however_deep(
    value: dict[str, Any], key: str, data: st.DataObject
) -> None:
    again = "".join(data.draw(st.sampled_from([letter, letter.upper(), letter.lower()])) for letter in key)
    text = f"{{{json.dumps(key)}: {json.dumps(value)}, {json.dumps(again)}: null}}"
    for _ in range(data.draw(st.integers(0, 3))):
        text = data.draw(st.sampled_from(['{"in": %s}', '{"in": [0, %s]}'])) % text
    with pytest.raises(ManifestRefused, match="twice"):
        read_object(text.encode(), what="x")


@given(st.binary(max_size=60) | st.text('{}[]":,\\/ud8c0eE+-.tfn\x00\x1f\ufeff', max_size=60).map(str.encode))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    try:
        value = read_object(content, what="x")
    except ManifestRefused:
        return
    assert value == json.loads(content)


# -- keys that Ollama knows


def test_a_key_is_found_by_its_letters() -> None:
    assert exactly({"a": 1, "size": 0}, "size", what="x") == 0
    assert exactly({"sized": 1, "siz": 2}, "size", what="x") is None


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("Layers", "layers"),
        ("layer\u017f", "layers"),
        ("LAYERS", "layers"),
        ("mediatype", "mediaType"),
        ("MediaType", "mediaType"),
        ("SCHEMAVERSION", "schemaVersion"),
    ],
)
def test_a_key_that_ollama_takes_for_another_is_refused(key: str, known: str) -> None:
    with pytest.raises(ManifestRefused) as caught:
        exactly({"a": 1, key: 2}, known, what="x")
    assert str(caught.value) == f"x is refused: it says {key!r} where {known!r} is meant"
