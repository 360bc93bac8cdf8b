"""Which files of a directory are the model, and under which names they are sent: as Ollama's client chooses.

Source: ``filesForModel`` and ``fileDigestMap`` in ``parser/parser.go``, ``createRequestFileNames`` in
``cmd/cmd.go`` of Ollama. Files are looked at, never read further than their first 512 bytes.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from .errors import InvalidArgument
from .sniffing import SNIFFED, content_type

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_BINARY, _TEXT, _ZIP = "application/octet-stream", "text/plain", "application/zip"

_NESTED = "model*.safetensors"  # looked for one directory deeper too, once there is one here
# The first of these that matches files, all of them with the right content, says what the weights are.
# Safetensors may be any content: the length that they begin with can look like something else.
_WEIGHTS = (
    (_NESTED, None),
    ("consolidated*.safetensors", None),
    ("pytorch_model*.bin", _ZIP),
    ("consolidated*.pth", _ZIP),
    ("*.gguf", _BINARY),
    ("*.bin", _BINARY),
)
# What frameworks call LoRA adapters. Ollama documents directories of these and its server converts them,
# but since 0.12.11 its client does not find them any more.
_ADAPTER_WEIGHTS = (("adapters.safetensors", None), ("adapter_model.safetensors", None))
_MOST_SHOWN = 3
_LONGEST_SHOWN = 300


class _Unfit(Exception):
    """A file or directory that cannot be what it is wanted for; the text says why."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"{shown_path(path)} {fault}")
        self.path = path


def files_of(path: Path, argument: str, *, adapter: bool = False) -> list[Path]:
    """Return the files to upload for a path: that file, or those of that directory that are a model.

    Args:
        path: An absolute path.
        argument: The name of the parameter, for messages.
        adapter: Whether an adapter is looked for.

    Returns:
        Absolute paths. Those from a directory have their symbolic links resolved; a file that two links
        lead to is there once.

    Raises:
        InvalidArgument: There is no model in the directory, a file cannot be read or is not what its name
            says, or a link leads out of the directory.
    """
    try:
        if not stat.S_ISDIR(_mode(path)):
            _head(path)
            return [path]
        return _inside(path, _Directory(path).model(adapter=adapter))
    except _Unfit as error:
        raise InvalidArgument(f"{argument}: {error}.", argument=argument) from None


def upload_names(paths: Collection[Path], argument: str) -> dict[str, Path]:
    """Return absolute paths under the names that Ollama's client sends.

    One file has its own name; several have those that they have below the deepest directory that holds
    them all.

    Raises:
        InvalidArgument: A name is not UTF-8, so it cannot be sent.
    """
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    names = {path.relative_to(root).as_posix(): path for path in paths}
    for name in names:
        if not is_utf8(name):
            raise InvalidArgument(
                f"{argument}: the name of the file {name!r} is not UTF-8, so it cannot be sent: rename it.",
                argument=argument,
            )
    return names


def shown_path(path: Path) -> str:
    """Return a path for a message: quoted, and not longer than one reads."""
    text = str(path)
    return repr(text) if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]!r}..."


def is_utf8(text: str) -> bool:
    """Tell whether text can be sent: one from a file system can hold bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Directory:
    """A directory, and what was found unfit in it so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._entries = _sorted(path)
        except OSError as error:
            raise _Unfit(path, f"cannot be read ({error.strerror})") from None
        self._unfit: dict[Path, str] = {}

    def model(self, *, adapter: bool) -> list[Path]:
        """Return all files that belong to the model, in Go's order."""
        found = self._weights(_WEIGHTS + _ADAPTER_WEIGHTS if adapter else _WEIGHTS)
        found += self._here("*.json", _TEXT)
        found += self._below("*.json", _TEXT)
        found += self._here("chat_template.jinja", _TEXT)
        # A tokenizer of SentencePiece is binary; one of tiktoken is text, and lies a directory deeper.
        try:
            tokenizer = self._here("tokenizer.model", _BINARY)
        except _Unfit:
            tokenizer = []
        if not tokenizer:
            with suppress(_Unfit):
                tokenizer = self._below("tokenizer.model", _TEXT)
        return found + tokenizer

    def _weights(self, kinds: tuple[tuple[str, str | None], ...]) -> list[Path]:
        for pattern, kind in kinds:
            try:
                weights = self._here(pattern, kind)
            except _Unfit as error:  # one unfit file, and Go takes none of this kind
                self._unfit.setdefault(error.path, str(error))
                continue
            if weights:
                return weights + (self._below(pattern, kind) if pattern == _NESTED else [])
        wanted = ", ".join(pattern for pattern, _ in kinds)
        passed_over = "; ".join(list(self._unfit.values())[:_MOST_SHOWN])
        raise _Unfit(
            self._path,
            f"holds no model: Ollama looks in a directory for {wanted}, in this order"
            + (f". Passed over: {passed_over}" if passed_over else ""),
        )

    def _here(self, pattern: str, kind: str | None) -> list[Path]:
        return _matching(self._entries, pattern, kind)

    def _below(self, pattern: str, kind: str | None) -> list[Path]:
        """Match in the directories of this one, but not deeper."""
        entries: list[Path] = []
        for path in self._entries:
            with suppress(OSError):  # no directory, or one that cannot be read, which Go skips as well
                entries += _sorted(path)
        return _matching(entries, pattern, kind)


def _sorted(directory: Path) -> list[Path]:
    return sorted(directory.iterdir(), key=os.fsencode)


def _matching(paths: list[Path], pattern: str, kind: str | None) -> list[Path]:
    matching = [path for path in paths if fnmatchcase(path.name, pattern)]
    for path in matching:
        found = content_type(_head(path))
        if kind not in {None, found}:
            raise _Unfit(
                path,
                f"is {found} by its content where {kind} is expected (a damaged file, or a pointer of Git "
                "LFS: 'git lfs pull' fetches what it stands for)",
            )
    return matching


def _head(path: Path) -> bytes:
    if not stat.S_ISREG(_mode(path)):
        raise _Unfit(path, "is not a regular file")
    try:
        with path.open("rb", buffering=0) as file:
            return file.read(SNIFFED)
    except OSError as error:
        raise _Unfit(path, f"cannot be read ({error.strerror})") from None


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise _Unfit(path, "is a link to nothing") from None
    except OSError as error:
        raise _Unfit(path, f"cannot be read ({error.strerror})") from None


def _inside(directory: Path, paths: list[Path]) -> list[Path]:
    """Resolve links; refuse those that lead out of the directory (itself resolved, unlike in Go)."""
    root = directory.resolve()
    resolved: dict[Path, None] = {}
    for path in paths:
        target = path.resolve()
        if not target.is_relative_to(root):
            raise _Unfit(
                path,
                f"is a link that leads out of its directory, to {str(target)!r}: copy the file there (for a "
                "model in the cache of Hugging Face: 'hf download MODEL --local-dir DIRECTORY')",
            )
        resolved[target] = None
    return list(resolved)
