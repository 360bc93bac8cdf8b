"""Compiling the spec: the same bytes everywhere, and a clear stop where it cannot be done."""

from __future__ import annotations

import ast
import copy
import functools
import importlib.metadata
import json
import os
import socket
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import generate
import pytest
from imports import import_problems
from templates.edits import EDITS, GENERATOR_VERSION, Edit

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = generate.files_of(generate.PACKAGE)

#: The smallest spec that compiles.
SMALL: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Small", "version": "1"},
    "paths": {
        "/things": {
            "post": {
                "tags": ["things"],
                "operationId": "make_thing",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                },
                "responses": {
                    "200": {
                        "description": "made",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    }
                },
            }
        }
    },
    "components": {
        "schemas": {
            "Thing": {"type": "object", "properties": {"name": {"type": "string"}}},
            "ErrorResponse": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}},
            },
        }
    },
}

Tree = dict[str, Any]


def operation(tree: Tree) -> Tree:
    """Return the one operation of the small spec."""
    found: Tree = tree["paths"]["/things"]["post"]
    return found


def schemas(tree: Tree) -> Tree:
    """Return the schemas of the small spec."""
    found: Tree = tree["components"]["schemas"]
    return found


def thing_with(**properties: Any) -> Callable[[Tree], None]:
    """Return a change that gives the schema Thing other properties."""

    def change(tree: Tree) -> None:
        schemas(tree)["Thing"]["properties"] = properties

    return change


def answer_with(**media_types: Any) -> Callable[[Tree], None]:
    """Return a change of what the operation answers; "json" is `application/json`."""

    def change(tree: Tree) -> None:
        operation(tree)["responses"]["200"]["content"] = {
            f"application/{name.replace('_', '-')}": {"schema": schema}
            for name, schema in media_types.items()
        }

    return change


def written(tree: Any, folder: Path) -> Path:
    """Write a spec and return its path."""
    path = folder / "spec.yaml"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def small(change: Callable[[Tree], object], folder: Path) -> Path:
    """Write the small spec with one change and return its path."""
    tree = copy.deepcopy(SMALL)
    change(tree)
    return written(tree, folder)


def command(
    *arguments: object, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command as tox does, in an environment of its own."""
    return subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(ROOT / "spec" / "generate.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | (env or {}),
        **options,
    )


# -- the same bytes


def test_what_is_committed_is_what_the_spec_compiles_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0
    assert "is what ollama.yaml compiles to" in capsys.readouterr().out


def test_nothing_around_changes_what_is_compiled(tmp_path: Path) -> None:
    hostile = {
        "ruff.toml": 'line-length = 40\nexclude = ["*"]\n[format]\nquote-style = "single"\n',
        "pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.8"\n[tool.ruff]\nline-length = 50\n',
        ".gitignore": "*\n",
        ".ignore": "*.py\n",
        "types.py": "raise SystemExit(3)\n",
        "httpx.py": "raise SystemExit(3)\n",
    }
    temporary, output = tmp_path / "temporary", tmp_path / "output"
    for folder in (tmp_path, temporary, output):
        folder.mkdir(exist_ok=True)
        for name, text in hostile.items():
            (folder / name).write_text(text, encoding="utf-8")
    (tmp_path / ".git").mkdir()

    done = command(
        "--output",
        output / "package",
        cwd=output,
        umask=0o077,
        env={
            "TMPDIR": str(temporary),
            "RUFF_OUTPUT_FILE": "client.py",
            "RUFF_OUTPUT_FORMAT": "json",
            "PYTHONHASHSEED": "12345",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "LC_ALL": "C",
            "TZ": "Asia/Kathmandu",
        },
    )

    assert done.returncode == 0, done.stderr
    assert generate.files_of(output / "package") == COMMITTED
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (output / "package").rglob("*")}
    assert modes == {0o644, 0o755}
    assert {path.name for path in temporary.iterdir()} == set(hostile)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a socket was opened")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert generate.main(["--check"]) == 0


def test_the_pins_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = project["dependency-groups"]["generate"]
    assert f"openapi-python-client=={GENERATOR_VERSION}" in pins
    assert f"ruff=={generate.FORMATTER_VERSION}" in pins


@pytest.mark.parametrize("name", ["openapi-python-client", "ruff"])
def test_another_release_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.metadata.version

    def version(asked: str) -> str:
        return "9.9.9" if asked == name else real(asked)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert generate.main(["--check"]) == 2
    assert f"{name} 9.9.9 is installed" in capsys.readouterr().err


# -- edits


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_says_why_and_replaces_its_text(edit: Edit) -> None:
    assert edit.why.endswith(".")
    assert generate.apply_edit(edit, f"before {edit.old} after") == f"before {edit.new} after"


def test_the_edits_have_different_names() -> None:
    assert len({edit.name for edit in EDITS}) == len(EDITS)


@pytest.mark.parametrize("times", [0, 2])
def test_an_edit_that_does_not_apply_names_itself_and_shows_both_texts(times: int) -> None:
    edit = Edit(name="some-edit", template="t.jinja", why="", old="a line\nof two", new="")
    text = "first\n" + edit.old * times + "\na lime\nof two\nlast"

    with pytest.raises(generate.GenerationError) as caught:
        generate.apply_edit(edit, text)

    message = str(caught.value)
    assert (
        f"the edit 'some-edit' of t.jinja no longer applies: its text stands there {times} times" in message
    )
    assert "a line\nof two" in message
    assert times or "a lime\nof two" in message
    assert "spec/templates/edits.py" in message


def test_an_edit_that_does_not_apply_stops_generation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = "@_attrs_define(slots=True)\nclass {{ class_name }}(Base):\n"
    stale = Edit(name="stale", template="model.py.jinja", why="", old=old, new="")
    monkeypatch.setattr(
        generate, "write_templates", functools.partial(generate.write_templates, edits=(*EDITS, stale))
    )
    assert generate.main(["--output", str(tmp_path / "package")]) == 2
    error = capsys.readouterr().err
    assert "the edit 'stale' of model.py.jinja" in error
    assert old in error
    assert "class {{ class_name }}(Model):" in error
    assert not (tmp_path / "package").exists()


# -- what cannot be compiled


def _second_operation(tree: Tree) -> None:
    tree["paths"]["/other"] = copy.deepcopy(tree["paths"]["/things"])


def _circle(tree: Tree) -> None:
    thing_with(other={"$ref": "#/components/schemas/Other"})(tree)
    schemas(tree)["Other"] = {
        "type": "object",
        "properties": {"back": {"$ref": "#/components/schemas/Thing"}},
    }


def _two_answers(tree: Tree) -> None:
    operation(tree)["responses"]["201"] = {"description": "made before"}


def _other_error(tree: Tree) -> None:
    operation(tree)["responses"]["4XX"] = operation(tree)["responses"]["200"]


def _parameter(where: str, **schema: Any) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        operation(tree)["parameters"] = [
            {"name": "p", "in": where, "required": where == "path", "schema": schema or {"type": "string"}}
        ]
        if where == "path":
            tree["paths"] = {"/things/{p}": tree["paths"]["/things"]}

    return change


REF = {"$ref": "#/components/schemas/Thing"}

BAD: dict[str, tuple[Callable[[Tree], object], str]] = {
    "no info": (lambda tree: tree.pop("info"), "Failed to parse OpenAPI document"),
    "no version of OpenAPI": (lambda tree: tree.pop("openapi"), "Failed to parse OpenAPI document"),
    "a swagger file": (lambda tree: tree.update(swagger="2.0", openapi=None), "Swagger"),
    "a reference to nothing": (thing_with(a={"$ref": "#/components/schemas/Nothing"}), "schemas/Nothing"),
    "a reference to another file": (
        thing_with(a={"$ref": "http://localhost/x.yaml#/X"}),
        "Remote references",
    ),
    "a required field that is not there": (
        lambda tree: schemas(tree)["Thing"].update(required=["nane"]),
        "`required` names `nane`",
    ),
    "const": (thing_with(a={"const": "x"}), "Thing.a: the type Literal['x']"),
    "a time": (
        thing_with(a={"type": "string", "format": "date-time"}),
        "Thing.a: the type datetime.datetime",
    ),
    "a uuid in a list": (
        thing_with(a={"type": "array", "items": {"type": "string", "format": "uuid"}}),
        "Thing.a: the type UUID",
    ),
    "an enum of numbers": (
        lambda tree: (
            schemas(tree).update(Level={"type": "integer", "enum": [1, 2]}),
            thing_with(a={"$ref": "#/components/schemas/Level"})(tree),
        ),
        "Thing.a: an enum of anything but strings",
    ),
    "a field that would hide a method": (thing_with(to_dict={"type": "string"}), "a field called to_dict"),
    "typed additional properties": (
        lambda tree: schemas(tree)["Thing"].update(additionalProperties={"type": "string"}),
        "Thing: typed `additionalProperties`",
    ),
    "schemas in a circle": (_circle, "models/other.py -> models/thing.py"),
    "two operations of one name": (_second_operation, "two operations named make_thing with the tag things"),
    "a query parameter": (_parameter("query"), "POST /things: query parameters"),
    "a header parameter": (_parameter("header"), "POST /things: header parameters"),
    "a cookie parameter": (_parameter("cookie"), "POST /things: cookie parameters"),
    "a path parameter that is no string": (
        _parameter("path", type="integer"),
        "POST /things/{p}: the path parameter p, which is no string",
    ),
    "a body that may be left out": (
        lambda tree: operation(tree)["requestBody"].pop("required"),
        "POST /things: a body without `required: true`",
    ),
    "a body in two forms": (
        lambda tree: operation(tree)["requestBody"]["content"].update(
            {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        ),
        "POST /things: several content types",
    ),
    "a body that is a list": (
        lambda tree: operation(tree)["requestBody"].update(
            content={"application/json": {"schema": {"type": "array", "items": REF}}}
        ),
        "POST /things: a JSON body that is no object schema",
    ),
    "a form": (
        lambda tree: operation(tree)["requestBody"].update(
            content={"application/x-www-form-urlencoded": {"schema": REF}}
        ),
        "POST /things: a body of the type application/x-www-form-urlencoded",
    ),
    "a body of an unknown kind": (
        lambda tree: operation(tree)["requestBody"].update(content={"application/xml": {"schema": REF}}),
        "Unsupported content type application/xml",
    ),
    "two kinds of success": (_two_answers, "POST /things: 2XX responses of different types"),
    "no success": (
        lambda tree: operation(tree).update(responses={"default": {"description": "?"}}),
        "POST /things: no 2XX response that can be read",
    ),
    "another error body": (_other_error, "POST /things: an error body other than ErrorResponse"),
    "an answer in bytes": (
        answer_with(octet_stream={"type": "string", "format": "binary"}),
        "POST /things: the type File",
    ),
    "only NDJSON": (
        answer_with(x_ndjson=REF),
        "POST /things: no 2XX response that can be read (NDJSON needs JSON",
    ),
    "NDJSON of no schema of its own": (
        answer_with(json=REF, x_ndjson={"type": "object"}),
        "POST /things: NDJSON whose lines are no object schema",
    ),
    "NDJSON of nothing": (
        answer_with(json=REF, x_ndjson={"$ref": "#/components/schemas/Nothing"}),
        "POST /things: NDJSON whose lines are no object schema",
    ),
    "NDJSON of text": (
        lambda tree: (
            schemas(tree).update(Word={"type": "string"}),
            answer_with(json=REF, x_ndjson={"$ref": "#/components/schemas/Word"})(tree),
        ),
        "POST /things: NDJSON whose lines are no object schema",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_compiled_stops_with_its_place(
    change: Callable[[Tree], object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, output = small(change, tmp_path), tmp_path / "package"

    assert generate.main(["--spec", str(spec), "--output", str(output)]) == 2

    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not output.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the generator failed on"),
        (b"- a list", "Failed to parse OpenAPI document"),
        (b"just text", "the generator"),
        (b"a: [", "Invalid YAML"),
        (b"openapi: 3.1.0\nopenapi: 3.1.0\n", "Invalid YAML"),
        (b"\xff\xfe\x00", "the generator"),
    ],
)
def test_what_is_no_spec_is_refused(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_bytes(content)
    assert generate.main(["--spec", str(spec), "--output", str(tmp_path / "package")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(spec) in error


@pytest.mark.parametrize("name", ["nothing.yaml", "."])
def test_a_spec_that_is_no_file_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check", "--spec", str(tmp_path / name)]) == 2
    assert f"there is no file {tmp_path / name}" in capsys.readouterr().err


def test_a_mistake_in_a_template_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(folder: Path) -> None:
        real(folder)
        (folder / "api_init.py.jinja").write_text("print(undefined_name)", encoding="utf-8")

    real = generate.write_templates
    monkeypatch.setattr(generate, "write_templates", write)
    assert generate.main(["--output", str(tmp_path / "package")]) == 2
    assert "undefined_name" in capsys.readouterr().err


# -- imports that cannot work


def test_imports_are_followed_without_importing(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .gone import Gone\n",
        "a.py": "from . import b, no\nfrom .b import CONSTANT, function, Class, more\nfrom .lost import x\n",
        "b.py": "CONSTANT: int = 1\nplain = 2\ndef function(): ...\nclass Class: ...\n",
        "inside/__init__.py": "from .deep import Deep\nfrom ..b import plain\n",
        "inside/deep.py": "from ..circle import there\nDeep = 1\n",
        "circle.py": "import os\nif os:\n    from .inside.deep import Deep\nthere = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    assert sorted(import_problems(tmp_path)) == [
        "a.py imports b.more, which is not there",
        "a.py imports lost.x, which is not there",
        "a.py imports no, which is not there",
        "these modules import each other: circle.py -> inside/deep.py -> circle.py",
    ]


# -- --check


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of what is committed."""
    folder = tmp_path / "ollama_openapi"
    generate.write_package(folder, COMMITTED)
    return folder


def _append(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes() + text)


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "changed": (
        _append(b"# by hand\n"),
        ["client.py: differs", "--- committed/client.py", "+++ compiled/client.py", "-# by hand"],
    ),
    "one more empty line": (_append(b"\n"), ["client.py: differs"]),
    "no newline at the end": (
        lambda path: path.write_bytes(path.read_bytes().removesuffix(b"\n")),
        ["client.py: differs"],
    ),
    "other line ends": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")),
        ["client.py: differs", "\\r"],
    ),
    "no text": (lambda path: path.write_bytes(b"\xff\x00"), ["client.py: differs", "-\\xff"]),
    "missing": (lambda path: path.unlink(), ["client.py: not committed", "+class Client:"]),
    "extra": (
        lambda path: (path.parent / "models" / "more.py").write_text("x = 1\n"),
        ["models/more.py: nothing compiles to this file", "-x = 1"],
    ),
    "an empty one extra": (
        lambda path: (path.parent / "api" / "more.py").touch(),
        ["api/more.py: nothing compiles to this file"],
    ),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_any_difference_is_shown_and_can_be_repaired(
    change: Callable[[Path], object], expected: list[str], package: Path
) -> None:
    change(package / "client.py")

    shown = generate.difference(generate.files_of(package), COMMITTED)
    for part in expected:
        assert part in shown

    generate.write_package(package, COMMITTED)
    assert generate.files_of(package) == COMMITTED


def test_check_shows_the_difference_and_generation_repairs_it(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _append(b"# by hand\n")(package / "client.py")
    before = generate.files_of(package)

    assert generate.main(["--check", "--output", str(package)]) == 1
    assert "-# by hand" in capsys.readouterr().out
    assert generate.files_of(package) == before

    assert generate.main(["--output", str(package)]) == 0
    assert generate.files_of(package) == COMMITTED
    assert capsys.readouterr().out.endswith(", changed\n")


def test_check_of_nothing_shows_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check", "--output", str(tmp_path / "nothing")]) == 1
    shown = capsys.readouterr().out
    assert all(f"{name}: not committed" in shown for name in COMMITTED)
    assert not (tmp_path / "nothing").exists()


def test_check_can_be_read_in_any_locale(package: Path) -> None:
    (package / "more.py").write_text("# \N{SNOWMAN}\n", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = command("--check", "--output", package, env=ascii_only)
    assert done.returncode == 1, done.stderr
    assert "-# \\u2603" in done.stdout


def test_caches_are_no_difference(package: Path) -> None:
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "client.cpython-311.pyc").write_bytes(b"x")
    assert generate.difference(generate.files_of(package), COMMITTED) == ""


def test_a_file_that_is_right_is_not_written_again(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    assert generate.main(["--output", str(package)]) == 0
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before
    assert capsys.readouterr().out.endswith(", unchanged\n")


def test_a_folder_left_empty_goes_away(package: Path) -> None:
    (package / "api" / "old").mkdir()
    (package / "api" / "old" / "operation.py").touch()
    generate.write_package(package, COMMITTED)
    assert not (package / "api" / "old").exists()


def test_a_folder_with_something_else_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    assert generate.main(["--output", str(tmp_path)]) == 2
    assert "is no compiled package" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_typed_package_of_somebody_elses_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"py.typed", "client.py", "precious.py"}
    for name in others:
        (tmp_path / name).write_text("precious", encoding="utf-8")
    assert generate.main(["--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path} is no compiled package (there is no ndjson.py, no reading.py, no types.py)" in error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(others, "precious")


@pytest.mark.parametrize("mark", ["py.typed", "ndjson.py", "reading.py", "types.py"])
def test_a_package_without_one_of_its_marks_is_shown_but_not_written(
    mark: str, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / mark).unlink()
    before = generate.files_of(package)

    assert f"{mark}: not committed" in generate.difference(before, COMMITTED)
    assert generate.main(["--output", str(package)]) == 2

    assert f"there is no {mark})" in capsys.readouterr().err
    assert generate.files_of(package) == before


@pytest.mark.parametrize("name", ["precious.py", "notes/precious.md", ".git/HEAD", "api.py"])
def test_a_file_that_is_no_part_of_a_package_is_not_removed(
    name: str, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text("precious", encoding="utf-8")
    _append(b"# by hand\n")(package / "client.py")
    (package / "models" / "old.py").touch()
    before = generate.files_of(package)

    assert generate.main(["--output", str(package)]) == 2

    assert f"would be removed: {name}: move it away" in capsys.readouterr().err
    assert generate.files_of(package) == before


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_an_output_that_is_a_file_is_said_in_one_line(
    check: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "package"
    output.write_text("precious", encoding="utf-8")
    assert generate.main([*check, "--output", str(output)]) == 2
    assert capsys.readouterr().err == f"{output} is no folder: --output names the folder of the package\n"
    assert output.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("name", ["file/package", "n" * 300])
def test_an_output_that_cannot_be_written_is_said_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert generate.main(["--output", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(str(tmp_path))
    assert error.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_an_output_under_proc_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--output", "/proc/no-such-folder/package"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("/proc/no-such-folder")
    assert error.count("\n") == 1


def test_the_exit_codes_are_those_of_the_command(package: Path, tmp_path: Path) -> None:
    assert command("--check", "--output", package).returncode == 0
    assert command("--check", "--output", tmp_path / "none").returncode == 1
    assert command("--check", "--spec", tmp_path / "none").returncode == 2
    assert command("--no-such-option").returncode == 2


# -- what is compiled


def _awkward(tree: Tree) -> None:
    texts = [
        'ends with a quote"',
        'three """ of them',
        r"C:\new\x \N{DASH} \u12",
        "é" * 120,
        "line\n\nline",
        "",
    ]
    thing_with(
        **{f"field{number}": {"type": "string", "description": text} for number, text in enumerate(texts)},
        **{
            "class": {"type": "string"},
            "a-b": {"type": ["string", "null"]},
            "me": {"$ref": "#/components/schemas/Thing"},
            "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
            "names": {"type": "array", "items": {"type": ["string", "null"]}},
            "mixed": {"oneOf": [REF, {"type": "array", "items": REF}, {"type": "null"}]},
            'quo"te': {"type": "boolean"},
        },
    )(tree)
    schemas(tree)["Thing"]["description"] = 'A thing. It says "' + " word" * 60 + ' and """ ends with "'
    operation(tree)["summary"] = 'Make """one"""'
    operation(tree)["description"] = "\\ " + " word" * 60
    answer_with(json=REF, x_ndjson=REF)(tree)


def test_awkward_names_and_texts_compile_to_a_package_that_works(tmp_path: Path) -> None:
    package = tmp_path / "awkward"
    assert generate.main(["--spec", str(small(_awkward, tmp_path)), "--output", str(package)]) == 0
    for name, content in generate.files_of(package).items():
        if name.endswith(".py"):
            assert ast.get_docstring(ast.parse(content)), name
    code = """
        from awkward.api.things import make_thing
        from awkward.errors import InvalidBody
        from awkward.models import Thing
        value = {
            "class": "x", "a-b": None, 'quo"te': True, "me": {"class": "y"}, "grid": [[1], []],
            "names": ["n", None], "mixed": [{"class": "z"}], "new": None,
        }
        thing = Thing.from_dict(value)
        assert thing.to_dict() == value, thing
        assert thing.class_ == "x" and thing.a_b is None and thing.me.class_ == "y"
        assert Thing.from_dict({"mixed": None}).mixed is None
        assert make_thing.build_request(body=thing).path == "/things"
        for wrong, where in [
            ({"grid": [[1], ["x"]]}, "grid[1][0]"), ({"names": [1]}, "names[0]"), ({"mixed": 1}, "mixed"),
            ({"mixed": [{"class": 1}]}, "mixed[0].class"), ({"me": {"a-b": 1}}, "me.a-b"),
        ]:
            try:
                Thing.from_dict(wrong)
            except InvalidBody as error:
                assert error.where == where, error
            else:
                raise SystemExit(f"{wrong} was taken")
    """
    done = subprocess.run(  # noqa: S603 - what was just compiled
        [sys.executable, "-W", "error", "-c", "if True:" + code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_compiled_fits_its_line_length() -> None:
    for name, content in COMMITTED.items():
        for line in content.decode().splitlines():
            assert len(line) <= 110, (name, line)
