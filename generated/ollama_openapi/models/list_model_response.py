"""The model `ListModelResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.model_details import ModelDetails
from ..reading import Fields, integer, list_of, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ListModelResponse(Model):
    """One model of a server."""

    name: str
    """Its name in the shortest form, always with the tag."""
    model: str
    """The same as `name`."""
    modified_at: str
    """When it was made or pulled, in the server's own time zone."""
    size: int
    """All its files together, in bytes."""
    digest: str
    """SHA-256 of its manifest file: 64 hexadecimal digits without a `sha256:` in front."""
    details: ModelDetails
    """What a model is. A text is empty where the server does not know."""
    capabilities: list[str] | Unset = UNSET
    """What it can do, such as `completion`, `tools`, `vision`; `/api/show` knows better. Since 0.30."""
    remote_model: str | Unset = UNSET
    """Name on the host that runs it, for a stub of a remote model. Since 0.12."""
    remote_host: str | Unset = UNSET
    """Host that runs it, for a stub of a remote model. Since 0.12."""

    _json_names: ClassVar[dict[str, str]] = {
        "name": "name",
        "model": "model",
        "modified_at": "modified_at",
        "size": "size",
        "digest": "digest",
        "details": "details",
        "capabilities": "capabilities",
        "remote_model": "remote_model",
        "remote_host": "remote_host",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ListModelResponse", src_dict)
        return cls(
            name=fields.required("name", string),
            model=fields.required("model", string),
            modified_at=fields.required("modified_at", string),
            size=fields.required("size", integer),
            digest=fields.required("digest", string),
            details=fields.required("details", ModelDetails.from_dict),
            capabilities=fields.optional("capabilities", list_of(string)),
            remote_model=fields.optional("remote_model", string),
            remote_host=fields.optional("remote_host", string),
            additional_properties=fields.rest(),
        )
