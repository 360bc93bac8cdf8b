"""What models and operations share: `UNSET`, the base of the models, the readers of fields, JSON, requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from math import isfinite
from typing import (
    Any,
    BinaryIO,
    ClassVar,
    Final,
    Generic,
    Literal,
    TypeGuard,
    TypeVar,
    cast,
    overload,
)
from urllib.parse import urlencode

import msgspec
from attrs import define, field

from .errors import InvalidBody


class Unset(Enum):
    """The type of `UNSET`: a field that is not there at all, which is something else than null.

    An enum member is one object for ever: it survives `copy.deepcopy` and pickle as itself.
    """

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


@define
class File:
    """The bytes of an upload: in memory, an open binary file, or pieces of known or unknown number."""

    payload: bytes | BinaryIO | Iterable[bytes]


@define(frozen=True, kw_only=True)
class Request:
    """A request, free of any HTTP library: what `build_request` returns and `Client.send` takes.

    Attributes:
        method: In capitals.
        path: From the server's root, quoted, with the query if there is one.
        headers: Those that the operation itself needs.
        content: The body, or None.
    """

    method: str
    path: str
    headers: dict[str, str] = field(factory=dict[str, str])
    content: bytes | BinaryIO | Iterable[bytes] | None = None


@define(frozen=True, kw_only=True)
class Response(Generic[T]):
    """An answer in full: what `sync_detailed` returns.

    Attributes:
        status_code: A plain number: servers behind proxies send codes that no standard lists.
        content: The body as it came.
        headers: Names in any case.
        parsed: The body as the spec's model.
    """

    status_code: int
    content: bytes
    headers: Mapping[str, str]
    parsed: T


@define(kw_only=True, repr=False)
class Model:
    """The base of all models: keyword-only fields, of which those that are `UNSET` are not sent.

    Attributes:
        additional_properties: Fields that the spec does not know, as decoded JSON. They come from newer
            servers and go back out as they came; `model["name"]` reaches them too.
    """

    additional_properties: dict[str, Any] = field(factory=dict[str, Any])

    _json_names: ClassVar[dict[str, str]] = {}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object: set fields under their JSON names, and the additional ones."""
        result = {name: plain(value) for name, value in self.additional_properties.items()}
        for python_name, name in self._json_names.items():
            value = getattr(self, python_name)
            if value is not UNSET:
                result[name] = plain(value)
        return result

    @property
    def additional_keys(self) -> list[str]:
        """The names of the fields that the spec does not know."""
        return list(self.additional_properties)

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties

    def __repr__(self) -> str:
        shown = {name: getattr(self, name) for name in self._json_names}
        if self.additional_properties:
            shown["additional_properties"] = self.additional_properties
        inside = ", ".join(
            f"{name}={value!r}" for name, value in shown.items() if value is not UNSET
        )
        return f"{type(self).__name__}({inside})"


def _is_object(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


_SCALARS = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """Return a value with every model in it as a dict, every mapping as a dict, every tuple as a list."""
    if value.__class__ in _SCALARS:
        return value
    if isinstance(value, Model):
        return value.to_dict()
    if _is_sequence(value):
        return [item if item.__class__ in _SCALARS else plain(item) for item in value]
    if _is_object(value):
        return {key: plain(item) for key, item in value.items() if item is not UNSET}
    return value


class Mismatch(Exception):
    """A value of another type than the spec says; its text is the type that was expected."""


def _name(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    kind: Any = value.__class__
    return names.get(kind, "a number" if isinstance(value, int | float) else kind.__name__)


class Fields:
    """Takes the fields out of one JSON object, one after the other, for the `from_dict` of a model."""

    __slots__ = ("_left", "_model")

    def __init__(self, model: str, source: Any) -> None:
        if not _is_object(source):
            raise InvalidBody(model, None, f"expected an object, got {_name(source)}")
        self._left: dict[str, Any] = dict(source)
        self._model = model

    def _read(self, name: str, value: Any, read: Callable[[Any], T]) -> T:
        try:
            return read(value)
        except Mismatch as mismatch:
            problem = f"expected {mismatch}, got {_name(value)}"
        except InvalidBody as error:
            raise error.within(name) from None
        raise InvalidBody(self._model, name, problem, (name,))

    def required(self, name: str, read: Callable[[Any], T]) -> T:
        """A field that every server sends."""
        if name not in self._left:
            raise InvalidBody(self._model, name, "is missing", (name,))
        return self._read(name, self._left.pop(name), read)

    def optional(self, name: str, read: Callable[[Any], T]) -> T | Unset:
        """A field that may be left out; null means the same."""
        value = self._left.pop(name, None)
        return UNSET if value is None else self._read(name, value, read)

    def optional_or_null(self, name: str, read: Callable[[Any], T]) -> T | Unset:
        """A field that may be left out, and for which null is a value of its own."""
        value = self._left.pop(name, UNSET)
        return UNSET if value is UNSET else self._read(name, value, read)

    def rest(self, read: Callable[[Any], Any] | None = None) -> dict[str, Any]:
        """All that was not taken."""
        if read is None:
            return self._left
        return {name: self._read(name, value, read) for name, value in self._left.items()}


def string(value: Any) -> str:
    if type(value) is not str:
        raise Mismatch("a string")
    return value


def integer(value: Any) -> int:
    """An integer. 4096.0 is one too, in JSON as in Go."""
    if type(value) is not int and not (type(value) is float and value.is_integer()):
        raise Mismatch("an integer")
    return cast(int, value)


def number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise Mismatch("a number")
    return value


def boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Mismatch("a boolean")
    return value


def anything(value: Any) -> Any:
    return value


def numbers(value: Any) -> list[Any]:
    """A list of numbers. Its items are not looked at: an embedding has thousands."""
    if not _is_list(value):
        raise Mismatch("a list")
    return value


def list_of(read: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """Return the reader of a list whose items `read` reads."""

    def read_list(value: Any) -> list[T]:
        if not _is_list(value):
            raise Mismatch("a list")
        items: list[T] = []
        for item in value:
            try:
                items.append(read(item))
            except InvalidBody as error:
                raise error.within(len(items)) from None
            except Mismatch as mismatch:
                raise Mismatch(f"a list of which each item is {mismatch}") from None
        return items

    return read_list


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
        for read in readers:
            try:
                return read(value)
            except Mismatch as mismatch:
                expected.append(str(mismatch))
            except InvalidBody as error:
                expected.append(str(error))
        raise Mismatch(" or ".join(expected))

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
        problem = (
            f"expected JSON, got {start!r} ({error})"
            if content
            else "expected JSON, got an empty body"
        )
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
        problem = f"expected {mismatch}, got {_name(value)}"
    raise InvalidBody(model, None, problem)


def error_model(read: Callable[[Any], T], content: bytes) -> T | None:
    """Return the body of a failure as the spec's error model, or None where it is something else."""
    try:
        return read(decode_json("", content))
    except InvalidBody:
        return None


def is_error(value: Any) -> bool:
    """Whether a decoded line of a stream is the server's report of an error."""
    return isinstance(value, dict) and "error" in value


def encode_json(value: Any) -> bytes:
    """Encode the body of a request.

    Raises:
        ValueError: A number is NaN or infinite, for which JSON has no word, or a string is not Unicode text.
        TypeError: A value is nothing that JSON can hold.
    """
    content = msgspec.json.encode(value)
    if b"null" in content:  # the encoder writes NaN as null, so only now can there be one
        _refuse_not_finite(value, "")
    return content


def _refuse_not_finite(value: Any, path: str) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{path or 'the value'} is {value}, which JSON cannot hold")
    if _is_object(value):
        for key, item in value.items():
            _refuse_not_finite(item, f"{path}.{key}" if path else str(key))
    elif _is_sequence(value):
        for index, item in enumerate(value):
            _refuse_not_finite(item, f"{path}[{index}]")


def with_query(path: str, parameters: Mapping[str, Any]) -> str:
    """Return the path with those parameters that are set."""
    pairs = {
        name: value
        for name, value in parameters.items()
        if value is not UNSET and value is not None
    }
    return f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path


__all__ = ["UNSET", "File", "Model", "Request", "Response", "Unset"]
