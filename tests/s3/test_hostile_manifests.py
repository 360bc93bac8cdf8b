"""Manifests and configs that lie, that hide something, or that would take all memory are refused."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from model_stores import (
    CONFIG_TYPE,
    blob_at,
    config_of,
    digest_of,
    layer_of,
    make_model,
    manifest_at,
    manifest_of,
)
from s3_faults import Body, Headers

from ollama_ext.s3 import (
    BucketAnswerRefused,
    DigestMismatch,
    LocalStore,
    ManifestRefused,
    Mirror,
    RemoteModelRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faulty_s3 import FaultyFront
    from guarded_stores import GuardedStore
    from hostile_buckets import HostileBucket


PATH = "registry.ollama.ai/library/bad/latest"
LAYER = b"a layer of the bad model"
DIGEST = digest_of(LAYER)
HEX = DIGEST.removeprefix("sha256:")


def with_layers(*layers: Any) -> bytes:
    return _manifest(layers=list(layers))


def with_digest(digest: Any) -> bytes:
    return with_layers(layer_of(LAYER) | {"digest": digest})


def with_size(size: str) -> bytes:
    """Return a manifest with this in the place of a layer's size, JSON or not."""
    return with_layers(layer_of(LAYER) | {"size": "HERE"}).replace(b'"HERE"', size.encode())


def without(*path: str) -> bytes:
    manifest = json.loads(_manifest())
    *levels, last = path
    holder = manifest
    for level in levels:
        holder = holder[level][0] if isinstance(holder[level], list) else holder[level]
    del holder[last]
    return json.dumps(manifest).encode()


def _manifest(**changed: Any) -> bytes:
    return json.dumps(json.loads(manifest_of([LAYER], config_of())) | changed).encode()


GOOD = _manifest()

#: What a manifest says, and words that the refusal must have.
MANIFESTS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    # digests
    "digest with traversal": (with_digest("sha256:../../x"), ("layer 0", "'sha256:../../x'", "must be")),
    "digest with traversal of full length": (
        with_digest(f"sha256:{'../' * 21}x"),
        ("'sha256:../../", "must be"),
    ),
    "digest with a path in its algorithm": (with_digest(f"../x:{HEX}"), ("'../x:", "must be")),
    "digest in upper case": (with_digest(f"sha256:{HEX.upper()}"), (HEX.upper(), "lower case")),
    "digest of 63 digits": (with_digest(f"sha256:{HEX[:-1]}"), (HEX[:-1], "64")),
    "digest of 65 digits": (with_digest(f"sha256:{HEX}0"), (f"{HEX}0", "64")),
    "digest with a line break": (with_digest(f"sha256:{HEX}\n"), ("\\n", "64")),
    "digest of wide digits": (with_digest("sha256:" + "\uff10" * 64), ("\uff10", "64")),
    "SHA-512": (with_digest(f"sha512:{HEX * 2}"), ("'sha512:", "must be")),
    "MD5": (with_digest(f"md5:{HEX[:32]}"), ("'md5:", "must be")),
    "digest as in a file name": (with_digest(f"sha256-{HEX}"), (f"'sha256-{HEX}'", "must be")),
    "digest that is a number": (with_digest(5), ("layer 0: digest", "5", "must be text")),
    "digest that is null": (with_digest(None), ("layer 0: digest", "missing", "must be text")),
    "digest that is empty": (with_digest(""), ("''", "must be")),
    "digest missing": (without("layers", "digest"), ("layer 0: digest", "missing")),
    "digest of the config missing": (without("config", "digest"), ("config: digest", "missing")),
    # sizes
    "size negative": (with_size("-1"), ("layer 0", "-1", "from 1 to")),
    "size zero": (with_size("0"), ("layer 0", "0", "from 1 to")),
    "size with a fraction": (with_size("24.0"), ("layer 0: size", "24.0", "whole number")),
    "size as text": (with_size('"24"'), ("layer 0: size", "'24'", "whole number")),
    "size true": (with_size("true"), ("layer 0: size", "True", "whole number")),
    "size null": (with_size("null"), ("layer 0: size", "whole number")),
    "size 1e30": (with_size("1e30"), ("layer 0: size", "1e+30", "whole number")),
    "size over 2^53": (with_size(str(2**53 + 1)), ("layer 0", str(2**53 + 1), "from 1 to")),
    "size of 30 digits": (with_size("9" * 30), ("no JSON", "9" * 30, "64 bits")),
    "size of 5,000 digits": (with_size("9" * 5000), ("no JSON", "digits")),
    "size missing": (without("layers", "size"), ("layer 0: size", "missing")),
    "one blob with two sizes": (
        with_layers(layer_of(LAYER), layer_of(LAYER) | {"size": 25}),
        (DIGEST, "24", "25"),
    ),
    "template over 64 MiB": (
        with_layers(layer_of(LAYER, "application/vnd.ollama.image.template") | {"size": 1 << 30}),
        ("layer 0", "1073741824", "67,108,864"),
    ),
    # numbers of layers
    "50,001 layers": (with_layers(*[layer_of(LAYER, "")] * 50_001), ("50,001", "50,000")),
    "the same layer 10^6 times": (
        GOOD.replace(b'"layers": [', b'"layers": [' + b"{}," * 1_000_000, 1),
        ("1,000,001", "50,000"),
    ),
    "over 16 MiB": (GOOD + b" " * (16 << 20), ("bytes", "16,777,216")),
    # keys that readers see differently
    "Layers beside layers": (GOOD[:-1] + b', "Layers": []}', ("Layers", "twice")),
    "layers twice": (GOOD[:-1] + b', "layers": []}', ("layers", "twice")),
    "long s in layers": (GOOD[:-1] + ', "layer\u017f": []}'.encode(), ("twice",)),
    "Layers alone": (GOOD.replace(b'"layers"', b'"Layers"'), ("Layers", "layers")),
    "digest twice": (GOOD.replace(b'"digest"', b'"digest": "x", "Digest"', 1), ("Digest", "twice")),
    # JSON that is none
    "a second value": (GOOD + b"{}", ("no JSON", "Extra data")),
    "a second manifest on a line of its own": (GOOD + b"\n" + GOOD, ("no JSON",)),
    "100,000 levels": (b"[" * 100_000, ("nested too deep",)),
    "100,000 objects": (b'{"a":' * 100_000, ("nested too deep",)),
    "100,000 levels in an unknown key": (
        GOOD[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        ("nested too deep",),
    ),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, ("BOM",)),
    "UTF-16": (GOOD.decode().encode("utf-16"), ("not UTF-8",)),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), ("no JSON",)),
    "invalid UTF-8": (GOOD[:-1] + b', "x": "\xff"}', ("not UTF-8",)),
    "surrogate in UTF-8": (GOOD[:-1] + b', "x": "\xed\xa0\x80"}', ("not UTF-8",)),
    "NaN": (GOOD[:-1] + b', "x": NaN}', ("NaN", "no JSON")),
    "Infinity": (GOOD[:-1] + b', "x": -Infinity}', ("Infinity", "no JSON")),
    "single quotes": (GOOD.replace(b'"', b"'"), ("no JSON",)),
    "cut off": (GOOD[:100], ("no JSON",)),
    "empty": (b"", ("empty",)),
    "white space": (b" \n", ("empty",)),
    "NUL bytes": (b"\0" * 100, ("no JSON",)),
    "HTML": (b"<!doctype html><html><body>Not Found</body></html>", ("no JSON",)),
    # other shapes
    "an array": (b"[" + GOOD + b"]", ("no object", "[{")),
    "text": (json.dumps(GOOD.decode()).encode(), ("no object", "schemaVersion")),
    "null": (b"null", ("no object", "null")),
    "layers null": (_manifest(layers=None), ("layers", "must be an array")),
    "layers missing": (without("layers"), ("layers", "missing", "must be an array")),
    "layers an object": (_manifest(layers={"0": layer_of(LAYER)}), ("layers", "must be an array")),
    "a layer that is null": (with_layers(None), ("layer 0", "must be an object")),
    "a layer that is text": (with_layers(DIGEST), ("layer 0", "must be an object")),
    "config missing": (without("config"), ("config", "missing", "must be an object")),
    "config null": (_manifest(config=None), ("config", "must be an object")),
    "config an array": (
        _manifest(config=[layer_of(config_of(), CONFIG_TYPE)]),
        ("config", "must be an object"),
    ),
    "a list of manifests": (
        json.dumps({"schemaVersion": 2, "manifests": [layer_of(GOOD)]}).encode(),
        ("config", "missing"),
    ),
}

CONFIGS: dict[str, tuple[bytes, type[ManifestRefused], tuple[str, ...]]] = {
    "remote_host": (
        config_of(remote_host="https://evil.example"),
        RemoteModelRefused,
        ("evil.example", "allow_remote"),
    ),
    "remote_model": (
        config_of(remote_model="gpt-oss:120b"),
        RemoteModelRefused,
        ("gpt-oss:120b", "allow_remote"),
    ),
    "Remote_Host": (config_of(Remote_Host="https://evil.example"), ManifestRefused, ("Remote_Host",)),
    "remote_host twice": (
        config_of(remote_host="")[:-1] + b', "Remote_Host": "https://evil.example"}',
        ManifestRefused,
        ("twice",),
    ),
    "remote_host that is no text": (
        config_of(remote_host=["evil.example"]),
        ManifestRefused,
        ("remote_host", "text"),
    ),
    "no JSON": (b"model_format: gguf", ManifestRefused, ("no JSON",)),
    "100,000 levels": (b"[" * 100_000, ManifestRefused, ("nested too deep",)),
}


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A directory with a model that somebody else has made, as on a USB stick."""
    path = tmp_path / "stick"
    make_model(path, "bad", [LAYER])
    return path


# -- manifests


@pytest.mark.parametrize(("content", "words"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_bad_manifest_of_a_bucket_is_refused(
    content: bytes,
    words: tuple[str, ...],
    mirror_of: Callable[..., Mirror],
    hostile: HostileBucket,
    guarded: GuardedStore,
) -> None:
    hostile.put_model("bad", [LAYER])
    hostile.put_manifest(PATH, content)
    mirror = mirror_of(guarded.path)
    with guarded.refuses(ManifestRefused, f"s3://{hostile.name}/", PATH, *words):
        mirror.import_model("bad")
    listing = mirror.list_models(details=True)
    assert list(listing) == []
    (refusal,) = listing.refused
    assert refusal.path == f"ollama/models/manifests/{PATH}"
    assert len(refusal.reason) < 1000


@pytest.mark.parametrize(("content", "words"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_bad_manifest_of_a_directory_is_refused(
    content: bytes, words: tuple[str, ...], stick: Path, guarded: GuardedStore
) -> None:
    manifest_at(stick, "bad").write_bytes(content)
    guarded.remember()
    (result,) = LocalStore(guarded.path).import_models(["bad"], source=stick)
    with guarded.refuses(ManifestRefused, str(stick), PATH, *words):
        assert result.error is not None
        raise result.error


@pytest.mark.parametrize(("content", "words"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_bad_manifest_of_the_store_is_replaced_by_an_import(
    content: bytes, words: tuple[str, ...], stick: Path, guarded: GuardedStore
) -> None:
    bad = manifest_at(guarded.path, "bad")
    bad.parent.mkdir(parents=True)
    bad.write_bytes(content)
    store = LocalStore(guarded.path)
    with pytest.raises(ManifestRefused) as caught:
        store.verify_model("bad")
    assert all(each in str(caught.value) for each in words)
    assert store.import_models(["bad"], source=stick)[0].ok
    assert store.verify_model("bad").ok


def test_a_refused_update_leaves_the_model_that_was_there(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put_manifest("registry.ollama.ai/library/old/latest", with_digest("sha256:../x"))
    with guarded.refuses(ManifestRefused, "sha256:../x"):
        mirror_of(guarded.path).import_model("old")


def test_a_layer_that_is_named_50_000_times_is_fetched_once(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    hostile.put_model("bad", [LAYER])
    hostile.put_manifest(PATH, with_layers(*[layer_of(LAYER)] * 50_000))
    result = mirror_of(guarded.path, url=front.url).import_model("bad")
    assert result.blobs_fetched == 1  # its config is there already
    assert len([each for each in front.requests if each.path.endswith(HEX)]) == 1


@pytest.mark.parametrize("told", [str(1 << 30), None], ids=["announced", "without a length"])
def test_of_a_manifest_of_1_gib_no_more_than_16_mib_are_read(
    told: str | None,
    mirror_of: Callable[..., Mirror],
    hostile: HostileBucket,
    front: FaultyFront,
    guarded: GuardedStore,
) -> None:
    there = 64 << 20  # what is there of it
    hostile.put_manifest(PATH, b" " * there)
    front.fail(Headers({"Content-Length": told}), path_ends=PATH)
    with guarded.refuses(ManifestRefused, PATH, "16,777,216"):
        mirror_of(guarded.path, url=front.url).import_model("bad")
    front.wait_until(lambda requests: requests[0].over)
    (request,) = front.requests
    assert 0 < request.sent < there - (16 << 20)  # what was sent and not read was on its way already


def test_a_compressed_manifest_is_not_unpacked(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    assert len(bomb) < 100_000
    key = f"ollama/models/manifests/{PATH}"
    hostile.put(key, bomb, ContentEncoding="gzip")
    with guarded.refuses(BucketAnswerRefused, PATH, "'gzip'", "store it as it is"):
        mirror_of(guarded.path).import_model("bad")


def test_an_error_page_with_status_200_is_no_manifest(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    hostile.put_model("bad", [LAYER])
    front.fail(Body(b"<html><body>Bad gateway</body></html>"), path_ends=PATH)
    with guarded.refuses(ManifestRefused, PATH, "no JSON"):
        mirror_of(guarded.path, url=front.url).import_model("bad")


# -- configs


def put_with_config(hostile: HostileBucket, config: bytes) -> None:
    hostile.put_model("bad", [LAYER, config])
    hostile.put_manifest(PATH, manifest_of([LAYER], config))


@pytest.mark.parametrize("case", CONFIGS.values(), ids=CONFIGS)
def test_a_bad_config_is_refused_before_a_layer_is_asked_for(
    case: tuple[bytes, type[ManifestRefused], tuple[str, ...]],
    mirror_of: Callable[..., Mirror],
    hostile: HostileBucket,
    front: FaultyFront,
    guarded: GuardedStore,
) -> None:
    config, kind, words = case
    put_with_config(hostile, config)
    with guarded.refuses(kind, digest_of(config).replace(":", "-"), *words):
        mirror_of(guarded.path, url=front.url).import_model("bad")
    assert not [each for each in front.requests if each.path.endswith(HEX)]


@pytest.mark.parametrize("name", ["remote_host", "remote_model"])
def test_a_model_of_another_host_is_taken_where_that_is_allowed(
    name: str, mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    put_with_config(hostile, CONFIGS[name][0])
    assert mirror_of(guarded.path, allow_remote=True).import_model("bad").ok


def test_a_config_that_is_not_what_its_digest_says_is_refused(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, guarded: GuardedStore
) -> None:
    config = config_of()
    put_with_config(hostile, config)
    other = config_of(remote_host="https://evil.example")
    swapped = json.loads(GOOD) | {"config": layer_of(config, CONFIG_TYPE) | {"size": len(other)}}
    hostile.put_manifest(PATH, json.dumps(swapped).encode())
    key = f"ollama/models/blobs/{digest_of(config).replace(':', '-')}"
    hostile.put(key, other)
    with guarded.refuses(DigestMismatch, digest_of(config), digest_of(other), "publish it anew"):
        mirror_of(guarded.path).import_model("bad")


def test_a_config_of_4_gib_is_not_read(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    huge = layer_of(config_of(), CONFIG_TYPE) | {"size": 4 << 30}
    hostile.put_manifest(PATH, _manifest(config=huge))
    with guarded.refuses(ManifestRefused, "4,294,967,296"):
        mirror_of(guarded.path, url=front.url).import_model("bad")
    assert len(front.requests) == 1


def test_a_bad_config_of_the_store_is_not_published(
    mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    config = config_of(remote_host="https://evil.example")
    make_model(guarded.path, "bad", [LAYER])
    blob_at(guarded.path, digest_of(config)).write_bytes(config)
    manifest_at(guarded.path, "bad").write_bytes(manifest_of([LAYER], config))
    guarded.remember()
    with guarded.refuses(RemoteModelRefused, "evil.example"):
        mirror_of(guarded.path, url=front.url).publish_model("bad")
    assert not [each for each in front.requests if each.method in {"PUT", "POST"}]
