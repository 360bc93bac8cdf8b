"""The model `ProgressResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ProgressResponse(Model):
    """How a pull, push or create ended: the status is `success`; failures are errors."""

    status: str
    """The text `success`."""
    digest: str | Unset = UNSET
    """What the status is about; see `ProgressChunk`."""
    total: int | Unset = UNSET
    """Size of it, in bytes."""
    completed: int | Unset = UNSET
    """How much is done, in bytes."""

    _json_names: ClassVar[dict[str, str]] = {
        "status": "status",
        "digest": "digest",
        "total": "total",
        "completed": "completed",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ProgressResponse", src_dict)
        return cls(
            status=fields.required("status", string),
            digest=fields.optional("digest", string),
            total=fields.optional("total", integer),
            completed=fields.optional("completed", integer),
            additional_properties=fields.rest(),
        )
