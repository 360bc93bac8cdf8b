"""What a worker would find at its Ollama, and what the settings ask of it: asking, and findings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from ollama_ext.client import Client
from ollama_ext.errors import OllamaError
from ollama_ext.hosts import parse_host
from ollama_ext.names import parse_name

from .checks_report import Finding, command, counted, note, ok, problem
from .topology import ANY, is_wild
from .watching import Inventory, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ollama_ext.settings import Settings

# The oldest that this library is tested with.
_OLDEST: Final = (0, 9)


class Server(msgspec.Struct, frozen=True):
    """What an Ollama said.

    Attributes:
        inventory: What it has; None if it did not answer.
        trouble: Why not.
    """

    inventory: Inventory | None
    trouble: str = ""


def ask_ollama(settings: Settings) -> Server:
    """Ask the Ollama of the settings what it has."""
    try:
        with Client(settings.ollama.host, retry=None) as client:
            watcher = Watcher(client, settings.subscriptions, settings.amqp.exchange, _Nobody())
            return Server(watcher.look())
    except OllamaError as error:
        return Server(None, str(error))


class _Nobody:
    """Hears nothing: the watcher is asked, and tells nobody."""

    def seen(self, inventory: Inventory) -> None: ...
    def away(self, error: OllamaError) -> None: ...
    def provided(self, model: str) -> None: ...
    def not_provided(self, model: str, error: Exception) -> None: ...


def about_ollama(server: Server, settings: Settings) -> list[Finding]:
    """Return findings about the server, its models, and what the settings ask of them."""
    host = settings.ollama.host
    inventory = server.inventory
    found: list[Finding] = []
    if inventory is None:
        start = "ollama serve   (or: systemctl start ollama)"
        fix = start if _is_here(host) else f"{start}, on the machine of {host}\nollama.host: where it is"
        found.append(problem("ollama", server.trouble, fix))
    else:
        old = _number(inventory.version) < _OLDEST
        text = f"{host} is Ollama {inventory.version}"
        older = f"{text}; older than 0.9, which is not tested"
        found.append(note("ollama", older, "the newest Ollama") if old else ok("ollama", text))
        found += _about_models(inventory, settings)
    found += _about_default_models(settings)
    found += _about_context(settings)
    found.append(_about_slots(settings))
    return found


def _about_models(inventory: Inventory, settings: Settings) -> Iterator[Finding]:
    fetched = [parse_name(model) for model in settings.default_models]
    for model in dict.fromkeys(each.model for each in settings.subscriptions if each.model != ANY):
        there = inventory.find(model)
        if there is not None and there.remote:
            yield note("model", f"{model} is only a name there: its prompts go on to another host")
        elif there is not None:
            yield ok("model", f"{model} is there")
        elif any(each.same_as(parse_name(model)) for each in fetched):
            yield ok("model", f"{model} is missing; the worker fetches it from the bucket")
        else:
            yield problem("model", f"{model} is missing", _pull(model, settings.ollama.host))
    if any(map(is_wild, settings.subscriptions)):
        stands = [f"{each.type} {each.model}" for each in inventory.subscriptions]
        text = f"with wildcards: {counted(stands, most=8)}" if stands else "wildcards stand for no model here"
        yield ok("model", text) if stands else note("model", text, _pull("MODEL", settings.ollama.host))
    for text in inventory.notes:
        yield note("model", text)


def _about_default_models(settings: Settings) -> Iterator[Finding]:
    if settings.default_models and not _is_here(settings.ollama.host):
        yield problem(
            "model",
            "default_models are imported into the store of this machine, and ollama.host "
            f"({settings.ollama.host}) is another one: the worker does not start",
            "run the worker on that machine, or leave default_models out and there type\n"
            + command("ollama-ext", "mirror", "import", *settings.default_models),
        )


def _about_context(settings: Settings) -> Iterator[Finding]:
    unpinned = [
        f"{each.type} {each.model}"
        for each in settings.subscriptions
        if each.type != "embed" and "num_ctx" not in (each.options or {})
    ]
    if unpinned:
        yield note(
            "context",
            f"num_ctx is not set for {counted(unpinned)}: each machine's Ollama decides by itself how long a "
            "prompt may be before it is cut, and a caller's num_ctx has the model loaded anew",
            "options: {num_ctx: 16384}   (in the subscription; the same on every machine)",
        )


def _about_slots(settings: Settings) -> Finding:
    slots = settings.worker.slots
    if slots == 1:
        return ok("slots", "1 job at a time, which suits every Ollama")
    return note(
        "slots",
        f"{slots} jobs at a time; Ollama does not tell whether it is set to as many, and has others wait",
        f"OLLAMA_NUM_PARALLEL={slots}   (in the environment of ollama serve; systemctl edit ollama)",
    )


def _is_here(host: str) -> bool:
    return parse_host(host).is_loopback


def _pull(model: str, host: str) -> str:
    pull = command("ollama", "pull", model)
    parsed = parse_host(host)
    return pull if parsed.is_loopback and parsed.connect.endswith(":11434") else f"OLLAMA_HOST={host} {pull}"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0])[:2]) or _OLDEST
