"""The operations of the generated package, found through the spec, with the smallest arguments of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ollama_openapi import File, models
from schema_values import SCHEMAS, SPEC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN = {"string": "x", "array": [], "object": {}}
_BLOB = b"some bytes"


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        method: In capitals.
        path: As the spec has it, with placeholders.
        tag: The package that its module is in.
        name: Its operationId, which is the name of its module.
        module: That module.
        answer: The schema of its body in JSON: a name, "text", or "" for none.
        chunk: The name of the schema of a line of its stream, or "".
        error: Whether its failures have a body.
    """

    method: str
    path: str
    tag: str
    name: str
    module: Any
    request: str
    answer: str
    chunk: str
    error: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """The smallest arguments of its functions."""
        given: dict[str, Any] = {name: f"sha256:{name}" for name in self.path_parameters.values()}
        if self.request == "binary":
            given["body"] = File(_BLOB)
        elif self.request:
            given["body"] = getattr(models, self.request)(**smallest(self.request))
        return given

    @property
    def path_parameters(self) -> Mapping[str, str]:
        """The name of each placeholder, and of the argument for it."""
        names = re.findall(r"{(\w+)}", self.path)
        return {name: re.sub(r"(?=[A-Z])", "_", name).lower() for name in names}

    @property
    def sent_path(self) -> str:
        """The path that goes out with the smallest arguments."""
        path = self.path
        for name, argument in self.path_parameters.items():
            path = path.replace("{" + name + "}", f"sha256:{argument}")
        return path

    @property
    def sent_body(self) -> Any:
        """The body that goes out with the smallest arguments: bytes, or decoded JSON."""
        if self.request == "binary":
            return _BLOB
        if not self.request:
            return b""
        return smallest(self.request) | ({"stream": False} if self.chunk else {})

    def fits(self, method: str, path: str) -> bool:
        """Return whether a request is one for this operation."""
        return method == self.method and bool(re.fullmatch(re.sub(r"{\w+}", "[^/]+", self.path), path))


def smallest(schema: str) -> dict[str, Any]:
    """Return a JSON object with the required fields only."""
    value: dict[str, Any] = {}
    for name in SCHEMAS[schema].get("required", ()):
        field = SCHEMAS[schema]["properties"][name]
        if "$ref" in field:
            target = field["$ref"].rsplit("/", 1)[-1]
            value[name] = smallest(target) if SCHEMAS[target]["type"] == "object" else "user"
        else:
            kind = field.get("type", "object")
            value[name] = _PLAIN.get(kind if isinstance(kind, str) else kind[0], 1)
            if kind == "boolean":
                value[name] = True
    return value


def _schema_in(content: Mapping[str, Any], media_type: str) -> str:
    schema = content.get(media_type, {}).get("schema", {})
    return str(schema["$ref"].rsplit("/", 1)[-1]) if "$ref" in schema else ""


def _operations() -> Iterator[Operation]:
    for path, item in SPEC["paths"].items():
        for method, operation in item.items():
            name, tag = operation["operationId"], operation["tags"][0]
            content = operation.get("requestBody", {}).get("content", {})
            answers = operation["responses"]["200"].get("content", {})
            failure = operation["responses"]["4XX"]["$ref"].rsplit("/", 1)[-1]
            yield Operation(
                method=method.upper(),
                path=path,
                tag=tag,
                name=name,
                module=import_module(f"ollama_openapi.api.{tag}.{name}"),
                request="binary"
                if "application/octet-stream" in content
                else _schema_in(content, "application/json"),
                answer="text" if "text/plain" in answers else _schema_in(answers, "application/json"),
                chunk=_schema_in(answers, "application/x-ndjson"),
                error="content" in SPEC["components"]["responses"][failure],
            )


OPERATIONS = list(_operations())
