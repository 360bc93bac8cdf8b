"""The model `ToolCallFunction`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, anything, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ToolCallFunction(Model):
    """The function to call and its arguments."""

    name: str
    """Name of the function."""
    arguments: Any
    """A JSON object from argument names to values; empty for a call without any."""
    index: int | Unset = UNSET
    """Position among the calls of the reply. Servers before 0.12.6 leave 0 out."""

    _json_names: ClassVar[dict[str, str]] = {"name": "name", "arguments": "arguments", "index": "index"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ToolCallFunction", src_dict)
        return cls(
            name=fields.required("name", string),
            arguments=fields.required("arguments", anything),
            index=fields.optional("index", integer),
            additional_properties=fields.rest(),
        )
