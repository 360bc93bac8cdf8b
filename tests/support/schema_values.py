"""JSON values made from the schemas of spec/ollama.yaml, right ones and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SPEC: Mapping[str, Any] = yaml.safe_load(
    (Path(__file__).resolve().parents[2] / "spec" / "ollama.yaml").read_text(encoding="utf-8")
)
SCHEMAS: Mapping[str, Any] = SPEC["components"]["schemas"]
#: The schemas that compile to a class.
OBJECTS = sorted(name for name, schema in SCHEMAS.items() if schema.get("type") == "object")

Way = tuple[str | int, ...]

_DEPTH = 3  # of lists and mappings of objects: some schemas contain themselves

_AWKWARD = ("self", "cls", "additional_properties", "from_dict", "to_dict", "__class__", "_json_names", "")

texts = st.text(max_size=8)
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
)
any_json = (
    _scalars
    | st.lists(_scalars, max_size=2)
    | st.dictionaries(texts, _scalars | st.dictionaries(texts, st.lists(_scalars, max_size=1), max_size=1))
)


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema that a `$ref` leads to, or the schema itself."""
    while "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def name_of(schema: Mapping[str, Any]) -> str:
    """Return the name of a schema of the components."""
    return next(name for name, each in SCHEMAS.items() if each is resolved(schema))


def types_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the JSON types that a schema allows; none for JSON of any kind."""
    schema = resolved(schema)
    if "oneOf" in schema:
        return frozenset[str]().union(*(types_of(member) for member in schema["oneOf"]))
    types = schema.get("type", ())
    return frozenset([types] if isinstance(types, str) else types)


def keeps_null(schema: Mapping[str, Any]) -> bool:
    """Return whether null is a value of its own there, which must not be lost."""
    return not types_of(schema) or "null" in types_of(schema)


@cache
def object_values(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return JSON objects of a schema, with nulls, unknown fields and unknown enum values all over."""
    return _objects(SCHEMAS[name], _DEPTH)


#: The name of any schema that compiles to a class, with a value of it.
named_values = st.sampled_from(OBJECTS).flatmap(lambda name: st.tuples(st.just(name), object_values(name)))


def _values(schema: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    schema = resolved(schema)
    if "oneOf" in schema:
        return st.one_of([_values(member, depth) for member in schema["oneOf"]])
    if "x-json-schema" in schema:
        return st.none() | _free_form(schema["x-json-schema"], depth)
    simple = {
        "string": texts,
        "boolean": st.booleans(),
        "null": st.none(),
        "integer": st.integers(-(2**63), 2**63 - 1),
        "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    }
    choices: list[st.SearchStrategy[Any]] = []
    for kind in sorted(types_of(schema)):
        if kind == "array":
            choices.append(_lists(schema["items"], depth))
        elif kind == "object":
            choices.append(_objects(schema, depth))
        else:
            choices.append(simple[kind])
    if "enum" in schema:
        choices.append(st.sampled_from(schema["enum"]))
    return st.one_of(choices) if choices else any_json


def _lists(items: Mapping[str, Any], depth: int) -> st.SearchStrategy[list[Any]]:
    if "object" in types_of(items):
        return st.lists(_values(items, depth - 1), max_size=2) if depth > 0 else st.just([])
    return st.lists(_values(items, depth), max_size=2)


def _free_form(schema: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    """Return what the server takes or sends where the generator sees JSON of any kind."""
    if schema.get("type") == "object":
        inside = schema.get("additionalProperties", {})
        return st.dictionaries(texts, _values(inside, depth - 1) if depth > 0 else st.none(), max_size=2)
    return _values(schema, depth)


def _objects(schema: Mapping[str, Any], depth: int) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        return st.dictionaries(texts, any_json, max_size=2)
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        if name in schema.get("required", ()):
            required[name] = _values(field, depth)
        else:
            optional[name] = st.none() | _values(field, depth)
    known = st.fixed_dictionaries(required, optional=optional)
    unknown = st.dictionaries(
        texts.filter(lambda name: name not in schema["properties"]), any_json, max_size=2
    )
    return st.builds(_merged, unknown, known)


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return first | second


def without_tolerated_nulls(schema: Mapping[str, Any], value: Any) -> Any:
    """Return a value without the nulls that count as absent: those of optional fields that allow none."""
    schema = resolved(schema)
    if isinstance(value, list) and "array" in types_of(schema):
        members = [member for member in schema.get("oneOf", [schema]) if "array" in types_of(member)]
        return [without_tolerated_nulls(members[0]["items"], item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    fields = schema["properties"]
    return {
        name: without_tolerated_nulls(fields[name], item) if name in fields else item
        for name, item in value.items()
        if item is not None or name not in fields or keeps_null(fields[name])
    }


@dataclass(frozen=True)
class Place:
    """Somewhere in a value that a type of the spec holds for.

    Attributes:
        path: The way there.
        schema: What should be there.
        null_is_wrong: Whether null is of a wrong type there, too.
        in_numbers: Whether it is an item of a list of numbers.
    """

    path: Way
    schema: Mapping[str, Any]
    null_is_wrong: bool
    in_numbers: bool = False

    def wrong_values(self) -> list[Any]:
        """Return a value of each JSON type that is wrong there."""
        right = types_of(self.schema)
        by_type: dict[str, Any] = {
            "string": "text",
            "boolean": True,
            "number": 1.5,
            "array": [],
            "object": {},
            "null": None,
        }
        if "integer" in right:
            by_type["integer"] = by_type["number"]
        if not self.null_is_wrong:
            del by_type["null"]
        if self.in_numbers:
            del by_type["boolean"]  # a number to Python; these lists are not looked at item by item
        return [value for kind, value in by_type.items() if kind not in right and kind != "integer"]


def places(schema: Mapping[str, Any], value: Any, path: Way = ()) -> Iterator[Place]:
    """Yield the typed places below a value."""
    schema = resolved(schema)
    if isinstance(value, list) and "array" in types_of(schema):
        members = [member for member in schema.get("oneOf", [schema]) if "array" in types_of(member)]
        items = members[0]["items"]
        for index, item in enumerate(value):
            if types_of(items):
                numbers = types_of(items) == frozenset(["number"])
                yield Place((*path, index), items, not keeps_null(items), numbers)
                yield from places(items, item, (*path, index))
    elif isinstance(value, dict) and "properties" in schema:
        for name, field in schema["properties"].items():
            if name in value and types_of(field):
                required = name in schema.get("required", ())
                yield Place((*path, name), field, required and not keeps_null(field))
                yield from places(field, value[name], (*path, name))


def required_fields(schema: Mapping[str, Any], value: Any, path: Way = ()) -> Iterator[tuple[Way, str]]:
    """Yield the way to every required field, and the name of the schema that requires it."""
    schema = resolved(schema)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from required_fields(schema["items"], item, (*path, index))
    elif isinstance(value, dict) and "properties" in schema:
        for name in schema.get("required", ()):
            yield (*path, name), name_of(schema)
        for name, field in schema["properties"].items():
            if name in value:
                yield from required_fields(field, value[name], (*path, name))


def parent_of(value: Any, path: Way) -> Any:
    """Return the object or list that the last step of a path leads out of."""
    for step in path[:-1]:
        value = value[step]
    return value
