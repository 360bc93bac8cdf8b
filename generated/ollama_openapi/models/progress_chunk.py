"""The model `ProgressChunk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ProgressChunk(Model):
    """One step of a pull, push or create."""

    status: str
    """What happens, for people to read; `success` at the end. The text differs from version to version."""
    digest: str | Unset = UNSET
    """The blob that this is about. Not always a digest: `sha256:model` and a row of zeros occur."""
    total: int | Unset = UNSET
    """Size of the blob, in bytes."""
    completed: int | Unset = UNSET
    """How much of it is done, in bytes; left out at 0. It can go back, and need not reach `total`."""

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
        fields = Fields("ProgressChunk", src_dict)
        return cls(
            status=fields.required("status", string),
            digest=fields.optional("digest", string),
            total=fields.optional("total", integer),
            completed=fields.optional("completed", integer),
            additional_properties=fields.rest(),
        )
