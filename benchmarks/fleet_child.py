"""What a fresh interpreter does when the fleet is measured. Argument: the job as JSON.

Nothing else of the benchmark is imported before it is needed; it would count as theirs.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from importlib import import_module
from statistics import median
from typing import Any, Final

_SKIPPED: Final = 20  # calls before the first that counts
_PATIENCE: Final = 60.0


class _Served(logging.Handler):
    """Prints a line when so many queues are served."""

    def __init__(self, count: int) -> None:
        super().__init__(logging.INFO)
        self._count = count
        self._served: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "serving %s":
            self._served.add(record.getMessage())
            if len(self._served) == self._count:
                sys.stdout.write("served\n")
                sys.stdout.flush()


def _worker(job: dict[str, Any]) -> None:
    """Run a worker. Where the job has a reply, Ollama is not called: a call gives that reply at once."""
    from ollama_ext.fleet import FleetWorker  # noqa: PLC0415 - bare and Celery must not pay for it
    from ollama_ext.settings import Settings  # noqa: PLC0415 - nor for this

    if job["reply"] is not None:
        from ollama_ext.fleet.dispatch import Outcome  # noqa: PLC0415 - as above

        outcome = Outcome(result=job["reply"], usage=job["usage"], status=200, model="burst")

        def run_request(*_arguments: Any, **_options: Any) -> Outcome:
            return outcome

        running: Any = import_module("ollama_ext.fleet.running")
        running.run_request = run_request
    settings = Settings.from_mapping(job["settings"], environ={})
    logging.basicConfig(level=logging.WARNING)
    logger = logging.getLogger("ollama_ext.fleet.serving")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Served(len(settings.subscriptions)))
    FleetWorker(settings).run()


def _bare(job: dict[str, Any]) -> None:
    from fleet_bare import Bare  # noqa: PLC0415 - only for this

    Bare(job["url"], job["queue"], job["slots"], job["reply"]).run()


def _celery(job: dict[str, Any]) -> None:
    from fleet_celery import work  # noqa: PLC0415 - only for this

    work(job["url"], job["queue"], job["slots"], job["reply"])


def _calls(job: dict[str, Any]) -> None:
    """Call an Ollama directly and through the fleet, by turns; print seconds."""
    from ollama_ext import Client  # noqa: PLC0415 - only for this
    from ollama_ext.fleet import FleetClient  # noqa: PLC0415 - only for this

    options = {"num_predict": job["tokens"]}
    took: dict[str, list[float]] = {"direct": [], "fleet": []}
    with (
        Client(job["ollama"]) as direct,
        FleetClient(job["url"], exchange=job["exchange"], timeout=_PATIENCE) as fleet,
    ):
        for number in range(job["calls"] + _SKIPPED):
            for name, client in (("direct", direct), ("fleet", fleet)):
                start = time.perf_counter()
                client.chat("burst", "Why is the sky blue?", options=options)
                if number >= _SKIPPED:
                    took[name].append(time.perf_counter() - start)
    json.dump({name: median(seconds) for name, seconds in took.items()}, sys.stdout)


_ACTIONS = {"worker": _worker, "bare": _bare, "celery": _celery, "calls": _calls}

if __name__ == "__main__":
    _job = json.loads(sys.argv[1])
    if _job["action"] == "bare":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # as the others: an end in order is status 0
    _ACTIONS[_job["action"]](_job)
