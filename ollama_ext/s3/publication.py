"""How a model becomes visible in a store: its blobs first, its manifest last, each by one rename.

Ollama may start, and prune, at any moment: it removes what no manifest names and what is older than an hour.
So blobs that are reused are touched first, everything is on the disk before the manifest is, and then all
blobs are looked at once more.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from .errors import NameRefused, StoreRefused
from .layout import BLOBS, blob_path, manifest_path
from .staging import Staging

if TYPE_CHECKING:
    from collections.abc import Collection

    from ollama_ext.names import ModelName

    from .directories import Directory
    from .manifests import Manifest

_MANIFEST_TRIES: Final = 10


def publish(root: Directory, name: ModelName, manifest: Manifest, *, staged: Collection[str]) -> set[str]:
    """Show a model whose blobs are all in the store or staged.

    Args:
        root: The open model directory.
        name: What to call the model.
        manifest: What it is made of.
        staged: Digests of blobs that take the place of what the store has.

    Returns:
        The blobs that are missing, because something removed them meanwhile: fetch them and publish again. If
        there are any before the manifest is written, it is not written.

    Raises:
        NameRefused: The store has a model whose name differs in upper and lower case only.
        NoSpace: There is no room for the manifest.
        StoreRefused: The store cannot be written.
    """
    check_case(root, name)
    with root.enter(BLOBS, create=True) as blobs, Staging(root) as staging:
        for digest in manifest.blobs.keys() - set(staged):
            blobs.touch(_file(digest))
        moved = False
        for digest in staged:
            try:
                staging.move_whole(digest, blobs, _file(digest))
                moved = True
            except FileNotFoundError:  # another process has published it
                blobs.touch(_file(digest))
        if moved:
            blobs.sync()
        if missing := _missing(blobs, manifest):
            return missing
        _write_manifest(root, staging, name, manifest.content)
        return _missing(blobs, manifest)


def check_case(root: Directory, name: ModelName) -> None:
    """Look whether the store has a model by a name that differs in upper and lower case only.

    Ollama would take the one for the other, and which one, the file system decides.

    Raises:
        NameRefused: It has one.
    """
    *levels, tag = manifest_path(name).split("/")
    with contextlib.ExitStack() as opened, contextlib.suppress(FileNotFoundError):
        here = root
        for level in (*levels, tag):
            for other in here.names():
                if other != level and other.lower() == level.lower():
                    raise NameRefused(
                        f"the model {name.short!r} differs from {here.path / other} in upper and lower case "
                        "only, and Ollama takes the one for the other: use that spelling, or remove that one",
                        argument="model",
                        model=name.short,
                    )
            if level != tag:
                here = opened.enter_context(here.enter(level))


def _missing(blobs: Directory, manifest: Manifest) -> set[str]:
    return {digest for digest, size in manifest.blobs.items() if blobs.size_of(_file(digest)) != size}


def _write_manifest(root: Directory, staging: Staging, name: ModelName, content: bytes) -> None:
    """Put a manifest into its place, unless it is there already, byte for byte."""
    *levels, tag = manifest_path(name).split("/")
    for _ in range(_MANIFEST_TRIES):
        try:
            with root.descend(levels, create=True) as directory:
                if directory.size_of(tag) == len(content) and directory.read(tag, len(content)) == content:
                    return
                new = staging.directory.write(content)
                try:
                    staging.directory.move(new, directory, tag)
                except BaseException:
                    staging.directory.remove(new)
                    raise
                directory.sync()
                return
        except FileNotFoundError:
            # Ollama removes empty directories when it starts, and may have found ours before its file came.
            continue
    raise StoreRefused(f"{root.path / manifest_path(name)} cannot be written: its directory vanishes at once")


def _file(digest: str) -> str:
    return blob_path(digest).rpartition("/")[2]
