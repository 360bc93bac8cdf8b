"""The model `CreateInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class CreateInfo(Model):
    """Facts about a new model that its files do not tell. Since 0.12."""

    capabilities: list[str] | Unset = UNSET
    """Capabilities to add, such as `tools` or `vision`."""
    model_family: str | Unset = UNSET
    """Architecture of the model."""
    base_name: str | Unset = UNSET
    """Name of the model that it descends from."""
    quantization_level: str | Unset = UNSET
    """Quantization to show."""
    parameter_size: str | Unset = UNSET
    """Number of parameters to show, such as `7B`."""
    context_length: int | Unset = UNSET
    """Context length in tokens, at least 0."""
    embedding_length: int | Unset = UNSET
    """Length of the embedding vectors, at least 0."""

    _json_names: ClassVar[dict[str, str]] = {
        "capabilities": "capabilities",
        "model_family": "model_family",
        "base_name": "base_name",
        "quantization_level": "quantization_level",
        "parameter_size": "parameter_size",
        "context_length": "context_length",
        "embedding_length": "embedding_length",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("CreateInfo", src_dict)
        return cls(
            capabilities=fields.optional("capabilities", list_of(string)),
            model_family=fields.optional("model_family", string),
            base_name=fields.optional("base_name", string),
            quantization_level=fields.optional("quantization_level", string),
            parameter_size=fields.optional("parameter_size", string),
            context_length=fields.optional("context_length", integer),
            embedding_length=fields.optional("embedding_length", integer),
            additional_properties=fields.rest(),
        )
