"""The model `ErrorResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class ErrorResponse(Model):
    """Why a request failed.

    A line of a stream that has `error` is one of these too, with that field alone.
    """

    error: str
    """What went wrong, for people to read. The text itself may be JSON, where the runner's own answer was
    passed on."""
    signin_url: str | Unset = UNSET
    """Where to sign in, with status 401."""
    status_code: int | Unset = UNSET
    """Status of the host that runs a remote model, where that failed."""
    status: str | Unset = UNSET
    """Status line of the host that runs a remote model, where that failed."""

    _json_names: ClassVar[dict[str, str]] = {
        "error": "error",
        "signin_url": "signin_url",
        "status_code": "StatusCode",
        "status": "Status",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("ErrorResponse", src_dict)
        return cls(
            error=fields.required("error", string),
            signin_url=fields.optional("signin_url", string),
            status_code=fields.optional("StatusCode", integer),
            status=fields.optional("Status", string),
            additional_properties=fields.rest(),
        )
