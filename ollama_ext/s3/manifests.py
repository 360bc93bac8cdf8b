"""Manifests: which blobs a model is made of. Bytes in, values out; no I/O.

The bytes of a manifest are kept as they came: Ollama calls their SHA-256 the digest of the model.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from .errors import ManifestRefused, RemoteModelRefused
from .strict_json import exactly, read_object

#: The most bytes of a manifest; a model of a thousand tensors has 300 KB.
MOST_MANIFEST_BYTES: Final = 16 << 20
#: The most bytes of a config, which is read into memory.
MOST_CONFIG_BYTES: Final = 4 << 20

_MOST_LAYERS: Final = 50_000
_MOST_BLOB_BYTES: Final = 2**53
_MOST_TEXT_BYTES: Final = 64 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
# Layers that Ollama reads into memory whole.
_TEXTS = frozenset(
    f"application/vnd.ollama.image.{kind}"
    for kind in ("template", "prompt", "system", "params", "messages", "license")
)


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One blob of a model, and what it is to the model.

    Attributes:
        media_type: Such as ``application/vnd.ollama.image.model``.
        digest: ``sha256:`` and 64 lower-case hexadecimal digits.
        size: Bytes, at least 1.
    """

    media_type: str
    digest: str
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is made of; `parse_manifest` makes it.

    Attributes:
        content: The bytes as they came.
        config: The blob that describes the model.
        layers: Its other blobs, in the order of the manifest, whatever their media type.
    """

    content: bytes
    config: Layer
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        """What Ollama calls the digest of the model: the SHA-256 of the manifest, as ``sha256:<hex>``."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    @property
    def blobs(self) -> dict[str, int]:
        """The size in bytes of each blob by its digest, each once: the config first, then the layers."""
        return {layer.digest: layer.size for layer in (self.config, *self.layers)}

    @property
    def size(self) -> int:
        """Bytes of all blobs, each counted once."""
        return sum(self.blobs.values())


def parse_manifest(content: bytes, *, where: str) -> Manifest:
    """Read a manifest as Ollama does, or refuse it.

    Source: ``manifest/manifest.go`` and ``layer.go`` of Ollama. Refused though Ollama takes it is what two
    readers could see differently, and what no model that works has.

    Args:
        content: The bytes.
        where: Where they are from, for messages.

    Raises:
        ManifestRefused: It is not JSON that can be read in one way only; it lacks its config or its layers;
            a digest is not ``sha256:`` and 64 lower-case hexadecimal digits; a size is no integer from 1 to
            2^53, or one blob has two; there are more than 50,000 layers or 16 MiB; a text is over 64 MiB.
    """
    what = f"the manifest {where}"
    if len(content) > MOST_MANIFEST_BYTES:
        raise ManifestRefused(
            f"{what} is refused: it has {len(content):,} bytes, more than {MOST_MANIFEST_BYTES:,}"
        )
    found = read_object(content, what=what)
    _expect(exactly(found, "schemaVersion", what=what), int, f"{what}: schemaVersion", optional=True)
    _expect(exactly(found, "mediaType", what=what), str, f"{what}: mediaType", optional=True)
    config = _layer(exactly(found, "config", what=what), f"{what}: config")
    listed = _expect(exactly(found, "layers", what=what), list, f"{what}: layers")
    if len(listed) > _MOST_LAYERS:
        raise ManifestRefused(f"{what} is refused: it has {len(listed):,} layers, more than {_MOST_LAYERS:,}")
    layers = tuple(_layer(item, f"{what}: layer {number}") for number, item in enumerate(listed))
    sizes: dict[str, int] = {}
    for layer in (config, *layers):
        if sizes.setdefault(layer.digest, layer.size) != layer.size:
            problem = f"the blob {layer.digest} has the sizes {sizes[layer.digest]:,} and {layer.size:,}"
            raise ManifestRefused(f"{what} is refused: {problem}")
    return Manifest(content=content, config=config, layers=layers)


def check_config(content: bytes, *, where: str, allow_remote: bool) -> None:
    """Look at the config of a model.

    Source: ``types/model/config.go`` of Ollama.

    Raises:
        ManifestRefused: It is not JSON that can be read in one way only.
        RemoteModelRefused: The model runs on another host, and that is not allowed.
    """
    what = f"the config {where}"
    found = read_object(content, what=what)
    for key in ("remote_host", "remote_model"):
        value = _expect(exactly(found, key, what=what), str, f"{what}: {key}", optional=True)
        if value and not allow_remote:
            raise RemoteModelRefused(
                f"{what} is refused: it says {key} {value!r:.100}, so prompts would leave this machine; "
                "allow_remote=True (--allow-remote) takes it nevertheless"
            )


def _layer(value: Any, what: str) -> Layer:
    found = _expect(value, dict, what)
    media_type = _expect(exactly(found, "mediaType", what=what), str, f"{what}: mediaType")
    digest = _expect(exactly(found, "digest", what=what), str, f"{what}: digest")
    size = _expect(exactly(found, "size", what=what), int, f"{what}: size")
    _expect(exactly(found, "from", what=what), str, f"{what}: from", optional=True)
    _expect(exactly(found, "name", what=what), str, f"{what}: name", optional=True)
    if not _DIGEST.fullmatch(digest):
        problem = "a digest must be 'sha256:' and 64 hexadecimal digits in lower case"
        raise ManifestRefused(f"{what} is refused: its digest is {digest!r:.100}, and {problem}")
    most = _MOST_TEXT_BYTES if media_type in _TEXTS else _MOST_BLOB_BYTES
    if not 1 <= size <= most:
        raise ManifestRefused(f"{what} is refused: its size is {size!s:.20}, and must be from 1 to {most:,}")
    return Layer(media_type=media_type, digest=digest, size=size)


def _expect(value: Any, kind: type, what: str, *, optional: bool = False) -> Any:
    if optional and value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {dict: "an object", list: "an array", str: "text", int: "a whole number"}
        found = "missing" if value is None else f"{value!r:.60}"
        raise ManifestRefused(f"{what} is refused: it is {found}, and must be {names[kind]}")
    return value
