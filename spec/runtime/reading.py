"""JSON coming in: bytes to values, and the readers that check the type of every field.

A reader takes a decoded value and returns it, or a model built of it, or raises `Mismatch`. The
`from_dict` of a model names one reader for each field; what is wrong comes out as `InvalidBody` with
the path to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard, TypeVar, overload

import msgspec

from .errors import InvalidBody
from .types import UNSET, Unset

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

#: Up to here every integer has a float of its own, so that a float stands for one integer only.
_LARGEST_WHOLE_FLOAT = 2**53


class Mismatch(Exception):
    """A value of another type than the spec says.

    Attributes:
        expected: The type that it should have.
        value: The value.
        path: Where that is, from the value that the reader was given.
    """

    def __init__(self, expected: str, value: Any, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(expected, value, path)
        self.expected = expected
        self.value = value
        self.path = path

    def within(self, step: str | int) -> Mismatch:
        """Return the same as seen from the list around it."""
        return Mismatch(self.expected, self.value, (step, *self.path))

    def __str__(self) -> str:
        return f"expected {self.expected}, got {_kind(self.value)}"


def _kind(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "a number"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _is_mapping(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


class Fields:
    """Takes the fields out of one JSON object, one after the other, for the `from_dict` of a model."""

    __slots__ = ("_left", "_model")

    def __init__(self, model: str, source: Any) -> None:
        if not _is_mapping(source):
            raise InvalidBody(model, None, f"expected an object, got {_kind(source)}")
        self._left = dict(source)
        self._model = model

    def _read(self, name: str, value: Any, read: Callable[[Any], T]) -> T:
        try:
            return read(value)
        except Mismatch as mismatch:
            error = InvalidBody(self._model, name, str(mismatch), (name, *mismatch.path))
        except InvalidBody as inner:
            error = inner.within(name)
        raise error

    def required(self, name: str, read: Callable[[Any], T]) -> T:
        """Take a field that every server sends."""
        if name not in self._left:
            raise InvalidBody(self._model, name, "is missing", (name,))
        return self._read(name, self._left.pop(name), read)

    def optional(self, name: str, read: Callable[[Any], T]) -> T | Unset:
        """Take a field that may be left out; null means the same."""
        value = self._left.pop(name, None)
        return UNSET if value is None else self._read(name, value, read)

    def optional_or_null(self, name: str, read: Callable[[Any], T]) -> T | Unset:
        """Take a field that may be left out, and for which null is a value of its own."""
        value = self._left.pop(name, UNSET)
        return UNSET if value is UNSET else self._read(name, value, read)

    def rest(self) -> dict[str, Any]:
        """Return all that was not taken."""
        return self._left


def string(value: Any) -> str:
    """Read a string."""
    if type(value) is str:
        return value
    if isinstance(value, str):  # a `StrEnum` of the caller's, which the encoder need not know
        return str.__str__(value)
    raise Mismatch("a string", value)


def integer(value: Any) -> int:
    """Read an integer; 4096.0 is one too, as it is for Ollama's options."""
    if type(value) is int:
        return value
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_WHOLE_FLOAT
    if whole or (isinstance(value, int) and not isinstance(value, bool)):
        return int(value)
    raise Mismatch("an integer", value)


def number(value: Any) -> float:
    """Read a number; it stays the int or float that it is."""
    if type(value) is float or type(value) is int:
        return value
    if isinstance(value, float):  # such as numpy's
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise Mismatch("a number", value)


def boolean(value: Any) -> bool:
    """Read true or false."""
    if type(value) is bool:
        return value
    raise Mismatch("a boolean", value)


def anything(value: Any) -> Any:
    """Read JSON of any kind, null included."""
    return value


def list_of(read: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """Return the reader of a list whose items `read` reads."""

    def read_list(value: Any) -> list[T]:
        if not _is_list(value):
            raise Mismatch("a list", value)
        items: list[T] = []
        try:
            for item in value:
                items.append(read(item))  # noqa: PERF401 - its length is the place of the item at fault
        except (Mismatch, InvalidBody) as error:
            fault = error.within(len(items))
        else:
            return items
        raise fault

    return read_list


_read_numbers = list_of(number)


def numbers(value: Any) -> list[float]:
    """Read a list of numbers, which stays the list that it is.

    An embedding has thousands: adding them up fails on what is no number, in a tenth of the time that a
    look at each of them takes. (A boolean goes through; it is a number to Python.)
    """
    if not _is_list(value):
        raise Mismatch("a list", value)
    try:
        sum(value)
    except (TypeError, OverflowError):
        return _read_numbers(value)
    return value


def or_null(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Return a reader that lets null through."""

    def read_or_null(value: Any) -> T | None:
        return None if value is None else read(value)

    return read_or_null


@overload
def one_of(first: Callable[[Any], A], second: Callable[[Any], B], /) -> Callable[[Any], A | B]: ...
@overload
def one_of(
    first: Callable[[Any], A], second: Callable[[Any], B], third: Callable[[Any], C], /
) -> Callable[[Any], A | B | C]: ...
def one_of(*readers: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a reader that takes the first type that fits."""

    def read_one(value: Any) -> Any:
        expected: list[str] = []
        inside: Mismatch | InvalidBody | None = None
        for read in readers:
            try:
                return read(value)
            except Mismatch as mismatch:
                expected.append(mismatch.expected)
                error: Mismatch | InvalidBody = mismatch
            except InvalidBody as invalid:
                expected.append("an object")
                error = invalid
            if error.path and inside is None:
                inside = error  # a list or an object, as it should be, with something wrong in it
        raise inside or Mismatch(" or ".join(expected), value)

    return read_one


def decode_json(model: str, content: bytes) -> Any:
    """Decode a body that should be JSON.

    Raises:
        InvalidBody: It is not; the message shows how it starts.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        start = content[:200].decode("utf-8", errors="replace")
        problem = f"expected JSON, got {start!r} ({error})" if content else "expected JSON, got an empty body"
    raise InvalidBody(model, None, problem)


def read_body(model: str, content: bytes, read: Callable[[Any], T]) -> T:
    """Decode a body and read it.

    Raises:
        InvalidBody: It is not JSON, or not the JSON that the spec promises.
    """
    value = decode_json(model, content)
    try:
        return read(value)
    except Mismatch as mismatch:
        error = InvalidBody(model, None, str(mismatch), mismatch.path)
    raise error


def error_model(content: bytes, read: Callable[[Any], T]) -> T | None:
    """Return the body of a failure as the spec's error model, or None where it is something else."""
    try:
        return read(decode_json("", content))
    except InvalidBody:
        return None


def is_error(value: Any) -> bool:
    """Return whether a decoded line of a stream is the server's report of an error."""
    return _is_mapping(value) and "error" in value
