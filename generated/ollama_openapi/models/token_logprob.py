"""The model `TokenLogprob`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, integer, list_of, number, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class TokenLogprob(Model):
    """The log probability of a token that could have been chosen."""

    token: str
    """Text of the token."""
    logprob: float
    """Natural logarithm of its probability."""
    bytes_: list[int] | Unset = UNSET
    """The text in UTF-8, byte by byte. Left out for an empty token."""

    _json_names: ClassVar[dict[str, str]] = {"token": "token", "logprob": "logprob", "bytes_": "bytes"}

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("TokenLogprob", src_dict)
        return cls(
            token=fields.required("token", string),
            logprob=fields.required("logprob", number),
            bytes_=fields.optional("bytes", list_of(integer)),
            additional_properties=fields.rest(),
        )
