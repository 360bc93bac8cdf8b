"""Arguments and exit codes of the drift check."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drift.compare import compare, foreign_operations
from drift.document import CannotCompare, Document
from drift.known import judge, load_known
from drift.probe import Server
from drift.report import Result, as_json, as_text
from drift.server import examine

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING_NEW = 0
SOMETHING_NEW = 1
COULD_NOT_COMPARE = 2

_SPEC_FOLDER = Path(__file__).resolve().parents[1]

_EPILOG = """\
exit codes:
  0  only known differences were found
  1  there is a new difference, or a known one is gone
  2  it could not be compared; one line on standard error says why
"""


def main(arguments: Sequence[str]) -> int:
    """Run the check and print its report.

    Args:
        arguments: The command line, without the program's name.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        result = _compare_with_server(options) if options.server is not None else _compare_with_file(options)
    except CannotCompare as error:
        sys.stderr.write(f"{error}\n")
        return COULD_NOT_COMPARE
    sys.stdout.write(as_json(result) if options.json else as_text(result, show_known=options.all))
    return NOTHING_NEW if result.outcome.nothing_new else SOMETHING_NEW


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drift",
        description="Compare spec/ollama.yaml with an OpenAPI file of Ollama's or with a running "
        "server, and report what is not listed in spec/known-differences.yaml.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    other = parser.add_mutually_exclusive_group(required=True)
    other.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="an OpenAPI 3 file, such as docs/openapi.yaml of Ollama's repository",
    )
    other.add_argument(
        "--server",
        metavar="URL",
        help="a running server, such as http://127.0.0.1:11434; only routes that neither load nor "
        "change anything are called",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--all", action="store_true", help="print the known differences and their reasons too"
    )
    parser.add_argument(
        "--max-models",
        type=_at_least_zero,
        default=20,
        metavar="N",
        help="call /api/show for at most N models of the server (default: 20)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for the server's next bytes (default: 30)",
    )
    parser.add_argument(
        "--spec",
        type=Path,
        default=_SPEC_FOLDER / "ollama.yaml",
        metavar="FILE",
        help="our spec (default: spec/ollama.yaml)",
    )
    parser.add_argument(
        "--known",
        type=Path,
        default=_SPEC_FOLDER / "known-differences.yaml",
        metavar="FILE",
        help="the known differences (default: spec/known-differences.yaml)",
    )
    return parser


def _at_least_zero(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of models; 0 is the least")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return number


def _compare_with_file(options: argparse.Namespace) -> Result:
    ours = Document.load(options.spec)
    upstream = Document.load(options.file)
    entries = load_known(options.known, "file")
    foreign = foreign_operations(upstream)
    notes = [f"Out of scope and not compared: {', '.join(foreign)}."] if foreign else []
    return Result(
        spec=_shown(options.spec),
        known_file=_shown(options.known),
        other=str(options.file),
        by_server=False,
        version="",
        outcome=judge(compare(ours, upstream), entries),
        notes=notes,
    )


def _compare_with_server(options: argparse.Namespace) -> Result:
    ours = Document.load(options.spec)
    entries = load_known(options.known, "server")
    with Server(options.server, options.timeout) as server:
        findings = examine(ours, server, options.max_models)
        url = server.url
    return Result(
        spec=_shown(options.spec),
        known_file=_shown(options.known),
        other=url,
        by_server=True,
        version=findings.version,
        outcome=judge(findings.differences.values(), entries, findings.version),
        notes=findings.notes,
    )


def _shown(path: Path) -> str:
    """The path from the repository's root where it is in there."""
    root = _SPEC_FOLDER.parent
    resolved = path.resolve()
    return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else str(path)
