"""The models that the recordings of one server version are about, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, cast

import attrs

from ollama_ext.errors import InvalidArgument

from .recordings import VERSIONS, RecordedExchange, recordings

_INFERENCE = ("/api/show", "/api/chat", "/api/generate", "/api/embed")


@attrs.frozen
class Catalog:
    """The recordings of one server version, looked up by what they are about.

    Attributes:
        version: The server version.
        exchanges: Its recordings by name.
        tags: The recorded list that holds the most models.
        running: The recorded list of running models that holds the most of those.
        models: What can be done with each known model, by full name: those listed, and those that
            answered a recorded request.
        aliases: The known model that another name stands for, both as full names.
    """

    version: str
    exchanges: dict[str, RecordedExchange]
    tags: RecordedExchange
    running: RecordedExchange
    models: dict[str, frozenset[str]]
    aliases: dict[str, str] = attrs.field(factory=dict[str, str])

    def with_aliases(self, aliases: Mapping[str, str]) -> Catalog:
        """Return the same catalog in which known models have other names too.

        Raises:
            InvalidArgument: An alias stands for a model that was not recorded.
        """
        if not isinstance(aliases, Mapping):
            raise InvalidArgument("aliases must be a mapping of names to known models", argument="aliases")
        for alias, model in aliases.items():
            if full_name(model) not in self.models:
                known = ", ".join(sorted(self.models))
                raise InvalidArgument(
                    f"aliases: {alias!r} cannot stand for {model!r}, which was not recorded from "
                    f"{self.version}; use one of: {known}",
                    argument="aliases",
                )
        pairs = {full_name(alias): full_name(model) for alias, model in aliases.items()}
        return attrs.evolve(self, aliases=pairs)

    def _recorded_name(self, model: str) -> str:
        name = full_name(model)
        return self.aliases.get(name, name)

    def get(self, name: str) -> RecordedExchange | None:
        """Return a recording by name, or None if this version lacks it."""
        return self.exchanges.get(name)

    def get_or_newest(self, name: str) -> RecordedExchange:
        """Return a recording by name, of the newest version where this one lacks it.

        For answers that did not change: errors, constants, empty bodies.
        """
        return self.exchanges.get(name) or catalog(VERSIONS[0]).exchanges[name]

    def knows(self, model: str) -> bool:
        """Return whether the model was recorded, with or without its default tag."""
        return self._recorded_name(model) in self.models

    def can(self, model: str, capability: str) -> bool:
        """Return whether a known model is recorded to have a capability."""
        return capability in self.models.get(self._recorded_name(model), ())

    def show(self, model: str) -> RecordedExchange | None:
        """Return what the server showed of a model, or None if that was not recorded."""
        for exchange in self.exchanges.values():
            request, response = exchange.request, exchange.response
            if request.path != "/api/show" or response.status != HTTPStatus.OK:
                continue
            if full_name(request.json()["model"]) == self._recorded_name(model):
                return exchange
        return None

    def same_request(self, method: str, path: str, body: object) -> RecordedExchange | None:
        """Return the exchange that began with this very request; of several, the last by name."""
        found = None
        for exchange in self.exchanges.values():
            request = exchange.request
            if (request.method, request.path) == (method, path) and request.body:
                try:
                    same = request.json() == body
                except ValueError:  # recorded because it is no JSON
                    continue
                found = exchange if same else found
        return found


@cache
def catalog(version: str) -> Catalog:
    """Return the catalog of a recorded server version."""
    exchanges = {each.name: each for each in recordings(version)}
    tags = _longest(exchanges, "/api/tags")
    models = {full_name(entry["name"]): frozenset[str]() for entry in tags.response.json()["models"]}
    for exchange in exchanges.values():
        request, response = exchange.request, exchange.response
        if request.path in _INFERENCE and response.status == HTTPStatus.OK:
            body = cast("dict[str, Any]", request.json())
            name = full_name(body["model"])
            models[name] = models.get(name, frozenset()) | _shown_by(request.path, body)
    return Catalog(
        version=version,
        exchanges=exchanges,
        tags=tags,
        running=_longest(exchanges, "/api/ps"),
        models=models,
    )


def full_name(model: str) -> str:
    """Return a model's name with its tag, in lower case, without the default host and namespace."""
    name = model.strip().lower()
    name = name.removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _longest(exchanges: dict[str, RecordedExchange], path: str) -> RecordedExchange:
    """Return the longest recorded list whose models all have plain names (others are copies)."""

    def length(exchange: RecordedExchange) -> int:
        names = [entry["name"] for entry in exchange.response.json()["models"]]
        return -1 if any("/" in name for name in names) else len(names)

    return max((each for each in exchanges.values() if each.request.path == path), key=length)


def _shown_by(path: str, body: dict[str, Any]) -> frozenset[str]:
    """Return what a model is able to do if it answered such a request."""
    if path == "/api/embed":
        return frozenset({"embedding"})
    if not (body.get("messages") or body.get("prompt")):
        return frozenset()  # loading, unloading and showing work for any model
    able = {"completion"}
    if body.get("tools"):
        able.add("tools")
    if body.get("think"):
        able.add("thinking")
    return frozenset(able)
