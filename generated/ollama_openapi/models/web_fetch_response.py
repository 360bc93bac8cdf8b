"""The model `WebFetchResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class WebFetchResponse(Model):
    """A page of the web as text."""

    title: str
    """Title of the page."""
    content: str
    """Its text."""
    links: list[str] | Unset = UNSET
    """Addresses that it links to; left out when there are none."""

    _json_names: ClassVar[dict[str, str]] = {"title": "title", "content": "content", "links": "links"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("WebFetchResponse", src_dict)
        return cls(
            title=fields.required("title", string),
            content=fields.required("content", string),
            links=fields.optional("links", list_of(string)),
            additional_properties=fields.rest(),
        )
