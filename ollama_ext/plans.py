"""What a create is to be made of: the arguments of `Client.create_model`, checked and put together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from ollama_openapi.api.models import create_model

from . import arguments
from .creation import Creation, checked_files, creation_from_modelfile
from .errors import InvalidArgument
from .names import parse_name, parse_reference
from .options import BodyOptions, CallOptions
from .repeats import Repeat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ollama_openapi.models import CreateInfo, CreateRequest, Message


class CreateArguments(BodyOptions, total=False):
    """What a model is made of, in `Client.create_model`. What is left out, or None, is not sent.

    Attributes:
        modelfile: A file in Ollama's Modelfile format, or its text. Relative paths in it start at the
            directory of the file, or at the current one. The other arguments win over what it says.
        files: Weights: a GGUF file, or a directory of safetensors or GGUF, of which those files are taken
            that Ollama's own ``create`` takes; or a mapping from the names that the server is to know them
            by to paths, or to digests of blobs that it has.
        adapters: LoRA adapters, in the same forms.
        draft_files: A smaller model to draft with, in the same forms.
        quantize: Type to quantize to, such as ``"q4_K_M"``; the source must be F16, BF16 or F32.
        draft_quantize: The same for the draft model.
        template: Prompt template in Go's syntax.
        license: Texts that are added to the licences.
        system: System prompt.
        parameters: Default options, by name; the server does not check them.
        messages: A conversation that every chat begins with.
        renderer: Name of the built-in renderer of prompts.
        parser: Name of the built-in parser of replies.
        requires: The version of Ollama that the model needs at least.
        info: What cannot be read from the files, such as ``capabilities``.
        remote_host: Where ``from_`` runs, for a model that is only a reference.
    """

    modelfile: Path | str | None
    files: Path | Mapping[str, Path | str] | None
    adapters: Path | Mapping[str, Path | str] | None
    draft_files: Path | Mapping[str, Path | str] | None
    quantize: str | None
    draft_quantize: str | None
    template: str | None
    license: str | Sequence[str] | None
    system: str | None
    parameters: Mapping[str, Any] | None
    messages: Sequence[Mapping[str, Any] | Message] | None
    renderer: str | None
    parser: str | None
    requires: str | None
    info: Mapping[str, Any] | CreateInfo | None
    remote_host: str | None


#: Arguments that name files, which are uploaded; they go out as digests.
_FILES: Final = ("files", "adapters", "draft_files")


class Plan:
    """Everything about one create, before anything is sent.

    Attributes:
        model: Name of the new model.
        sources: For each field that names files: the names, and where the bytes are (or a digest).
        options: The options of the call.
    """

    def __init__(self, model: str, from_: str | None, create: CreateArguments) -> None:
        """Look at the arguments and at the files that they name.

        Raises:
            InvalidArgument: A value cannot be right, or a file cannot be read.
            TypeError: A name is none of an argument.
        """
        unknown = create.keys() - CreateArguments.__optional_keys__
        if unknown:
            raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
        options = {name: value for name, value in create.items() if name in CallOptions.__optional_keys__}
        self.options: CallOptions = cast("CallOptions", options)
        given: dict[str, Any] = {
            name: value for name, value in create.items() if value is not None and name not in options
        }
        self._extra: Mapping[str, Any] | None = given.pop("extra_body", None)
        modelfile: Path | str | None = given.pop("modelfile", None)
        base = Creation({}, {}, {}, {}) if modelfile is None else creation_from_modelfile(modelfile)
        self.model = model
        self.sources: dict[str, Mapping[str, Path | str]] = {
            name: checked_files(given.pop(name), name) if name in given else getattr(base, name)
            for name in _FILES
        }
        fields: dict[str, Any] = {**base.fields, **given, "model": model}
        if from_ is not None:
            fields["from"] = from_
            if create.get("files") is None:
                self.sources["files"] = {}  # of the modelfile, whose FROM is overruled
        elif create.get("files") is not None:
            fields.pop("from", None)
        # What is wrong with the rest is told before hours of uploading; what is right stays as it is now.
        self._body = arguments.create_request(fields, self._extra)
        arguments.encoded(create_model.build_request, self._body, stream=True)
        if not (self._body.from_ or self._body.files or self.sources["files"]):
            raise InvalidArgument(
                "nothing to create a model from: pass from_ (a model), files (weights), or a modelfile",
                argument="from_",
            )

    @property
    def uploads(self) -> bool:
        """Whether there are files to upload."""
        return any(isinstance(source, Path) for files in self.sources.values() for source in files.values())

    @property
    def repeat(self) -> Repeat:
        """When it may be done again: each run adds the licences once more if the source is the target."""
        body = self._body
        if not (body.from_ and body.license_):
            return Repeat.SAFE
        try:
            source = parse_reference(body.from_).name
        except InvalidArgument:
            return Repeat.SAFE  # the server says no to such a name
        return Repeat.ONCE if source.same_as(parse_name(body.model)) else Repeat.SAFE

    def request(self, digests: Mapping[str, Mapping[str, str]]) -> CreateRequest:
        """Return the body of the request; digests of the files, for each field that names some."""
        extra = self._extra or {}
        files: dict[str, Any] = {
            field: dict(named) for field, named in digests.items() if named and field not in extra
        }
        return attrs.evolve(self._body, **files)
