"""One difference between our spec and something else, with a name that stays the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "operation",  # a method of a path
    "parameter",
    "body",  # a request body, or the body of a response, in one content type
    "status",  # a status that a response may have
    "field",
    "fields",  # an object whose fields only one side names
    "type",
    "required",
    "enum",
    "null",
    "answer",  # a running server answered with something else than it should
]

# Who has more than the other. "both": each says something else.
Side = Literal["here", "upstream", "both"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference and the place in our spec that it is about.

    Attributes:
        where: Such as `POST /api/chat request.messages[].content`. `[]` is the elements of a list,
            `{}` the values of a map.
        what: What differs there, such as `not in our spec`.
        kind: What sort of thing differs.
        side: Who has it.
        home: The place in `spec/ollama.yaml` where it is, or would be, written.
        detail: What may help to judge it, such as the field's type or an example.
    """

    where: str
    what: str
    kind: Kind
    side: Side
    home: str
    detail: str = ""

    @property
    def name(self) -> str:
        """What `spec/known-differences.yaml` calls it."""
        return f"{self.where}: {self.what}"
