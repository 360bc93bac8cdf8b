"""The model `EmbedResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, list_of, numbers, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class EmbedResponse(Model):
    """Vectors of length 1, one for each text."""

    model: str
    """The model's name as the request spelled it."""
    embeddings: list[list[float]]
    """In the order of the input. Empty for no input, for an empty list, and for one empty text that is not
    in a list."""
    total_duration: int | Unset = UNSET
    """From the request to the end, in nanoseconds."""
    load_duration: int | Unset = UNSET
    """Waiting in the queue and loading the model, in nanoseconds."""
    prompt_eval_count: int | Unset = UNSET
    """Tokens of all texts together."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "embeddings": "embeddings",
        "total_duration": "total_duration",
        "load_duration": "load_duration",
        "prompt_eval_count": "prompt_eval_count",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("EmbedResponse", src_dict)
        return cls(
            model=fields.required("model", string),
            embeddings=fields.required("embeddings", list_of(numbers)),
            total_duration=fields.optional("total_duration", integer),
            load_duration=fields.optional("load_duration", integer),
            prompt_eval_count=fields.optional("prompt_eval_count", integer),
            additional_properties=fields.rest(),
        )
