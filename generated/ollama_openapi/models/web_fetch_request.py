"""The model `WebFetchRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, string
from ..types import Model


@define(kw_only=True, repr=False)
class WebFetchRequest(Model):
    """Which page to read."""

    url: str
    """Address of the page."""

    _json_names: ClassVar[dict[str, str]] = {"url": "url"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("WebFetchRequest", src_dict)
        return cls(url=fields.required("url", string), additional_properties=fields.rest())
