"""`Settings`: all that mirror and fleet are told, and where each value came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from .given import DEFAULT, MAPPING, Origin, Problem, SettingsError, Unfit, from_python
from .keys import SECTIONS
from .layouts import entries_of
from .parts import (
    HIDDEN,
    AmqpSettings,
    OllamaSettings,
    S3Settings,
    Subscription,
    WorkerSettings,
    without_secret,
)
from .reading import read
from .sources import environment, flags, of_ollama
from .table import shown_default
from .yaml_text import parse_yaml

if TYPE_CHECKING:
    from .layouts import Source

_NONE: Final = "none"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. A value; ``repr`` shows no secrets.

    Attributes:
        ollama: The Ollama that a worker calls.
        amqp: The broker.
        worker: How a worker works.
        subscriptions: The queues that it serves, in their order; may be empty.
        s3: The bucket with the models, if there is one.
        default_models: Models that are fetched before their subscriptions start.
        origins: Where each value came from, by its path, such as ``worker.slots`` or
            ``subscriptions[0].model``; keys of a bucket are there if there is one.
    """

    ollama: OllamaSettings = OllamaSettings()
    amqp: AmqpSettings = AmqpSettings()
    worker: WorkerSettings = msgspec.field(default_factory=WorkerSettings)
    subscriptions: tuple[Subscription, ...] = ()
    s3: S3Settings | None = None
    default_models: tuple[str, ...] = ()
    origins: dict[str, Origin] = {}

    def __repr__(self) -> str:
        """Show all but secrets and origins, which `table` shows."""
        names = [name for name in self.__struct_fields__ if name != "origins"]
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        overrides: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read settings from a YAML file, and from what goes before it.

        Flags decide, then the environment (``OLLAMA_EXT_WORKER__SLOTS``; lists as JSON), the file, Ollama's
        own ``OLLAMA_HOST`` and ``OLLAMA_MODELS``, and the defaults.

        Args:
            path: The file, whose relative paths are relative to it; None for none.
            overrides: What flags say, by paths such as ``worker.slots``; None is a flag that was not used.
            environ: The environment; left out, that of the process.

        Raises:
            SettingsError: Something cannot be right; all of it is told, with its line.
        """
        if path is None:
            return cls.from_mapping({}, overrides=overrides, environ=environ)
        name = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(name, str):
            raise SettingsError(f"the file of settings must be a path; not {type(name).__name__}")
        try:
            text = Path(name).read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise SettingsError(f"cannot read {name}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise SettingsError(f"{name}:{line}: is not UTF-8: save it as that") from None
        except ValueError:
            raise SettingsError(f"cannot read {name!r:.200}: that is no name of a file") from None
        tree, problems = parse_yaml(text, name)
        return cls._read(entries_of(tree, problems), problems, overrides, environ)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Any],
        *,
        overrides: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Do as `load` does, with a mapping in place of the file.

        Args:
            mapping: The sections and their keys. Relative paths in it are relative to the working directory.
            overrides: As for `load`.
            environ: As for `load`; ``{}`` if nothing of the environment is to go before the mapping.

        Raises:
            SettingsError: As `load` does.
        """
        if not isinstance(mapping, Mapping):
            raise SettingsError(f"settings must be a mapping; not {type(mapping).__name__}")
        try:
            tree = from_python(mapping, MAPPING)
        except Unfit as unfit:
            raise SettingsError.of(unfit.problems) from None
        problems: list[Problem] = []
        return cls._read(entries_of(tree, problems), problems, overrides, environ)

    @classmethod
    def _read(
        cls,
        file: Source,
        problems: list[Problem],
        overrides: Mapping[str, Any] | None,
        environ: Mapping[str, str] | None,
    ) -> Self:
        environ = os.environ if environ is None else environ
        sources = [
            flags({} if overrides is None else overrides, problems),
            environment(environ, problems),
            file,
            of_ollama(environ),
        ]
        return cls(**read(sources, problems))

    def table(self) -> list[tuple[str, str, Origin]]:
        """Return key, value and origin of every key, for showing them. Secrets are not in it.

        Keys that a subscription leaves out are left out; values are as YAML writes them.
        """
        rows: list[tuple[str, str, Origin]] = []
        for section, (keys, _) in SECTIONS.items():
            part: Any = getattr(self, section)
            if part is None:
                rows.append((section, _NONE, DEFAULT))
                continue
            several = len(self.amqp.urls) > 1 or "amqp.urls" in self.origins
            for key in keys:
                if section == "amqp" and key.name == ("url" if several else "urls"):
                    continue
                shown = without_secret(*_valued(part, key.name))
                rows.append(self._row(f"{section}.{key.name}", shown))
        if not self.subscriptions:
            rows.append(self._row("subscriptions", None))
        for place, subscription in enumerate(self.subscriptions):
            for name in subscription.__struct_fields__:
                value = getattr(subscription, name)
                if value is not None and value is not False:
                    rows.append(self._row(f"subscriptions[{place}].{name}", value))
        rows.append(self._row("default_models", self.default_models or None))
        return rows

    def _row(self, path: str, value: Any) -> tuple[str, str, Origin]:
        origin = self.origins.get(path) or self.origins.get(path.partition("[")[0], DEFAULT)
        shown = _NONE if value is None else "(hidden)" if value == HIDDEN else shown_default(value)
        return path, shown.removeprefix('"').removesuffix('"') if isinstance(value, str) else shown, origin


def _valued(part: Any, name: str) -> tuple[str, Any]:
    if name == "url":
        return "endpoint_url", part.urls[0]
    return name, getattr(part, name)
