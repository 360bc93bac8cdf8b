"""Models in directories and buckets, made of bytes that a test can read, laid out as Ollama does."""

from __future__ import annotations

import hashlib
import json
import stat
from typing import TYPE_CHECKING, Any

from ollama_ext.names import parse_name
from ollama_ext.s3 import Manifest, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MODEL_TYPE = "application/vnd.ollama.image.model"
STAGING = ".ollama-ext-staging"


def digest_of(content: bytes) -> str:
    """Return the digest of some bytes, as ``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer_of(content: bytes, media_type: str = MODEL_TYPE) -> dict[str, Any]:
    """Return what a manifest says of a blob."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def manifest_of(layers: Sequence[bytes], config: bytes, **changed: Any) -> bytes:
    """Return the manifest of a model with these blobs, with some keys changed."""
    told = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": layer_of(config, CONFIG_TYPE),
        "layers": [layer_of(content) for content in layers],
    }
    return json.dumps(told | changed).encode()


def config_of(**keys: Any) -> bytes:
    """Return a config."""
    return json.dumps({"model_format": "gguf", "model_family": "llama"} | keys).encode()


def blob_at(store: Path, digest: str) -> Path:
    """Return where a store has a blob."""
    return store / "blobs" / digest.replace(":", "-")


def manifest_at(store: Path, name: str) -> Path:
    """Return where a store has the manifest of a model."""
    return store / "manifests" / parse_name(name).path


def make_model(
    store: Path, name: str, layers: Sequence[bytes], config: Mapping[str, Any] | None = None
) -> Manifest:
    """Write a model into a directory and return its manifest."""
    config_bytes = config_of(**(config or {}))
    for content in (config_bytes, *layers):
        path = blob_at(store, digest_of(content))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    path = manifest_at(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(manifest_of(layers, config_bytes))
    return parse_manifest(path.read_bytes(), where=str(path))


def put_model(
    client: Any,
    bucket: str,
    name: str,
    layers: Sequence[bytes],
    *,
    prefix: str = "ollama/models/",
    **changed: Any,
) -> bytes:
    """Write a model into a bucket as somebody else would, and return its manifest."""
    config = config_of()
    for content in (config, *layers):
        key = f"{prefix}blobs/{digest_of(content).replace(':', '-')}"
        client.put_object(Bucket=bucket, Key=key, Body=content)
    manifest = manifest_of(layers, config, **changed)
    put_manifest(client, bucket, parse_name(name).path, manifest, prefix=prefix)
    return manifest


def put_manifest(
    client: Any, bucket: str, path: str, content: bytes, *, prefix: str = "ollama/models/"
) -> None:
    """Write any bytes below ``manifests/`` of a bucket."""
    client.put_object(Bucket=bucket, Key=f"{prefix}manifests/{path}", Body=content)


def tree(path: Path) -> dict[str, bytes | str]:
    """Return what is below a path: bytes of files, kinds of other things; no empty staging directory."""
    found: dict[str, bytes | str] = {}
    for entry in sorted(path.rglob("*")):
        status = entry.lstat()
        name = str(entry.relative_to(path))
        if stat.S_ISREG(status.st_mode):
            found[name] = entry.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            found[name] = f"link to {entry.readlink()}"
        elif not (name == STAGING and not any(entry.iterdir())):
            found[name] = "directory" if stat.S_ISDIR(status.st_mode) else "special"
    return found
