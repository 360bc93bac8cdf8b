"""keep_alive: the nanoseconds that Ollama reads, what is sent for them, and durations as Go prints them."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_ext.durations import FOREVER, format_duration, keep_alive_value, parse_duration
from ollama_ext.errors import InvalidArgument

ORACLE = Path(__file__).parent / "data" / "oracles" / "duration.json"
OVERFLOWN = -(2**63)
LONGEST = timedelta(microseconds=FOREVER // 1000)

# What Go 1.26 makes of texts and numbers that the oracle leaves out; None where it reports an error.
SEEN_IN_GO: list[tuple[float | str, int | None]] = [
    # The largest positive duration is one less than the largest that a sum may reach.
    ("9223372036854775807ns", FOREVER),
    ("9223372036854775808ns", None),
    ("-9223372036854775808ns", FOREVER),
    ("-9223372036854775809ns", None),
    ("9223372036854775.808us", None),
    ("2562048h", None),
    ("2562047h48m", None),
    # The sum of two of those wraps around to zero, unseen.
    ("9223372036854775808ns9223372036854775808ns", 0),
    ("-9223372036854775808ns9223372036854775808ns5s", FOREVER),
    ("9223372036854775808ns1ns", None),
    # Any number of zeros; digits of a fraction past 64 bits are dropped; the rest is cut off.
    ("0" * 5000 + "5s", 5 * 10**9),
    ("9" * 5000 + "s", None),
    ("1." + "9" * 30 + "h", 7200 * 10**9),
    ("0." + "0" * 400 + "1h", 0),
    ("0.3333333333333333333h", 1200 * 10**9),
    ("0.9ns", 0),
    ("1.1ns", 1),
    # ASCII digits, exact units, nothing in between.
    ("\uff15s", None),
    ("5\u039cs", None),
    ("5S", None),
    ("5s\n", None),
    ("5m 3s", None),
    ("5m+3s", None),
    ("+-5s", None),
    ("+0", 0),
    ("00", None),
    ("1e3s", None),
    ("5\udcff", None),
    # Numbers are floating point: rounded, then cut.
    (9223372036, 9223372036 * 10**9),
    (9223372036.854775, 9223372036854774784),
    (9223372036.854776, OVERFLOWN),
    (1.000001, 1000000999),
    (1e-9, 1),
    (9e-10, 0),
    (5e-324, 0),
    (-5e-324, FOREVER),
    (10**308, OVERFLOWN),
    (-(10**308), FOREVER),
    (10**309, None),
    (-(10**309), None),
]

# A value that the server refuses, and words of the message.
REFUSED: list[tuple[Any, str]] = [
    ("300", "no unit: write 300 (a number of seconds, not a text) or '300s'"),
    ("-1", "no unit: write -1 (a number of seconds, not a text) or '-1s'"),
    ("+007", "no unit: write 7 (a number of seconds, not a text) or '+007s'"),
    (".5", "no unit: write 0.5 (a number of seconds, not a text) or '.5s'"),
    ("1d", "or '24h'"),
    ("1.5d", "no days"),
    ("5 m", "no spaces"),
    (" 5m", "no spaces"),
    ("5M", "lower case"),
    ("forever", "write a number for seconds"),
    ("1m2", "units ns, us, ms, s, m, h"),
    ("", "is empty: leave it out"),
    ("9223372037s", "write -1 to keep the model loaded"),
    ("-9223372037s", "write -1 to keep the model loaded"),
    ("99999999999", "write -1 to keep the model loaded"),
    (float("nan"), "write -1 to keep the model loaded"),
    (float("inf"), "write -1 to keep the model loaded"),
    (float("-inf"), "write -1 to keep the model loaded"),
    (timedelta.max, "write -1 to keep the model loaded"),
    (True, "(bool): write 0 to unload"),
    (None, "(NoneType): write 0 to unload"),
    ([300], "(list): write 0 to unload"),
    ({}, "(dict): write 0 to unload"),
    (b"5m", "(bytes): write 0 to unload"),
]

UNITS = ["ns", "us", "\u00b5s", "\u03bcs", "ms", "s", "m", "h"]
NOTATION = st.lists(
    st.builds(
        "{}{}".format,
        st.from_regex(r"[0-9]{1,4}(\.[0-9]{0,20})?|\.[0-9]{1,20}", fullmatch=True),
        st.sampled_from(UNITS),
    ),
    min_size=1,
    max_size=4,
).map("".join)
TEXTS = st.one_of(
    st.text(st.characters()),
    st.lists(st.sampled_from([*UNITS, *"0123456789.+- d", "9223372036854775808"]), max_size=8).map("".join),
    NOTATION,
)


def read(value: Any) -> int | None:
    """Return the nanoseconds of a value, or None if it is refused."""
    try:
        return parse_duration(value)
    except InvalidArgument:
        return None


def test_every_case_of_the_oracle_is_read_as_ollama_reads_it() -> None:
    cases = json.loads(ORACLE.read_text(encoding="utf-8"))
    assert len(cases) == 158
    for case in cases:
        assert (case["input"], read(json.loads(case["input"]))) == (case["input"], case.get("ns"))


@pytest.mark.parametrize(("value", "nanoseconds"), SEEN_IN_GO)
def test_odd_values_are_read_as_ollama_reads_them(value: float | str, nanoseconds: int | None) -> None:
    assert read(value) == nanoseconds


@pytest.mark.parametrize(("value", "words"), REFUSED)
def test_what_the_server_would_refuse_is_refused_with_the_value_and_the_remedy(
    value: Any, words: str
) -> None:
    for check in (parse_duration, keep_alive_value):
        with pytest.raises(InvalidArgument) as caught:
            check(value)
        assert caught.value.argument == "keep_alive"
        assert caught.value.message.startswith("keep_alive: ")
        assert repr(value)[:200] in caught.value.message
        assert words in caught.value.message


def test_an_integer_too_long_to_print_is_refused_by_its_size() -> None:
    for value in (10**5000, -(10**5000)):
        with pytest.raises(InvalidArgument, match="an integer of 16610 bits"):
            parse_duration(value)


@pytest.mark.parametrize("value", [9223372037, 1e300, 10**20])
def test_a_number_that_would_overflow_into_an_unload_is_never_sent(value: float) -> None:
    assert parse_duration(value) == OVERFLOWN
    with pytest.raises(InvalidArgument, match="292 years") as caught:
        keep_alive_value(value)
    assert repr(value) in caught.value.message


def test_a_huge_value_makes_a_short_message() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_duration("1" * 100_000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "value", [0, -1, 300, 1.5, -0.1, "5m", "0", "-1s", "1h30m", "\u00b5s".join("12") + "s"]
)
def test_numbers_and_texts_are_sent_as_they_are(value: float | str) -> None:
    sent = keep_alive_value(value)
    assert sent == value
    assert type(sent) is type(value)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (timedelta(minutes=5), "300"),
        (timedelta(milliseconds=1500), "1.5"),
        (timedelta(0), "0"),
        (timedelta(microseconds=1000001), '"1.000001s"'),  # as a number it would lose a nanosecond
        (timedelta(seconds=-1), "-1"),
        (timedelta(microseconds=-1), "-1"),
        (timedelta.min, "-1"),
        (timedelta(seconds=9223372035), '"2562047h47m15s"'),  # as a number it would be rounded
    ],
)
def test_a_timedelta_is_sent_as_seconds_where_they_are_exact(value: timedelta, sent: str) -> None:
    assert json.dumps(keep_alive_value(value)) == sent


def test_a_timedelta_past_what_the_server_can_count_is_refused() -> None:
    assert parse_duration(LONGEST) == FOREVER // 1000 * 1000
    with pytest.raises(InvalidArgument, match="292 years"):
        parse_duration(LONGEST + timedelta(microseconds=1))


@given(st.timedeltas(min_value=timedelta(0), max_value=LONGEST))
@example(timedelta(microseconds=1))
@example(LONGEST)
def test_the_server_reads_exactly_the_nanoseconds_of_a_timedelta(value: timedelta) -> None:
    nanoseconds = value // timedelta(microseconds=1) * 1000
    assert parse_duration(value) == nanoseconds
    assert parse_duration(json.loads(json.dumps(keep_alive_value(value)))) == nanoseconds


@given(st.timedeltas(max_value=timedelta(microseconds=-1)))
def test_a_negative_timedelta_is_for_ever(value: timedelta) -> None:
    assert parse_duration(value) == FOREVER
    assert parse_duration(keep_alive_value(value)) == FOREVER


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300))
def test_a_number_is_read_the_same_before_and_after_the_wire(value: float) -> None:
    nanoseconds = parse_duration(value)
    assert OVERFLOWN <= nanoseconds <= FOREVER
    assert parse_duration(json.loads(json.dumps(value))) == nanoseconds
    assert (nanoseconds == FOREVER) is (value < 0)


@given(TEXTS)
def test_any_text_is_a_duration_or_a_refusal_that_names_it(text: str) -> None:
    try:
        nanoseconds = parse_duration(text)
    except InvalidArgument as error:
        assert repr(text)[:200] in error.message  # noqa: PT017 -- the other half is no error
    else:
        assert 0 <= nanoseconds <= FOREVER
        assert keep_alive_value(text) == text


@given(st.lists(st.tuples(st.integers(0, 500_000), st.sampled_from(UNITS)), min_size=1, max_size=5))
def test_terms_add_up(terms: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in terms)
    assert parse_duration(text) == sum(parse_duration(f"{number}{unit}") for number, unit in terms)
    negative = FOREVER if any(number for number, _ in terms) else 0
    assert parse_duration(f"-{text}") == negative
    assert parse_duration(f"+{text}") == parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (999, "999ns"),
        (1_000, "1\u00b5s"),
        (2_500, "2.5\u00b5s"),
        (300_000_000, "300ms"),
        (999_999, "999.999\u00b5s"),
        (1_000_000, "1ms"),
        (1_001_000, "1.001ms"),
        (1_500_000_000, "1.5s"),
        (1_000_000_001, "1.000000001s"),
        (300_000_000_000, "5m0s"),
        (5_400_000_000_000, "1h30m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (86_400_000_000_000, "24h0m0s"),
        (-300_000_000_000, "-5m0s"),
        (-1, "-1ns"),
        (FOREVER, "2562047h47m16.854775807s"),
        (OVERFLOWN, "-2562047h47m16.854775808s"),
    ],
)
def test_durations_are_printed_as_go_prints_them(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.integers(0, FOREVER) | st.integers(0, 10**10))
def test_a_printed_duration_is_read_as_itself(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds
    assert nanoseconds == 0 or format_duration(-nanoseconds) == "-" + format_duration(nanoseconds)
