"""The layout: paths come from checked names only, and each leads back to its name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ollama_ext.names import ModelName, parse_name
from ollama_ext.s3 import NameRefused, SettingRefused
from ollama_ext.s3.layout import (
    blob_path,
    checked_prefix,
    digest_of_blob,
    manifest_path,
    model_name,
    named_by,
    shown_name,
)

FIRST = "[A-Za-z0-9_]"
HOSTS = st.from_regex(rf"\A{FIRST}[A-Za-z0-9_.:-]{{0,20}}\Z") | st.just("h" * 350)
NAMESPACES = st.from_regex(rf"\A{FIRST}[A-Za-z0-9_-]{{0,12}}\Z") | st.just("n" * 80)
MODELS = st.from_regex(rf"\A{FIRST}[A-Za-z0-9_.-]{{0,12}}\Z") | st.just("m" * 80)
NAMES = st.builds(
    ModelName, scheme=st.just("https"), host=HOSTS, namespace=NAMESPACES, model=MODELS, tag=MODELS
)

HOSTILE = [
    "registry.ollama.ai/library/../../x/latest",
    "registry.ollama.ai/library/..",
    "registry.ollama.ai/library/../x",
    "registry.ollama.ai/library/x/..",
    "registry.ollama.ai/library/x/.",
    "registry.ollama.ai/library/./x",
    "../../etc/passwd",
    "/etc/passwd/x/y",
    "registry.ollama.ai//x/latest",
    "registry.ollama.ai/library/x/",
    "/library/x/latest",
    "registry.ollama.ai/library/x",
    "registry.ollama.ai/library/x/latest/more",
    "",
    "/",
    "///",
    "registry.ollama.ai/library/x/a\\b",
    "registry.ollama.ai/library/-x/latest",
    "registry.ollama.ai/library/.x/latest",
    "registry.ollama.ai/library/x/-latest",
    "registry.ollama.ai/library/x/.latest",
    f"registry.ollama.ai/library/x/{'t' * 81}",
    f"registry.ollama.ai/library/{'m' * 81}/latest",
    f"{'h' * 351}/library/x/latest",
    "registry.ollama.ai/library/x/a\0b",
    "registry.ollama.ai/library/x/a\nb",
    "registry.ollama.ai/library/x/latest\n",
    "registry.ollama.ai/library/x/a%2f..%2fb",
    "registry.ollama.ai/library/x/l\u0430test",  # a Cyrillic letter that looks like an a
    "registry.ollama.ai/library/caf\u00e9/latest",
    "registry.ollama.ai/library/x/\uff41",
    "registry.ollama.ai/lib.rary/x/latest",
    "user@registry.ollama.ai/library/x/latest",
    "registry.ollama.ai/library/x/a:b",
    "registry.ollama.ai/library/x/\udcff",
]


@given(NAMES)
def test_a_path_leads_back_to_its_name(name: ModelName) -> None:
    path = manifest_path(name)
    assert path == f"manifests/{name.host}/{name.namespace}/{name.model}/{name.tag}"
    assert named_by(path.removeprefix("manifests/")) == name
    levels = PurePosixPath(path).parts
    assert len(levels) == 5
    assert not {".", ".."} & set(levels)


@given(NAMES)
def test_a_name_leads_to_the_path_that_ollama_has_for_it(name: ModelName) -> None:
    assert manifest_path(model_name(name.full)) == f"manifests/{parse_name(name.full).path}"
    assert named_by(name.path).full == name.full


@given(st.text(max_size=30) | st.text("ab./:\\-_%@~ \0\n", max_size=30))
def test_a_path_that_names_a_model_is_the_path_of_that_model(path: str) -> None:
    try:
        name = named_by(path)
    except NameRefused:
        return
    assert manifest_path(name) == f"manifests/{path}"


@given(NAMES, st.sampled_from(["/../x", "/", "\0", "\\x", "/x", "\n", "\u00e9"]))
def test_what_is_added_to_a_good_path_makes_it_a_bad_one(name: ModelName, more: str) -> None:
    with pytest.raises(NameRefused):
        named_by(name.path + more)


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path)[-40:])
def test_a_hostile_path_is_no_manifest(path: str) -> None:
    with pytest.raises(NameRefused) as caught:
        named_by(path)
    assert f"{path!r:.300} is no manifest" in str(caught.value)
    assert caught.value.argument == "model"


@pytest.mark.parametrize(
    "text",
    ["", " ", "../../etc/cron.d/x", "a:..", "a:.", "a:b:c", "a/b/c/d/e", "a\0", "x:" + "t" * 81, "-a", "é"],
)
def test_a_hostile_name_of_a_caller_is_refused(text: str) -> None:
    with pytest.raises(NameRefused) as caught:
        model_name(text)
    assert caught.value.argument == "model"
    with pytest.raises(ValueError, match=re.escape(str(caught.value))):
        model_name(text)


def test_a_name_of_a_caller_is_filled_as_ollama_fills_it() -> None:
    assert manifest_path(model_name("mistral")) == "manifests/registry.ollama.ai/library/mistral/latest"
    assert manifest_path(model_name("me/x:1b")) == "manifests/registry.ollama.ai/me/x/1b"
    assert manifest_path(model_name("localhost:5000/n/m")) == "manifests/localhost:5000/n/m/latest"


@given(NAMES)
def test_a_name_that_is_shown_leads_to_its_model(name: ModelName) -> None:
    assert model_name(shown_name(name)).path == name.path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("registry.ollama.ai/library/x/latest", "x:latest"),
        ("registry.ollama.ai/me/x/1b", "me/x:1b"),
        ("hf.co/me/x/1b", "hf.co/me/x:1b"),
        ("hf.co/library/x/1b", "hf.co/library/x:1b"),
        ("Registry.ollama.ai/library/x/latest", "Registry.ollama.ai/library/x:latest"),
        ("registry.ollama.ai/Library/x/latest", "registry.ollama.ai/Library/x:latest"),
        ("REGISTRY.ollama.ai/me/x/latest", "REGISTRY.ollama.ai/me/x:latest"),
    ],
)
def test_a_name_is_shown_as_ollama_does_unless_that_means_another(path: str, shown: str) -> None:
    assert shown_name(named_by(path)) == shown


# -- blobs


@given(st.from_regex(r"\A[0-9a-f]{64}\Z"))
def test_the_name_of_a_blob_leads_back_to_its_digest(hexadecimal: str) -> None:
    path = blob_path(f"sha256:{hexadecimal}")
    assert path == f"blobs/sha256-{hexadecimal}"
    assert digest_of_blob(path.removeprefix("blobs/")) == f"sha256:{hexadecimal}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        f"sha256:{'a' * 64}",
        f"sha256-{'A' * 64}",
        f"sha256-{'a' * 63}",
        f"sha256-{'a' * 65}",
        f"sha256-{'a' * 64}\n",
        f"sha256-{'a' * 64}-partial",
        f"x/sha256-{'a' * 64}",
        f"sha512-{'a' * 64}",
        "sha256-" + "\u0661" * 64,
    ],
)
def test_other_names_are_no_blobs(name: str) -> None:
    assert digest_of_blob(name) is None


# -- prefixes


@pytest.mark.parametrize(
    ("prefix", "begins"),
    [
        ("", ""),
        ("/", ""),
        ("a", "a/"),
        ("a/", "a/"),
        ("ollama/models", "ollama/models/"),
        ("a b/\u00e9/%2e", "a b/\u00e9/%2e/"),
        ("...", ".../"),
        (".a", ".a/"),
        ("p" * 500, "p" * 500 + "/"),
        ("\u00e9" * 250, "\u00e9" * 250 + "/"),
    ],
)
def test_keys_begin_with_the_prefix_and_one_slash(prefix: str, begins: str) -> None:
    assert checked_prefix(prefix) == begins


@pytest.mark.parametrize(
    "prefix",
    ["/a", "a//", "//", "a//b", ".", "..", "a/../b", "a/./b", "./a", "a\\b", "a\0", "a\nb", "a\x7f", "\x1f"],
)
def test_a_prefix_that_servers_read_in_different_ways_is_refused(prefix: str) -> None:
    with pytest.raises(SettingRefused, match="write levels parted by single slashes") as caught:
        checked_prefix(prefix)
    assert caught.value.argument == "prefix"


@pytest.mark.parametrize("prefix", ["p" * 501, "\u00e9" * 251, "p" * 501 + "/"])
def test_a_prefix_leaves_room_for_the_longest_name(prefix: str) -> None:
    with pytest.raises(SettingRefused, match="at most 500"):
        checked_prefix(prefix)


@given(st.text("ab/.é ", max_size=12))
def test_a_prefix_that_is_taken_is_taken_again_as_it_is(prefix: str) -> None:
    try:
        begins = checked_prefix(prefix)
    except SettingRefused:
        return
    assert checked_prefix(begins) == begins
    assume(begins)
    assert begins == prefix.removesuffix("/") + "/"
