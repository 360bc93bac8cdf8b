"""The model `ModelDetails`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, list_of, or_null, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ModelDetails(Model):
    """What a model is. A text is empty where the server does not know."""

    parent_model: str
    """The model, or the uploaded file, that it was made from. Always empty in `/api/ps`."""
    format_: str
    """File format, such as `gguf` or `safetensors`."""
    family: str
    """Architecture, such as `llama`."""
    families: list[str] | None
    """Architectures of all its parts; null where the model names none."""
    parameter_size: str
    """Number of parameters for people to read, such as `8.0B`."""
    quantization_level: str
    """Quantization, such as `Q4_K_M`."""
    context_length: int | Unset = UNSET
    """Context length in tokens; only in `/api/tags`. Since 0.30."""
    embedding_length: int | Unset = UNSET
    """Length of the embedding vectors; only in `/api/tags`. Since 0.30."""

    _json_names: ClassVar[dict[str, str]] = {
        "parent_model": "parent_model",
        "format_": "format",
        "family": "family",
        "families": "families",
        "parameter_size": "parameter_size",
        "quantization_level": "quantization_level",
        "context_length": "context_length",
        "embedding_length": "embedding_length",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ModelDetails", src_dict)
        return cls(
            parent_model=fields.required("parent_model", string),
            format_=fields.required("format", string),
            family=fields.required("family", string),
            families=fields.required("families", or_null(list_of(string))),
            parameter_size=fields.required("parameter_size", string),
            quantization_level=fields.required("quantization_level", string),
            context_length=fields.optional("context_length", integer),
            embedding_length=fields.optional("embedding_length", integer),
            additional_properties=fields.rest(),
        )
