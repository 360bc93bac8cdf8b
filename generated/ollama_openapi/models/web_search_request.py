"""The model `WebSearchRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class WebSearchRequest(Model):
    """What to search for."""

    query: str
    """The words to search for."""
    max_results: int | Unset = UNSET
    """Most results to return, up to 10. 5 where left out."""

    _json_names: ClassVar[dict[str, str]] = {"query": "query", "max_results": "max_results"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("WebSearchRequest", src_dict)
        return cls(
            query=fields.required("query", string),
            max_results=fields.optional("max_results", integer),
            additional_properties=fields.rest(),
        )
