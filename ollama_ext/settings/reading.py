"""From the sources to the sections: which source decides, and where each value came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .fitting import misfits
from .given import DEFAULT, Origin, Problem, SettingsError, Unfit
from .keys import PATHS
from .parts import AmqpSettings, OllamaSettings, S3Settings, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .layouts import Source

#: Keys of which one excludes the other: the one of the higher source counts.
_EITHER: Final = (("amqp.url", "amqp.urls"), ("s3.secret_access_key", "s3.secret_access_key_file"))
#: Variables that say where a bucket's models are, but not that there is a bucket.
_NO_BUCKET: Final = frozenset(Origin("environment", name) for name in ("OLLAMA_MODELS", "OLLAMA_EXT_PREFIX"))


def read(sources: Sequence[Source], problems: list[Problem]) -> dict[str, Any]:
    """Read the sources, the first of which decides, and return the fields of `Settings`.

    Raises:
        SettingsError: Something cannot be right. All that is wrong is told.
    """
    merged = _merged(sources, problems)
    values: dict[str, Any] = {}
    for path, entry in merged.items():
        try:
            values[path] = PATHS[path].kind.read(entry.given, entry.path, secret=PATHS[path].secret)
        except Unfit as unfit:
            problems += unfit.problems
    origins = _origins(merged)
    if problems:
        raise SettingsError.of(problems)
    problems += misfits(values, merged)
    if problems:
        raise SettingsError.of(problems)
    if "amqp.url" in values:
        values["amqp.urls"] = (values.pop("amqp.url"),)

    def part(section: str) -> dict[str, Any]:
        start = f"{section}."
        return {path.removeprefix(start): value for path, value in values.items() if path.startswith(start)}

    return {
        "ollama": OllamaSettings(**part("ollama")),
        "amqp": AmqpSettings(**part("amqp")),
        "worker": WorkerSettings(**part("worker")),
        "subscriptions": values.get("subscriptions", ()),
        "s3": S3Settings(**part("s3")) if part("s3") else None,
        "default_models": values.get("default_models", ()),
        "origins": origins,
    }


def _merged(sources: Sequence[Source], problems: list[Problem]) -> Source:
    merged: Source = {}
    for source in sources:
        taken = set(merged)
        for first, second in _EITHER:
            if first in source and second in source:
                paths = f"{source[first].path} and {source[second].path}"
                what = f"{paths} exclude each other: leave out one of them"
                problems.append(Problem(source[second].given.origin, what))
            if first in merged or second in merged:
                taken |= {first, second}
        merged |= {path: entry for path, entry in source.items() if path not in taken}
    bucket = [path for path in merged if path.startswith("s3.")]
    if all(merged[path].given.origin in _NO_BUCKET for path in bucket):
        for path in bucket:
            del merged[path]
    return merged


def _origins(merged: Source) -> dict[str, Origin]:
    """Return where each value comes from, in the order of the keys."""
    origins: dict[str, Origin] = {}
    has_s3 = any(path.startswith("s3.") for path in merged)
    has_urls = "amqp.urls" in merged
    for path in PATHS:
        if path.startswith("s3.") and not has_s3:
            continue
        if path == ("amqp.url" if has_urls else "amqp.urls"):
            continue
        entry = merged.get(path)
        origins[path] = DEFAULT if entry is None else entry.given.origin
        if path == "subscriptions" and entry is not None and isinstance(entry.given.value, list):
            for place, item in enumerate(entry.given.value):
                if isinstance(item.value, dict):
                    origins |= {
                        f"subscriptions[{place}].{name}": held.origin for name, held in item.value.items()
                    }
    return origins
