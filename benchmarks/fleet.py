"""Measure what the fleet adds to a call, beside Celery and bare pika: `tox -e bench-fleet`.

Tables go to the standard output, progress to the standard error. A missed target is a word in the table,
not a failure: a machine that is busy with other things must not break a build.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import fleet_plot
import fleet_report
import fleet_scenarios
from fleet_broker import MISSING, BrokerError, Driver, broker, programs
from fleet_report import Results
from fleet_scenarios import FULL, QUICK, Workshop
from nullserver import BuildError, null_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet_scenarios import Sizes

NAMES = ("throughput", "queues", "round-trip", "start", "memory")


def _output_file(text: str) -> Path:
    """Return the path of a file that can be written, so that no measurement is made in vain."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no file in a folder that exists: make the folder first"
        )
    return path


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:  # noqa: PLR2004 - quartiles need two
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 2 on, as in --rounds 5")
    return int(text)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fleet.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little of everything: a look, not a result")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help="one of: %(choices)s; may be repeated"
    )
    parser.add_argument("--rounds", type=_rounds, metavar="N", help=f"samples of each ({FULL.rounds})")
    parser.add_argument("--json", type=_output_file, metavar="FILE", help="save every sample")
    parser.add_argument("--plot", type=_output_file, metavar="FILE", help="save a picture (.png, .svg, .pdf)")
    arguments = parser.parse_args(given)
    if not sys.platform.startswith("linux"):
        parser.error(f"this needs Linux (/proc, clocks of other processes), not {sys.platform}")
    if programs() is None:
        parser.error(MISSING)
    needed = ["pika", "yaml", "celery", "ziglang", *(["matplotlib"] if arguments.plot else [])]
    if missing := [name for name in needed if find_spec(name) is None]:
        parser.error(f"not installed: {', '.join(missing)} (`tox -e bench-fleet` has it)")
    return arguments


def _set_environment(bytecode: str) -> None:
    """Drop settings of whoever runs this; fresh interpreters keep their bytecode in a folder of ours."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("OLLAMA_", "CELERY_")):
            del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = bytecode


def measure(only: Sequence[str] | None, sizes: Sizes) -> Results:
    """Measure the scenarios of those names, or all.

    Raises:
        BrokerError: The broker or a method failed, or a message was lost or answered twice.
        BuildError: The null Ollama could not be compiled.
    """
    with ExitStack() as cleanup:
        _set_environment(cleanup.enter_context(TemporaryDirectory(prefix="bytecode-")))
        ollama = cleanup.enter_context(null_server())
        driver = Driver(cleanup.enter_context(broker()))
        cleanup.callback(driver.close)
        workshop = Workshop(driver, ollama, sizes)
        results = Results(sizes, driver.version)
        for name in NAMES:
            if only and name not in only:
                continue
            sys.stderr.write(f"{name} ...\n")
            match name:
                case "throughput":
                    results.throughput = fleet_scenarios.throughput(workshop)
                case "queues":
                    results.queues = fleet_scenarios.queues(workshop)
                case "round-trip":
                    results.trips = fleet_scenarios.round_trip(workshop)
                case "start":
                    results.starts = fleet_scenarios.starts(workshop)
                case _:
                    results.memory = fleet_scenarios.memory(workshop)
    return results


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print, save; return the exit status."""
    arguments = _arguments(given)
    sizes = QUICK if arguments.quick else FULL
    sizes = replace(sizes, rounds=arguments.rounds or sizes.rounds)
    load_before = os.getloadavg()[0]
    try:
        results = measure(arguments.only, sizes)
    except (BrokerError, BuildError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(fleet_report.table(results) + "\n")
    if arguments.json is not None:
        saved = fleet_report.as_json(results, (load_before, os.getloadavg()[0]))
        arguments.json.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    if arguments.plot is not None and (results.throughput or results.queues or results.memory):
        fleet_plot.save(results, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
