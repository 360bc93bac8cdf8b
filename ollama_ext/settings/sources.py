"""What flags and the environment set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ollama_ext.hosts import GO_WHITE_SPACE

from .given import MAPPING, Given, Origin, Problem, Unfit, from_python
from .keys import PATHS
from .kinds import closest, unknown
from .layouts import Entry, Source

_PREFIX: Final = "OLLAMA_EXT_"


def _variable(path: str) -> str:
    return f"{_PREFIX}{path.upper().replace('.', '__')}"


_VARIABLES: Final = {_variable(path): path for path in PATHS}
#: What `ollama-ext mirror` reads as well.
_SHORT: Final = {"OLLAMA_EXT_BUCKET": "s3.bucket", "OLLAMA_EXT_PREFIX": "s3.prefix"}
#: Ollama's own, which a file goes before.
_OLLAMAS: Final = {"OLLAMA_HOST": "ollama.host", "OLLAMA_MODELS": "s3.store"}
#: Keys for which empty text is a value; an empty variable is else one that is not set.
_MAY_BE_EMPTY: Final = frozenset({"s3.prefix"})


def flags(overrides: Mapping[str, Any], problems: list[Problem]) -> Source:
    """Return what flags set, by paths such as ``worker.slots``; one whose value is None was not used."""
    if not isinstance(overrides, Mapping):
        what = f"overrides must be a mapping such as {{'worker.slots': 2}}; not {type(overrides).__name__}"
        problems.append(Problem(MAPPING, what))
        return {}
    origin = Origin("flag")
    source: Source = {}
    for path, value in overrides.items():
        if path not in PATHS:
            name = path if isinstance(path, str) else f"a {type(path).__name__}"
            problems.append(Problem(origin, unknown(name, name, list(PATHS))))
        elif value is not None:
            try:
                source[path] = Entry(from_python(value, origin, loose=True), path)
            except Unfit as unfit:
                problems += unfit.problems
    return source


def environment(environ: Mapping[str, str], problems: list[Problem]) -> Source:
    """Return what variables such as ``OLLAMA_EXT_AMQP__URL`` set."""
    # Kubernetes sets OLLAMA_EXT_PORT and its like beside a service called ollama-ext; so of names with single
    # underscores only those are looked at that would be ours with two.
    nearly = {re.sub("_+", "_", name): name for name in _VARIABLES}
    source: Source = {}
    for name, text in environ.items():
        path = _VARIABLES.get(name) or _SHORT.get(name)
        if path is not None:
            if text or path in _MAY_BE_EMPTY:
                if path in source:
                    first = source[path].given.origin
                    what = f"{first} says the same: unset one of the two"
                    problems.append(Problem(Origin("environment", name), what))
                source[path] = Entry(Given(text, Origin("environment", name), loose=True), path)
        elif name.startswith(_PREFIX) and ("__" in name or re.sub("_+", "_", name) in nearly):
            problems.append(Problem(Origin("environment", name), _unknown_variable(name, nearly)))
    return source


def of_ollama(environ: Mapping[str, str]) -> Source:
    """Return what Ollama's own variables set, where nothing else does."""
    source: Source = {}
    for name, path in _OLLAMAS.items():
        # As Ollama takes it: white space off first, then quotes of both kinds.
        if text := environ.get(name, "").strip(GO_WHITE_SPACE).strip("\"'"):
            source[path] = Entry(Given(text, Origin("environment", name), loose=True), path)
    return source


def _unknown_variable(name: str, nearly: Mapping[str, str]) -> str:
    meant = nearly.get(re.sub("_+", "_", name))
    if meant is None:
        path = closest(name.removeprefix(_PREFIX).lower().replace("__", "."), list(PATHS))
        meant = path and _variable(path)
    remedy = f"did you mean {meant}?" if meant else "`python -m ollama_ext.settings` lists all keys"
    return f"sets no key that is known: {remedy}"
