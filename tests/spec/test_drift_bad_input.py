"""The drift check when there is nothing to compare with: exit code 2 and one line that says why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from drift_runs import THEIRS, UPSTREAM, assert_one_line

if TYPE_CHECKING:
    from pathlib import Path

    from drift_runs import Drift, Tree


def without(tree: Tree, *names: str) -> Tree:
    return {name: value for name, value in tree.items() if name not in names}


def referring(reference: object) -> Tree:
    content = {"application/json": {"schema": {"$ref": reference}}}
    responses = {"200": {"description": "", "content": content}}
    return {
        "openapi": "3.1.0",
        "paths": {"/api/tags": {"get": {"responses": responses}}},
        "components": {
            "schemas": {
                "Loop": {"$ref": "#/components/schemas/Loop"},
                "Knot": {"allOf": [{"$ref": "#/components/schemas/Knot"}]},
            }
        },
    }


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "not UTF-8": (b"openapi: \xff\xfe", "not text in UTF-8"),
    "not YAML": (b"openapi: [3.1.0\npaths: {}", "is not YAML"),
    "empty": (b"", "is not an OpenAPI file"),
    "a list": (b"[1, 2]", "is not an OpenAPI file"),
    "HTML": (b"<!doctype html><title>404</title>", "is not an OpenAPI file"),
    "other YAML": (b"services: {ollama: {image: ollama}}", "is not an OpenAPI file"),
    "OpenAPI 2": (b"openapi: 2.0\npaths: {}", "only version 3"),
    "no paths": (json.dumps(without(THEIRS, "paths")).encode(), "has no `paths`"),
    "paths is a list": (b"openapi: 3.1.0\npaths: []", "has no `paths`"),
    "operation is a text": (
        b"openapi: 3.1.0\npaths: {/api/tags: {get: later}}",
        "paths./api/tags.get is not a mapping",
    ),
    "parameters is a mapping": (
        b"openapi: 3.1.0\npaths: {/api/tags: {get: {parameters: {a: b}}}}",
        "paths./api/tags.get.parameters is not a list",
    ),
    "reference to nowhere": (
        json.dumps(referring("#/components/schemas/Gone")).encode(),
        "refers to #/components/schemas/Gone, which does not exist",
    ),
    "reference to another file": (
        json.dumps(referring("schemas.yaml#/Tags")).encode(),
        "'schemas.yaml#/Tags', which is not in this file",
    ),
    "reference to itself": (
        json.dumps(referring("#/components/schemas/Loop")).encode(),
        "#/components/schemas/Loop refers to itself",
    ),
    "schema made of itself": (
        json.dumps(referring("#/components/schemas/Knot")).encode(),
        "components.schemas.Knot is made of itself",
    ),
}


@pytest.mark.parametrize(("content", "reason"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_be_compared_is_said_in_one_line(
    content: bytes, reason: str, drift: Drift, tmp_path: Path
) -> None:
    path = tmp_path / "openapi.yaml"
    path.write_bytes(content)
    assert_one_line(drift(path), str(path), reason)


def test_a_file_that_is_not_there_is_said_in_one_line(drift: Drift, tmp_path: Path) -> None:
    assert_one_line(drift(tmp_path / "none.yaml"), "none.yaml", "No such file")
    assert_one_line(drift(tmp_path), str(tmp_path), "cannot be read")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("file: {}", "has no list `file`"),
        ("- reason: x", "has no list `file`"),
        ("file: [x]", "entry 1 of `file` is not a mapping"),
        ("file: [{differences: [a]}]", "has no `reason`"),
        ("file: [{reason: ' ', differences: [a]}]", "has no `reason`"),
        ("file: [{reason: x}]", "names no difference"),
        ("file: [{reason: x, differences: a}]", "`differences` is not a list"),
        ("file: [{reason: x, differences: [1]}]", "`differences` is not a list of names"),
        ("file: [{reason: x, patterns: [a]}]", "`patterns` is not a mapping"),
        ("file: [{reason: x, patterns: {a: many}}]", "'a' needs the number"),
        ("file: [{reason: x, pattern: {a: 1}}]", "has 'pattern', which means nothing"),
        ("file: [{reason: x, before: 1.0, differences: [a]}]", "has `before`"),
        ("file: [{reason: x, differences: [a, a]}]", "'a' is listed twice"),
    ],
)
def test_a_list_of_known_differences_that_is_not_complete_is_said_in_one_line(
    content: str, reason: str, drift: Drift, tmp_path: Path
) -> None:
    path = tmp_path / "known.yaml"
    path.write_text(content, encoding="utf-8")
    assert_one_line(drift(UPSTREAM, "--known", path), str(path), reason)
