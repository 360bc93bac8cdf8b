"""The model `UserResponse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from attrs import define

from ..reading import Fields, string
from ..types import UNSET, Model, Unset


@define(kw_only=True, repr=False)
class UserResponse(Model):
    """An account of ollama.com."""

    id: str
    """A UUID."""
    email: str
    """E-mail address."""
    name: str
    """Name of the account."""
    bio: str | Unset = UNSET
    """What its owner says about themselves."""
    avatarurl: str | Unset = UNSET
    """Address of its picture."""
    firstname: str | Unset = UNSET
    """First name."""
    lastname: str | Unset = UNSET
    """Last name."""
    plan: str | Unset = UNSET
    """Its plan; `free` where ollama.com names none."""

    _json_names: ClassVar[dict[str, str]] = {
        "id": "id",
        "email": "email",
        "name": "name",
        "bio": "bio",
        "avatarurl": "avatarurl",
        "firstname": "firstname",
        "lastname": "lastname",
        "plan": "plan",
    }

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Build from a decoded JSON object.

        Raises:
            InvalidBody: A required field is missing, or a value is of another type.
        """
        fields = Fields("UserResponse", src_dict)
        return cls(
            id=fields.required("id", string),
            email=fields.required("email", string),
            name=fields.required("name", string),
            bio=fields.optional("bio", string),
            avatarurl=fields.optional("avatarurl", string),
            firstname=fields.optional("firstname", string),
            lastname=fields.optional("lastname", string),
            plan=fields.optional("plan", string),
            additional_properties=fields.rest(),
        )
