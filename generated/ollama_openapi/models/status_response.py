"""The model `StatusResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.cloud_status import CloudStatus
from ..reading import Fields
from ..types import Model


@define(kw_only=True, repr=False)
class StatusResponse(Model):
    """What a server may do beyond its own machine."""

    cloud: CloudStatus
    """Whether a server may use ollama.com."""

    _json_names: ClassVar[dict[str, str]] = {"cloud": "cloud"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("StatusResponse", src_dict)
        return cls(cloud=fields.required("cloud", CloudStatus.from_dict), additional_properties=fields.rest())
