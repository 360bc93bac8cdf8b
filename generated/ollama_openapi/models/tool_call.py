"""The model `ToolCall`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.tool_call_function import ToolCallFunction
from ..reading import Fields, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ToolCall(Model):
    """A call that the model asks for."""

    function: ToolCallFunction
    """The function to call and its arguments."""
    id: str | Unset = UNSET
    """Identifies the call. Since 0.12.10."""

    _json_names: ClassVar[dict[str, str]] = {"function": "function", "id": "id"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ToolCall", src_dict)
        return cls(
            function=fields.required("function", ToolCallFunction.from_dict),
            id=fields.optional("id", string),
            additional_properties=fields.rest(),
        )
