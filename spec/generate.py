"""Compile spec/ollama.yaml into generated/ollama_openapi: `tox -e generate`, or with `-- --check`.

The same input gives the same bytes on every machine: generator and formatter are pinned, no
configuration outside this folder is read, nothing is fetched.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib.metadata
import importlib.resources
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import openapi_python_client
from imports import import_problems
from openapi_python_client.config import Config, ConfigFile, MetaType
from openapi_python_client.parser.errors import GeneratorError, ParseError
from templates.edits import EDITS, GENERATOR_VERSION, Edit

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = Path(__file__).resolve().parent
PACKAGE = SPEC.parent / "generated" / "ollama_openapi"

#: The formatter's release. Every one formats differently: pin it exactly.
FORMATTER_VERSION = "0.17.6"
#: In this order: imports are laid out after the unused ones are gone.
FORMATTER_RUNS = (
    ("check", "--fix", "--select=F,UP"),
    ("check", "--fix", "--select=I"),
    ("format", "--line-length=110", "--config=format.skip-magic-trailing-comma=true"),
)
#: What stands together in no folder but a compiled package.
MARKS = ("py.typed", "ndjson.py", "reading.py", "types.py")
#: How many files a message lists.
MOST_NAMES = 5
ISOLATED = ("--isolated", "--no-cache", "--no-respect-gitignore", "--quiet", "--target-version=py311")


class GenerationError(Exception):
    """Generation cannot go on; the message says what to mend."""


def _refuse(what: str) -> NoReturn:
    raise GenerationError(
        f"not supported: {what}\n--- change the spec, or teach it to the templates in spec/templates/ours"
    )


def apply_edit(edit: Edit, text: str) -> str:
    """Return a template's text with one edit made.

    Raises:
        GenerationError: The text that the edit replaces is not there exactly once.
    """
    count = text.count(edit.old)
    if count == 1:
        return text.replace(edit.old, edit.new)
    raise GenerationError(
        f"the edit {edit.name!r} of {edit.template} no longer applies: its text stands there {count} times.\n"
        f"--- the edit replaces\n{edit.old}\n--- the template has (the most similar place)\n"
        f"{_most_similar(edit.old, text)}\n--- adapt it in spec/templates/edits.py"
    )


def _most_similar(old: str, text: str) -> str:
    lines, size = text.splitlines(), len(old.splitlines())
    places = ["\n".join(lines[start : start + size]) for start in range(max(1, len(lines) - size + 1))]
    matcher = difflib.SequenceMatcher(b=old, autojunk=False)

    def likeness(place: str) -> float:
        matcher.set_seq1(place)
        return matcher.ratio()

    return max(places, key=likeness)


def write_templates(folder: Path, edits: tuple[Edit, ...] = EDITS) -> None:
    """Fill a folder with our templates and with edited copies of the generator's.

    Raises:
        GenerationError: An edit does not apply.
    """
    shutil.copytree(SPEC / "templates", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    upstream = importlib.resources.files(openapi_python_client) / "templates"
    for template in sorted({edit.template for edit in edits}):
        text = (upstream / template).read_text(encoding="utf-8")
        for edit in edits:
            if edit.template == template:
                text = apply_edit(edit, text)
        (folder / template).write_text(text, encoding="utf-8")


def check_versions() -> None:
    """Refuse every release of the generator and the formatter but the pinned ones.

    Raises:
        GenerationError: Another one is installed.
    """
    pinned = {"openapi-python-client": GENERATOR_VERSION, "ruff": FORMATTER_VERSION}
    for name, needed in pinned.items():
        installed = importlib.metadata.version(name)
        if installed != needed:
            raise GenerationError(
                f"{name} {installed} is installed, {needed} is needed: run `tox -e generate`"
            )


def compile_spec(spec: Path, package: Path, templates: Path) -> None:
    """Run the generator, add the modules that do not depend on the spec, and format.

    Raises:
        GenerationError: The generator has an error or a warning, or what it made cannot work.
    """
    if not spec.is_file():
        raise GenerationError(f"there is no file {spec}")
    _run_generator(spec, package, templates)
    for module in sorted((SPEC / "runtime").glob("*.py")):
        shutil.copyfile(module, package / module.name)
    (package / "py.typed").touch()
    _format(package)
    if problems := import_problems(package):
        raise GenerationError(
            "what the spec compiles to could not be imported:\n" + "\n".join(problems) + "\n"
            "--- two schemas must not refer to each other: give one of the fields no type and x-json-schema"
        )


def _run_generator(spec: Path, package: Path, templates: Path) -> None:
    openapi_python_client.TEMPLATE_FILTERS["refuse"] = _refuse
    config = Config.from_sources(
        ConfigFile.load_from_path(SPEC / "generator.yaml"),
        meta_type=MetaType.NONE,
        document_source=spec,
        file_encoding="utf-8",
        overwrite=False,
        output_path=package,
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            problems = openapi_python_client.generate(config=config, custom_template_path=templates)
    except GenerationError:
        raise
    except Exception as error:
        # Whatever happens in there is no difference between two packages, which is what exit code 1 means.
        raise GenerationError(f"the generator failed on {spec}: {type(error).__name__}: {error}") from error
    if problems:
        shown = "\n".join(_shown(problem) for problem in problems)
        raise GenerationError(f"the generator is not content with {spec}:\n{shown}")


def _shown(problem: GeneratorError) -> str:
    text = f"{problem.level.value}: {problem.header.strip()}\n{(problem.detail or '').strip()}"
    if isinstance(problem, ParseError) and problem.data is not None:
        place = problem.data.model_dump_json(exclude_defaults=True, by_alias=True)
        text += f"\nin {place[:500]}"
    return text


def _format(package: Path) -> None:
    for arguments in FORMATTER_RUNS:
        done = subprocess.run(  # noqa: S603 - the pinned formatter, on a folder of our own
            [sys.executable, "-I", "-m", "ruff", *arguments, *ISOLATED, "."],
            cwd=package,
            env={},  # nor does any variable change what it does
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise GenerationError(
                f"ruff {arguments[0]} finds mistakes in what was generated:\n{done.stdout}{done.stderr}"
            )


def files_of(package: Path) -> dict[str, bytes]:
    """Return the content of every file of a package under its relative path, without caches.

    Raises:
        GenerationError: There is something else than a folder.
    """
    if package.exists() and not package.is_dir():
        raise GenerationError(f"{package} is no folder: --output names the folder of the package")
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in sorted(_files(package))}


def _files(package: Path) -> Iterator[Path]:
    return (
        path
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.relative_to(package).parts
    )


def difference(committed: dict[str, bytes], compiled: dict[str, bytes]) -> str:
    """Return a unified diff from what is committed to what the spec compiles to; empty when equal."""
    parts: list[str] = []
    for name in sorted(committed.keys() | compiled.keys()):
        if name not in compiled:
            parts.append(f"{name}: nothing compiles to this file")
        elif name not in committed:
            parts.append(f"{name}: not committed")
        elif committed[name] != compiled[name]:
            parts.append(f"{name}: differs")
        else:
            continue
        before, after = _lines(committed.get(name, b"")), _lines(compiled.get(name, b""))
        parts += difflib.unified_diff(before, after, f"committed/{name}", f"compiled/{name}", lineterm="")
    return "\n".join(parts)


def _lines(content: bytes) -> list[str]:
    # Line ends are shown where they are the difference, and bytes that are no text too.
    lines = content.decode("utf-8", errors="backslashreplace").split("\n")
    return [line.replace("\r", "\\r") for line in lines]


def refuse_other_folders(package: Path) -> None:
    """Refuse a folder that is neither empty nor a compiled package; no file in it is read.

    Raises:
        GenerationError: It holds something else.
    """
    missing = [name for name in MARKS if not (package / name).is_file()]
    if missing and any(True for _ in _files(package)):
        raise GenerationError(
            f"{package} is no compiled package (there is no {', no '.join(missing)}), and writing one there "
            "would empty it: name another folder, or remove this one yourself"
        )


def write_package(package: Path, compiled: dict[str, bytes]) -> None:
    """Make a folder hold exactly these files; what is right already is not touched.

    Raises:
        GenerationError: The folder holds something that is no compiled package, or no part of one.
    """
    refuse_other_folders(package)
    present = files_of(package)
    extra = sorted(present.keys() - compiled.keys())
    own = {"__init__.py", "py.typed", *(module.name for module in (SPEC / "runtime").glob("*.py"))}
    foreign = [name for name in extra if name not in own and not name.startswith(("api/", "models/"))]
    if foreign:
        raise GenerationError(
            f"{package} holds what is no part of a compiled package and would be removed: "
            f"{', '.join(foreign[:MOST_NAMES])}{', ...' if foreign[MOST_NAMES:] else ''}: "
            "move it away, or remove it yourself"
        )
    for name in extra:
        (package / name).unlink()
    for name, content in compiled.items():
        path = package / name
        if present.get(name) != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)
    for folder in sorted((path for path in package.rglob("*") if path.is_dir()), reverse=True):
        if not files_of(folder):
            shutil.rmtree(folder)
        else:
            folder.chmod(0o755)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done or equal, 1 a difference, 2 it could not be compiled."""
    parser = argparse.ArgumentParser(
        prog="tox -e generate --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 done, or no difference; 1 --check found one; 2 the spec could not be compiled",
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 with a diff if the package differs"
    )
    parser.add_argument(
        "--spec", type=Path, default=SPEC / "ollama.yaml", help="the OpenAPI file (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=PACKAGE, help="the package to write (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        check_versions()
        with tempfile.TemporaryDirectory() as folder:
            write_templates(Path(folder, "templates"))
            compile_spec(options.spec, Path(folder, PACKAGE.name), Path(folder, "templates"))
            compiled = files_of(Path(folder, PACKAGE.name))
        if not options.check:
            refuse_other_folders(options.output)
        found = difference(files_of(options.output), compiled)
        if not options.check:
            write_package(options.output, compiled)
    except GenerationError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"{where}{error.strerror or error}", file=sys.stderr)
        return 2
    if options.check:
        print(found or f"{options.output} is what {options.spec.name} compiles to")
        return 1 if found else 0
    print(f"{len(compiled)} files in {options.output}, {'changed' if found else 'unchanged'}")
    return 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale, the diff is shown
    sys.exit(main())
