"""The model `Tool`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.tool_function import ToolFunction
from ..reading import Fields, anything, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class Tool(Model):
    """A function that the model may ask to call."""

    function: ToolFunction
    """Name, purpose and arguments of a function."""
    type_: str | Unset = UNSET
    """The text `function`."""
    items: Any | Unset = UNSET
    """Passed to the template as it is; JSON of any kind."""

    _json_names: ClassVar[dict[str, str]] = {"function": "function", "type_": "type", "items": "items"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("Tool", src_dict)
        return cls(
            function=fields.required("function", ToolFunction.from_dict),
            type_=fields.optional("type", string),
            items=fields.optional_or_null("items", anything),
            additional_properties=fields.rest(),
        )
