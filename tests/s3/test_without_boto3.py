"""Without boto3: directories are read and written all the same, and what needs it says what to type."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from model_stores import make_model, tree

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORIES = """
import sys
for name in ("boto3", "botocore", "s3transfer", "urllib3"):
    sys.modules[name] = None
from ollama_ext.s3 import ExtraMissing, LocalStore, Mirror, TransferSettings
one, disk, two = map(LocalStore, sys.argv[1:])
roomy = TransferSettings(reserve=0)
print(*one.list_models())
print(one.verify_model("one").ok, one.manifest("one").digest)
print(*(result.ok for result in one.export_models(["one"], disk.path, settings=roomy)))
print(*(result.ok for result in two.import_models(["one"], source=disk.path, settings=roomy)))
print(two.prune(dry_run=True).removed)
try:
    Mirror("models", store=two)
except ExtraMissing as error:
    print(error)
"""


def run(code: str, *arguments: object) -> str:
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_directories_need_no_boto3_and_a_bucket_says_what_to_type(tmp_path: Path) -> None:
    manifest = make_model(tmp_path / "one", "one", [b"weights"])
    lines = run(DIRECTORIES, *(tmp_path / name for name in ("one", "disk", "two"))).splitlines()
    assert "one:latest" in lines[0]
    assert lines[1:5] == [f"True {manifest.digest}", "True", "True", "()"]
    assert lines[5] == "a bucket needs boto3, which is not installed: pip install 'ollama-ext[s3]'"
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_the_mirror_is_imported_without_what_it_needs_to_reach_a_bucket() -> None:
    code = "import ollama_ext.s3, sys; print(*sys.modules, sep='\\n')"
    loaded = run(code).split()
    assert "ollama_ext.s3.mirror" in loaded
    assert {"boto3", "botocore", "s3transfer", "urllib3", "httpx"}.isdisjoint(loaded)
