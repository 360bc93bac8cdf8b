"""The model `EmbeddingRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.options import Options
from ..reading import Fields, number, one_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class EmbeddingRequest(Model):
    """A text to turn into a vector, in the older form."""

    model: str
    """Name of the model, in the case it was created with."""
    prompt: str | Unset = UNSET
    """The text. Left out or empty, the vector is empty."""
    keep_alive: float | str | Unset = UNSET
    """How long the model stays loaded after the request: a number of seconds, or a text with a unit in
    Go's syntax (`5m`, `1h30m`). Negative is for ever, 0 unloads. Left out, the server's
    OLLAMA_KEEP_ALIVE or 5 minutes. A text without a unit, such as `300`, is refused."""
    options: Options | Unset = UNSET
    """Settings of the model for this request. A value of the wrong type is answered with status 500;
    unknown names are ignored. Changing `num_ctx`, `num_batch`, `num_gpu`, `main_gpu`, `use_mmap`,
    `num_thread` or `draft_num_predict` reloads the model."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "prompt": "prompt",
        "keep_alive": "keep_alive",
        "options": "options",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("EmbeddingRequest", src_dict)
        return cls(
            model=fields.required("model", string),
            prompt=fields.optional("prompt", string),
            keep_alive=fields.optional("keep_alive", one_of(string, number)),
            options=fields.optional("options", Options.from_dict),
            additional_properties=fields.rest(),
        )
