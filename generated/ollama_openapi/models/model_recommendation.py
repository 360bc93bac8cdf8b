"""The model `ModelRecommendation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ModelRecommendation(Model):
    """A model that Ollama suggests."""

    model: str
    """Its name."""
    description: str
    """What it is good for."""
    context_length: int | Unset = UNSET
    """Context length in tokens."""
    max_output_tokens: int | Unset = UNSET
    """Most tokens of one reply."""
    vram_bytes: int | Unset = UNSET
    """Memory of a GPU that it needs, in bytes."""
    required_plan: str | Unset = UNSET
    """Plan of ollama.com that it needs."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "description": "description",
        "context_length": "context_length",
        "max_output_tokens": "max_output_tokens",
        "vram_bytes": "vram_bytes",
        "required_plan": "required_plan",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ModelRecommendation", src_dict)
        return cls(
            model=fields.required("model", string),
            description=fields.required("description", string),
            context_length=fields.optional("context_length", integer),
            max_output_tokens=fields.optional("max_output_tokens", integer),
            vram_bytes=fields.optional("vram_bytes", integer),
            required_plan=fields.optional("required_plan", string),
            additional_properties=fields.rest(),
        )
