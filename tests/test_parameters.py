"""Parameters of a Modelfile: typed as Ollama's own client types them."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.errors import InvalidArgument
from ollama_ext.parameters import DEPRECATED, parameter_value

# Name, text, and what Ollama v0.33.0-rc2 sends for it.
SEEN_IN_GO: list[tuple[str, str, Any]] = [
    ("num_ctx", "4096", 4096),
    ("num_gpu", "007", 7),
    ("seed", "+7", 7),
    ("seed", "-0", 0),
    ("num_predict", "-1", -1),
    ("seed", "9223372036854775807", 2**63 - 1),
    ("seed", "-9223372036854775808", -(2**63)),
    ("seed", "0" * 5000 + "9", 9),
    ("temperature", "0.7", 0.7),
    ("temperature", "1", 1.0),
    ("temperature", "-0", -0.0),
    ("top_p", ".5", 0.5),
    ("top_p", "5.", 5.0),
    ("min_p", "1_0.5e-0_1", 1.05),
    ("min_p", "0x1p-3", 0.125),
    ("min_p", "0X_1.8P1", 3.0),
    ("typical_p", "0.123456789", 0.12345679),
    ("typical_p", "0.1000000001", 0.1),
    ("repeat_penalty", "16777217", 16777216.0),
    ("repeat_penalty", "1.00000006", 1.0000001),
    ("repeat_penalty", "8589934592", 8589935000.0),
    ("repeat_penalty", "0.1209519058", 0.120951906),
    ("repeat_penalty", "3.4028235e38", 3.4028235e38),
    ("presence_penalty", "1e-40", 1e-40),
    ("frequency_penalty", "1e-46", 0.0),
    ("use_mmap", "T", True),
    ("use_mmap", "0", False),
    ("stop", "", [""]),
    ("stop", "1", ["1"]),
]
REFUSED_IN_GO = [
    *[("num_ctx", text) for text in ("", " 1", "1.0", "1e3", "1_0", "0x10", "\u0661", "9223372036854775808")],
    *[("seed", text) for text in ("-9223372036854775809", "9" * 5000, "--1", "+")],
    *[("top_k", text) for text in ("true", "forty")],
    *[("temperature", text) for text in ("", " 1", "1,5", "0x1", "1__0", "_1", "1_", "1_.5", "1._5", "1e_5")],
    *[("temperature", text) for text in ("1e39", "1e999", "0x1p999", "0x1p99999", "inf", "-Infinity", "NaN")],
    *[("temperature", text) for text in (".", "e1", "1e", "\u0661", "1f", "true")],
    *[("use_mmap", text) for text in ("", "yes", "on", "tRUE", "2", " true")],
]


@pytest.mark.parametrize(("name", "text", "value"), SEEN_IN_GO)
def test_a_parameter_has_the_type_that_ollama_gives_it(name: str, text: str, value: Any) -> None:
    read = parameter_value(name, text, "modelfile")
    assert (type(read), repr(read)) == (type(value), repr(value))


@pytest.mark.parametrize(("name", "text"), REFUSED_IN_GO)
def test_what_does_not_fit_the_type_is_refused_with_the_remedy(name: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parameter_value(name, text, "modelfile")
    assert caught.value.argument == "modelfile"
    assert f"the parameter {name} cannot be {text!r}"[:100] in caught.value.message
    assert "write " in caught.value.message
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Temperature", "did you mean 'temperature'?"),
        ("num_context", "did you mean 'num_ctx'?"),
        ("numa", "did you mean"),
        ("", "after a single space"),
        ("FROM", "write one of draft_num_predict"),
        ("x" * 100_000, "write one of"),
    ],
)
def test_an_unknown_parameter_is_refused_with_what_was_meant(name: str, remedy: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parameter_value(name, "1", "modelfile")
    assert f"there is no parameter {name[:80]!r}" in caught.value.message
    assert remedy in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("name", sorted(DEPRECATED))
def test_what_no_server_uses_is_no_parameter(name: str) -> None:
    with pytest.raises(InvalidArgument):
        parameter_value(name, "1", "modelfile")


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_of_32_bits_is_read_exactly_in_its_shortest_form(number: float) -> None:
    shortest = parameter_value("temperature", repr(number), "modelfile")
    assert isinstance(shortest, float)
    assert struct.pack("<f", shortest) == struct.pack("<f", number)
    assert len(repr(shortest)) <= len(repr(number))
    assert math.copysign(1, shortest) == math.copysign(1, number)


@given(st.text(st.sampled_from("0123456789+-.eExXpP_ infa"), max_size=12))
def test_any_text_is_a_finite_number_or_refused(text: str) -> None:
    try:
        value = parameter_value("temperature", text, "modelfile")
    except InvalidArgument:
        return
    assert isinstance(value, float)
    assert math.isfinite(value)
