"""Two OpenAPI documents -> how they differ, in both directions.

The walk starts at the operations and goes through `$ref`s, so it does not matter what a schema is
called or whether it has a name at all. Where one side lacks a thing, that is one difference; what
would be inside it is not listed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from drift.difference import Difference
from drift.document import one_line
from drift.shapes import shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drift.difference import Kind, Side
    from drift.document import Document, Node, Operation
    from drift.shapes import Shape

MISSING_UPSTREAM = "missing upstream"
NOT_IN_OUR_SPEC = "not in our spec"

# Our spec is about Ollama's own routes; those that imitate other vendors are out of its scope.
FOREIGN_PREFIX = "/v1/"

# How bodies are called in a report, by content type; any other goes by its content type.
_REQUEST_NAMES = {"application/json": "request"}
_RESPONSE_NAMES = {"application/json": "response", "application/x-ndjson": "stream"}

_Trail = frozenset[tuple[frozenset[str], frozenset[str]]]


def foreign_operations(document: Document) -> list[str]:
    """Operations that are not compared because they are out of our spec's scope."""
    return [
        operation.name
        for operation in document.operations().values()
        if operation.path.startswith(FOREIGN_PREFIX)
    ]


def compare(ours: Document, upstream: Document) -> list[Difference]:
    """Every difference, each once, in the order of our spec, then of the other file.

    Raises:
        CannotCompare: One of the documents is broken where the walk comes by.
    """
    return list(dict.fromkeys(_Comparison(ours, upstream).differences()))


class _Comparison:
    def __init__(self, ours: Document, upstream: Document) -> None:
        self.ours = ours
        self.upstream = upstream

    def differences(self) -> Iterator[Difference]:
        here = self.ours.operations()
        there = self.upstream.operations()
        for key, operation in here.items():
            if key in there:
                yield from self._operation(operation, there[key])
            else:
                yield _missing(operation.name, "operation", operation.home)
        for key, operation in there.items():
            if key not in here and not operation.path.startswith(FOREIGN_PREFIX):
                yield _unknown(operation.name, "operation", "paths")

    def _operation(self, here: Operation, there: Operation) -> Iterator[Difference]:
        yield from self._parameters(here, there)
        yield from self._bodies(
            (here.name, f"{here.home}.requestBody"), _REQUEST_NAMES, here.request, there.request
        )
        if here.request and there.request and here.request_required != there.request_required:
            yield _required(f"{here.name} request", f"{here.home}.requestBody", here=here.request_required)
        yield from self._responses(here, there)

    def _parameters(self, here: Operation, there: Operation) -> Iterator[Difference]:
        for place, parameter in here.parameters.items():
            where = f"{here.name} {place[0]} parameter {place[1]}"
            home = f"{here.home}.parameters"
            if place not in there.parameters:
                yield _missing(where, "parameter", home)
                continue
            other = there.parameters[place]
            if parameter.required != other.required:
                yield _required(where, home, here=parameter.required)
            yield from self._schemas(where, parameter.node, other.node)
        for place in there.parameters:
            if place not in here.parameters:
                where = f"{here.name} {place[0]} parameter {place[1]}"
                yield _unknown(where, "parameter", f"{here.home}.parameters")

    def _responses(self, here: Operation, there: Operation) -> Iterator[Difference]:
        """Compare statuses; a single status and a range that holds it belong together."""
        homes = f"{here.home}.responses"
        compared: set[tuple[str, str]] = set()
        for status in here.responses:
            partners = [other for other in there.responses if _overlap(status, other)]
            if not partners:
                yield _missing(f"{here.name} status {status}", "status", f"{homes}.{status}")
            compared.update((status, other) for other in partners)
        for other in there.responses:
            if not any(_overlap(status, other) for status in here.responses):
                yield _unknown(f"{here.name} status {other}", "status", homes)
        for status, other in sorted(compared):
            if status != other and (other, other) in compared:
                continue  # the exact status is there as well and says more than the range
            where = here.name if status == "200" else f"{here.name} {other}"
            yield from self._bodies(
                (where, f"{homes}.{status}"),
                _RESPONSE_NAMES,
                here.responses[status],
                there.responses[other],
            )

    def _bodies(
        self,
        place: tuple[str, str],
        names: Mapping[str, str],
        here: Mapping[str, Node],
        there: Mapping[str, Node],
    ) -> Iterator[Difference]:
        prefix, home = place
        body = "request" if names is _REQUEST_NAMES else "response"
        for media_type, node in here.items():
            where = f"{prefix} {names.get(media_type, f'{body} ({media_type})')}"
            if media_type in there:
                yield from self._schemas(where, node, there[media_type])
            else:
                yield _missing(where, "body", home)
        for media_type in there:
            if media_type not in here:
                where = f"{prefix} {names.get(media_type, f'{body} ({media_type})')}"
                yield _unknown(where, "body", home)

    def _schemas(
        self, where: str, here: Node, there: Node, trail: _Trail = frozenset()
    ) -> Iterator[Difference]:
        one = shape_of(self.ours, here)
        other = shape_of(self.upstream, there)
        if one.references and other.references:
            step = (one.references, other.references)
            if step in trail:
                return  # a schema that holds itself; one round has said everything
            trail |= {step}
        yield from _types(where, one, other)
        yield from _enums(where, one, other)
        if one.allows_object and other.allows_object:
            yield from self._fields(where, one, other, trail)
        for suffix, mine, theirs in (
            ("[]", one.elements, other.elements),
            ("{}", one.values, other.values),
        ):
            if mine is not None and theirs is not None:
                yield from self._schemas(f"{where}{suffix}", mine, theirs, trail)

    def _fields(self, where: str, one: Shape, other: Shape, trail: _Trail) -> Iterator[Difference]:
        if other.is_opaque and not one.is_opaque:
            yield Difference(where, "its fields are not described upstream", "fields", "here", one.home)
            return
        if one.is_opaque and not other.is_opaque:
            yield Difference(
                where,
                "its fields are not described in our spec",
                "fields",
                "upstream",
                one.home,
                _listing(other.fields),
            )
            return
        for name, node in one.fields.items():
            inner = f"{where}.{name}"
            if name not in other.fields:
                yield _missing(inner, "field", f"{one.home}.properties.{name}")
                continue
            if (name in one.required) != (name in other.required):
                yield _required(inner, f"{one.home}.required", here=name in one.required)
            yield from self._schemas(inner, node, other.fields[name], trail)
        for name, node in other.fields.items():
            if name not in one.fields:
                shape = shape_of(self.upstream, node)
                detail = f"{shape.type_text}; {_description(self.upstream, node)}".rstrip("; ")
                yield _unknown(f"{where}.{name}", "field", f"{one.home}.properties", detail)


def _types(where: str, one: Shape, other: Shape) -> Iterator[Difference]:
    if one.types != other.types or one.is_any != other.is_any:
        what = f"{one.type_text} here, {other.type_text} upstream"
        yield Difference(where, what, "type", "both", one.home)
    # Any JSON includes null, which is then part of the difference of types.
    if one.null != other.null and not one.is_any and not other.is_any:
        what = "null allowed here only" if one.null else "null allowed upstream only"
        yield Difference(where, what, "null", "here" if one.null else "upstream", one.home)


def _enums(where: str, one: Shape, other: Shape) -> Iterator[Difference]:
    for name in sorted(one.types & other.types):
        mine, theirs = one.closed.get(name), other.closed.get(name)
        if mine is None and theirs is not None:
            what = f"any {name} here, only {_listing(theirs)} upstream"
            yield Difference(where, what, "enum", "here", one.home)
        elif theirs is None and mine is not None:
            what = f"only {_listing(mine)} here, any {name} upstream"
            yield Difference(where, what, "enum", "upstream", one.home)
        elif mine is not None and theirs is not None:
            for value in _sorted(mine - theirs):
                what = f"value {json.dumps(value)} {MISSING_UPSTREAM}"
                yield Difference(where, what, "enum", "here", one.home)
            for value in _sorted(theirs - mine):
                what = f"value {json.dumps(value)} {NOT_IN_OUR_SPEC}"
                yield Difference(where, what, "enum", "upstream", one.home)


def _overlap(status: str, other: str) -> bool:
    """Whether two statuses mean the same responses: `404` and `4XX`, or `default` and any error."""
    if "default" in {status, other}:
        return not (other if status == "default" else status).startswith("2")
    return all(mine == theirs or "X" in {mine, theirs} for mine, theirs in zip(status, other, strict=False))


def _sorted(values: frozenset[object]) -> list[object]:
    return sorted(values, key=json.dumps)


def _listing(values: Mapping[str, Node] | frozenset[object]) -> str:
    if isinstance(values, frozenset):
        return ", ".join(json.dumps(value) for value in _sorted(values))
    return ", ".join(values)


def _description(document: Document, node: Node) -> str:
    text = one_line(node.schema.get("description", document.follow(node)[0].schema.get("description", "")))
    limit = 120
    return text if len(text) <= limit else f"{text[:limit]}..."


def _missing(where: str, kind: Kind, home: str) -> Difference:
    return Difference(where, MISSING_UPSTREAM, kind, "here", home)


def _unknown(where: str, kind: Kind, home: str, detail: str = "") -> Difference:
    return Difference(where, NOT_IN_OUR_SPEC, kind, "upstream", home, detail)


def _required(where: str, home: str, *, here: bool) -> Difference:
    what = "required here, optional upstream" if here else "optional here, required upstream"
    side: Side = "here" if here else "upstream"
    return Difference(where, what, "required", side, home)
