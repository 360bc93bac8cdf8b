"""Manifests: never anything else than Ollama sees, and refused in one sentence where that could be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_stores import CONFIG_TYPE, MODEL_TYPE, config_of, digest_of, layer_of, manifest_of

from ollama_ext.s3 import Layer, Manifest, ManifestRefused, RemoteModelRefused, parse_manifest
from ollama_ext.s3.manifests import check_config

ORACLE = Path(__file__).parent.parent / "data" / "oracles" / "manifest.json"
CASES: list[dict[str, Any]] = json.loads(ORACLE.read_text("utf-8"))

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
GOOD: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {"mediaType": CONFIG_TYPE, "digest": A, "size": 10},
    "layers": [{"mediaType": MODEL_TYPE, "digest": B, "size": 20}],
}
KNOWN = ("schemaVersion", "mediaType", "config", "layers")
KNOWN_OF_LAYERS = ("mediaType", "digest", "size", "from", "name")


def read(value: Any) -> Any:
    return parse_manifest(json.dumps(value).encode(), where="x")


def with_layer(**changed: Any) -> dict[str, Any]:
    return GOOD | {"layers": [GOOD["layers"][0] | changed]}


def told(layer: Layer) -> dict[str, Any]:
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}


# -- what Go sees


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["input"][-40:])
def test_a_manifest_is_what_ollama_sees_or_refused(case: dict[str, Any]) -> None:
    try:
        manifest = parse_manifest(case["input"].encode(), where="x")
    except ManifestRefused as error:
        assert str(error).startswith("the manifest x")  # noqa: PT017 - some are refused, and some are not
        return
    assert not case["unmarshal_error"]
    assert told(manifest.config) == case["config"]
    assert [told(layer) for layer in manifest.layers] == case["layers"]


def test_the_plain_cases_of_the_oracle_are_taken() -> None:
    taken = 0
    for case in CASES:
        try:
            parse_manifest(case["input"].encode(), where="x")
        except ManifestRefused:
            continue
        taken += 1
    assert taken >= 18


# What Go v1.26 makes of cases that the oracle leaves out.
@pytest.mark.parametrize(
    "text",
    [
        '{"schemaVersion":9223372036854775808,%s}',  # Go: cannot unmarshal number into int
        '{"SchemaVersion":"2",%s}',  # Go: cannot unmarshal string into int
        '{"mediatype":5,%s}',
        '{"mediaType":"\\ud800",%s}',  # Go: U+FFFD
    ],
)
def test_what_go_refuses_or_changes_is_refused(text: str) -> None:
    with pytest.raises(ManifestRefused):
        parse_manifest((text % json.dumps(GOOD)[1:-1].partition(", ")[2]).encode(), where="x")


# -- what is taken


def test_a_manifest_says_which_blobs_a_model_has() -> None:
    config, weights, license_ = config_of(), b"weights", b"license"
    content = manifest_of([weights, license_, weights], config)
    manifest = parse_manifest(content, where="x")
    assert manifest.content == content
    assert manifest.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert manifest.config == Layer(media_type=CONFIG_TYPE, digest=digest_of(config), size=len(config))
    assert [layer.digest for layer in manifest.layers] == list(map(digest_of, (weights, license_, weights)))
    assert list(manifest.blobs.items()) == [
        (digest_of(config), len(config)),
        (digest_of(weights), 7),
        (digest_of(license_), 7),
    ]
    assert manifest.size == len(config) + 14


def test_what_need_not_be_there_may_be_absent_or_null() -> None:
    bare = {key: GOOD[key] for key in ("config", "layers")}
    assert read(bare).layers == read(GOOD).layers
    nothing = {"schemaVersion": None, "mediaType": None, "annotations": {"a": [1.5]}}
    assert read(bare | nothing).config == read(GOOD).config
    assert read(with_layer(**{"from": None, "name": None, "urls": ["x"]})).layers == read(GOOD).layers
    assert read(with_layer(**{"from": "/x", "name": "a/b"})).layers == read(GOOD).layers
    assert read(GOOD | {"layers": []}).blobs == {A: 10}


LAYERS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    mediaType=st.sampled_from([MODEL_TYPE, "application/vnd.ollama.image.tensor", "", "\u00e9"]),
    digest=st.binary(max_size=1).map(digest_of),
    size=st.integers(1, 2**53),
)


@given(LAYERS, st.lists(LAYERS, max_size=6), st.permutations(list(KNOWN)), st.sampled_from([None, 1]))
def test_what_is_written_is_read(
    config: dict[str, Any], layers: list[dict[str, Any]], order: list[str], indent: int | None
) -> None:
    sizes: dict[str, int] = {}
    for layer in (config, *layers):
        layer["size"] = sizes.setdefault(layer["digest"], layer["size"])
    whole = GOOD | {"config": config, "layers": layers}
    content = json.dumps({key: whole[key] for key in order}, indent=indent).encode()
    manifest = parse_manifest(content, where="x")
    assert told(manifest.config) == config
    assert [told(layer) for layer in manifest.layers] == layers
    assert manifest.blobs == sizes
    assert manifest.size == sum(sizes.values())
    assert manifest.content == content


# -- what is refused


REFUSED: list[tuple[Any, str]] = [
    ({}, "config is refused: it is missing, and must be an object"),
    (GOOD | {"config": None}, "config is refused: it is missing, and must be an object"),
    (GOOD | {"config": []}, "config is refused: it is [], and must be an object"),
    (GOOD | {"layers": None}, "layers is refused: it is missing, and must be an array"),
    (GOOD | {"layers": {}}, "layers is refused: it is {}, and must be an array"),
    (GOOD | {"layers": [None]}, "layer 0 is refused: it is missing, and must be an object"),
    (GOOD | {"layers": [*GOOD["layers"], 5]}, "layer 1 is refused: it is 5, and must be an object"),
    (GOOD | {"schemaVersion": "2"}, "schemaVersion is refused: it is '2', and must be a whole number"),
    (GOOD | {"schemaVersion": 2.0}, "schemaVersion is refused: it is 2.0, and must be a whole number"),
    (GOOD | {"schemaVersion": True}, "schemaVersion is refused: it is True, and must be a whole number"),
    (GOOD | {"mediaType": 5}, "mediaType is refused: it is 5, and must be text"),
    (with_layer(mediaType=None), "layer 0: mediaType is refused: it is missing, and must be text"),
    (with_layer(digest=None), "layer 0: digest is refused: it is missing, and must be text"),
    (with_layer(digest=5), "layer 0: digest is refused: it is 5, and must be text"),
    (with_layer(digest=""), "layer 0 is refused: its digest is ''"),
    (with_layer(digest=B.upper()), "and a digest must be 'sha256:' and 64 hexadecimal digits in lower case"),
    (with_layer(digest=B[:-1] + "B"), "its digest is 'sha256:bb"),
    (with_layer(digest=B[:-1]), "its digest is 'sha256:bb"),
    (with_layer(digest=f"{B}b"), "its digest is 'sha256:bb"),
    (with_layer(digest=f"{B}\n"), "its digest is 'sha256:bb"),
    (with_layer(digest=B.replace(":", "-")), "its digest is 'sha256-bb"),
    (with_layer(digest=f"sha512:{'b' * 128}"), "its digest is 'sha512:bb"),
    (with_layer(digest="sha256:../../../etc/passwd"), "its digest is 'sha256:../"),
    (with_layer(digest=f"sha256:{chr(0x0661) * 64}"), "its digest is"),
    (with_layer(size=None), "layer 0: size is refused: it is missing, and must be a whole number"),
    (with_layer(size=True), "layer 0: size is refused: it is True, and must be a whole number"),
    (with_layer(size="1"), "layer 0: size is refused: it is '1', and must be a whole number"),
    (with_layer(size=1.0), "layer 0: size is refused: it is 1.0, and must be a whole number"),
    (with_layer(size=1e30), "layer 0: size is refused: it is 1e+30, and must be a whole number"),
    (with_layer(size=0), "its size is 0, and must be from 1 to 9,007,199,254,740,992"),
    (with_layer(size=-1), "its size is -1, and must be from 1 to"),
    (with_layer(size=2**53 + 1), "its size is 9007199254740993, and must be from 1 to"),
    (with_layer(**{"from": 1}), "layer 0: from is refused: it is 1, and must be text"),
    (with_layer(name=[]), "layer 0: name is refused: it is [], and must be text"),
    (with_layer(digest=A), f"the blob {A} has the sizes 10 and 20"),
    (GOOD | {"layers": [GOOD["layers"][0], GOOD["layers"][0] | {"size": 21}]}, "has the sizes 20 and 21"),
    (GOOD | {"Config": GOOD["config"]}, "the key 'Config' is there twice"),
]


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=lambda value: repr(value)[-60:])
def test_what_no_working_model_has_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ManifestRefused) as caught:
        read(value)
    assert words in str(caught.value)
    assert str(caught.value).startswith("the manifest x")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", ["template", "prompt", "system", "params", "messages", "license"])
def test_what_ollama_reads_into_memory_is_not_taken_at_any_size(kind: str) -> None:
    media_type = f"application/vnd.ollama.image.{kind}"
    assert read(with_layer(mediaType=media_type, size=64 << 20)).size == (64 << 20) + 10
    with pytest.raises(ManifestRefused, match="must be from 1 to 67,108,864"):
        read(with_layer(mediaType=media_type, size=(64 << 20) + 1))
    assert read(with_layer(mediaType=MODEL_TYPE, size=2**53)).layers[0].size == 2**53


def test_a_manifest_is_as_long_as_16_mib_and_no_longer() -> None:
    text = json.dumps(GOOD).encode()
    longest = text + b" " * ((16 << 20) - len(text))
    assert parse_manifest(longest, where="x").size == 30
    with pytest.raises(ManifestRefused, match=r"it has 16,777,217 bytes, more than 16,777,216"):
        parse_manifest(longest + b" ", where="x")


def test_a_model_has_as_many_as_50_000_layers_and_no_more() -> None:
    most = GOOD | {"layers": GOOD["layers"] * 50_000}
    assert len(read(most).layers) == 50_000
    with pytest.raises(ManifestRefused, match="it has 50,001 layers, more than 50,000"):
        read(most | {"layers": GOOD["layers"] * 50_001})


@given(st.sampled_from(KNOWN), st.sampled_from([None, *range(2)]), st.data())
def test_a_key_that_ollama_knows_is_refused_in_other_letters_and_the_second_time(
    key: str, place: int | None, data: st.DataObject
) -> None:
    whole = json.loads(json.dumps(GOOD))
    holder = whole if place is None else (whole["config"], whole["layers"][0])[place]
    if place is not None:
        key = data.draw(st.sampled_from(KNOWN_OF_LAYERS))
    value = holder.get(key, "text")
    holder[key] = value
    other = "".join(
        data.draw(
            st.sampled_from([letter, letter.swapcase(), {"s": "\u017f", "k": "\u212a"}.get(letter, letter)])
        )
        for letter in key
    )
    if other == key:
        text = json.dumps(whole)
        assert read(json.loads(text))
        return
    if data.draw(st.booleans(), label="keep the good one too"):
        holder[other] = value
    else:
        whole = json.loads(json.dumps(whole).replace(json.dumps(key), json.dumps(other)))
    with pytest.raises(ManifestRefused):
        read(whole)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([A, B]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from([*KNOWN, *KNOWN_OF_LAYERS, "Layers", "x"]), below, max_size=5)
    ),
    max_leaves=20,
)


@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    for look in (
        lambda: parse_manifest(content, where="x"),
        lambda: check_config(content, where="x", allow_remote=False),
    ):
        try:
            look()
        except ManifestRefused as error:
            assert 0 < len(str(error)) < 500  # noqa: PT017 - most inputs are refused, and none need be


@given(
    st.integers(0, 400),
    st.sampled_from([b"", b"\x00", b"\xff", b'"', b"{", b",", b"9", b"\\"]),
    st.booleans(),
)
def test_a_damaged_manifest_is_the_same_or_refused(position: int, put: bytes, instead: bool) -> None:
    text = json.dumps(GOOD).encode()
    position = min(position, len(text))
    damaged = text[:position] + put + text[position + instead :]
    try:
        manifest = parse_manifest(damaged, where="x")
    except ManifestRefused:
        return
    seen = json.loads(damaged)
    assert [told(manifest.config), *map(told, manifest.layers)] == [
        {key: each[key] for key in ("mediaType", "digest", "size")}
        for each in (seen["config"], *seen["layers"])
    ]


# -- configs


def test_a_config_of_a_model_that_runs_here_is_taken() -> None:
    for keys in (
        {},
        {"remote_host": "", "remote_model": ""},
        {"remote_host": None},
        {"x": [{"remote_host": "y"}]},
    ):
        check_config(config_of(**keys), where="x", allow_remote=False)


@pytest.mark.parametrize("key", ["remote_host", "remote_model"])
def test_a_model_that_sends_its_prompts_away_is_taken_only_if_that_is_allowed(key: str) -> None:
    content = config_of(**{key: "https://elsewhere.example"})
    with pytest.raises(RemoteModelRefused) as caught:
        check_config(content, where="x", allow_remote=False)
    assert f"the config x is refused: it says {key} 'https://elsewhere.example'" in str(caught.value)
    assert "allow_remote=True (--allow-remote)" in str(caught.value)
    check_config(content, where="x", allow_remote=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"Remote_Host":"h"}', "it says 'Remote_Host' where 'remote_host' is meant"),
        (b'{"remote_ho\xc5\xbft":"h"}', "where 'remote_host' is meant"),
        (b'{"remote_host":"","REMOTE_HOST":"h"}', "twice"),
        (b'{"remote_host":["h"]}', "remote_host is refused: it is ['h'], and must be text"),
        (b'{"remote_host":0}', "remote_host is refused: it is 0, and must be text"),
        (b"GGUF\x03\x00\x00\x00\xff", "it is not UTF-8"),
        (b"[]", "no object"),
    ],
)
def test_a_config_that_can_be_read_in_two_ways_is_refused_though_remote_models_are_allowed(
    content: bytes, words: str
) -> None:
    for allow_remote in (False, True):
        with pytest.raises(ManifestRefused) as caught:
            check_config(content, where="x", allow_remote=allow_remote)
        assert words in str(caught.value)
        assert not isinstance(caught.value, RemoteModelRefused)


def test_manifests_and_their_layers_are_values() -> None:
    layer = layer_of(b"x")
    one, same = (
        Layer(media_type=layer["mediaType"], digest=layer["digest"], size=layer["size"]) for _ in range(2)
    )
    assert one == same
    assert len({one, same}) == 1
    manifest = read(GOOD)
    assert manifest == read(GOOD)
    for value, field in ((one, "digest"), (manifest, "content")):
        with pytest.raises(AttributeError):
            setattr(value, field, None)
    for kind in (Layer, Manifest):
        with pytest.raises(TypeError):
            kind("x", "y", "z")  # type: ignore[call-arg, arg-type] # pyright: ignore[reportCallIssue, reportArgumentType]
