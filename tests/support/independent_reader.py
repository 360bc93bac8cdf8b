"""What somebody sees who knows only how Ollama lays out its models: it shares no code with the mirror.

It looks at a store or a bucket at any moment, says which models are there, and fails where one is not whole,
and where there is anything that is neither a model nor a blob.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

_LEVELS = 4
_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
_STAGING = ".ollama-ext-staging"


def models_in_store(store: Path, *, foreign: Collection[str] = ()) -> dict[str, bytes]:
    """Return the manifests of a store by their path below ``manifests/``, having seen that all are whole.

    Args:
        store: The model directory; there may be none.
        foreign: Names in ``blobs/`` of which it is known that they are no blobs, or not what their name says.
    """
    # The manifests first, as somebody may be writing: what they name was there before they were.
    manifests = {
        str(path.relative_to(store / "manifests")): path.read_bytes()
        for path in (store / "manifests").rglob("*")
        if not path.is_dir()
    }
    blobs: dict[str, bytes] = {}
    for path in (store / "blobs").rglob("*"):
        name = str(path.relative_to(store / "blobs"))
        assert not path.is_symlink(), path
        assert path.is_file(), path
        blobs[name] = path.read_bytes()
    if store.exists():
        assert {path.name for path in store.iterdir()} <= {"blobs", "manifests", _STAGING}
    _check(manifests, blobs.keys(), blobs.__getitem__, foreign)
    return manifests


def models_in_bucket(client: Any, bucket: str, *, foreign: Collection[str] = ()) -> dict[str, bytes]:
    """Return the manifests of a bucket, as `models_in_store` does those of a store."""
    prefix = "ollama/models/"

    def content_of(key: str) -> bytes:
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    blobs = {key.removeprefix(f"{prefix}blobs/"): key for key in keys if key.startswith(f"{prefix}blobs/")}
    manifests = {
        key.removeprefix(f"{prefix}manifests/"): content_of(key)
        for key in keys
        if key.startswith(f"{prefix}manifests/")
    }
    assert len(keys) == len(blobs) + len(manifests), keys
    _check(manifests, blobs.keys(), lambda name: content_of(blobs[name]), foreign)
    return manifests


def _check(
    manifests: Mapping[str, bytes],
    blobs: Collection[str],
    content_of: Callable[[str], bytes],
    foreign: Collection[str] = (),
) -> None:
    """See that each blob is what its name says, and that no manifest names one that is not there."""
    sizes: dict[str, int] = {}
    for name in blobs:
        content = content_of(name)
        sizes[name] = len(content)
        if name not in foreign:
            assert _BLOB.fullmatch(name), name
            assert f"sha256-{hashlib.sha256(content).hexdigest()}" == name, f"{name} has other bytes"
    for path, content in manifests.items():
        assert len(path.split("/")) == _LEVELS, path
        manifest = json.loads(content)
        for layer in (manifest["config"], *manifest["layers"]):
            name = layer["digest"].replace(":", "-")
            assert name in sizes, f"{path} names {name}, which is not there"
            assert sizes[name] == layer["size"], (path, name)
