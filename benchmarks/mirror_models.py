"""Makes models to copy: random bytes with the manifest of an Ollama model around them."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = "bench"
PREFIX = "ollama/models"
MEBIBYTE = 2**20
GIBIBYTE = 2**30

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.ollama.image.tensor"


@dataclass(frozen=True)
class Blob:
    """A blob of a model.

    Attributes:
        digest: SHA-256 of its bytes, 64 hexadecimal digits.
        size: Bytes.
    """

    digest: str
    size: int

    @property
    def file(self) -> str:
        """Its file name in a store and in a bucket."""
        return f"sha256-{self.digest}"

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return f"{PREFIX}/blobs/{self.file}"


@dataclass(frozen=True)
class Model:
    """A model in a store.

    Attributes:
        name: As one asks for it.
        store: The folder with its ``blobs`` and ``manifests``.
        config: The small blob that describes the model.
        layers: The blobs that are measured.
    """

    name: str
    store: Path
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def manifest(self) -> Path:
        """The file of its manifest, relative to a store."""
        model, _, tag = self.name.partition(":")
        return self.store.__class__("manifests/registry.ollama.ai/library", model, tag)

    def blob(self, blob: Blob) -> Path:
        """Return the file of one of its blobs."""
        return self.store / "blobs" / blob.file


def make_model(store: Path, name: str, *, count: int, size: int) -> Model:
    """Write a model into a store.

    Args:
        store: A folder; it is made.
        name: Model and tag.
        count: How many layers it gets.
        size: Bytes of each layer.
    """
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    source = random.Random(name)  # noqa: S311 - the same bytes each time, no secrets
    config = _write(store, iter([json.dumps({"model_format": "bench", "name": name}).encode()]))
    layers = tuple(_write(store, _bytes(source, size)) for _ in range(count))
    model = Model(name, store, config, layers)
    path = store / model.manifest
    path.parent.mkdir(parents=True, exist_ok=True)
    described = [_described(layer, _LAYER) | {"name": f"t{place}"} for place, layer in enumerate(layers)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _described(config, _CONFIG),
        "layers": described,
    }
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return model


def _described(blob: Blob, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{blob.digest}", "size": blob.size}


def _bytes(source: random.Random, size: int) -> Iterator[bytes]:
    """Yield that many bytes, which do not compress: one random piece, numbered on each repetition."""
    piece = bytearray(source.randbytes(MEBIBYTE))
    for start in range(0, size, MEBIBYTE):
        piece[:8] = start.to_bytes(8, "big")
        yield bytes(piece[: size - start])


def _write(store: Path, pieces: Iterator[bytes]) -> Blob:
    hashed, size = hashlib.sha256(), 0
    unnamed = store / "blobs" / "unnamed"
    with unnamed.open("wb") as file:
        for piece in pieces:
            hashed.update(piece)
            size += file.write(piece)
    blob = Blob(hashed.hexdigest(), size)
    unnamed.rename(unnamed.with_name(blob.file))
    return blob
