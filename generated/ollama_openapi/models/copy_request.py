"""The model `CopyRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, string
from ..types import Model


@define(kw_only=True, repr=False)
class CopyRequest(Model):
    """Which model to copy, and to what name."""

    source: str
    """Name of the model to copy."""
    destination: str
    """Name of the copy."""

    _json_names: ClassVar[dict[str, str]] = {"source": "source", "destination": "destination"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("CopyRequest", src_dict)
        return cls(
            source=fields.required("source", string),
            destination=fields.required("destination", string),
            additional_properties=fields.rest(),
        )
