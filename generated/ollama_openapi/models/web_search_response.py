"""The model `WebSearchResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.web_search_result import WebSearchResult
from ..reading import Fields, list_of, or_null
from ..types import Model


@define(kw_only=True, repr=False)
class WebSearchResponse(Model):
    """What a search found."""

    results: list[WebSearchResult] | None
    """The pages, the best first."""

    _json_names: ClassVar[dict[str, str]] = {"results": "results"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("WebSearchResponse", src_dict)
        return cls(
            results=fields.required("results", or_null(list_of(WebSearchResult.from_dict))),
            additional_properties=fields.rest(),
        )
