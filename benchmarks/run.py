"""Measure what the client costs beside the package ``ollama``: `tox -e bench`.

The table goes to the standard output, progress to the standard error. A missed target is a word in the
table, not a failure: a machine that is busy with other things must not break a build.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import cancelling
import memory
import plot
import report
import upload
from nullserver import BuildError, null_server
from report import Results
from scenarios import SCENARIOS
from stacks import Generated, Ollama, OllamaExt, Unlimited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stacks import Stack

MEMORY = "memory"
TOKENS = 1_000_000
QUICK_TOKENS = 400_000
UPLOAD = "upload"
BYTES = 1 << 30
QUICK_BYTES = 1 << 28
CANCEL = "cancel"
TIMES = 200
QUICK_TIMES = 50


def _output_file(text: str) -> Path:
    """Return the path of a file that can be written, so that no measurement is made in vain."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no file in a folder that exists: make the folder first"
        )
    return path


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    names = [*(scenario.name for scenario in SCENARIOS), MEMORY, UPLOAD, CANCEL]
    parser.add_argument("--quick", action="store_true", help="fewer samples: a look, not a result")
    parser.add_argument("--json", type=_output_file, metavar="FILE", help="save every sample")
    parser.add_argument("--plot", type=_output_file, metavar="FILE", help="save a picture (.png, .svg, .pdf)")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help="one of: %(choices)s; may be repeated"
    )
    arguments = parser.parse_args(given)
    if {MEMORY, UPLOAD}.intersection(arguments.only or []) and not memory.AVAILABLE:
        parser.error("memory and upload need /proc, which this system does not have")
    needed = ["ollama", "ziglang", *(["matplotlib"] if arguments.plot else [])]
    if missing := [name for name in needed if find_spec(name) is None]:
        parser.error(f"not installed: {', '.join(missing)} (dependency group 'bench'; `tox -e bench` has it)")
    return arguments


def _set_environment(bytecode: str) -> None:
    """Make the environment the same for all clients.

    Drops settings that would send a client elsewhere, or have it send more than the others do. Fresh
    interpreters keep their bytecode in a folder of ours, so that nobody's source is compiled each time.
    """
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("OLLAMA_"):
            del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = bytecode


def measure(only: Sequence[str] | None, *, quick: bool) -> Results:
    """Measure the scenarios of those names, or all."""
    results = Results()
    with ExitStack() as cleanup:
        _set_environment(cleanup.enter_context(TemporaryDirectory(prefix="bytecode-")))
        url = cleanup.enter_context(null_server())
        stacks: dict[str, Stack] = {
            kind.name: kind(url) for kind in (Ollama, OllamaExt, Unlimited, Generated)
        }
        for stack in stacks.values():
            cleanup.callback(stack.close)
        for scenario in SCENARIOS:
            if not only or scenario.name in only:
                sys.stderr.write(f"{scenario.title} ...\n")
                results.comparisons.append(scenario.run(stacks, quick=quick))
        if not only or CANCEL in only:
            sys.stderr.write("cancelling ...\n")
            results.cancelling = cancelling.measure(url, QUICK_TIMES if quick else TIMES)
        if not memory.AVAILABLE:
            sys.stderr.write("memory of a long stream and of an upload: not measured, they need /proc\n")
            return results
        if not only or UPLOAD in only:
            sys.stderr.write("upload ...\n")
            results.upload = upload.measure(url, QUICK_BYTES if quick else BYTES)
        if not only or MEMORY in only:
            sys.stderr.write("memory of a long stream ...\n")
            results.long_stream = memory.measure(url, QUICK_TOKENS if quick else TOKENS)
    return results


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, save; return the exit status."""
    arguments = _arguments(given)
    load_before = os.getloadavg()[0]
    try:
        results = measure(arguments.only, quick=arguments.quick)
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(report.table(results) + "\n")
    if arguments.json is not None:
        result = report.as_json(results, (load_before, os.getloadavg()[0]))
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.plot is not None:
        plot.save(results.comparisons, results.long_stream, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
