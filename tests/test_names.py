"""Names of models: the parts and the verdict of Ollama, and a clear refusal where it says no."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_ext.errors import InvalidArgument
from ollama_ext.names import (
    DEFAULT_NAME,
    ModelName,
    ModelReference,
    Source,
    checked_name,
    parse_name,
    parse_reference,
)

ORACLE = Path(__file__).parent / "data" / "oracles" / "name.json"

# What Ollama v0.33.0-rc2 makes of texts that the oracle leaves out: scheme, host, namespace, model, tag.
SEEN_IN_GO = [
    # What is empty after a scheme is filled in; what is empty beside a slash or a colon is missing.
    ("http:///a/b", ("http", "registry.ollama.ai", "a", "b", "latest")),
    ("://h/a/b", ("https", "h", "a", "b", "latest")),
    ("/a/b", ("https", "!MISSING!", "a", "b", "latest")),
    ("a/:", ("https", "registry.ollama.ai", "a", "!MISSING!", "!MISSING!")),
    # Only the first "://" ends a scheme, and only where two slashes follow.
    ("a://b://c/d/e", ("a", "b://c", "d", "e", "latest")),
    ("http://model", ("https", "http:", "!MISSING!", "model", "latest")),
    # A colon before the last slash is a part of the host, or of nothing good.
    ("h:1/n/m", ("https", "h:1", "n", "m", "latest")),
    ("h:1/m", ("https", "registry.ollama.ai", "h:1", "m", "latest")),
    ("a:b:c", ("https", "registry.ollama.ai", "library", "a:b", "c")),
    ("a/b/c/d", ("https", "a/b", "c", "d", "latest")),
    ("m\udcff:\udcfe", ("https", "registry.ollama.ai", "library", "m\udcff", "\udcfe")),
]

# A name that Ollama refuses, and words of the message: what is wrong and what to write.
REFUSED = [
    ("", ["is empty", "'llama3.2'"]),
    ("m@sha256:abc", ["'@'", "supports no digests"]),
    ("m:tag@sha256:abc", ["'@'", "write a tag"]),
    (" llama3", ["white space", "write 'llama3'"]),
    ("llama3:1b\n", ["white space", "write 'llama3:1b'"]),
    ("\u3000llama3", ["white space", "write 'llama3'"]),
    ("a b", ["' ' in its model 'a b'"]),
    (" a b ", ["' ' in its model ' a b '"]),
    ("a b:8b:cloud", ["' ' in its model 'a b:8b'"]),
    ("foo:8b:cloud", ["the source 'cloud'", "write 'foo:8b'"]),
    ("foo:8b:LOCAL", ["the source 'local'", "write 'foo:8b'"]),
    ("model:a:b", ["':' in its model 'model:a'"]),
    ("https://hf.co/m", ["scheme", "'https://host/namespace/model:tag'"]),
    ("https://h/a/b/c", ["scheme", "'https://host/namespace/model:tag'"]),
    ("a/b/c/d", ["more than three parts", "'host/namespace/model:tag'"]),
    ("a:", ["no tag", "leave the ':' out"]),
    ("n/m:", ["no tag", "leave the ':' out"]),
    (":a", ["no model", "leave the ':' out"]),
    ("a/", ["no model", "leave the '/' out"]),
    ("/a", ["no namespace", "leave the '/' out"]),
    ("a//b", ["no namespace", "leave the '/' out"]),
    ("/a/b", ["no host", "leave the '/' out"]),
    ("hf.co/model:Q4", ["host but no namespace", "'hf.co/NAMESPACE/model:Q4'"]),
    ("localhost:5000/model", ["host but no namespace", "'localhost:5000/NAMESPACE/model'"]),
    ("hf.co/user.name/model", ["'.' in its namespace 'user.name'", "_ - as namespace"]),
    ("[::1]:5000/a/b", ["'[' in its host '[::1]:5000'", "_ - . : as host"]),
    ("-a", ["'-' at the start of its model '-a'", "the first one a letter"]),
    ("a:.b", ["'.' at the start of its tag '.b'"]),
    ("n/..", ["'.' at the start of its model '..'"]),
    ("a:-b", ["'-' at the start of its tag '-b'"]),
    ("mod\xe8le", ["'\xe8' in its model", "ASCII letters"]),
    ("m\udcff", [r"'\udcff' in its model", "ASCII letters"]),
    ("model+x", ["'+' in its model 'model+x'"]),
    ("!MISSING!", ["'!' in its model '!MISSING!'"]),
    ("x" * 81, ["model of 81 characters", "1 to 80"]),
    ("m:" + "x" * 81, ["tag of 81 characters", "1 to 80"]),
    ("h" * 351 + "/n/m", ["host of 351 characters", "1 to 350"]),
]

# A text, and what Ollama takes for its model and its source.
REFERENCES: list[tuple[str, str, Source]] = [
    ("llama3.2", "llama3.2", "unspecified"),
    (" llama3.2:1b\n", "llama3.2:1b", "unspecified"),
    ("gpt-oss:20b:cloud", "gpt-oss:20b", "cloud"),
    ("gpt-oss:20b:CLOUD", "gpt-oss:20b", "cloud"),
    ("gpt-oss:20b: cloud ", "gpt-oss:20b", "cloud"),
    ("gpt-oss:20b-cloud", "gpt-oss:20b", "cloud"),
    ("gpt-oss: 20b-Cloud", "gpt-oss:20b", "cloud"),
    ("gpt-oss:cloud", "gpt-oss", "cloud"),
    ("qwen3:8b:local", "qwen3:8b", "local"),
    ("qwen3:local", "qwen3", "local"),
    ("localhost:5000/n/m:local", "localhost:5000/n/m", "local"),
    ("my-cloud-model", "my-cloud-model", "unspecified"),
    ("my-cloud", "my-cloud", "unspecified"),
    ("foo:bar-cloud/baz", "foo:bar-cloud/baz", "unspecified"),
    ("foo:h/x-cloud", "foo:h/x-cloud", "unspecified"),
    ("foo:8b-local", "foo:8b-local", "unspecified"),
    ("foo:-cloud", "foo:", "cloud"),
    (":cloud", "", "cloud"),
    ("foo:cloud\x1f", "foo:cloud\x1f", "unspecified"),  # white space to Python, not to Go
    ("foo:clou\u212a", "foo:clou\u212a", "unspecified"),
]

PIECES = st.sampled_from(
    [*"/:@.-_aZ0 ", "://", "llama3", "8b", "h:1", "cloud", ":local", "\xe9", "\u212a", "\udcff", "\ud800"]
)
TEXTS = st.one_of(
    st.text(st.characters()),  # lone surrogates too
    st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.lists(PIECES, max_size=10).map("".join),
)
NAMES = st.builds(
    ModelName,
    scheme=st.just("https"),
    host=st.sampled_from(["registry.ollama.ai", "Registry.Ollama.AI"])
    | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", fullmatch=True),
    namespace=st.sampled_from(["library", "LIBRARY"])
    | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", fullmatch=True),
    model=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", fullmatch=True),
    tag=st.sampled_from(["latest", "cloud"])
    | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", fullmatch=True),
)


def text_of(case: dict[str, Any]) -> str:
    """Return the input of a case; raw bytes as the operating system's functions give them to Python."""
    text: str = case["input"]
    return base64.b64decode(text).decode("utf-8", "surrogateescape") if case.get("b64") else text


def test_every_case_of_the_oracle_is_read_as_ollama_reads_it() -> None:
    cases = json.loads(ORACLE.read_text(encoding="utf-8"))
    assert len(cases) == 398
    for case in cases:
        name = parse_name(text_of(case))
        seen: dict[str, Any] = {"valid": name.valid, "fully_qualified": name.fully_qualified}
        if name.valid:
            seen |= {part: getattr(name, part) for part in ModelName.__struct_fields__}
            seen |= {"short": name.short, "full": name.full, "filepath": name.path}
        assert {"input": case["input"], **seen} == {key: case[key] for key in case if key != "b64"}


@pytest.mark.parametrize(("text", "parts"), SEEN_IN_GO)
def test_odd_texts_are_split_as_ollama_splits_them(text: str, parts: tuple[str, ...]) -> None:
    name = parse_name(text)
    assert (name.scheme, name.host, name.namespace, name.model, name.tag) == parts


def test_without_defaults_a_name_has_only_the_parts_that_it_gives() -> None:
    assert parse_name("m", defaults=ModelName()) == ModelName(model="m")
    assert parse_name("n/m:t", defaults=ModelName()) == ModelName(namespace="n", model="m", tag="t")
    assert parse_name("", defaults=ModelName()) == ModelName()
    assert not parse_name("m", defaults=ModelName()).valid


def test_a_registry_of_ones_own_can_be_the_default() -> None:
    defaults = ModelName(host="registry.internal:5000", namespace="team", model="unused", tag="stable")
    assert parse_name("m", defaults=defaults).full == "registry.internal:5000/team/m:stable"
    assert parse_name("", defaults=defaults).model == ""


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_a_bad_name_is_refused_with_the_value_the_fault_and_the_remedy(text: str, words: list[str]) -> None:
    assert not parse_name(text).valid  # reading it is no error: Ollama reads it too
    with pytest.raises(InvalidArgument) as caught:
        checked_name(text)
    assert (caught.value.argument, caught.value.model) == ("model", text)
    assert repr(text)[:200] in caught.value.message
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(("text", "words"), [case for case in REFUSED if "write '" in case[1][-1]])
def test_the_name_that_a_refusal_proposes_is_a_good_one(text: str, words: list[str]) -> None:
    proposal = words[-1].removeprefix("write ").strip("'")
    assert proposal != text
    assert checked_name(proposal).valid


@pytest.mark.parametrize("text", ["?" * 100_000, "x" * 100_000 + "/m", "h." * 100_000 + "/m"])
def test_a_huge_name_makes_a_short_message(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_name(text)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("value", [None, 3, b"llama3", ["llama3"]])
@pytest.mark.parametrize("read", [parse_name, checked_name, parse_reference])
def test_a_name_of_another_type_is_refused(read: Any, value: object) -> None:
    with pytest.raises(InvalidArgument, match=type(value).__name__) as caught:
        read(value)
    assert caught.value.argument == "model"


def test_only_a_valid_name_has_a_path() -> None:
    assert checked_name("HF.co/a/B:Q4").path == "HF.co/a/B/Q4"
    for name in (parse_name("../x/m"), parse_name("m", defaults=ModelName()), ModelName(model="m", tag="..")):
        with pytest.raises(InvalidArgument, match=r"host|namespace") as caught:
            _ = name.path
        assert repr(name.full) in caught.value.message


def test_names_are_the_same_when_only_case_scheme_or_defaults_differ() -> None:
    name = parse_name("llama3")
    for text in (
        "LLaMA3",
        "llama3:Latest",
        "Library/llama3",
        "http://Registry.Ollama.AI/library/llama3:latest",
    ):
        assert name.same_as(parse_name(text))
        assert parse_name(text).same_as(name)
    assert name.same_as(ModelName(model="llama3"))
    for text in ("llama3:8b", "llama31", "user/llama3", "ollama.com/library/llama3", "llama"):
        assert not name.same_as(parse_name(text))


def test_a_look_alike_is_never_the_same_as_a_valid_name() -> None:
    for text, look_alike in (("kilo", "\u212ailo"), ("smollm", "\u017fmollm")):
        assert text.casefold() == look_alike.casefold()
        assert not parse_name(text).same_as(parse_name(look_alike))


def test_a_name_is_a_value() -> None:
    name = parse_name("llama3:8b")
    assert len({name, parse_name("library/llama3:8b"), parse_name("llama3")}) == 2
    assert pickle.loads(pickle.dumps(name)) == name  # noqa: S301 -- our own bytes
    with pytest.raises(AttributeError):
        name.tag = "x"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue] -- the point


@pytest.mark.parametrize(("text", "model", "source"), REFERENCES)
def test_a_reference_is_a_model_and_where_it_runs(text: str, model: str, source: Source) -> None:
    reference = parse_reference(text)
    assert reference == ModelReference(model=model, source=source)
    assert reference.name == parse_name(model)


@pytest.mark.parametrize(
    "text", ["foo:cloud:local", "foo:local:cloud", "foo:cloud:cloud", "foo:8b-cloud:local"]
)
def test_two_sources_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not both") as caught:
        parse_reference(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize("text", ["", " ", "\n\u3000"])
def test_a_blank_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is empty") as caught:
        parse_reference(text)
    assert caught.value.argument == "model"


@given(TEXTS)
@example("\ud800")
def test_any_text_has_parts_and_a_verdict_that_agrees_with_the_check(text: str) -> None:
    name = parse_name(text)
    try:
        checked = checked_name(text)
    except InvalidArgument as error:
        assert not name.valid
        assert repr(text)[:200] in error.message  # noqa: PT017 -- the other half is no error
        with pytest.raises(InvalidArgument):
            _ = name.path
    else:
        assert name.valid
        assert checked == name
    assert name.same_as(name)
    assert isinstance(name.short + name.full, str)


@given(NAMES)
def test_a_full_name_is_read_as_the_name_that_printed_it(name: ModelName) -> None:
    assert parse_name(name.full) == name
    assert parse_name(name.full).full == name.full
    assert checked_name(f"{name.scheme}://{name.full}") == name


@given(NAMES)
def test_a_short_name_is_read_as_the_name_that_printed_it(name: ModelName) -> None:
    again = parse_name(name.short)
    assert again.same_as(name)
    assert again.short == name.short
    assert (again.model, again.tag) == (name.model, name.tag)


@given(NAMES)
def test_a_path_is_four_plain_levels(name: ModelName) -> None:
    assert name.path.split("/") == [name.host, name.namespace, name.model, name.tag]
    assert not any(level.startswith(".") for level in name.path.split("/"))
    assert "\\" not in name.path


@given(NAMES)
def test_case_never_makes_another_model(name: ModelName) -> None:
    swapped = parse_name(name.full.swapcase())
    assert swapped.valid
    assert name.same_as(swapped)


@given(NAMES, NAMES)
def test_names_are_the_same_exactly_when_their_paths_are_but_for_case(
    name: ModelName, other: ModelName
) -> None:
    assert name.same_as(other) is (name.path.lower() == other.path.lower())


@given(NAMES, st.sampled_from(["cloud", "local"]))
def test_a_source_is_taken_off_a_full_name(name: ModelName, source: Source) -> None:
    if parse_reference(name.full).source == "unspecified":
        assert parse_reference(f" {name.full}:{source}") == ModelReference(model=name.full, source=source)
    else:
        with pytest.raises(InvalidArgument, match="two sources"):
            parse_reference(f"{name.full}:{source}")


@given(TEXTS)
def test_any_text_is_a_reference_or_an_invalid_argument(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return
    assert reference.source == "unspecified" or len(reference.model) < len(text)
    assert reference.name == parse_name(reference.model)


def test_the_defaults_are_those_of_ollama() -> None:
    assert checked_name("m") == ModelName(
        scheme="https", host="registry.ollama.ai", namespace="library", model="m", tag="latest"
    )
    assert DEFAULT_NAME.model == ""


@pytest.mark.parametrize("value", [parse_name("m"), parse_reference("m")])
def test_names_are_values(value: Any) -> None:
    assert {value: 1}[pickle.loads(pickle.dumps(value))] == 1  # noqa: S301 - our own bytes
    with pytest.raises(AttributeError):
        value.model = "another"
    with pytest.raises(TypeError):
        type(value)("m")  # which part would that be?
