"""Running the drift check in tests: the files it compares, and what a run leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "spec" / "ollama.yaml"
UPSTREAM = ROOT / "tests" / "data" / "upstream-openapi.yaml"

# Parsed YAML or JSON, which the tests edit freely.
Tree = dict[str, Any]
Edit = Callable[[Tree], object]


def read(path: Path) -> Tree:
    """Parse a YAML file."""
    tree: Tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tree


OURS = read(SPEC)
THEIRS = read(UPSTREAM)


def schemas(tree: Tree) -> Tree:
    """Give the named schemas of a document."""
    found: Tree = tree["components"]["schemas"]
    return found


@dataclass
class Run:
    """What a run of the check left behind."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> Tree:
        """The report that `--json` prints."""
        report: Tree = json.loads(self.out)
        return report

    @property
    def new(self) -> list[str]:
        """Names of the new differences."""
        return [difference["name"] for difference in self.report["new"]]

    @property
    def stale(self) -> dict[str, str]:
        """Entries of the known list that no longer hold, with what is wrong."""
        return {stale["entry"]: stale["what"] for stale in self.report["stale"]}


class Drift(Protocol):
    """Runs the check with a command line."""

    def __call__(self, *arguments: object) -> Run:
        """Run it in this process."""
        ...


class Plant(Protocol):
    """Runs the check on two files with changes planted in them."""

    def __call__(self, *, upstream: Edit | None = None, ours: Edit | None = None) -> Run:
        """Compare the edited files."""
        ...


def assert_one_line(run: Run, *parts: str) -> None:
    """Expect a run that could not compare, and one line that holds these parts."""
    assert run.code == 2
    assert run.out == ""
    assert run.err.count("\n") == 1
    assert run.err.endswith(".\n")
    for part in parts:
        assert part in run.err
