"""The model `ShowResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.model_details import ModelDetails
from ..models.response_message import ResponseMessage
from ..models.tensor import Tensor
from ..reading import Fields, anything, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ShowResponse(Model):
    """Everything the server tells about a model."""

    details: ModelDetails
    """What a model is. A text is empty where the server does not know."""
    model_info: Any
    """A JSON object with the keys and values of the model's GGUF file. Arrays are null unless `verbose`
    was asked for. Empty for a stub of a remote model."""
    modified_at: str
    """When it was made or pulled, in the server's own time zone."""
    capabilities: list[str] | Unset = UNSET
    """What it can do: `completion`, `tools`, `insert`, `vision`, `embedding`, `thinking`, `image`,
    `audio`, and what newer servers add."""
    license_: str | Unset = UNSET
    """All its licences, joined by line ends."""
    modelfile: str | Unset = UNSET
    """A Modelfile that makes it again, with paths of the server's own disk."""
    parameters: str | Unset = UNSET
    """Its options for people to read, a line each, in no fixed order. Not meant to be parsed."""
    template: str | Unset = UNSET
    """Its prompt template."""
    system: str | Unset = UNSET
    """Its system prompt."""
    messages: list[ResponseMessage] | Unset = UNSET
    """Messages that every conversation starts with, without images."""
    projector_info: Any | Unset = UNSET
    """A JSON object with the keys and values of its projector's GGUF file."""
    tensors: list[Tensor] | Unset = UNSET
    """Its tensors; for `safetensors` models only with `verbose`."""
    renderer: str | Unset = UNSET
    """Name of a built-in prompt renderer; not sent for local models. Since 0.12."""
    parser: str | Unset = UNSET
    """Name of a built-in parser of replies; not sent for local models. Since 0.12."""
    requires: str | Unset = UNSET
    """Oldest server version that can run it. Since 0.14."""
    remote_model: str | Unset = UNSET
    """Name on the host that runs it, for a stub of a remote model. Since 0.12."""
    remote_host: str | Unset = UNSET
    """Host that runs it, for a stub of a remote model. Since 0.12."""

    _json_names: ClassVar[dict[str, str]] = {
        "details": "details",
        "model_info": "model_info",
        "modified_at": "modified_at",
        "capabilities": "capabilities",
        "license_": "license",
        "modelfile": "modelfile",
        "parameters": "parameters",
        "template": "template",
        "system": "system",
        "messages": "messages",
        "projector_info": "projector_info",
        "tensors": "tensors",
        "renderer": "renderer",
        "parser": "parser",
        "requires": "requires",
        "remote_model": "remote_model",
        "remote_host": "remote_host",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ShowResponse", src_dict)
        return cls(
            details=fields.required("details", ModelDetails.from_dict),
            model_info=fields.required("model_info", anything),
            modified_at=fields.required("modified_at", string),
            capabilities=fields.optional("capabilities", list_of(string)),
            license_=fields.optional("license", string),
            modelfile=fields.optional("modelfile", string),
            parameters=fields.optional("parameters", string),
            template=fields.optional("template", string),
            system=fields.optional("system", string),
            messages=fields.optional("messages", list_of(ResponseMessage.from_dict)),
            projector_info=fields.optional_or_null("projector_info", anything),
            tensors=fields.optional("tensors", list_of(Tensor.from_dict)),
            renderer=fields.optional("renderer", string),
            parser=fields.optional("parser", string),
            requires=fields.optional("requires", string),
            remote_model=fields.optional("remote_model", string),
            remote_host=fields.optional("remote_host", string),
            additional_properties=fields.rest(),
        )
