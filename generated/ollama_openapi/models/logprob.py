"""The model `Logprob`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..models.token_logprob import TokenLogprob
from ..reading import Fields, integer, list_of, number, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class Logprob(Model):
    """The log probability of a generated token."""

    token: str
    """Text of the token."""
    logprob: float
    """Natural logarithm of its probability."""
    bytes_: list[int] | Unset = UNSET
    """The text in UTF-8, byte by byte; not the token's own bytes where that is half a character. Left out
    for an empty token."""
    top_logprobs: list[TokenLogprob] | Unset = UNSET
    """The most likely tokens at this position, where asked for."""

    _json_names: ClassVar[dict[str, str]] = {
        "token": "token",
        "logprob": "logprob",
        "bytes_": "bytes",
        "top_logprobs": "top_logprobs",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("Logprob", src_dict)
        return cls(
            token=fields.required("token", string),
            logprob=fields.required("logprob", number),
            bytes_=fields.optional("bytes", list_of(integer)),
            top_logprobs=fields.optional("top_logprobs", list_of(TokenLogprob.from_dict)),
            additional_properties=fields.rest(),
        )
