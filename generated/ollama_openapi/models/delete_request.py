"""The model `DeleteRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class DeleteRequest(Model):
    """Which model to delete."""

    model: str
    """Name of the model. Without a tag, `latest` is meant."""
    name: str | Unset = UNSET
    """Older name of `model`, read where that is empty."""

    _json_names: ClassVar[dict[str, str]] = {"model": "model", "name": "name"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("DeleteRequest", src_dict)
        return cls(
            model=fields.required("model", string),
            name=fields.optional("name", string),
            additional_properties=fields.rest(),
        )
