"""The drift check on two files: what it finds and what it lets pass."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from drift.cli import main
from drift.compare import compare
from drift.document import Document
from drift_runs import OURS, ROOT, THEIRS, UPSTREAM, schemas
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

    from drift_runs import Drift, Edit, Plant, Tree


def test_upstreams_file_differs_from_ours_by_exactly_the_known_list(
    drift: Drift,
) -> None:
    run = drift(UPSTREAM, "--json")
    assert (run.new, run.stale, run.code) == ([], {}, 0)
    assert all(difference["reason"] for difference in run.report["known"])
    assert run.err == ""


def test_the_check_runs_as_a_command_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "spec" / "drift"), str(UPSTREAM)]
    run = subprocess.run(  # noqa: S603 (our own tool)
        command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "0 new differences" in run.stdout


def test_help_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "known one is gone" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["file.yaml", "--server", "http://127.0.0.1:1"],
        ["--server", "http://127.0.0.1:1", "--max-models", "-1"],
        ["--server", "http://127.0.0.1:1", "--max-models", "many"],
        ["--server", "http://127.0.0.1:1", "--timeout", "0"],
        ["--server", "http://127.0.0.1:1", "--timeout", "soon"],
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


# Each change of upstream's file, by what it is, with the new differences that it must cause.
CHANGES_UPSTREAM: dict[str, tuple[Edit, set[str]]] = {
    "operation added": (
        lambda t: t["paths"].update({"/api/new": {"get": {"responses": {}}}}),
        {"GET /api/new: not in our spec"},
    ),
    "method added to a path": (
        lambda t: t["paths"]["/api/ps"].update(delete={"responses": {}}),
        {"DELETE /api/ps: not in our spec"},
    ),
    "operation removed": (
        lambda t: t["paths"].pop("/api/version"),
        {"GET /api/version: missing upstream"},
    ),
    "parameter added": (
        lambda t: t["paths"]["/api/tags"]["get"].update(
            parameters=[{"name": "limit", "in": "query", "schema": {"type": "integer"}}]
        ),
        {"GET /api/tags query parameter limit: not in our spec"},
    ),
    "parameter added to a path, by reference": (
        lambda t: t["paths"]["/api/tags"].update(
            parameters=[{"$ref": "#/components/parameters/DigestParam"}]
        ),
        {"GET /api/tags path parameter digest: not in our spec"},
    ),
    "request field added": (
        lambda t: schemas(t)["ChatRequest"]["properties"].update(mood={"type": "string"}),
        {"POST /api/chat request.mood: not in our spec"},
    ),
    "request field added at depth": (
        lambda t: schemas(t)["ToolCall"]["properties"]["function"]["properties"].update(x={}),
        {
            "POST /api/chat request.messages[].tool_calls[].function.x: not in our spec",
            "POST /api/chat response.message.tool_calls[].function.x: not in our spec",
            "POST /api/chat stream.message.tool_calls[].function.x: not in our spec",
            "POST /api/create request.messages[].tool_calls[].function.x: not in our spec",
        },
    ),
    "request field removed": (
        lambda t: schemas(t)["GenerateRequest"]["properties"].pop("suffix"),
        {"POST /api/generate request.suffix: missing upstream"},
    ),
    "request field removed at depth": (
        lambda t: schemas(t)["ChatMessage"]["properties"].pop("images"),
        {
            "POST /api/chat request.messages[].images: missing upstream",
            "POST /api/create request.messages[].images: missing upstream",
        },
    ),
    "response field added at depth": (
        lambda t: schemas(t)["ModelSummary"]["properties"]["details"]["properties"].update(
            license={"type": "string"}
        ),
        {"GET /api/tags response.models[].details.license: not in our spec"},
    ),
    "response field removed": (
        lambda t: schemas(t)["ShowResponse"]["properties"].pop("template"),
        {"POST /api/show response.template: missing upstream"},
    ),
    "field of an untyped object described": (
        lambda t: schemas(t)["ShowResponse"]["properties"]["model_info"].update(
            properties={"arch": {"type": "string"}}
        ),
        {"POST /api/show response.model_info: its fields are not described in our spec"},
    ),
    "stream field added": (
        lambda t: schemas(t)["StatusEvent"]["properties"].update(eta={"type": "integer"}),
        {
            "POST /api/pull stream.eta: not in our spec",
            "POST /api/push stream.eta: not in our spec",
            "POST /api/create stream.eta: not in our spec",
        },
    ),
    "stream field added at depth": (
        lambda t: schemas(t)["ChatStreamEvent"]["properties"]["message"]["properties"].update(
            audio={"type": "string"}
        ),
        {"POST /api/chat stream.message.audio: not in our spec"},
    ),
    "stream field removed": (
        lambda t: schemas(t)["GenerateStreamEvent"]["properties"].pop("thinking"),
        {"POST /api/generate stream.thinking: missing upstream"},
    ),
    "type changed": (
        lambda t: schemas(t)["EmbedRequest"]["properties"]["dimensions"].update(type="string"),
        {"POST /api/embed request.dimensions: integer here, string upstream"},
    ),
    "type of elements changed": (
        lambda t: schemas(t)["EmbedResponse"]["properties"]["embeddings"]["items"]["items"].update(
            type="integer"
        ),
        {"POST /api/embed response.embeddings[][]: number here, integer upstream"},
    ),
    "type becomes null": (
        lambda t: schemas(t)["CopyRequest"]["properties"].update(source={"type": "null"}),
        {
            "POST /api/copy request.source: string here, null upstream",
            "POST /api/copy request.source: null allowed upstream only",
        },
    ),
    "type opened": (
        lambda t: schemas(t)["CopyRequest"]["properties"].update(source=True),
        {"POST /api/copy request.source: string here, any JSON upstream"},
    ),
    "request field becomes required": (
        lambda t: schemas(t)["GenerateRequest"]["required"].append("prompt"),
        {"POST /api/generate request.prompt: optional here, required upstream"},
    ),
    "request field becomes optional": (
        lambda t: schemas(t)["CopyRequest"]["required"].remove("destination"),
        {"POST /api/copy request.destination: required here, optional upstream"},
    ),
    "request body becomes optional": (
        lambda t: t["paths"]["/api/copy"]["post"]["requestBody"].pop("required"),
        {"POST /api/copy request: required here, optional upstream"},
    ),
    "enum value added": (
        lambda t: schemas(t)["ChatRequest"]["properties"]["think"]["oneOf"][1]["enum"].append("x"),
        {'POST /api/chat request.think: value "x" not in our spec'},
    ),
    "enum value removed": (
        lambda t: schemas(t)["ChatMessage"]["properties"]["role"]["enum"].remove("tool"),
        {
            'POST /api/chat request.messages[].role: value "tool" missing upstream',
            'POST /api/create request.messages[].role: value "tool" missing upstream',
        },
    ),
    "enum opened": (
        lambda t: schemas(t)["ChatMessage"]["properties"]["role"].pop("enum"),
        {
            f"POST {path} request.messages[].role: "
            'only "assistant", "system", "tool", "user" here, any string upstream'
            for path in ("/api/chat", "/api/create")
        },
    ),
    "response field closed": (
        lambda t: schemas(t)["ShowResponse"]["properties"]["capabilities"]["items"].update(enum=["tools"]),
        {'POST /api/show response.capabilities[]: any string here, only "tools" upstream'},
    ),
    "null allowed": (
        lambda t: schemas(t)["ModelSummary"]["properties"]["size"].update(type=["integer", "null"]),
        {"GET /api/tags response.models[].size: null allowed upstream only"},
    ),
    "null allowed, in the words of OpenAPI 3.0": (
        lambda t: schemas(t)["ModelSummary"]["properties"]["size"].update(nullable=True),
        {"GET /api/tags response.models[].size: null allowed upstream only"},
    ),
    "content type added": (
        lambda t: t["paths"]["/api/ps"]["get"]["responses"]["200"]["content"].update(
            {"text/csv": {"schema": {"type": "string"}}}
        ),
        {"GET /api/ps response (text/csv): not in our spec"},
    ),
    "stream removed": (
        lambda t: t["paths"]["/api/chat"]["post"]["responses"]["200"]["content"].pop("application/x-ndjson"),
        {"POST /api/chat stream: missing upstream"},
    ),
    "status added": (
        lambda t: t["paths"]["/api/pull"]["post"]["responses"].update({"202": {}}),
        {"POST /api/pull status 202: not in our spec"},
    ),
    "status removed": (
        lambda t: t["paths"]["/api/copy"]["post"]["responses"].pop("200"),
        {"POST /api/copy status 200: missing upstream"},
    ),
}


@pytest.mark.parametrize(("edit", "expected"), CHANGES_UPSTREAM.values(), ids=CHANGES_UPSTREAM)
def test_a_change_of_upstreams_file_is_seen(edit: Edit, expected: set[str], plant: Plant) -> None:
    run = plant(upstream=edit)
    assert set(run.new) == expected
    assert run.code == 1


# Each change of our own spec, which is the other direction.
CHANGES_HERE: dict[str, tuple[Edit, set[str]]] = {
    "operation removed": (
        lambda t: t["paths"].pop("/api/copy"),
        {"POST /api/copy: not in our spec"},
    ),
    "operation added": (
        lambda t: t["paths"].update({"/api/new": {"get": {"responses": {}}}}),
        {"GET /api/new: missing upstream"},
    ),
    "parameter added": (
        lambda t: t["paths"]["/api/tags"]["get"].update(
            parameters=[{"name": "limit", "in": "query", "schema": {"type": "integer"}}]
        ),
        {"GET /api/tags query parameter limit: missing upstream"},
    ),
    "request field removed": (
        lambda t: schemas(t)["Message"]["properties"].pop("images"),
        {
            "POST /api/chat request.messages[].images: not in our spec",
            "POST /api/create request.messages[].images: not in our spec",
        },
    ),
    "response field removed": (
        lambda t: schemas(t)["ModelDetails"]["properties"].pop("family"),
        {"GET /api/tags response.models[].details.family: not in our spec"},
    ),
    "stream field removed": (
        lambda t: schemas(t)["ChatChunk"]["properties"].pop("done"),
        {"POST /api/chat stream.done: not in our spec"},
    ),
    "stream field added": (
        lambda t: schemas(t)["GenerateChunk"]["properties"].update(audio={"type": "string"}),
        {"POST /api/generate stream.audio: missing upstream"},
    ),
    "type changed": (
        lambda t: schemas(t)["ListModelResponse"]["properties"]["size"].update(type="number"),
        {"GET /api/tags response.models[].size: number here, integer upstream"},
    ),
    "type that only the check reads changed": (
        lambda t: schemas(t)["ToolCallFunction"]["properties"]["arguments"]["x-json-schema"].update(
            type="string"
        ),
        {
            f"POST {place}.tool_calls[].function.arguments: string here, object upstream"
            for place in (
                "/api/chat request.messages[]",
                "/api/chat response.message",
                "/api/chat stream.message",
                "/api/create request.messages[]",
            )
        },
    ),
    "null allowed": (
        lambda t: schemas(t)["EmbedResponse"]["properties"]["embeddings"].update(type=["array", "null"]),
        {"POST /api/embed response.embeddings: null allowed here only"},
    ),
}


@pytest.mark.parametrize(("edit", "expected"), CHANGES_HERE.values(), ids=CHANGES_HERE)
def test_a_change_of_our_spec_is_seen(edit: Edit, expected: set[str], plant: Plant) -> None:
    run = plant(ours=edit)
    assert set(run.new) == expected
    assert run.code == 1


def test_a_known_difference_that_is_gone_is_reported(plant: Plant) -> None:
    run = plant(
        upstream=lambda t: schemas(t)["GenerateRequest"]["properties"].update(template={"type": "string"})
    )
    assert run.new == []
    assert run.stale == {"POST /api/generate request.template: missing upstream": "is gone"}
    assert run.code == 1


def test_a_pattern_that_covers_fewer_differences_than_listed_is_reported(
    plant: Plant,
) -> None:
    error = {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}
    response = {"description": "", "content": {"application/json": error}}
    run = plant(upstream=lambda t: t["paths"]["/api/copy"]["post"]["responses"].update({"404": response}))
    assert run.stale == {"* status 4XX: missing upstream": "covers 11 differences, not 12"}
    # A single status is compared with the range of ours that holds it.
    assert "POST /api/copy 404 response.signin_url: missing upstream" in run.new
    assert run.code == 1


def test_a_default_response_stands_for_every_failure(plant: Plant) -> None:
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    response = {"description": "", "content": {"application/json": {"schema": error}}}
    run = plant(upstream=lambda t: t["paths"]["/api/copy"]["post"]["responses"].update(default=response))
    assert set(run.stale) == {"* status 4XX: missing upstream", "* status 5XX: missing upstream"}
    assert set(run.new) == {
        f"POST /api/copy default response.{name}: missing upstream"
        for name in ("signin_url", "StatusCode", "Status")
    }


def test_a_status_is_compared_with_the_same_status_rather_than_with_its_range(plant: Plant) -> None:
    text = {"description": "", "content": {"application/json": {"schema": {"type": "string"}}}}

    def declare(tree: Tree) -> None:
        tree["paths"]["/api/copy"]["post"]["responses"]["404"] = text

    run = plant(ours=declare, upstream=declare)
    assert run.new == []


def test_whether_a_parameter_is_required_is_compared(plant: Plant) -> None:
    def declare(tree: Tree, *, required: bool) -> None:
        parameter = {"name": "limit", "in": "query", "required": required, "schema": {}}
        tree["paths"]["/api/tags"]["get"]["parameters"] = [parameter]

    run = plant(ours=lambda t: declare(t, required=True), upstream=lambda t: declare(t, required=False))
    assert run.new == ["GET /api/tags query parameter limit: required here, optional upstream"]


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"oneOf": [{"type": "string", "enum": ["a"]}, TEXT]}, TEXT),
        ({"anyOf": [TEXT, {"type": "null"}]}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": True}, {"type": ["null", "string"]}),
        ({"oneOf": [{}, {"type": "null"}]}, {}),
        ({"oneOf": [True, TEXT]}, {}),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, {"type": "integer"}),
        ({"allOf": [TEXT]}, TEXT),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"items": TEXT}, {"type": "array", "items": TEXT}),
        ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}}),
        (
            {"oneOf": [{"type": "array", "items": TEXT}, {"type": "array", "items": {"type": "number"}}]},
            {"type": "array", "items": {"type": ["string", "number"]}},
        ),
        (
            {"oneOf": [{"properties": {"a": TEXT}, "required": ["a"]}, {"properties": {"b": TEXT}}]},
            {"type": "object", "properties": {"a": TEXT, "b": TEXT}},
        ),
    ],
)
def test_other_words_for_the_same_are_no_difference(one: object, other: object) -> None:
    def answering(schema: object) -> Document:
        content = {"application/json": {"schema": schema}}
        responses = {"200": {"description": "", "content": content}}
        paths = {"/api/tags": {"get": {"responses": responses}}}
        return Document({"openapi": "3.1.0", "paths": paths}, "it")

    assert compare(answering(one), answering(other)) == []
    assert compare(answering(other), answering(one)) == []


def test_names_of_schemas_and_of_path_parameters_do_not_matter(plant: Plant) -> None:
    def rename(tree: Tree) -> None:
        text = json.dumps(tree).replace("/ChatRequest", "/Question")
        tree.clear()
        tree.update(json.loads(text))
        schemas(tree)["Question"] = schemas(tree).pop("ChatRequest")

    assert plant(upstream=rename).code == 0
    digest = {"name": "sum", "in": "path", "required": True, "schema": {"type": "string"}}
    run = plant(
        upstream=lambda t: t["paths"].update(
            {"/api/blobs/{sum}": {"head": {"parameters": [digest], "responses": {"200": {}}}}}
        )
    )
    assert "HEAD /api/blobs/{digest}: missing upstream" in run.stale
    assert "HEAD /api/blobs/{sum}: not in our spec" not in run.new


def test_schemas_that_hold_themselves_are_compared_once_through(plant: Plant) -> None:
    def describe_tools(tree: Tree) -> None:
        schemas(tree)["Property"] = {
            "type": "object",
            "properties": {
                "type": {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}]},
                "anyOf": {"type": "array", "items": {"$ref": "#/components/schemas/Property"}},
            },
        }
        function = schemas(tree)["ToolDefinition"]["properties"]["function"]
        function["properties"]["parameters"] = {
            "type": "object",
            "properties": {
                "properties": {
                    "additionalProperties": {"$ref": "#/components/schemas/Property"},
                }
            },
        }

    new = plant(upstream=describe_tools).new
    place = "POST /api/chat request.tools[].function.parameters.properties{}"
    assert f"{place}.enum: missing upstream" in new
    assert f"{place}.type[]: string here, any JSON upstream" in new
    assert not [name for name in new if "anyOf[].anyOf[]" in name]


def test_all_of_is_read_as_one_schema(plant: Plant) -> None:
    def split(tree: Tree) -> None:
        whole = schemas(tree)["CopyRequest"]
        schemas(tree)["CopyRequest"] = {
            "allOf": [
                {"type": "object", "properties": {"source": whole["properties"]["source"]}},
                {"properties": {"destination": whole["properties"]["destination"]}},
            ],
            "required": whole["required"],
        }

    assert plant(upstream=split).code == 0


def test_routes_of_other_vendors_are_left_out_and_named(plant: Plant) -> None:
    run = plant(upstream=lambda t: t["paths"].update({"/v1/models": {"get": {"responses": {"200": {}}}}}))
    assert run.code == 0
    assert run.report["notes"] == ["Out of scope and not compared: GET /v1/models."]


def test_the_text_report_says_where_to_edit(drift: Drift, tmp_path: Path) -> None:
    theirs = copy.deepcopy(THEIRS)
    mood = {"type": "string", "description": "How to sound."}
    schemas(theirs)["ChatRequest"]["properties"].update(mood=mood)
    schemas(theirs)["GenerateRequest"]["properties"].update(template={"type": "string"})
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(theirs), encoding="utf-8")
    run = drift(path)
    assert run.code == 1
    assert "POST /api/chat request.mood: not in our spec" in run.out
    assert "(string; How to sound.)" in run.out
    assert "`components.schemas.ChatRequest.properties` in spec/ollama.yaml" in run.out
    assert "POST /api/generate request.template: missing upstream\n      is gone." in run.out
    assert "Delete it from spec/known-differences.yaml" in run.out
    assert "GET /api/status" not in run.out
    everything = drift(path, "--all").out
    assert "GET /api/status: missing upstream\n      The server has these routes" in everything


def test_a_document_does_not_differ_from_itself() -> None:
    for tree in (OURS, THEIRS):
        document = Document(tree, "it")
        assert compare(document, document) == []


FIELDS = [
    (schema, name) for schema, content in schemas(OURS).items() for name in content.get("properties", {})
]


@settings(deadline=None)  # a busy machine is no failure
@given(st.sampled_from(FIELDS))
def test_every_field_of_our_spec_is_compared(field_of: tuple[str, str]) -> None:
    schema, name = field_of
    other = copy.deepcopy(OURS)
    del schemas(other)[schema]["properties"][name]
    ours, less = Document(OURS, "ours"), Document(other, "less")
    missing = [difference.name for difference in compare(ours, less)]
    unknown = [difference.name for difference in compare(less, ours)]
    assert any(text.endswith((f".{name}: missing upstream", "described upstream")) for text in missing)
    assert any(text.endswith((f".{name}: not in our spec", "in our spec")) for text in unknown)
