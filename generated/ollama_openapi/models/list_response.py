"""The model `ListResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.list_model_response import ListModelResponse
from ..reading import Fields, list_of
from ..types import Model


@define(kw_only=True, repr=False)
class ListResponse(Model):
    """The models of a server."""

    models: list[ListModelResponse]
    """One entry for each name."""

    _json_names: ClassVar[dict[str, str]] = {"models": "models"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ListResponse", src_dict)
        return cls(
            models=fields.required("models", list_of(ListModelResponse.from_dict)),
            additional_properties=fields.rest(),
        )
