"""Running a fleet worker from settings, with its models provided from a bucket. Needs no [cli].

`ollama-ext fleet worker` and ``python -m ollama_ext.fleet worker`` are both this.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ollama_ext.fleet import FleetWorker
from ollama_ext.hosts import parse_host
from ollama_ext.names import parse_name
from ollama_ext.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ollama_ext.s3 import Mirror

log: logging.Logger = logging.getLogger(__name__)


def run_worker(
    config: Path | None, overrides: Mapping[str, Any], *, wait: float | None, verbose: bool
) -> None:
    """Run a worker until it is stopped.

    Args:
        config: The file with the settings.
        overrides: Settings that go before those of the file, by their paths.
        wait: Seconds to wait for the broker and for Ollama at first; None waits for ever.
        verbose: Whether to log what pika does, too.

    Raises:
        OllamaError: The settings are wrong, or the worker cannot do its work.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # What pika logs as an error is the end of a connection, which the worker tells in a line of its own.
    logging.getLogger("pika").setLevel(logging.DEBUG if verbose else logging.CRITICAL)
    settings = Settings.load(config, overrides=overrides)
    worker = FleetWorker(settings, provider(settings), wait=wait)
    log.info(
        "worker %s for %s",
        settings.worker.name,
        ", ".join(f"{s.type} {s.model}" for s in settings.subscriptions),
    )
    worker.run()


def provider(settings: Settings) -> Callable[[str], None] | None:
    """Return what provides the models of ``default_models``, or None if there are none.

    Each is imported from the bucket into the store of this machine. Models that are not among them are taken
    to be there.

    Raises:
        SettingsError: There is no bucket, or the Ollama of the worker is on another machine.
    """
    if not settings.default_models:
        return None
    if settings.s3 is None:
        raise SettingsError(
            "default_models are fetched from a bucket: name it as s3.bucket, or leave them out"
        )
    if not parse_host(settings.ollama.host).is_loopback:
        raise SettingsError(
            f"default_models are imported into the store of this machine, and ollama.host "
            f"({settings.ollama.host}) is another one: run the worker there, or leave default_models out and "
            "give that Ollama its models some other way (ollama-ext mirror import, on that machine)"
        )
    from ollama_ext.s3 import Mirror  # noqa: PLC0415 - only where there is a bucket

    mirror = Mirror(**settings.s3.mirror_arguments())
    return _Provider(mirror, settings.default_models)


class _Provider:
    """Imports a model, if it is one of those that are to be imported."""

    def __init__(self, mirror: Mirror, models: tuple[str, ...]) -> None:
        self._mirror = mirror
        self._models = [parse_name(model) for model in models]

    def __call__(self, model: str) -> None:
        wanted = parse_name(model)
        if any(each.same_as(wanted) for each in self._models):
            (result,) = self._mirror.import_models([model])
            if result.error is not None:
                raise result.error
