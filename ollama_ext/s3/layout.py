"""Where things lie below a model directory, and below the prefix of a bucket, which mirrors it. No I/O.

    manifests/<host>/<namespace>/<model>/<tag>
    blobs/sha256-<64 hexadecimal digits>

Paths and keys are made from names and digests that were checked, never from what a bucket says.
"""

from __future__ import annotations

import re
from typing import Final

from ollama_ext.digests import blob_file_name
from ollama_ext.errors import InvalidArgument
from ollama_ext.names import DEFAULT_NAME, ModelName, checked_name

from .errors import NameRefused, SettingRefused

MANIFESTS: Final = "manifests"
BLOBS: Final = "blobs"

_LEVELS: Final = 4
_BLOB = re.compile(r"sha256-([0-9a-f]{64})", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_PREFIX: Final = 500  # S3 allows keys of 1,024 bytes, and the longest name takes some 600


def model_name(text: str) -> ModelName:
    """Read the name of a model that a caller gave, with Ollama's defaults for what it leaves out.

    Raises:
        NameRefused: Ollama does not take it for the name of a model.
    """
    try:
        return checked_name(text)
    except InvalidArgument as error:
        raise NameRefused(error.message, argument="model") from None


def manifest_path(name: ModelName) -> str:
    """Return the path of a manifest below the directory or the prefix."""
    return f"{MANIFESTS}/{name.path}"


def blob_path(digest: str) -> str:
    """Return the path of a blob, whose digest was checked, below the directory or the prefix."""
    return f"{BLOBS}/{blob_file_name(digest)}"


def named_by(path: str) -> ModelName:
    """Return the model whose manifest lies at a path below ``manifests/``.

    Raises:
        NameRefused: No model has its manifest there: it is not four levels deep, or a level is no valid part
            of a name.
    """
    levels = path.split("/")
    if len(levels) != _LEVELS:
        raise NameRefused(
            f"{path!r:.300} is no manifest: it must be host/namespace/model/tag", argument="model"
        )
    host, namespace, model, tag = levels
    name = ModelName(scheme=DEFAULT_NAME.scheme, host=host, namespace=namespace, model=model, tag=tag)
    try:
        name.path  # noqa: B018 - refuses what is not valid
    except InvalidArgument as error:
        raise NameRefused(f"{path!r:.300} is no manifest. {error.message}", argument="model") from None
    return name


def shown_name(name: ModelName) -> str:
    """Return the name as Ollama lists it, or in full where that leads to another path.

    Ollama leaves out its defaults whatever their case, and so would list what lies below ``library`` and
    what lies below ``Library`` alike.
    """
    return name.short if model_name(name.short).path == name.path else name.full


def digest_of_blob(file_name: str) -> str | None:
    """Return the digest that the name of a blob's file stands for, or None if it is no such name."""
    match = _BLOB.fullmatch(file_name)
    return f"sha256:{match[1]}" if match else None


def checked_prefix(prefix: str) -> str:
    """Return the prefix of a bucket as keys begin with it: with a ``/`` at its end, or empty for the root.

    Raises:
        SettingRefused: It begins with a ``/``, has an empty, ``.`` or ``..`` level, a backslash or control
            characters, or is too long.
    """
    bare = prefix.removesuffix("/")
    levels = bare.split("/") if bare else []
    if any(level in {"", ".", ".."} for level in levels) or "\\" in bare or _CONTROL.search(bare):
        raise SettingRefused(
            f"prefix {prefix!r:.200} is not one: write levels parted by single slashes, such as "
            "'ollama/models', or '' for the root of the bucket",
            argument="prefix",
        )
    if len(bare.encode()) > _LONGEST_PREFIX:
        problem = f"prefix has {len(bare.encode())} bytes: at most {_LONGEST_PREFIX} leave room for the names"
        raise SettingRefused(problem, argument="prefix")
    return f"{bare}/" if bare else ""
