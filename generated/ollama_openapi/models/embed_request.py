"""The model `EmbedRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.options import Options
from ..reading import Fields, boolean, integer, list_of, number, one_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class EmbedRequest(Model):
    """Texts to turn into vectors."""

    model: str
    """Name of the model, with or without a tag."""
    input_: list[str] | str | Unset = UNSET
    """One text or a list of texts."""
    truncate: bool | Unset = UNSET
    """Cut a text that is longer than the model's context. True where left out; false makes it an error."""
    dimensions: int | Unset = UNSET
    """Shorten every vector to this length and normalise it again. Ignored where it is not between 1 and
    the model's own length. Since 0.11.11."""
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
        "input_": "input",
        "truncate": "truncate",
        "dimensions": "dimensions",
        "keep_alive": "keep_alive",
        "options": "options",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("EmbedRequest", src_dict)
        return cls(
            model=fields.required("model", string),
            input_=fields.optional("input", one_of(string, list_of(string))),
            truncate=fields.optional("truncate", boolean),
            dimensions=fields.optional("dimensions", integer),
            keep_alive=fields.optional("keep_alive", one_of(string, number)),
            options=fields.optional("options", Options.from_dict),
            additional_properties=fields.rest(),
        )
