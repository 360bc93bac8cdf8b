"""What the operations and the models raise. Failures of the network are httpx's own exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # In full, because this file is also checked where it is written, in spec/runtime.
    from ollama_openapi.models.error_response import ErrorResponse

_SHOWN = 500


class ApiError(Exception):
    """The server answered with a status that is not a success, or with an error line inside a stream.

    Attributes:
        status: The HTTP status as a number, whatever it is; 200 for an error line.
        body: The bytes of the answer, as they came.
        parsed: The body as the spec's error model, or None where it is something else (text, HTML, empty).
    """

    def __init__(self, status: int, body: bytes, parsed: ErrorResponse | None = None) -> None:
        super().__init__(status, body, parsed)
        self.status = status
        self.body = body
        self.parsed = parsed

    def __str__(self) -> str:
        if self.parsed is not None:
            text = self.parsed.error
        else:
            text = self.body[:_SHOWN].decode("utf-8", errors="replace")
        return f"HTTP status {self.status}" + (f": {text}" if text else "")


class InvalidBody(Exception):
    """A body that is not what the spec promises.

    Attributes:
        model: The schema that was expected.
        field: The field of it at fault, or None where the whole of it is.
        problem: What is wrong.
        path: Where that is, from the root of the body: names and positions in lists.
    """

    def __init__(self, model: str, field: str | None, problem: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(model, field, problem, path)
        self.model = model
        self.field = field
        self.problem = problem
        self.path = path

    def within(self, step: str | int) -> InvalidBody:
        """Return the same error as seen from the object or list around it."""
        return InvalidBody(self.model, self.field, self.problem, (step, *self.path))

    @property
    def where(self) -> str:
        """The path in one word, such as ``messages[0].content``; empty for the whole body."""
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return "".join(steps).removeprefix(".")

    def __str__(self) -> str:
        name = self.model if self.field is None else f"{self.model}.{self.field}"
        return f"{name}: {self.problem}" + (f" (at {self.where})" if len(self.path) > 1 else "")


__all__ = ["ApiError", "InvalidBody"]
