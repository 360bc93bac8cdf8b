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
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import openapi_python_client
from openapi_python_client.config import Config, ConfigFile, MetaType
from templates.edits import EDITS, GENERATOR_VERSION, Edit

SPEC = Path(__file__).resolve().parent
PACKAGE = SPEC.parent / "generated" / "ollama_openapi"
RUFF_CHECK = ("check", "--fix-only", "--select=F,I,UP")
RUFF_ALWAYS = ("--isolated", "--no-cache", "--quiet", "--target-version=py311")
LINE_LENGTH = "--line-length=110"


class GenerationError(Exception):
    """Generation cannot go on; the message says what to mend."""


def _refuse(what: str) -> NoReturn:
    raise GenerationError(f"spec/templates/ours does not support this: {what}")


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
    """Fill a folder with our templates and with edited copies of the generator's."""
    shutil.copytree(SPEC / "templates", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    upstream = importlib.resources.files(openapi_python_client) / "templates"
    for template in sorted({edit.template for edit in edits}):
        text = (upstream / template).read_text(encoding="utf-8")
        for edit in edits:
            if edit.template == template:
                text = apply_edit(edit, text)
        (folder / template).write_text(text, encoding="utf-8")


def compile_spec(spec: Path, package: Path, templates: Path) -> None:
    """Run the generator and the formatter; any warning of the generator is an error."""
    installed = importlib.metadata.version("openapi-python-client")
    if installed != GENERATOR_VERSION:
        raise GenerationError(
            f"openapi-python-client {installed} is installed, {GENERATOR_VERSION} is needed: "
            "run `tox -e generate`"
        )
    openapi_python_client.TEMPLATE_FILTERS["refuse"] = _refuse
    config = Config.from_sources(
        ConfigFile.load_from_path(SPEC / "generator.yaml"),
        meta_type=MetaType.NONE,
        document_source=spec,
        file_encoding="utf-8",
        overwrite=False,
        output_path=package,
    )
    with contextlib.redirect_stdout(sys.stderr):
        problems = openapi_python_client.generate(config=config, custom_template_path=templates)
    if problems:
        lines = [f"{problem.level.value}: {problem.header}\n{problem.detail or ''}" for problem in problems]
        raise GenerationError("the generator is not content with the spec:\n" + "\n".join(lines))
    for module in sorted((SPEC / "runtime").glob("*.py")):
        shutil.copyfile(module, package / module.name)
    (package / "py.typed").write_text("", encoding="utf-8")
    _format(package)


def _format(package: Path) -> None:
    for arguments in (RUFF_CHECK, ("format", LINE_LENGTH)):
        done = subprocess.run(  # noqa: S603 - the pinned formatter, on a folder of our own
            [sys.executable, "-m", "ruff", *arguments, *RUFF_ALWAYS, "."],
            cwd=package,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise GenerationError(
                f"ruff {arguments[0]} failed on what was generated:\n{done.stdout}{done.stderr}"
            )


def files_of(package: Path) -> dict[str, str]:
    """Return the text of every file of a package under its relative path, without caches."""
    return {
        path.relative_to(package).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(committed: Path, fresh: Path) -> str:
    """Return a unified diff from what is committed to what the spec compiles to; empty when equal."""
    old, new = files_of(committed) if committed.is_dir() else {}, files_of(fresh)
    parts: list[str] = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            before, after = old.get(name, "").splitlines(), new.get(name, "").splitlines()
            parts += difflib.unified_diff(before, after, f"committed/{name}", f"compiled/{name}", lineterm="")
            if name not in new:
                parts.append(f"{name}: nothing compiles to this file")
            elif name not in old:
                parts.append(f"{name}: not committed")
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="tox -e generate --", description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit 1 with a diff if generated/ differs",
    )
    parser.add_argument(
        "--spec", type=Path, default=SPEC / "ollama.yaml", help="the OpenAPI file (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=PACKAGE, help="the package to write (%(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        templates, fresh = Path(folder, "templates"), Path(folder, "ollama_openapi")
        try:
            write_templates(templates)
            compile_spec(options.spec, fresh, templates)
        except GenerationError as error:
            print(error, file=sys.stderr)
            return 2
        diff = differences(options.output, fresh)
        if options.check:
            print(diff or "generated/ is what the spec compiles to")
            return 1 if diff else 0
        shutil.rmtree(options.output, ignore_errors=True)
        shutil.copytree(fresh, options.output)
        print(f"{len(files_of(fresh))} files in {options.output.name}, {'changed' if diff else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
