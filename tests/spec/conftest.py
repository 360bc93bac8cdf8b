"""Fixtures of the tests of `spec/`, whose tools are not installed but run from the repository."""

from __future__ import annotations

import copy
import json
import sys
from typing import TYPE_CHECKING

import pytest
from drift_runs import OURS, ROOT, THEIRS, Run

sys.path.insert(0, str(ROOT / "spec"))

from drift.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from drift_runs import Drift, Edit, Plant


@pytest.fixture
def drift(capsys: pytest.CaptureFixture[str]) -> Drift:
    """Run the check in this process."""

    def run(*arguments: object) -> Run:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return run


@pytest.fixture
def plant(drift: Drift, tmp_path: Path) -> Plant:
    """Compare edited copies of our spec and of upstream's file."""

    def run(*, upstream: Edit | None = None, ours: Edit | None = None) -> Run:
        paths: list[Path] = []
        for name, tree, edit in (("ours", OURS, ours), ("upstream", THEIRS, upstream)):
            edited = copy.deepcopy(tree)
            if edit is not None:
                edit(edited)
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(json.dumps(edited), encoding="utf-8")
        return drift(paths[1], "--spec", paths[0], "--json")

    return run
