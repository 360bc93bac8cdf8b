"""The model `CloudStatus`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, boolean, string
from ..types import Model


@define(kw_only=True, repr=False)
class CloudStatus(Model):
    """Whether a server may use ollama.com."""

    disabled: bool
    """True where it may not."""
    source: str
    """What switched it off: `none`, `env`, `config` or `both`."""

    _json_names: ClassVar[dict[str, str]] = {"disabled": "disabled", "source": "source"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("CloudStatus", src_dict)
        return cls(
            disabled=fields.required("disabled", boolean),
            source=fields.required("source", string),
            additional_properties=fields.rest(),
        )
