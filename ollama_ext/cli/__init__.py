"""The command ``ollama-ext``: the verbs that Ollama's users know, on a terminal, in a pipe, as JSON.

app           the verbs, and what they have in common
output        what is shown, where it goes to, and in which form
models        list, show, ps, cp, rm, load, stop
transfers     pull, push, create
inference     chat, embed
mirror        list, import, publish, verify, diff, prune, export of models in S3; with mirror_options,
              mirror_progress, mirror_results, and mirror_check: does Ollama see what was imported?
fleet         worker, call, check, definitions: a fleet of machines behind RabbitMQ; with fleet_worker, which
              `python -m ollama_ext.fleet` uses too, where [cli] is not installed
doctor        is the server all right?
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command of this process, and end it with the exit code."""
    try:
        from .app import run  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"rich", "typer"}:
            raise
        sys.stderr.write("error: ollama-ext needs the extra [cli]: pip install 'ollama-ext[cli]'\n")
        sys.exit(2)
    sys.exit(run())
