"""Which files of a directory are the model, and under which names they are sent: as Ollama's client chooses.

Source: ``filesForModel`` and ``fileDigestMap`` in ``parser/parser.go``, ``createRequestFileNames`` in
``cmd/cmd.go`` of Ollama. Files are looked at, never read further than their first 512 bytes.
"""

from __future__ import annotations

import os
import stat
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from .errors import InvalidArgument
from .sniffing import SNIFFED, content_type

if TYPE_CHECKING:
    from collections.abc import Collection

_BINARY, _TEXT, _ZIP = "application/octet-stream", "text/plain", "application/zip"

# The first of these that matches files, all of them with the right content, says what the weights are.
# Safetensors may be any content: the length that they begin with can look like something else.
_WEIGHTS = (
    ("model*.safetensors", None),
    ("consolidated*.safetensors", None),
    ("pytorch_model*.bin", _ZIP),
    ("consolidated*.pth", _ZIP),
    ("*.gguf", _BINARY),
    ("*.bin", _BINARY),
)
# What frameworks call LoRA adapters. Ollama documents directories of these and its server converts them,
# but since 0.6.3 its client does not find them any more.
_ADAPTER_WEIGHTS = (("adapters.safetensors", None), ("adapter_model.safetensors", None))
_MOST_SHOWN = 3


class _Unfit(Exception):
    """A file that matches a pattern but cannot be what the pattern is for; the text says why."""


def files_of(path: str, argument: str, *, adapter: bool = False) -> list[str]:
    """Return the files to upload for a path: that file, or those of that directory that are a model.

    Args:
        path: An absolute path of something that exists.
        argument: The name of the parameter, for messages.
        adapter: Whether an adapter is looked for.

    Returns:
        Absolute paths. Those from a directory have their symbolic links resolved; one that two links lead
        to is there once.

    Raises:
        InvalidArgument: There is no model in the directory, a file cannot be read or is not what its name
            says, or a link leads out of the directory.
    """
    if not os.path.isdir(path):
        try:
            _head(path)
        except _Unfit as error:
            raise InvalidArgument(f"{argument}: {error}", argument=argument) from None
        return [path]
    try:
        found = _Directory(path).model(adapter=adapter)
        return _inside(path, found)
    except _Unfit as error:
        raise InvalidArgument(f"{argument}: {error}", argument=argument) from None


def upload_names(paths: Collection[str], argument: str) -> dict[str, str]:
    """Return absolute paths under the names that Ollama's client sends.

    One file has its own name; several have those that they have below the deepest directory that holds
    them all.

    Raises:
        InvalidArgument: A name is not UTF-8, so it cannot be sent.
    """
    root = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    names = {os.path.relpath(path, root): path for path in paths}
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidArgument(
                f"{argument}: the name of the file {name!r} is not UTF-8, so it cannot be sent: rename it.",
                argument=argument,
            ) from None
    return names


class _Directory:
    """A directory and what was found unfit in it so far."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._names = sorted(os.listdir(path), key=os.fsencode)
        except OSError as error:
            raise _Unfit(f"the directory {path!r} cannot be read ({error.strerror})") from None
        self._unfit: list[str] = []

    def model(self, *, adapter: bool) -> list[str]:
        """Return all files that belong to the model, in Go's order."""
        patterns = _WEIGHTS + _ADAPTER_WEIGHTS if adapter else _WEIGHTS
        weights: list[str] = []
        for pattern, kind in patterns:
            if weights := self._tried(pattern, kind):
                if pattern == _WEIGHTS[0][0]:
                    weights += self._below(pattern, kind)
                break
        if not weights:
            self._refuse([pattern for pattern, _ in patterns])
        texts = [*self._here("*.json", _TEXT), *self._below("*.json", _TEXT)]
        texts += self._here("chat_template.jinja", _TEXT)
        # A tokenizer of SentencePiece is binary, one of tiktoken is text and lies deeper.
        tokenizer = self._tried("tokenizer.model", _BINARY)
        if not tokenizer:
            tokenizer = self._tried("tokenizer.model", _TEXT, below=True)
        return weights + texts + tokenizer

    def _here(self, pattern: str, kind: str | None) -> list[str]:
        return _checked([os.path.join(self._path, name) for name in self._names if fnmatchcase(name, pattern)], kind)

    def _below(self, pattern: str, kind: str | None) -> list[str]:
        """Match in the directories of this one, but not deeper."""
        paths: list[str] = []
        for name in self._names:
            directory = os.path.join(self._path, name)
            try:
                names = sorted(os.listdir(directory), key=os.fsencode)
            except OSError:  # no directory, or one that Go skips as well
                continue
            paths += [os.path.join(directory, file) for file in names if fnmatchcase(file, pattern)]
        return _checked(paths, kind)

    def _tried(self, pattern: str, kind: str | None, *, below: bool = False) -> list[str]:
        """Match, or nothing at all if one of the files is unfit: as Go does where there are alternatives."""
        try:
            return self._below(pattern, kind) if below else self._here(pattern, kind)
        except _Unfit as error:
            self._unfit.append(str(error))
            return []

    def _refuse(self, patterns: list[str]) -> None:
        # A file that was unfit for several patterns is told about once, for the pattern that is its own.
        unfit = dict.fromkeys(self._unfit)
        passed_over = f" Passed over: {'; '.join(list(unfit)[:_MOST_SHOWN])}." if unfit else ""
        raise _Unfit(
            f"the directory {self._path!r} holds no model: Ollama looks in it for {', '.join(patterns)}, "
            f"in this order.{passed_over}"
        )


def _checked(paths: list[str], kind: str | None) -> list[str]:
    for path in paths:
        found = content_type(_head(path))
        if kind not in {None, found}:
            raise _Unfit(
                f"{path!r} is {found} by its content where {kind} is expected: is it damaged, or a pointer of "
                "Git LFS ('git lfs pull' fetches the file)?"
            )
    return paths


def _head(path: str) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _Unfit(f"{path!r} is not a regular file")
        with open(path, "rb", buffering=0) as file:
            return file.read(SNIFFED)
    except OSError as error:
        raise _Unfit(f"{path!r} cannot be read ({error.strerror})") from None


def _inside(directory: str, paths: list[str]) -> list[str]:
    """Resolve links; refuse those that lead out of the directory, itself resolved."""
    root = os.path.realpath(directory)
    resolved: dict[str, None] = {}
    for path in paths:
        target = os.path.realpath(path)
        if os.path.commonpath([root, target]) != root:
            raise _Unfit(
                f"{path!r} is a link that leads out of its directory, to {target!r}: copy the file there "
                "(for a model in the cache of Hugging Face: 'hf download MODEL --local-dir DIRECTORY')"
            )
        resolved[target] = None
    return list(resolved)
