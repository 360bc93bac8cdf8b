"""What models and operations share: `UNSET`, the base of the models, requests and answers, JSON going out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from math import isfinite
from typing import Any, BinaryIO, ClassVar, Final, Generic, Literal, TypeGuard, TypeVar
from urllib.parse import quote

import msgspec
from attrs import define, field

T = TypeVar("T")


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


@define
class File:
    """The bytes of an upload: in memory, an open binary file, or an iterable of pieces."""

    payload: bytes | BinaryIO | Iterable[bytes]


@define(frozen=True, kw_only=True)
class Request:
    """A request, free of any HTTP library: what `build_request` returns and `Client.send` takes.

    Attributes:
        method: In capitals.
        path: From the server's root, quoted.
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

    #: The name in JSON of each field, in the order of the spec.
    _json_names: ClassVar[dict[str, str]] = {}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object: the additional fields, then the set ones under their names in JSON.

        Raises:
            TypeError: A value is nothing that JSON can hold, such as a set; the message says where it is.
        """
        result = _plain_dict(self.additional_properties) if self.additional_properties else {}
        name = ""
        try:
            for python_name, name in self._json_names.items():
                value = getattr(self, python_name)
                if value is not UNSET:
                    result[name] = plain(value)
        except NotJson as error:
            fault = error.within(name)
        else:
            return result
        raise fault

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
        inside = ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not UNSET)
        return f"{type(self).__name__}({inside})"


def _is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_sequence(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


class NotJson(TypeError):
    """A value is nothing that JSON can hold.

    Attributes:
        kind: The name of its type.
        path: Where it stands, from the outside in: names, and positions in lists.
    """

    def __init__(self, kind: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(kind, path)
        self.kind = kind
        self.path = path

    def within(self, step: str | int) -> NotJson:
        """Return the same error as seen from the object or list around it."""
        return NotJson(self.kind, (step, *self.path))

    def __str__(self) -> str:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        where = "".join(steps).removeprefix(".") or "the value"
        return f"{where} is of the type {self.kind}, which JSON cannot hold"


_SCALARS = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """Return a value with every model in it as a dict, every mapping as a dict, every tuple as a list.

    What is `UNSET` is left out of mappings and stays `UNSET` on its own.

    Raises:
        TypeError: A value is nothing that JSON can hold, such as a set. The encoder would write more kinds
            than these (sets, dataclasses, times), each in a form that nobody chose, with NaN in it as null.
    """
    if value.__class__ in _SCALARS or value is UNSET:
        return value
    if isinstance(value, Model):
        return value.to_dict()
    if _is_sequence(value):
        return _plain_list(value)
    if _is_mapping(value):
        return _plain_dict(value)
    if isinstance(value, str | int | float):  # an enum of such values, say
        return value
    raise NotJson(type(value).__name__)


def _plain_list(value: Sequence[Any]) -> list[Any]:
    items: list[Any] = []
    try:
        for item in value:
            if item is UNSET:  # no item can be left out
                raise NotJson(type(item).__name__)  # noqa: TRY301 - it gets its place below, as all others do
            items.append(item if item.__class__ in _SCALARS else plain(item))
    except NotJson as error:
        fault = error.within(len(items))
    else:
        return items
    raise fault


def _plain_dict(value: Mapping[Any, Any]) -> dict[Any, Any]:
    items: dict[Any, Any] = {}
    key: Any = None
    try:
        for key, item in value.items():
            if item is not UNSET:
                items[key] = item if item.__class__ in _SCALARS else plain(item)
    except NotJson as error:
        fault = error.within(str(key))
    else:
        return items
    raise fault


def encode_json(value: Any) -> bytes:
    """Encode the body of a request, which is what `Model.to_dict` or `plain` returned.

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
    if _is_mapping(value):
        for key, item in value.items():
            _refuse_not_finite(item, f"{path}.{key}" if path else str(key))
    elif _is_sequence(value):
        for index, item in enumerate(value):
            _refuse_not_finite(item, f"{path}[{index}]")


def path_segment(name: str, value: str) -> str:
    """Quote a value that stands between two slashes of a path, slashes in it included; colons may stay.

    Raises:
        ValueError: The path would become another one: the value is empty, or dots that an HTTP client
            resolves.
    """
    if value in {"", ".", ".."}:
        raise ValueError(f"{name} must not be {value!r}: it is part of a path")
    return quote(value, safe=":")


__all__ = ["UNSET", "File", "Model", "Request", "Response", "Unset"]
