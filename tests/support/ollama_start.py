"""What ``ollama serve`` does to a model directory when it starts, one system call at a time.

Written after what server/routes.go, server/fixblobs.go, server/images.go and manifest/ of v0.33.0-rc2 do, in
their order of calls, and with what each makes of an error: some are passed over, some end the prune, and some
end the server before it has served anything.
"""

from __future__ import annotations

import json
import re
import stat
import time
from typing import TYPE_CHECKING, Any

from ollama_ext.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

GRACE = 3600.0  # seconds, by the time of last change

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_MANIFEST_LEVELS = 4


class StartFailed(Exception):
    """The server ended with an error."""


def start(store: Path) -> None:
    """Start as a server does, at once.

    Raises:
        StartFailed: It would have ended with an error.
    """
    for _ in calls_of_start(store):
        pass


def calls_of_start(store: Path) -> Generator[str]:
    """Start, and yield before each system call what it will be.

    Raises:
        StartFailed: It would have ended with an error.
    """
    blobs, manifests = store / "blobs", store / "manifests"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        yield from _walk(blobs)
        try:
            yield from _manifests(manifests, skip_bad=False)
        except (OSError, ValueError):
            return  # "skipping prune operation"
        yield from _prune_layers(blobs, manifests)
        manifests.mkdir(parents=True, exist_ok=True)
        yield from _prune_directory(manifests)
    except OSError as error:
        raise StartFailed(f"{type(error).__name__}: {error}") from error


def _walk(path: Path) -> Generator[str]:
    """Look for names with a colon, which are renamed; here there are none. Any error ends the server."""
    yield f"lstat {path}"
    if not stat.S_ISDIR(path.lstat().st_mode):
        return
    yield f"readdir {path}"
    for below in sorted(path.iterdir()):
        yield from _walk(below)


def _manifests(manifests: Path, *, skip_bad: bool) -> Generator[str, None, dict[str, Any]]:
    """Read all manifests; one that vanishes is an error, whatever else may be passed over."""
    yield f"glob {manifests}"
    found: dict[str, Any] = {}
    for path in sorted(manifests.glob("/".join("*" * _MANIFEST_LEVELS))):
        yield f"stat {path}"
        if stat.S_ISDIR(path.stat().st_mode):
            continue
        yield f"read {path}"
        try:
            host, namespace, model, tag = path.relative_to(manifests).parts
            ModelName(scheme="https", host=host, namespace=namespace, model=model, tag=tag).path  # noqa: B018
            found[str(path)] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            if not skip_bad:
                raise
    return found


def _prune_layers(blobs: Path, manifests: Path) -> Generator[str]:
    yield f"readdir {blobs}"
    unused: set[str] = set()
    for path in sorted(blobs.iterdir()):
        yield f"lstat {path}"
        try:
            status = path.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) or time.time() - status.st_mtime < GRACE:
            continue
        if _DIGEST.fullmatch(path.name):
            unused.add(path.name.replace("-", ":"))
        else:
            yield f"unlink {path}"
            path.unlink(missing_ok=True)
    try:
        found = yield from _manifests(manifests, skip_bad=True)
    except OSError:
        return
    for manifest in found.values():
        unused -= {layer["digest"] for layer in (manifest["config"], *manifest["layers"])}
    for digest in sorted(unused):
        path = blobs / digest.replace(":", "-")
        yield f"unlink {path}"
        path.unlink(missing_ok=True)


def _prune_directory(path: Path) -> Generator[str]:
    """Remove empty directories. Any error ends the server."""
    yield f"lstat {path}"
    if not stat.S_ISDIR(path.lstat().st_mode):
        return
    yield f"readdir {path}"
    for below in sorted(path.iterdir()):
        yield from _prune_directory(below)
    yield f"readdir {path} again"
    if any(path.iterdir()):
        return
    yield f"rmdir {path}"
    path.rmdir()
