"""The model `GenerateChunk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.debug_info import DebugInfo
from ..models.logprob import Logprob
from ..models.tool_call import ToolCall
from ..reading import Fields, boolean, integer, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class GenerateChunk(Model):
    """One line of a streamed reply.

    The last one has `done: true`, the counts and the durations; each of these is there only when it is
    not 0.
    """

    model: str
    """The model's name as the request spelled it."""
    created_at: str
    """When the server made this line, in UTC."""
    response: str
    """The next piece of the text; may be empty."""
    done: bool
    """True on the last line of a complete reply."""
    thinking: str | Unset = UNSET
    """The next piece of what the model thinks before it answers."""
    done_reason: str | Unset = UNSET
    """Why it ended, on the last line: `stop`, `length` (the limit of tokens), `load` or `unload` (no
    prompt was sent)."""
    context: list[int] | Unset = UNSET
    """The tokens so far, to send with the next prompt, on the last line. Never with `raw`."""
    tool_calls: list[ToolCall] | Unset = UNSET
    """Calls that the model asks for, on the last line; only models with a built-in parser send them here.
    Since 0.11.1."""
    remote_model: str | Unset = UNSET
    """Name of the model on the host that runs it. Since 0.12."""
    remote_host: str | Unset = UNSET
    """Host that runs the model, for a stub of a remote one. Since 0.12."""
    logprobs: list[Logprob] | Unset = UNSET
    """One entry for each token of this line, where asked for. A line may have them and no text. Since
    0.12.11."""
    debug_info: DebugInfo | Unset = UNSET
    """The answer to `_debug_render_only`."""
    total_duration: int | Unset = UNSET
    """From the request to the end, in nanoseconds."""
    load_duration: int | Unset = UNSET
    """Waiting in the queue and loading the model, in nanoseconds."""
    prompt_eval_count: int | Unset = UNSET
    """Tokens of the prompt."""
    prompt_eval_duration: int | Unset = UNSET
    """Processing the prompt, in nanoseconds."""
    eval_count: int | Unset = UNSET
    """Tokens generated."""
    eval_duration: int | Unset = UNSET
    """Generating them, in nanoseconds."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "created_at": "created_at",
        "response": "response",
        "done": "done",
        "thinking": "thinking",
        "done_reason": "done_reason",
        "context": "context",
        "tool_calls": "tool_calls",
        "remote_model": "remote_model",
        "remote_host": "remote_host",
        "logprobs": "logprobs",
        "debug_info": "_debug_info",
        "total_duration": "total_duration",
        "load_duration": "load_duration",
        "prompt_eval_count": "prompt_eval_count",
        "prompt_eval_duration": "prompt_eval_duration",
        "eval_count": "eval_count",
        "eval_duration": "eval_duration",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("GenerateChunk", src_dict)
        return cls(
            model=fields.required("model", string),
            created_at=fields.required("created_at", string),
            response=fields.required("response", string),
            done=fields.required("done", boolean),
            thinking=fields.optional("thinking", string),
            done_reason=fields.optional("done_reason", string),
            context=fields.optional("context", list_of(integer)),
            tool_calls=fields.optional("tool_calls", list_of(ToolCall.from_dict)),
            remote_model=fields.optional("remote_model", string),
            remote_host=fields.optional("remote_host", string),
            logprobs=fields.optional("logprobs", list_of(Logprob.from_dict)),
            debug_info=fields.optional("_debug_info", DebugInfo.from_dict),
            total_duration=fields.optional("total_duration", integer),
            load_duration=fields.optional("load_duration", integer),
            prompt_eval_count=fields.optional("prompt_eval_count", integer),
            prompt_eval_duration=fields.optional("prompt_eval_duration", integer),
            eval_count=fields.optional("eval_count", integer),
            eval_duration=fields.optional("eval_duration", integer),
            additional_properties=fields.rest(),
        )
