"""The model `GenerateRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.options import Options
from ..models.think_level import ThinkLevel
from ..reading import Fields, anything, boolean, integer, list_of, number, one_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class GenerateRequest(Model):
    """A prompt and how to continue it."""

    model: str
    """Name of the model, with or without a tag."""
    prompt: str | Unset = UNSET
    """The text to continue. Left out or empty, the model is only loaded, or unloaded where `keep_alive` is
    0."""
    suffix: str | Unset = UNSET
    """Text that comes after the reply; the model must have the capability `insert`."""
    system: str | Unset = UNSET
    """System prompt, in place of the model's own."""
    template: str | Unset = UNSET
    """Prompt template in Go's syntax, in place of the model's own."""
    context: list[int] | Unset = UNSET
    """The tokens of an earlier reply's `context`, to go on from. Deprecated by Ollama."""
    stream: bool | Unset = UNSET
    """Answer line by line. The server takes true where it is left out."""
    raw: bool | Unset = UNSET
    """Send the prompt as it is, without the template. Not together with `system`, `template` or `context`."""
    format_: Any | Unset = UNSET
    """The text `json`, or a JSON Schema object that the reply must follow. Anything else is answered with
    status 500."""
    keep_alive: float | str | Unset = UNSET
    """How long the model stays loaded after the request: a number of seconds, or a text with a unit in
    Go's syntax (`5m`, `1h30m`). Negative is for ever, 0 unloads. Left out, the server's
    OLLAMA_KEEP_ALIVE or 5 minutes. A text without a unit, such as `300`, is refused."""
    images: list[str] | Unset = UNSET
    """Images, or WAV or MP3 sound, each in base64 with the standard alphabet and padding, for models that
    take them."""
    options: Options | Unset = UNSET
    """Settings of the model for this request. A value of the wrong type is answered with status 500;
    unknown names are ignored. Changing `num_ctx`, `num_batch`, `num_gpu`, `main_gpu`, `use_mmap`,
    `num_thread` or `draft_num_predict` reloads the model."""
    think: bool | ThinkLevel | Unset = UNSET
    """Whether, or how long, the model thinks before it answers. Left out, a model that can think does;
    false turns it off and is always accepted; anything else needs the capability `thinking`."""
    truncate: bool | Unset = UNSET
    """Cut the prompt where it is longer than the context. True where left out. Since 0.12.4."""
    shift: bool | Unset = UNSET
    """Go on past the end of the context by dropping its oldest tokens. Changing it from one request to the
    next can reload the model. Since 0.12.4."""
    logprobs: bool | Unset = UNSET
    """Also return the log probability of every token. Since 0.12.11."""
    top_logprobs: int | Unset = UNSET
    """How many of the most likely tokens to return at each position, 0 to 20. Needs `logprobs`. Since
    0.12.11."""
    debug_render_only: bool | Unset = UNSET
    """Return the prompt that the template makes, under `_debug_info`, and run nothing. Since 0.11.5."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "prompt": "prompt",
        "suffix": "suffix",
        "system": "system",
        "template": "template",
        "context": "context",
        "stream": "stream",
        "raw": "raw",
        "format_": "format",
        "keep_alive": "keep_alive",
        "images": "images",
        "options": "options",
        "think": "think",
        "truncate": "truncate",
        "shift": "shift",
        "logprobs": "logprobs",
        "top_logprobs": "top_logprobs",
        "debug_render_only": "_debug_render_only",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("GenerateRequest", src_dict)
        return cls(
            model=fields.required("model", string),
            prompt=fields.optional("prompt", string),
            suffix=fields.optional("suffix", string),
            system=fields.optional("system", string),
            template=fields.optional("template", string),
            context=fields.optional("context", list_of(integer)),
            stream=fields.optional("stream", boolean),
            raw=fields.optional("raw", boolean),
            format_=fields.optional_or_null("format", anything),
            keep_alive=fields.optional("keep_alive", one_of(string, number)),
            images=fields.optional("images", list_of(string)),
            options=fields.optional("options", Options.from_dict),
            think=fields.optional("think", one_of(boolean, string)),
            truncate=fields.optional("truncate", boolean),
            shift=fields.optional("shift", boolean),
            logprobs=fields.optional("logprobs", boolean),
            top_logprobs=fields.optional("top_logprobs", integer),
            debug_render_only=fields.optional("_debug_render_only", boolean),
            additional_properties=fields.rest(),
        )
