"""The model `Message`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.message_role import MessageRole
from ..models.tool_call import ToolCall
from ..reading import Fields, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class Message(Model):
    """One message of a conversation, as sent to the server."""

    role: MessageRole
    """Who speaks. `tool` is the result of a call that the model asked for."""
    content: str | Unset = UNSET
    """The text. A list of parts, as other APIs have it, is refused."""
    thinking: str | Unset = UNSET
    """What the model thought before it answered, from an earlier reply."""
    images: list[str] | Unset = UNSET
    """Images, or WAV or MP3 sound, each in base64 with the standard alphabet and padding."""
    tool_calls: list[ToolCall] | Unset = UNSET
    """Calls that the model asked for, from an earlier reply."""
    tool_name: str | Unset = UNSET
    """Name of the function that this message is the result of, for the role `tool`."""
    tool_call_id: str | Unset = UNSET
    """`id` of the call that this message is the result of, for the role `tool`. Since 0.12.10."""

    _json_names: ClassVar[dict[str, str]] = {
        "role": "role",
        "content": "content",
        "thinking": "thinking",
        "images": "images",
        "tool_calls": "tool_calls",
        "tool_name": "tool_name",
        "tool_call_id": "tool_call_id",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("Message", src_dict)
        return cls(
            role=fields.required("role", string),
            content=fields.optional("content", string),
            thinking=fields.optional("thinking", string),
            images=fields.optional("images", list_of(string)),
            tool_calls=fields.optional("tool_calls", list_of(ToolCall.from_dict)),
            tool_name=fields.optional("tool_name", string),
            tool_call_id=fields.optional("tool_call_id", string),
            additional_properties=fields.rest(),
        )
