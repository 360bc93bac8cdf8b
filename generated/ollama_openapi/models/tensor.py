"""The model `Tensor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, list_of, or_null, string
from ..types import Model


@define(kw_only=True, repr=False)
class Tensor(Model):
    """One tensor of a model."""

    name: str
    """Name of the tensor."""
    type_: str
    """Type of its elements, such as `F32` or `Q4_K`."""
    shape: list[int] | None
    """Length of each dimension."""

    _json_names: ClassVar[dict[str, str]] = {"name": "name", "type_": "type", "shape": "shape"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("Tensor", src_dict)
        return cls(
            name=fields.required("name", string),
            type_=fields.required("type", string),
            shape=fields.required("shape", or_null(list_of(integer))),
            additional_properties=fields.rest(),
        )
