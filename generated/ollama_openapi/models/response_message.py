"""The model `ResponseMessage`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.tool_call import ToolCall
from ..reading import Fields, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ResponseMessage(Model):
    """A message of the model, or the next piece of one."""

    role: str
    """`assistant`; empty where only the prompt was rendered, and as the model's file has it in the
    messages of `/api/show`."""
    content: str
    """The text; may be empty."""
    thinking: str | Unset = UNSET
    """What the model thinks before it answers."""
    tool_calls: list[ToolCall] | Unset = UNSET
    """Whole calls, never pieces of one. They come on the last line of a stream or on earlier ones,
    depending on the model."""

    _json_names: ClassVar[dict[str, str]] = {
        "role": "role",
        "content": "content",
        "thinking": "thinking",
        "tool_calls": "tool_calls",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ResponseMessage", src_dict)
        return cls(
            role=fields.required("role", string),
            content=fields.required("content", string),
            thinking=fields.optional("thinking", string),
            tool_calls=fields.optional("tool_calls", list_of(ToolCall.from_dict)),
            additional_properties=fields.rest(),
        )
