"""An OpenAPI file as operations, with every `$ref` followed on demand.

Nothing here knows what a schema means (`shapes.py` does); this module finds the schemas and says
where each is written, so that a report can name the place to edit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeGuard

import yaml

if TYPE_CHECKING:
    from pathlib import Path

METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")


class CannotCompare(Exception):
    """There is nothing to compare with; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Node:
    """A schema and the place where it is written, such as `components.schemas.Message`."""

    schema: Mapping[str, object]
    home: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path, query or header."""

    required: bool
    node: Node


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        method: In capitals.
        path: As written, with the names of its parameters.
        home: Where it is written.
        parameters: By place and name, such as `("path", "digest")`.
        request: Schemas of the request body by content type.
        request_required: Whether a body must be sent.
        responses: Schemas of the response body by content type, by status (`200`, `4XX`,
            `default`). A response without a body has no content types.
    """

    method: str
    path: str
    home: str
    parameters: Mapping[tuple[str, str], Parameter] = field(default_factory=dict[tuple[str, str], Parameter])
    request: Mapping[str, Node] = field(default_factory=dict[str, Node])
    request_required: bool = False
    responses: Mapping[str, Mapping[str, Node]] = field(default_factory=dict[str, Mapping[str, Node]])

    @property
    def name(self) -> str:
        """The method and the path, as reports call it."""
        return f"{self.method} {self.path}"

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same operation in another file: parameter names do not count."""
        return self.method, re.sub(r"\{[^}]*\}", "{}", self.path)


def is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a value from YAML or JSON is an object."""
    return isinstance(value, Mapping)


def is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    """Whether a value from YAML or JSON is a list."""
    return isinstance(value, list)


def one_line(text: object) -> str:
    """The text without line ends, for messages."""
    return " ".join(str(text).split())


def read_yaml(path: Path) -> object:
    """The content of a YAML or JSON file.

    Raises:
        CannotCompare: The file cannot be read or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise CannotCompare(f"{path}: cannot be read: {one_line(reason)}.") from error
    # The C loader is ten times faster where PyYAML has it; both give the same values.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 (one of the two safe loaders, see above)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CannotCompare(f"{path}: is not YAML: {one_line(error)}.") from error


class Document:
    """An OpenAPI 3 document."""

    def __init__(self, root: object, name: str) -> None:
        """Check that it is an OpenAPI 3 document.

        Args:
            root: The decoded document.
            name: What messages call it.

        Raises:
            CannotCompare: It is not one.
        """
        self.name = name
        if not is_mapping(root) or "openapi" not in root:
            raise CannotCompare(f"{name}: is not an OpenAPI file: it has no `openapi` at its top level.")
        if not str(root["openapi"]).startswith("3."):
            raise CannotCompare(
                f"{name}: is OpenAPI {one_line(root['openapi'])}; only version 3 can be compared."
            )
        if not is_mapping(root.get("paths")):
            raise CannotCompare(f"{name}: has no `paths`: there is no operation to compare.")
        self.root = root

    @classmethod
    def load(cls, path: Path) -> Document:
        """Read a file.

        Raises:
            CannotCompare: The file cannot be read or is not an OpenAPI 3 document.
        """
        return cls(read_yaml(path), str(path))

    def follow(self, node: Node) -> tuple[Node, tuple[str, ...]]:
        """Follow `$ref` until there is none.

        Returns:
            The schema, and the references that led to it.

        Raises:
            CannotCompare: A reference leads nowhere, in a circle or out of the file.
        """
        followed: list[str] = []
        while "$ref" in node.schema:
            reference = node.schema["$ref"]
            if not isinstance(reference, str) or not reference.startswith("#/"):
                raise CannotCompare(
                    f"{self.name}: {node.home} refers to {one_line(reference)!r}, which is not in "
                    "this file; put the parts into one file first."
                )
            if reference in followed:
                raise CannotCompare(f"{self.name}: {reference} refers to itself.")
            followed.append(reference)
            target: object = self.root
            for part in reference[2:].split("/"):
                name = part.replace("~1", "/").replace("~0", "~")
                target = target.get(name) if is_mapping(target) else None
            if not is_mapping(target):
                raise CannotCompare(f"{self.name}: {node.home} refers to {reference}, which does not exist.")
            node = Node(target, reference[2:].replace("/", "."))
        return node, tuple(followed)

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Every operation, by `Operation.key`, in the order of the file.

        Raises:
            CannotCompare: A part of the document has the wrong form.
        """
        found: dict[tuple[str, str], Operation] = {}
        paths = self._mapping(self.root["paths"], "paths")
        for path in paths:
            item = self._follow_in(paths, path, "paths")
            shared = self._parameters(item)
            for method in METHODS:
                if method in item.schema:
                    operation = self._operation(item, method, str(path), shared)
                    found[operation.key] = operation
        return found

    def _mapping(self, value: object, home: str) -> Mapping[str, object]:
        if not is_mapping(value):
            raise CannotCompare(f"{self.name}: {home} is not a mapping.")
        return value

    def _follow_in(self, parent: Mapping[str, object], key: str, home: str) -> Node:
        home = f"{home}.{key}"
        return self.follow(Node(self._mapping(parent[key], home), home))[0]

    def _operation(
        self, item: Node, method: str, path: str, shared: Mapping[tuple[str, str], Parameter]
    ) -> Operation:
        home = f"paths.{path}.{method}"
        body = self._mapping(item.schema[method], home)
        request: Mapping[str, Node] = {}
        required = False
        if "requestBody" in body:
            node = self._follow_in(body, "requestBody", home)
            request = self._content(node)
            required = node.schema.get("required") is True
        responses: dict[str, Mapping[str, Node]] = {}
        declared = self._mapping(body.get("responses", {}), f"{home}.responses")
        for status in declared:
            node = self._follow_in(declared, status, f"{home}.responses")
            # YAML reads an unquoted status as a number.
            responses[str(status).upper() if status != "default" else status] = self._content(node)
        return Operation(
            method=method.upper(),
            path=path,
            home=home,
            parameters={**shared, **self._parameters(Node(body, home))},
            request=request,
            request_required=required,
            responses=responses,
        )

    def _parameters(self, owner: Node) -> dict[tuple[str, str], Parameter]:
        declared = owner.schema.get("parameters", [])
        if not is_sequence(declared):
            raise CannotCompare(f"{self.name}: {owner.home}.parameters is not a list.")
        found: dict[tuple[str, str], Parameter] = {}
        for position, entry in enumerate(declared):
            home = f"{owner.home}.parameters.{position}"
            node = self.follow(Node(self._mapping(entry, home), home))[0]
            schema = self._mapping(node.schema.get("schema", {}), f"{node.home}.schema")
            place = (str(node.schema.get("in", "")), str(node.schema.get("name", "")))
            found[place] = Parameter(
                required=node.schema.get("required") is True,
                node=Node(schema, f"{node.home}.schema"),
            )
        return found

    def _content(self, owner: Node) -> dict[str, Node]:
        home = f"{owner.home}.content"
        content = self._mapping(owner.schema.get("content", {}), home)
        found: dict[str, Node] = {}
        for media_type in content:
            entry = self._follow_in(content, media_type, home)
            schema = entry.schema.get("schema", {})
            home_of_schema = f"{entry.home}.schema"
            # A boolean schema allows everything or nothing; neither has fields to compare.
            found[str(media_type)] = Node(schema if is_mapping(schema) else {}, home_of_schema)
        return found
