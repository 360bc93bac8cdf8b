"""``python -m ollama_ext.fleet worker``: a worker where only ``ollama-ext[fleet]`` is installed."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ollama_ext.errors import InvalidArgument, OllamaError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Exit codes, as those of the command `ollama-ext`.
_FAILED, _USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ollama_ext.fleet",
        description="A worker of a fleet: serves queues of RabbitMQ with this machine's Ollama.",
    )
    verbs = parser.add_subparsers(required=True, metavar="worker")
    worker = verbs.add_parser("worker", help="run a worker until it is stopped by SIGTERM or Ctrl-C")
    worker.add_argument("--config", type=Path, metavar="FILE", help="the settings (docs/settings.md)")
    worker.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting that goes before the file's, such as worker.slots=2; may be repeated",
    )
    worker.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        help="how long to wait for the broker and for Ollama at first; 0 tries once (default: for ever)",
    )
    worker.add_argument("--verbose", action="store_true", help="log what the AMQP client does, too")
    told = parser.parse_args(arguments)
    try:
        # The rooms above this one join it to the mirror; nothing else here knows of them.
        run_worker: Any = import_module("ollama_ext.cli.fleet_worker").run_worker
        run_worker(told.config, overrides_of(told.set), wait=told.wait, verbose=told.verbose)
    except OllamaError as error:
        sys.stderr.write(f"error: {error}\n")
        return _USAGE if isinstance(error, InvalidArgument) else _FAILED
    return 0


def overrides_of(settings: Sequence[str]) -> dict[str, str]:
    """Return ``KEY=VALUE`` texts as overrides of `Settings.load`.

    Raises:
        InvalidArgument: One has no ``=``.
    """
    overrides: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"--set needs KEY=VALUE, such as worker.slots=2; not {setting!r:.80}")
        overrides[key] = value
    return overrides


if __name__ == "__main__":
    sys.exit(main())
