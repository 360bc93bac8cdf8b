"""The model `DebugInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class DebugInfo(Model):
    """The answer to `_debug_render_only`."""

    rendered_template: str
    """The prompt that the model would get."""
    image_count: int | Unset = UNSET
    """Images that would go with it; left out when there are none."""

    _json_names: ClassVar[dict[str, str]] = {
        "rendered_template": "rendered_template",
        "image_count": "image_count",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("DebugInfo", src_dict)
        return cls(
            rendered_template=fields.required("rendered_template", string),
            image_count=fields.optional("image_count", integer),
            additional_properties=fields.rest(),
        )
