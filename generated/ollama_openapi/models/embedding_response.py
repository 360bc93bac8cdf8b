"""The model `EmbeddingResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, numbers, or_null
from ..types import Model


@define(kw_only=True, repr=False)
class EmbeddingResponse(Model):
    """The vector of one text."""

    embedding: list[float] | None
    """The vector; empty for an empty text. Of length 1, except from servers of version 0.9."""

    _json_names: ClassVar[dict[str, str]] = {"embedding": "embedding"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("EmbeddingResponse", src_dict)
        return cls(
            embedding=fields.required("embedding", or_null(numbers)), additional_properties=fields.rest()
        )
