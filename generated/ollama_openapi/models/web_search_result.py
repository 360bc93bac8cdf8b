"""The model `WebSearchResult`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, string
from ..types import Model


@define(kw_only=True, repr=False)
class WebSearchResult(Model):
    """One page that a search found."""

    title: str
    """Title of the page."""
    url: str
    """Address of the page."""
    content: str
    """A piece of its text."""

    _json_names: ClassVar[dict[str, str]] = {"title": "title", "url": "url", "content": "content"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("WebSearchResult", src_dict)
        return cls(
            title=fields.required("title", string),
            url=fields.required("url", string),
            content=fields.required("content", string),
            additional_properties=fields.rest(),
        )
