"""What of a JSON Schema can be compared: types, null, fields, elements, closed sets of values.

Two schemas that say the same in different words (a named component or an inline object, `oneOf` or
a list of types, `nullable: true` or the type "null") have the same shape. Formats, bounds and
descriptions are not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from drift.document import CannotCompare, Node, is_mapping, is_sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from drift.document import Document

# A field in our spec that the compiled client takes as any JSON, so that plain dicts pass, says
# under this key what the server takes or sends.
EXACT_SCHEMA = "x-json-schema"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a schema allows.

    Attributes:
        home: Where the schema is written.
        references: The `$ref`s that led to it, which name it while walking through recursion.
        types: JSON types, without "null". Empty: any type, or null alone.
        null: Whether null is allowed.
        closed: The only values allowed, by JSON type. A type that is not a key is open.
        fields: Named fields of an object.
        required: Fields that are always there.
        elements: Schema of the elements of an array.
        values: Schema of every field of an object that has no name here (a map).
    """

    home: str
    references: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    null: bool = False
    closed: Mapping[str, frozenset[object]] = field(default_factory=dict[str, frozenset[object]])
    fields: Mapping[str, Node] = field(default_factory=dict[str, Node])
    required: frozenset[str] = frozenset()
    elements: Node | None = None
    values: Node | None = None

    @property
    def is_any(self) -> bool:
        """Whether any JSON is allowed."""
        return not self.types and not self.null

    @property
    def allows_object(self) -> bool:
        """Whether a JSON object is allowed."""
        return self.is_any or "object" in self.types

    @property
    def is_opaque(self) -> bool:
        """Whether nothing is said about the fields of an object."""
        return not self.fields and self.values is None

    @property
    def type_text(self) -> str:
        """The types, for a sentence: `string or array`."""
        if self.is_any:
            return "any JSON"
        return " or ".join(sorted(self.types)) or "null"


def json_type(value: object) -> str:
    """The JSON type of a decoded value: `integer` for whole numbers, else `number`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def shape_of(document: Document, node: Node, seen: frozenset[str] = frozenset()) -> Shape:
    """The shape of a schema.

    Args:
        document: Where its references lead.
        node: The schema.
        seen: References that are being followed already.

    Raises:
        CannotCompare: A reference leads nowhere or in a circle, or a part has the wrong form.
    """
    node, references = document.follow(node)
    if seen.intersection(references):
        raise CannotCompare(f"{document.name}: {node.home} is made of itself.")
    seen = seen.union(references)
    exact = node.schema.get(EXACT_SCHEMA)
    if is_mapping(exact):
        return shape_of(document, Node(exact, node.home), seen)
    shape = _own_shape(document, node, references)
    for part in _subschemas(document, node, "allOf"):
        shape = _both(shape, shape_of(document, part, seen))
    for keyword in ("oneOf", "anyOf"):
        branches = [shape_of(document, part, seen) for part in _subschemas(document, node, keyword)]
        if branches:
            shape = _both(shape, reduce(_either, branches))
    return shape


def _subschemas(document: Document, node: Node, keyword: str) -> list[Node]:
    parts = node.schema.get(keyword, [])
    home = f"{node.home}.{keyword}"
    if not is_sequence(parts):
        raise CannotCompare(f"{document.name}: {home} is not a list.")
    # A boolean schema says nothing about types or fields.
    return [
        Node(part if is_mapping(part) else {}, f"{home}.{position}") for position, part in enumerate(parts)
    ]


def _own_shape(document: Document, node: Node, references: Iterable[str]) -> Shape:
    """The shape that a schema has by its own keywords, `allOf` and its like left aside."""
    schema = node.schema
    declared = schema.get("type", [])
    types = {str(name) for name in (declared if is_sequence(declared) else [declared])}
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if not is_sequence(values):
        raise CannotCompare(f"{document.name}: {node.home}.enum is not a list.")
    closed: dict[str, frozenset[object]] = {}
    for value in values:
        if isinstance(value, (str, int, float)):
            closed[json_type(value)] = closed.get(json_type(value), frozenset()) | {value}
    if not types:
        types = {json_type(value) for value in values}
    if not types and ("properties" in schema or "additionalProperties" in schema):
        types = {"object"}
    if not types and "items" in schema:
        types = {"array"}
    null = "null" in types or None in values or (bool(types) and schema.get("nullable") is True)
    properties = schema.get("properties", {})
    if not is_mapping(properties):
        raise CannotCompare(f"{document.name}: {node.home}.properties is not a mapping.")
    home = f"{node.home}.properties"
    required = schema.get("required", [])
    elements = schema.get("items")
    rest = schema.get("additionalProperties")
    return Shape(
        home=node.home,
        references=frozenset(references),
        types=frozenset(types - {"null"}),
        null=null,
        closed=closed,
        fields={
            str(name): Node(part if is_mapping(part) else {}, f"{home}.{name}")
            for name, part in properties.items()
        },
        required=frozenset(str(name) for name in required) if is_sequence(required) else frozenset(),
        elements=Node(elements, f"{node.home}.items") if is_mapping(elements) else None,
        values=Node(rest, f"{node.home}.additionalProperties") if is_mapping(rest) else None,
    )


def _join(keyword: str) -> Callable[[Node | None, Node | None], Node | None]:
    """How to combine two schemas of which either may be absent."""

    def join(one: Node | None, other: Node | None) -> Node | None:
        if one is None or other is None:
            return one or other
        return Node({keyword: [one.schema, other.schema]}, one.home)

    return join


def _merge_fields(one: Shape, other: Shape, keyword: str) -> dict[str, Node]:
    join = _join(keyword)
    merged: dict[str, Node] = {}
    for name in (*one.fields, *other.fields):
        node = join(one.fields.get(name), other.fields.get(name))
        if node is not None:
            merged[name] = node
    return merged


def _either(one: Shape, other: Shape) -> Shape:
    """What one of two schemas allows: `oneOf` and `anyOf`."""
    join = _join("oneOf")
    closed = {
        name: one.closed.get(name, frozenset()) | other.closed.get(name, frozenset())
        for name in {*one.closed, *other.closed}
        # A set of values stays closed only where no branch allows the whole type.
        if not _is_open(one, name) and not _is_open(other, name)
    }
    objects = [shape.required for shape in (one, other) if shape.allows_object]
    any_type = one.is_any or other.is_any
    return Shape(
        home=one.home,
        references=one.references | other.references,
        types=frozenset() if any_type else one.types | other.types,
        null=not any_type and (one.null or other.null),
        closed=closed,
        fields=_merge_fields(one, other, "oneOf"),
        required=reduce(frozenset[str].intersection, objects) if objects else frozenset(),
        elements=join(one.elements, other.elements),
        values=join(one.values, other.values),
    )


def _is_open(shape: Shape, name: str) -> bool:
    return (shape.is_any or name in shape.types) and name not in shape.closed


def _both(one: Shape, other: Shape) -> Shape:
    """What two schemas allow together: `allOf`, and a schema beside its own `oneOf`."""
    join = _join("allOf")
    if one.is_any or other.is_any:
        types, null = one.types | other.types, one.null or other.null
    else:
        types, null = one.types & other.types, one.null and other.null
        if "integer" in one.types | other.types and "number" in one.types | other.types:
            types |= {"integer"}
    return Shape(
        home=one.home,
        references=one.references | other.references,
        types=types,
        null=null,
        closed={**one.closed, **other.closed},
        fields=_merge_fields(one, other, "allOf"),
        required=one.required | other.required,
        elements=join(one.elements, other.elements),
        values=join(one.values, other.values),
    )
