"""The model `ModelRecommendationsResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.model_recommendation import ModelRecommendation
from ..reading import Fields, list_of
from ..types import Model


@define(kw_only=True, repr=False)
class ModelRecommendationsResponse(Model):
    """Models that Ollama suggests."""

    recommendations: list[ModelRecommendation]
    """The suggestions, the best first."""

    _json_names: ClassVar[dict[str, str]] = {"recommendations": "recommendations"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ModelRecommendationsResponse", src_dict)
        return cls(
            recommendations=fields.required("recommendations", list_of(ModelRecommendation.from_dict)),
            additional_properties=fields.rest(),
        )
