"""A JSON value and a schema -> what the schema does not know, requires in vain, or has wrong.

Stricter than JSON Schema in one way, which is the point: a field that no schema names is a problem,
since it is how an API grows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drift.document import is_mapping, is_sequence
from drift.shapes import json_type, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drift.difference import Kind, Side
    from drift.document import Document, Node
    from drift.shapes import Shape

_EXAMPLE_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a value that its schema does not allow.

    Attributes:
        path: Where in the value, such as `.models[].details`; empty for the whole.
        what: What is wrong, without the value itself, so that it stays the same.
        kind: What sort of thing is wrong.
        side: "upstream" where the value has something that the schema lacks.
        home: The place in the document that it is about.
        example: The value, shortened.
    """

    path: str
    what: str
    kind: Kind
    side: Side
    home: str
    example: str


def check(document: Document, node: Node, value: object, path: str = "") -> Iterator[Problem]:
    """Find the problems of a value, each as often as it occurs.

    Args:
        document: The document that the schema is part of.
        node: The schema.
        value: What JSON was decoded to.
        path: Where the value stands in a larger one.

    Raises:
        CannotCompare: The document is broken where the walk comes by.
    """
    shape = shape_of(document, node)
    found = json_type(value)
    if not _has_type(shape, found):
        expected = " or ".join(filter(None, [shape.type_text, "null" if shape.null else ""]))
        what = f"{found}, but our spec says {expected}"
        yield Problem(path, what, "type", "both", shape.home, _example(value))
        return
    allowed = shape.closed.get(found)
    if allowed is not None and value not in allowed:
        what = "a value that our spec does not list"
        yield Problem(path, what, "enum", "upstream", shape.home, _example(value))
    if is_mapping(value):
        yield from _check_object(document, shape, value, path)
    elif is_sequence(value) and shape.elements is not None:
        for element in value:
            yield from check(document, shape.elements, element, f"{path}[]")


def _check_object(document: Document, shape: Shape, value: object, path: str) -> Iterator[Problem]:
    if not is_mapping(value) or shape.is_opaque:
        return
    for name in shape.fields:
        if name in shape.required and name not in value:
            what = "missing, but our spec requires it"
            home = f"{shape.home}.required"
            yield Problem(f"{path}.{name}", what, "required", "here", home, "")
    for name, part in value.items():
        if name in shape.fields:
            yield from check(document, shape.fields[name], part, f"{path}.{name}")
        elif shape.values is not None:
            yield from check(document, shape.values, part, f"{path}{{}}")
        else:
            home = f"{shape.home}.properties"
            detail = f"{json_type(part)}, such as {_example(part)}"
            yield Problem(f"{path}.{name}", "not in our spec", "field", "upstream", home, detail)


def _has_type(shape: Shape, found: str) -> bool:
    if shape.is_any:
        return True
    if found == "null":
        return shape.null
    return found in shape.types or (found == "integer" and "number" in shape.types)


def _example(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _EXAMPLE_LENGTH else f"{text[:_EXAMPLE_LENGTH]}..."
