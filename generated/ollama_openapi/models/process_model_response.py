"""The model `ProcessModelResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.model_details import ModelDetails
from ..reading import Fields, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ProcessModelResponse(Model):
    """One loaded model."""

    name: str
    """Its name in the shortest form, always with the tag."""
    model: str
    """The same as `name`."""
    size: int
    """Memory that it takes, in bytes."""
    digest: str
    """SHA-256 of the manifest file that it was loaded from, 64 hexadecimal digits."""
    details: ModelDetails
    """What a model is. A text is empty where the server does not know."""
    expires_at: str
    """When it will be unloaded, in the server's own time zone; centuries ahead where it stays for ever."""
    size_vram: int
    """How much of `size` is memory of a GPU, in bytes."""
    context_length: int | Unset = UNSET
    """Context length it was loaded with, in tokens. Since 0.10."""

    _json_names: ClassVar[dict[str, str]] = {
        "name": "name",
        "model": "model",
        "size": "size",
        "digest": "digest",
        "details": "details",
        "expires_at": "expires_at",
        "size_vram": "size_vram",
        "context_length": "context_length",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ProcessModelResponse", src_dict)
        return cls(
            name=fields.required("name", string),
            model=fields.required("model", string),
            size=fields.required("size", integer),
            digest=fields.required("digest", string),
            details=fields.required("details", ModelDetails.from_dict),
            expires_at=fields.required("expires_at", string),
            size_vram=fields.required("size_vram", integer),
            context_length=fields.optional("context_length", integer),
            additional_properties=fields.rest(),
        )
