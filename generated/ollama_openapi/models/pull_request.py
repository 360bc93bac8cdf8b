"""The model `PullRequest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, boolean, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class PullRequest(Model):
    """Which model to download, and how."""

    model: str
    """Name of the model; a host in it is the registry to ask."""
    insecure: bool | Unset = UNSET
    """Talk to the registry over plain http."""
    stream: bool | Unset = UNSET
    """Answer line by line. The server takes true where it is left out."""
    username: str | Unset = UNSET
    """Ignored by the server."""
    password: str | Unset = UNSET
    """Ignored by the server."""
    name: str | Unset = UNSET
    """Older name of `model`, read where that is empty."""

    _json_names: ClassVar[dict[str, str]] = {
        "model": "model",
        "insecure": "insecure",
        "stream": "stream",
        "username": "username",
        "password": "password",
        "name": "name",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("PullRequest", src_dict)
        return cls(
            model=fields.required("model", string),
            insecure=fields.optional("insecure", boolean),
            stream=fields.optional("stream", boolean),
            username=fields.optional("username", string),
            password=fields.optional("password", string),
            name=fields.optional("name", string),
            additional_properties=fields.rest(),
        )
