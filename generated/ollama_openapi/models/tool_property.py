"""The model `ToolProperty`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, anything, list_of, one_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ToolProperty(Model):
    """The schema of one argument.

    The server drops every other keyword of JSON Schema, such as `default`, `format` or `$ref`, without
    a word.
    """

    type_: list[str] | str | Unset = UNSET
    """One text or a list of texts."""
    description: str | Unset = UNSET
    """What the argument means, for the model to read."""
    enum: list[Any] | Unset = UNSET
    """The values to choose from."""
    items: Any | Unset = UNSET
    """Schema of the elements of an array; JSON of any kind, kept as it is."""
    any_of: list[ToolProperty] | Unset = UNSET
    """Alternatives, each with the same keywords as here."""
    properties: Any | Unset = UNSET
    """A JSON object from the name of each field of a nested object to its schema, which has the same
    keywords as here."""
    required: list[str] | Unset = UNSET
    """Names of the fields of a nested object that must be given."""

    _json_names: ClassVar[dict[str, str]] = {
        "type_": "type",
        "description": "description",
        "enum": "enum",
        "items": "items",
        "any_of": "anyOf",
        "properties": "properties",
        "required": "required",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ToolProperty", src_dict)
        return cls(
            type_=fields.optional("type", one_of(string, list_of(string))),
            description=fields.optional("description", string),
            enum=fields.optional("enum", list_of(anything)),
            items=fields.optional_or_null("items", anything),
            any_of=fields.optional("anyOf", list_of(ToolProperty.from_dict)),
            properties=fields.optional_or_null("properties", anything),
            required=fields.optional("required", list_of(string)),
            additional_properties=fields.rest(),
        )
