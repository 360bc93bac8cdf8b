"""From what a user has to the fields of ``POST /api/create``, as Ollama's own client chooses them.

`creation_from_modelfile` is that client's ``create`` up to the first upload, `model_files` its choice of
files. Nothing is hashed and nothing sent: that is for who calls this. Source: ``CreateRequest`` in
``parser/parser.go``, ``CreateHandler`` in ``cmd/cmd.go`` of Ollama.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import InvalidArgument
from .hints import OllamaWarning
from .hints import _warn as warn  # pyright: ignore[reportPrivateUsage] -- at the line of the user's program
from .model_directory import files_of, is_utf8, shown_path, upload_names
from .modelfile import parse_modelfile
from .parameters import DEPRECATED, parameter_value

if TYPE_CHECKING:
    from .modelfile import Command

#: Commands whose value is a field of the request; of several the last one counts.
_TEXTS = frozenset({"template", "system", "renderer", "parser"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What no name of a model begins with.
_PATH_STARTS = ("/", ".", "~", "\\")

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRERELEASE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD = r"[0-9A-Za-z-]+"
_VERSION = re.compile(
    rf"v?({_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}"
    rf"(?:-{_PRERELEASE}(?:\.{_PRERELEASE})*)?(?:\+{_BUILD}(?:\.{_BUILD})*)?)?)?)"
)
_LONGEST_SHOWN = 300


class Creation(msgspec.Struct, frozen=True):
    """What a model is to be made of.

    The mappings of files go from the name as sent to what is to be uploaded under it, or to the digest
    (``sha256:...``) of a blob that the server has.

    Attributes:
        fields: JSON fields of the request, other than ``model``, ``stream`` and the three below.
        files: The weights.
        adapters: A LoRA adapter.
        draft_files: A smaller model to draft with.
    """

    fields: dict[str, Any]
    files: dict[str, Path | str]
    adapters: dict[str, Path | str]
    draft_files: dict[str, Path | str]


def creation_from_modelfile(modelfile: Path | str) -> Creation:
    """Read a Modelfile and choose the files that it names, as Ollama's own ``create`` does.

    FROM is a path if there is something at it, else the name of a model (so a directory ``llama3`` hides
    the model ``llama3``, but not ``llama3:latest``). ``~`` is the home directory. Several FROM give their
    files together; of several ADAPTER the last one counts. Parameters get the types of the API; those
    that Ollama does not use any more are left out with an `OllamaWarning`.

    Three things are refused here that Ollama's client leaves to the server, or tells nobody: a FROM that
    can only be a path where there is nothing, a link to nothing in a directory, and what is no regular
    file. Three are accepted: a directory that is itself a link, one with wildcards in its name, and for
    ADAPTER one of safetensors.

    Args:
        modelfile: A file, whose relative paths start at its directory; or the text itself, whose
            relative paths start at the current directory.

    Raises:
        InvalidArgument: It is no Modelfile, has a value that cannot be right, or names files that are
            missing, cannot be read or are no model; the message names the command or the path.
    """
    if isinstance(modelfile, Path):
        directory = _absolute(modelfile).parent
        content: bytes | str = _content(modelfile)
    elif isinstance(modelfile, str):
        directory, content = _absolute(Path()), modelfile
    else:
        raise _refused(
            f"must be a pathlib.Path, or the text of a Modelfile, not {type(modelfile).__name__}", "modelfile"
        )
    try:
        commands = parse_modelfile(content).commands
    except InvalidArgument as error:
        if isinstance(content, str) and content and not re.search(r"\s", content):
            hint = f"{error.message} If it is the name of a file, pass pathlib.Path({content!r:.80})."
            raise InvalidArgument(hint, argument="modelfile") from None
        raise
    return _Reader(directory).creation(commands)


def model_files(source: Path) -> dict[str, Path]:
    """Return the files that Ollama's client would upload for a model, under the names it would send.

    Of a directory these are the weights (the first kind that is there: ``model*.safetensors``,
    ``consolidated*.safetensors``, ``pytorch_model*.bin``, ``consolidated*.pth``, ``*.gguf``, ``*.bin``), and
    with them ``*.json`` there and one directory deeper, ``chat_template.jinja``, ``tokenizer.model``. A
    file that is named itself is taken as it is.

    Args:
        source: A file, or a directory.

    Returns:
        Absolute paths; those from a directory have their symbolic links resolved.

    Raises:
        InvalidArgument: There is no model, a file is missing or cannot be read, is not what its name
            says, or a link leads out of the directory.
    """
    return _model_files(source, "source")


def checked_files(value: Path | Mapping[str, Path | str], argument: str) -> dict[str, Path | str]:
    """Return what the caller gave for files: names as sent, and what is to be uploaded under them.

    Args:
        value: A path, which means its `model_files` (as ``adapters`` also ``adapters.safetensors`` and
            ``adapter_model.safetensors``); or a mapping from names to paths of files, or to digests of
            blobs that the server has. Names are relative, with ``/`` between their parts.
        argument: The name of the parameter: ``files``, ``adapters`` or ``draft_files``.

    Raises:
        InvalidArgument: It is neither, a name or a digest is malformed, or as `model_files`.
    """
    if isinstance(value, Path):
        return dict(_model_files(value, argument))
    if not isinstance(value, Mapping):
        given = f"the text {_shown(value)}" if isinstance(value, str) else type(value).__name__
        raise _refused(
            f"must be a pathlib.Path, or a mapping from names to paths or digests, not {given}", argument
        )
    return {
        _checked_name(name, argument): _checked_file(name, file, argument) for name, file in value.items()
    }


class _Reader:
    """Carries out the commands of a Modelfile one after the other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fields: dict[str, Any] = {}
        self._files: dict[str, list[Path]] = {"model": [], "adapter": [], "draft": []}
        self._sources: dict[str, list[Path]] = {"model": [], "draft": []}

    def creation(self, commands: list[Command]) -> Creation:
        for command in commands:
            if command.name in self._files:
                self._read_path(command)
            else:
                self._read_field(command)
        # As Go does: what is empty is not sent, so that it is taken from the model of FROM.
        fields = {name: value for name, value in self._fields.items() if value}
        named = [dict(upload_names(dict.fromkeys(files), "modelfile")) for files in self._files.values()]
        files, adapters, draft_files = named
        return Creation(fields, {**files}, {**adapters}, {**draft_files})

    def _read_path(self, command: Command) -> None:
        name, value = command.name, command.args
        path = self._expanded(command)
        if not _exists(path, "modelfile"):
            if name == "model" and not value.startswith(_PATH_STARTS):
                self._fields["from"] = value
                return
            raise _refused(
                f"{_line(command)}: there is nothing at {shown_path(path)} (relative paths start at "
                f"{str(self._directory)!r}); for a blob that is on the server pass its digest in files=, "
                "adapters= or draft_files=",
                "modelfile",
            )
        files = files_of(path, "modelfile", adapter=name == "adapter")
        if name == "adapter":
            self._files[name] = files
            return
        other = "draft" if name == "model" else "model"
        if any(path.resolve() == source.resolve() for source in self._sources[other]):
            raise _refused(
                f"{_line(command)}: FROM and DRAFT are the same path, {shown_path(path)}; the draft model "
                "must be another, smaller one",
                "modelfile",
            )
        self._sources[name].append(path)
        self._files[name] += files

    def _read_field(self, command: Command) -> None:
        name, value = command.name, command.args
        if name in _TEXTS:
            self._fields[name] = value
        elif name == "license":
            self._fields.setdefault(name, []).append(value)
        elif name == "message":
            role, _, text = value.partition(": ")
            self._fields.setdefault("messages", []).append({"role": role, "content": text})
        elif name == "requires":
            version = _VERSION.fullmatch(value)
            if not version:
                raise _refused(f"{_line(command)}: write a version of Ollama, such as 0.14.0", "modelfile")
            self._fields[name] = version[1]
        elif name in DEPRECATED:
            text = f"The Modelfile sets the parameter {name}, which Ollama does not use any more: left out."
            warn(text, OllamaWarning)
        else:
            parameters = self._fields.setdefault("parameters", {})
            parameter = parameter_value(name, value, "modelfile")
            if isinstance(parameter, list):
                parameters.setdefault(name, []).extend(parameter)
            else:
                parameters[name] = parameter

    def _expanded(self, command: Command) -> Path:
        value = command.args
        if value.startswith("~"):
            home = os.path.expanduser(value)  # noqa: PTH111 -- gives back what it cannot expand
            if home.startswith("~"):
                raise _refused(
                    f"{_line(command)}: there is no home directory for {value.partition('/')[0]!r}; write "
                    "the whole path",
                    "modelfile",
                )
            value = home
        return _absolute(self._directory / value)


def _model_files(source: Path, argument: str) -> dict[str, Path]:
    if not isinstance(source, Path):
        raise _refused(f"must be a pathlib.Path, not {type(source).__name__} ({_shown(source)})", argument)
    path = _absolute(source)
    if not _exists(path, argument):
        raise _refused(_missing(source), argument)
    return upload_names(files_of(path, argument, adapter=argument == "adapters"), argument)


def _absolute(path: Path) -> Path:
    """Clean a path as Go's ``filepath.Abs`` does: ``..`` takes a name away, whatever links there are."""
    return Path("/" + os.path.abspath(path).lstrip("/"))  # noqa: PTH100 -- absolute() keeps the dots


def _content(path: Path) -> bytes:
    if not _exists(path, "modelfile"):
        raise _refused(_missing(path), "modelfile")
    if path.is_dir():
        raise _refused(
            f"{shown_path(path)} is a directory: pass the Modelfile in it (and weights as files=)",
            "modelfile",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(f"{shown_path(path)} cannot be read ({error.strerror})", "modelfile") from None


def _exists(path: Path, argument: str) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise _refused(f"{shown_path(path)} cannot be read ({reason})", argument) from None
    return True


def _missing(path: Path) -> str:
    hint = "; for the home directory write .expanduser()" if str(path).startswith("~") else ""
    return f"there is nothing at {shown_path(path)}{hint}"


def _checked_name(name: str, argument: str) -> str:
    """Check a name as the server does, with Go's ``fs.ValidPath``."""
    if not isinstance(name, str):
        raise _refused(f"the name {_shown(name)} of a file must be a string", argument)
    if not is_utf8(name):
        raise _refused(f"the name {_shown(name)} of a file is not UTF-8, so it cannot be sent", argument)
    if name != "." and any(part in {"", ".", ".."} for part in name.split("/")):
        raise _refused(
            f"the name {_shown(name)} of a file is not a plain relative path: write one such as "
            "'model.gguf', without '.', '..', and slashes at the start, at the end or doubled",
            argument,
        )
    return name


def _checked_file(name: str, file: Path | str, argument: str) -> Path | str:
    if isinstance(file, Path):
        if not _exists(file, argument):
            raise _refused(_missing(file), argument)
        if file.is_dir():
            remedy = f"name each of its files, or pass the directory itself as {argument}="
            raise _refused(f"{str(file)!r} is a directory: {remedy}", argument)
        return files_of(file, argument)[0]
    if not isinstance(file, str):
        kind = type(file).__name__
        raise _refused(f"{_shown(name)} must be a pathlib.Path or the digest of a blob, not {kind}", argument)
    if not _DIGEST.fullmatch(file):
        raise _refused(
            f"{_shown(name)}: {_shown(file)} is not the digest of a blob ('sha256:' and 64 hexadecimal "
            "digits in lower case); a file is passed as a pathlib.Path",
            argument,
        )
    return file


def _line(command: Command) -> str:
    text = str(command)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _refused(fault: str, argument: str) -> InvalidArgument:
    return InvalidArgument(f"{argument}: {fault}.", argument=argument)
