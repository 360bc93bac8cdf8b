"""Settings as YAML: its traps, what it can be made to hold, and the laws that hold for any text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ollama_ext.settings import Settings, SettingsError
from ollama_ext.settings.keys import PATHS, SUBSCRIPTION
from ollama_ext.settings.layouts import entries_of
from ollama_ext.settings.plain import meaning
from ollama_ext.settings.yaml_text import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def read(text: str) -> Settings:
    """Read YAML text as a file is read."""
    tree, problems = parse_yaml(text, "fleet.yaml")
    return Settings._read(entries_of(tree, problems), problems, {}, {})  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no file for each example


def fault(text: str) -> str:
    """Return what is told about YAML text."""
    with pytest.raises(SettingsError) as caught:
        read(text)
    return "\n".join(caught.value.problems)


# Traps


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default_models: [3]", 'not 3 (put quotes around it: "3")'),
        ("worker: {name: no}", 'not no (put quotes around it: "no")'),
        ("worker: {name: on}", 'put quotes around it: "on"'),
        ("worker: {name: 007}", 'put quotes around it: "007"'),
        ("worker: {name: 1.0}", 'put quotes around it: "1.0"'),
        ("worker: {name: 2026-11-25}", 'put quotes around it: "2026-11-25"'),
        ("worker: {name: 12:30}", 'put quotes around it: "12:30"'),
        ("worker: {name: 0x1F}", 'put quotes around it: "0x1F"'),
        ("s3: {bucket: b, expected_owner: 123456789012}", 'put quotes around it: "123456789012"'),
        ("s3: {bucket: b, expected_owner: 012345670123}", 'put quotes around it: "012345670123"'),
        ("s3: {bucket: b, session_token: 12345}", "may be secret (put quotes around it)"),
        ("worker: {slots: 0x10}", "not 0x10: write numbers in decimal"),
        ("worker: {slots: 0b1}", "not 0b1: write numbers in decimal"),
        ("worker: {slots: 0o7}", "not '0o7'"),
        ("worker: {slots: 010}", "not 010: write numbers in decimal, without zeros in front"),
        ("worker: {slots: 08}", "not '08'"),
        ("worker: {max_request_bytes: 8_388_608}", "write numbers without '_'"),
        ("worker: {dwell: 1:30}", "not 1:30: colons make a number to the base 60 of it"),
        ("worker: {dwell: .inf}", "not .inf: write a finite number"),
        ("worker: {slots: 2026-11-25}", "not 2026-11-25: YAML makes a date of it"),
        ("worker: {slots: '2'}", "not '2' (text; leave out the quotes)"),
        ("worker: {slots: yes}", "not yes"),
        ("worker: {preload: 'true'}", "not 'true' (text; leave out the quotes)"),
        (f"worker: {{slots: {'9' * 50}}}", "it has too many digits"),
        (
            "subscriptions: [{type: *, model: a}]",
            'put quotes around text that begins with it, as in model: "*"',
        ),
        ("subscriptions: [{type: chat, model: @a}]", "'@' that cannot start any token: put quotes"),
        ("subscriptions: [{type: chat, model: a, options: {stop: no}}]", "write false, or quote it"),
        ("subscriptions: [{type: chat, model: a, options: {top_p: 1e-1}}]", "write 0.1, or quote it"),
        ("subscriptions: [{type: chat, model: a, options: {seed: 010}}]", "cannot be 010"),
        (
            "subscriptions: [{type: chat, model: a, options: {seed: 08}}]",
            "without zeros in front, or quote it",
        ),
        ("worker:\n\tslots: 1", "indent with spaces"),
        ("worker: slots: 1", "a colon with a space after it in a value"),
        ("worker:\n  slots: 1\n  slots: 2", "fleet.yaml:3: worker.slots is there twice, first in line 2"),
        ("subscriptions:\n- {type: chat, type: chat, model: a}", "subscriptions[0].type is there twice"),
        ("worker: {slots: 1", "fleet.yaml:1: is not YAML: expected ',' or '}'"),
        ("a: 1\n---\nb: 1", "fleet.yaml:2: a second document begins here"),
        ("- a", "settings must be a mapping of sections"),
        ("text", "settings must be a mapping of sections"),
        ("? [a]\n: b", "a key that is no word"),
        ("worker: {<<: {slots: 1}}", "merge keys (<<) are not read"),
        ("worker: !!map {}", "tags, which begin with !, are not read"),
        ("worker: {slots: !!int 1}", "tags, which begin with !, are not read"),
        ("worker: {name: !!python/name:os.system x}", "tags, which begin with !, are not read"),
        ("worker: !!python/object/apply:os.system [x]", "tags, which begin with !, are not read"),
        ("worker: &a {b: *a}", "for which there is no anchor above it"),
        ("worker: {name: \x01}", "fleet.yaml:1: has a character that YAML does not allow"),
        ('worker: {name: "\\UFFFFFFFF"}', "fleet.yaml: is not YAML"),
        ('worker: {name: "\\ud800"}', "worker.name has a line break or another character"),
        ("a" * 2_000_000, "settings have 1,048,576 at most"),
        ("[" * 1000, "more than 24 levels of nesting"),
    ],
)
def test_a_trap_of_yaml_is_told_with_what_to_write(text: str, told: str) -> None:
    assert told in fault(text)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("worker: {slots: 2}", "worker.slots", 2),
        ("worker: {slots: 2.0}", "worker.slots", 2),
        ("worker: {slots: +2}", "worker.slots", 2),
        ("worker: {max_request_bytes: 1e6}", "worker.max_request_bytes", 1_000_000),
        ("worker: {max_request_bytes: 1.5MiB}", "worker.max_request_bytes", 1_572_864),
        ("worker: {dwell: 1e1}", "worker.dwell", 10.0),
        ("worker: {dwell: .5}", "worker.dwell", 0.5),
        ("worker: {dwell: 90s}", "worker.dwell", 90.0),
        ("worker: {dwell: '1h30m'}", "worker.dwell", 5400.0),
        ("worker: {preload: yes}", "worker.preload", True),
        ("worker: {preload: off}", "worker.preload", False),
        ("worker: {preload: TRUE}", "worker.preload", True),
        ("worker: {name: 'no'}", "worker.name", "no"),
        ("worker: {name: !!str 007}", "worker.name", "007"),
        ("worker: {name: ! 007}", "worker.name", "007"),
        ("worker: {name: 1e3}", "worker.name", "1e3"),
        ("worker: {name: gpu-07}", "worker.name", "gpu-07"),
        ("ollama: {host: 127.0.0.1:11434}", "ollama.host", "127.0.0.1:11434"),
        ("ollama: {host: localhost}", "ollama.host", "localhost"),
    ],
)
def test_what_is_meant_beyond_doubt_is_taken(text: str, path: str, value: object) -> None:
    section, name = path.split(".")
    found = getattr(getattr(read(text), section), name)
    assert (found, type(found)) == (value, type(value))


def test_the_name_of_a_model_needs_no_quotes() -> None:
    text = "subscriptions: [{type: chat, model: llama3.2:1b}, {type: embed, model: hf.co/u/m:Q4}]"
    assert [each.model for each in read(text).subscriptions] == ["llama3.2:1b", "hf.co/u/m:Q4"]


def test_an_alias_is_its_anchor_and_errors_name_the_line_of_each() -> None:
    text = """\
subscriptions:
  - {type: chat, model: a, options: &options {num_ctx: 4096}}
  - {type: generate, model: a, options: *options}
"""
    first, second = read(text).subscriptions
    assert first.options == second.options == {"num_ctx": 4096}
    told = fault("default_models:\n- &bad 3\n- *bad\ns3: {bucket: b}")
    assert "fleet.yaml:2: default_models[0]" in told
    assert "fleet.yaml:3: default_models[1]" in told


def test_aliases_of_aliases_do_not_multiply() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert "more than 20,000 values" in fault("\n".join(lines))


def test_aliases_do_not_nest_deeper_than_anything_else() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 50))]
    assert "more than 24 levels of nesting" in fault("\n".join(lines))


def test_a_mapping_that_holds_itself_or_the_same_too_often_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["worker"] = endless
    with pytest.raises(SettingsError, match="levels deep"):
        Settings.from_mapping(endless, environ={})
    many: Any = "x"
    for _ in range(20):
        many = [many] * 10
    with pytest.raises(SettingsError, match=r"more than 20,000 values"):
        Settings.from_mapping({"default_models": many}, environ={})


# Laws

NUMBER_LIKE = st.text("0123456789_+-.:xboeEinfaTZ ~=<ys", max_size=12) | st.from_regex(
    r"[-+]?[0-9]{1,4}([.:_-][0-9]{1,2}){0,3}([eE][-+]?[0-9])?", fullmatch=True
)


@given(NUMBER_LIKE)
@example("2026-1-2 10:00:00.5 +1:00")
@example("0:30.5")
@example("-.5")
@example("08")
def test_a_word_is_text_where_pyyaml_says_so_and_a_number_is_the_same_one(word: str) -> None:
    resolver: Any = yaml.SafeLoader("")
    tag = resolver.resolve(yaml.ScalarNode, word, (True, False))
    found = meaning(word)
    assert isinstance(found, str) == (tag == "tag:yaml.org,2002:str")
    if isinstance(found, bool | int | float):
        assert found == yaml.safe_load(f"[{word}]")[0]


def check(reading: Callable[[], Settings]) -> None:
    """Read settings, or get their error and no other, with text that can be printed."""
    try:
        found = reading()
    except SettingsError as refused:
        told = refused
    else:
        assert isinstance(found, Settings)
        assert found.table()
        return
    assert all(told.problems)
    assert str(told).encode()


WORDS = st.sampled_from(
    [
        *{part for path in PATHS for part in path.split(".")},
        *(key.name for key in SUBSCRIPTION),
        *(
            "legion",
            "endpoint",
            "chat",
            "embed",
            "llama3.2:1b",
            "a",
            "*",
            "&a",
            "*a",
            "!",
            "!!int",
            "!x!y",
            "%",
            "@",
        ),
        *(
            "1",
            "0",
            "-1",
            "1.5",
            "1e3",
            "010",
            "0x1",
            "1:30",
            "yes",
            "null",
            "~",
            ".nan",
            "2026-11-25",
            "5m",
            "1MiB",
        ),
        *(
            "amqp://a:b@c",
            "amqps://x/",
            "<<",
            "---",
            "...",
            "?",
            '"',
            "'",
            "|",
            ">",
            "\\x",
            "\\U",
            "%YAML 1.1",
            "#",
        ),
        *(": ", ":", ", ", "- ", "\n", "\n  ", "\n    ", "\t", "{", "}", "[", "]", " "),
    ]
)
TEXTS = st.one_of(st.text(), st.lists(WORDS, max_size=40).map("".join))


@settings(deadline=None)
@given(TEXTS)
@example("%YAML 1." + "9" * 5000 + "\n---\na: 1")
@example("%TAG ! x\n--- !a b")
@example('"\\U00110000"')
@example("\ufeffa: 1")
@example("a: &a\n")
@example("a:\r\n\x85\u2028 b")
def test_any_text_gives_settings_or_their_error(text: str) -> None:
    check(lambda: read(text))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(max_size=3),
    WORDS,
    st.just(5000).map(lambda digits: 10**digits),
    st.just("\ud800"),
)
KEYS = st.one_of(WORDS, st.text(), st.just("\ud800"), st.integers())


def holding(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return lists and mappings of values."""
    return st.one_of(st.lists(values, max_size=4), st.dictionaries(KEYS, values, max_size=5))


VALUES = st.recursive(SCALARS, holding, max_leaves=10)
SECTIONS = st.sampled_from(["ollama", "amqp", "worker", "s3", "subscriptions", "default_models", "legion"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(VALUES, st.dictionaries(SECTIONS, VALUES)),
    st.dictionaries(st.one_of(st.sampled_from(list(PATHS)), KEYS), VALUES, max_size=4),
)
def test_any_mapping_gives_settings_or_their_error(mapping: Any, overrides: Any) -> None:
    check(lambda: Settings.from_mapping(mapping, overrides=overrides, environ={}))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.one_of(
            st.sampled_from(list(PATHS)).map(lambda path: f"OLLAMA_EXT_{path.upper().replace('.', '__')}"),
            st.sampled_from(
                ["OLLAMA_HOST", "OLLAMA_MODELS", "OLLAMA_EXT_BUCKET", "OLLAMA_EXT_PREFIX", "OLLAMA_EXT_X__Y"]
            ),
        ),
        st.one_of(TEXTS, st.just('{"a": [1, 2'), st.just("[" * 50 + "]" * 50)),
    )
)
def test_any_environment_gives_settings_or_their_error(environ: dict[str, str]) -> None:
    check(lambda: Settings.from_mapping({}, environ=environ))


NAMES = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,10}", fullmatch=True)
LINES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | LINES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LINES, inner, max_size=3),
    max_leaves=5,
)
OPTIONAL_SUBSCRIPTION: dict[Any, st.SearchStrategy[Any]] = {
    "options": st.dictionaries(LINES, JSON, max_size=3),
    "keep_alive": st.sampled_from([-1, 0, 300, 0.5, "30m", "-1s"]),
    "exchange": st.sampled_from(["llm.batch", "llm.request"]),
    "slots": st.just(1),
    "single_active_consumer": st.booleans(),
}
SUBSCRIPTIONS = st.fixed_dictionaries(
    {"type": st.sampled_from(["chat", "generate", "embed", "*"]), "model": NAMES | st.just("*")},
    optional=OPTIONAL_SUBSCRIPTION,
)
OPTIONAL_WORKER: dict[Any, st.SearchStrategy[Any]] = {
    "name": LINES,
    "slots": st.integers(1, 65535),
    "dwell": st.floats(0, 1e6) | st.integers(0, 1000) | st.sampled_from(["5m", "1h30m"]),
    "job_limit": st.floats(1, 1e6),
    "drain_limit": st.floats(0, 1e6),
    "max_deliveries": st.integers(1, 100),
    "max_reply_bytes": st.integers(1024, 1 << 29) | st.sampled_from(["8MiB", "1.5M"]),
}
OPTIONAL: dict[Any, st.SearchStrategy[Any]] = {
    "worker": st.fixed_dictionaries({}, optional=OPTIONAL_WORKER),
    "subscriptions": st.lists(SUBSCRIPTIONS, max_size=3),
    "s3": st.fixed_dictionaries({"bucket": NAMES, "anonymous": st.booleans(), "prefix": NAMES | st.just("")}),
}
GOOD = st.fixed_dictionaries({}, optional=OPTIONAL)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GOOD, st.booleans())
def test_good_settings_stay_the_same_through_yaml(mapping: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(mapping, default_flow_style=flow, allow_unicode=True)
    assert without_origins(read(text)) == without_origins(Settings.from_mapping(mapping, environ={}))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GOOD)
def test_the_layout_of_lex_ollama_reads_the_same_keys(mapping: dict[str, Any]) -> None:
    legion = Settings.from_mapping({"legion": {"ollama": mapping}}, environ={})
    assert without_origins(legion) == without_origins(Settings.from_mapping(mapping, environ={}))


def without_origins(found: Settings) -> Settings:
    """Return the values alone."""
    return msgspec.structs.replace(found, origins={})


def test_a_bom_is_no_part_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_bytes(b"\xef\xbb\xbfworker: {slots: 2}\n")
    assert Settings.load(file, environ={}).worker.slots == 2
