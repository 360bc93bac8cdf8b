"""The model `ToolFunction`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.tool_function_parameters import ToolFunctionParameters
from ..reading import Fields, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ToolFunction(Model):
    """Name, purpose and arguments of a function."""

    name: str
    """Name of the function."""
    description: str | Unset = UNSET
    """What the function does, for the model to read."""
    parameters: ToolFunctionParameters | Unset = UNSET
    """The arguments of a function: a JSON Schema object, of which the server keeps only the keywords
    listed here."""

    _json_names: ClassVar[dict[str, str]] = {
        "name": "name",
        "description": "description",
        "parameters": "parameters",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ToolFunction", src_dict)
        return cls(
            name=fields.required("name", string),
            description=fields.optional("description", string),
            parameters=fields.optional("parameters", ToolFunctionParameters.from_dict),
            additional_properties=fields.rest(),
        )
