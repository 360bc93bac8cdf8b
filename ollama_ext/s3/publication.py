"""How a model becomes visible in a store: its blobs first, its manifest last, each by one rename.

Ollama may start, and prune, at any moment: it removes what no manifest names and what is older than an hour.
So blobs that are reused are touched first, everything is on the disk before the manifest is, and then all
blobs are looked at once more.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from ollama_ext.digests import blob_file_name

from .errors import NameRefused, StoreRefused
from .layout import BLOBS, manifest_path
from .staging import Staging

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

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
    with (
        root.enter(BLOBS, create=True) as blobs,
        blobs.locked(alone=False),  # no prune of ours takes a blob from here on that it has found old
        Staging(root) as staging,
    ):
        for digest in manifest.blobs.keys() - set(staged):
            blobs.touch(blob_file_name(digest))
        moved = False
        for digest in staged:
            try:
                staging.move_whole(digest, blobs, blob_file_name(digest))
                moved = True
            except FileNotFoundError:  # another process has published it
                blobs.touch(blob_file_name(digest))
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
    return {
        digest for digest, size in manifest.blobs.items() if blobs.size_of(blob_file_name(digest)) != size
    }


def _write_manifest(root: Directory, staging: Staging, name: ModelName, content: bytes) -> None:
    """Put a manifest into its place, unless it is there already, byte for byte."""
    *levels, tag = manifest_path(name).split("/")
    for _ in range(_MANIFEST_TRIES):
        # Ollama removes empty directories when it starts, and others import as well.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            directory, missing = root.reach(levels)
            with directory:
                if missing:
                    _write_below(staging.directory, directory, missing, tag, content)
                elif directory.size_of(tag) != len(content) or directory.read(tag, len(content)) != content:
                    _write(staging.directory, directory, tag, content)
                return
    raise StoreRefused(f"{root.path / manifest_path(name)} cannot be written: its directory vanishes at once")


def _write(staging: Directory, directory: Directory, tag: str, content: bytes) -> None:
    new = staging.write(content)
    try:
        staging.move(new, directory, tag)
    except BaseException:
        staging.remove(new)
        raise
    directory.sync()


def _write_below(
    staging: Directory, directory: Directory, levels: Sequence[str], tag: str, content: bytes
) -> None:
    """Write a manifest in directories that are not there yet, all at once.

    An Ollama that starts removes directories that it has seen empty, and does not start if one of them is no
    longer empty by then. So none of ours is ever empty.
    """
    new = staging.write_below(levels[1:], tag, content)
    try:
        staging.move(new, directory, levels[0])
    except BaseException:
        staging.remove_tree(new)
        raise
    directory.sync()
