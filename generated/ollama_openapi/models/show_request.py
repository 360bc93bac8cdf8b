"""The model `ShowRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.options import Options
from ..reading import Fields, boolean, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ShowRequest(Model):
    """Which model to describe, and how fully."""

    model: str
    """Name of the model, with or without a tag."""
    verbose: bool | Unset = UNSET
    """Send the arrays inside `model_info` too; without it they are null."""
    system: str | Unset = UNSET
    """A system prompt to show in place of the model's own."""
    template: str | Unset = UNSET
    """Ignored by the server."""
    options: Options | Unset = UNSET
    """Settings of the model for this request. A value of the wrong type is answered with status 500;
    unknown names are ignored. Changing `num_ctx`, `num_batch`, `num_gpu`, `main_gpu`, `use_mmap`,
    `num_thread` or `draft_num_predict` reloads the model."""
    name: str | Unset = UNSET
    """Older name of `model`, read where that is empty."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "verbose": "verbose",
        "system": "system",
        "template": "template",
        "options": "options",
        "name": "name",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ShowRequest", src_dict)
        return cls(
            model=fields.required("model", string),
            verbose=fields.optional("verbose", boolean),
            system=fields.optional("system", string),
            template=fields.optional("template", string),
            options=fields.optional("options", Options.from_dict),
            name=fields.optional("name", string),
            additional_properties=fields.rest(),
        )
