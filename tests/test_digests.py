"""Digests: what Ollama accepts, in one canonical form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.digests import blob_file_name, parse_digest
from ollama_ext.errors import InvalidArgument

ORACLE = Path(__file__).parent / "data" / "oracles" / "digest.json"
HEX = "0123456789abcdef" * 4


def accepted(text: str) -> bool:
    """Tell whether a text is taken for a digest."""
    try:
        parse_digest(text)
    except InvalidArgument:
        return False
    return True


def test_every_case_of_the_oracle_is_accepted_or_refused_as_ollama_does() -> None:
    cases = json.loads(ORACLE.read_text(encoding="utf-8"))
    assert len(cases) == 19
    for case in cases:
        if case["input"]:  # to Ollama the empty text is the directory of all blobs: no digest
            assert (case["input"], accepted(case["input"])) == (case["input"], case["valid"])


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}", f"sha256:{HEX.upper()}"])
def test_a_digest_has_one_form_and_one_file_name(text: str) -> None:
    assert parse_digest(text) == f"sha256:{HEX}"
    assert blob_file_name(text) == f"sha256-{HEX}"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "write 'sha256:' and 64 hexadecimal digits"),
        ("sha256:../../x", "write 'sha256:' and 64 hexadecimal digits"),
        (f"sha512:{HEX}", "write 'sha256:' and 64 hexadecimal digits"),
        (f"sha256:{HEX[1:]}", "write 'sha256:' and 64 hexadecimal digits"),
        (f"sha256:{HEX[:-1]}\uff11", "write 'sha256:' and 64 hexadecimal digits"),
        (HEX, f"write 'sha256:{HEX}'"),
        (HEX.upper(), f"write 'sha256:{HEX}'"),
        (f"SHA256:{HEX}", f"write 'sha256:{HEX}'"),
        (f"sha256:{HEX}\n", f"write 'sha256:{HEX}'"),
    ],
)
def test_what_is_no_digest_is_refused_with_the_value_and_the_remedy(text: str, remedy: str) -> None:
    for read in (parse_digest, blob_file_name):
        with pytest.raises(InvalidArgument) as caught:
            read(text)
        assert caught.value.argument == "digest"
        assert repr(text) in caught.value.message
        assert remedy in caught.value.message


@pytest.mark.parametrize("value", [None, 7, b"sha256:" + HEX.encode()])
def test_a_digest_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="64 hexadecimal digits"):
        parse_digest(value)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] -- the point


def test_a_huge_value_makes_a_short_message() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_digest("sha256:" + "0" * 100_000)
    assert len(str(caught.value)) < 400


@given(st.binary(min_size=32, max_size=32), st.sampled_from(":-"), st.booleans())
def test_every_spelling_of_a_digest_is_the_same_digest(raw: bytes, separator: str, upper: bool) -> None:
    spelled = raw.hex().upper() if upper else raw.hex()
    digest = parse_digest(f"sha256{separator}{spelled}")
    assert digest == f"sha256:{raw.hex()}"
    assert parse_digest(digest) == digest
    assert parse_digest(blob_file_name(digest)) == digest


@given(st.text(st.characters()) | st.from_regex(r"[sS]ha(256|512)[:-][0-9a-gA-G]{60,66}\s?", fullmatch=True))
def test_a_file_name_never_leads_out_of_its_directory(text: str) -> None:
    if accepted(text):
        name = blob_file_name(text)
        assert len(name) == 71
        assert name.removeprefix("sha256-").isalnum()
        assert name.isascii()
