"""The model `ToolFunctionParameters`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, anything, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ToolFunctionParameters(Model):
    """The arguments of a function: a JSON Schema object, of which the server keeps only the keywords
    listed here.
    """

    type_: str | Unset = UNSET
    """The text `object`."""
    defs: Any | Unset = UNSET
    """Shared schemas; JSON of any kind, kept as it is."""
    items: Any | Unset = UNSET
    """JSON of any kind, kept as it is."""
    required: list[str] | Unset = UNSET
    """Names of the arguments that the model must give."""
    properties: Any | Unset = UNSET
    """A JSON object from the name of each argument to its schema, which has the keywords of
    `ToolProperty`. Its order reaches the model."""

    _json_names: ClassVar[dict[str, str]] = {
        "type_": "type",
        "defs": "$defs",
        "items": "items",
        "required": "required",
        "properties": "properties",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ToolFunctionParameters", src_dict)
        return cls(
            type_=fields.optional("type", string),
            defs=fields.optional_or_null("$defs", anything),
            items=fields.optional_or_null("items", anything),
            required=fields.optional("required", list_of(string)),
            properties=fields.optional_or_null("properties", anything),
            additional_properties=fields.rest(),
        )
