"""The model `ProcessResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.process_model_response import ProcessModelResponse
from ..reading import Fields, list_of
from ..types import Model


@define(kw_only=True, repr=False)
class ProcessResponse(Model):
    """The loaded models."""

    models: list[ProcessModelResponse]
    """One entry for each runner."""

    _json_names: ClassVar[dict[str, str]] = {"models": "models"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ProcessResponse", src_dict)
        return cls(
            models=fields.required("models", list_of(ProcessModelResponse.from_dict)),
            additional_properties=fields.rest(),
        )
