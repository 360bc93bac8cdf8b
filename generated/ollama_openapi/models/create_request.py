"""The model `CreateRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.create_info import CreateInfo
from ..models.message import Message
from ..reading import Fields, anything, boolean, list_of, one_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class CreateRequest(Model):
    """What to make a model of. One of `from` and `files` is needed."""

    model: str
    """Name of the new model."""
    from_: str | Unset = UNSET
    """Model to start from, in the case it was created with; pulled where the server does not have it.
    `files` is ignored beside it."""
    files: Any | Unset = UNSET
    """A JSON object from relative file names (`.gguf`, or `.safetensors` with its configuration files) to
    digests of blobs that were uploaded before."""
    adapters: Any | Unset = UNSET
    """A JSON object from file names of a LoRA adapter to digests of blobs."""
    draft_files: Any | Unset = UNSET
    """A JSON object from file names of a draft model to digests of blobs. Since 0.30."""
    quantize: str | Unset = UNSET
    """Quantization to convert to, in any case: F16, BF16, F32, Q8_0, Q4_K_S, Q4_K_M or Q4_K. The source
    must be F16, BF16 or F32."""
    draft_quantize: str | Unset = UNSET
    """Quantization of the draft model; needs `draft_files`. Since 0.30."""
    template: str | Unset = UNSET
    """Prompt template in Go's syntax."""
    license_: list[str] | str | Unset = UNSET
    """One text or a list of texts."""
    system: str | Unset = UNSET
    """System prompt. Empty keeps the one of `from`."""
    parameters: Any | Unset = UNSET
    """A JSON object with the options that the model shall have unless a request says otherwise, merged
    over those of `from`. The server does not check it: a wrong type shows later, as status 500 of a
    request."""
    messages: list[Message] | Unset = UNSET
    """Messages that every conversation starts with, in place of those of `from`."""
    renderer: str | Unset = UNSET
    """Name of a built-in prompt renderer. Since 0.12."""
    parser: str | Unset = UNSET
    """Name of a built-in parser of replies. Since 0.12."""
    requires: str | Unset = UNSET
    """Oldest server version that can run the model. Since 0.14."""
    info: CreateInfo | Unset = UNSET
    """Facts about a new model that its files do not tell. Since 0.12."""
    remote_host: str | Unset = UNSET
    """Host that runs the model; with `from`, the new model is a stub for it. Since 0.12."""
    stream: bool | Unset = UNSET
    """Answer line by line. The server takes true where it is left out."""
    name: str | Unset = UNSET
    """Older name of `model`, read where that is empty."""
    quantization: str | Unset = UNSET
    """Older name of `quantize`, read where that is empty."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "from_": "from",
        "files": "files",
        "adapters": "adapters",
        "draft_files": "draft_files",
        "quantize": "quantize",
        "draft_quantize": "draft_quantize",
        "template": "template",
        "license_": "license",
        "system": "system",
        "parameters": "parameters",
        "messages": "messages",
        "renderer": "renderer",
        "parser": "parser",
        "requires": "requires",
        "info": "info",
        "remote_host": "remote_host",
        "stream": "stream",
        "name": "name",
        "quantization": "quantization",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("CreateRequest", src_dict)
        return cls(
            model=fields.required("model", string),
            from_=fields.optional("from", string),
            files=fields.optional_or_null("files", anything),
            adapters=fields.optional_or_null("adapters", anything),
            draft_files=fields.optional_or_null("draft_files", anything),
            quantize=fields.optional("quantize", string),
            draft_quantize=fields.optional("draft_quantize", string),
            template=fields.optional("template", string),
            license_=fields.optional("license", one_of(string, list_of(string))),
            system=fields.optional("system", string),
            parameters=fields.optional_or_null("parameters", anything),
            messages=fields.optional("messages", list_of(Message.from_dict)),
            renderer=fields.optional("renderer", string),
            parser=fields.optional("parser", string),
            requires=fields.optional("requires", string),
            info=fields.optional("info", CreateInfo.from_dict),
            remote_host=fields.optional("remote_host", string),
            stream=fields.optional("stream", boolean),
            name=fields.optional("name", string),
            quantization=fields.optional("quantization", string),
            additional_properties=fields.rest(),
        )
