"""The model `VersionResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, string
from ..types import Model


@define(kw_only=True, repr=False)
class VersionResponse(Model):
    """The version of a server."""

    version: str
    """The version, such as `0.33.0`; `0.0.0` of a build without one."""

    _json_names: ClassVar[dict[str, str]] = {"version": "version"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("VersionResponse", src_dict)
        return cls(version=fields.required("version", string), additional_properties=fields.rest())
