"""doctor: which server is meant, is it up, what does it have, how fast does it answer."""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.request import getproxies

import msgspec
import typer

from ollama_ext.errors import OllamaError

from .app import FAILED, Session, complete_model, verb
from .output import size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ollama_ext.client import Client

_OLDEST = (0, 9)


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warn", "fail"]
    words: str


@verb("doctor")
def doctor(
    session: Session,
    *,
    model: Annotated[
        str | None,
        typer.Option(autocompletion=complete_model, help="Measure the time to its first token; loads it."),
    ] = None,
) -> None:
    """Look whether the server is all right, and say what to do where it is not."""
    findings: list[Finding] = []

    def tell(what: str, state: Literal["ok", "warn", "fail"], words: str) -> None:
        findings.append(Finding(what, state, words))
        session.output.line(f"{state:<5}{what:<12}{words}")

    with session.client() as client:
        _look_at_settings(session, client, tell)
        version = _asked(tell, "server", client.server_version)
        if version is not None:
            _look_at_server(client, version, tell)
            _time_first_token(client, model, tell)
    if session.output.json:
        session.output.data([msgspec.to_builtins(finding) for finding in findings])
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(FAILED)


def _look_at_settings(session: Session, client: Client, tell: Callable[[str, Any, str], None]) -> None:
    where = "--host" if session.host else "OLLAMA_HOST" if os.environ.get("OLLAMA_HOST") else "the default"
    tell("host", "ok", f"{client.host} (from {where})")
    if os.environ.get("OLLAMA_API_KEY"):
        sent = client.host == "https://ollama.com:443"
        tell(
            "key",
            "ok" if sent else "warn",
            f"OLLAMA_API_KEY is set and {'sent' if sent else 'not sent to this host'}",
        )
    if proxies := sorted(getproxies().keys() - {"no"}):
        tell(
            "proxy",
            "warn",
            f"the environment has proxies for {', '.join(proxies)}; NO_PROXY makes exceptions",
        )


def _asked(tell: Callable[[str, Any, str], None], what: str, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except OllamaError as error:
        tell(what, "fail", str(error))
        return None


def _look_at_server(client: Client, version: str, tell: Callable[[str, Any, str], None]) -> None:
    start = perf_counter()
    client.server_version()
    taken = (perf_counter() - start) * 1000
    known = _number(version) >= _OLDEST
    words = f"Ollama {version} answers in {taken:.1f} ms"
    tell(
        "server",
        "ok" if known else "warn",
        words if known else f"{words}; older than 0.9, which is not tested",
    )
    models = _asked(tell, "models", client.list_models)
    if models is not None:
        total = sum(model.size for model in models)
        tell(
            "models",
            "ok" if models else "warn",
            f"{len(models)}, {size(total)}" if models else "none: pull one",
        )
        unknown = _unknown_fields(models)
        if unknown:
            tell("drift", "warn", f"fields that this version does not know: {', '.join(unknown)}")
    running = _asked(tell, "loaded", client.list_running)
    if running is not None:
        tell("loaded", "ok", ", ".join(model.name for model in running) or "none")


def _number(version: str) -> tuple[int, ...]:
    parts = version.partition("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit()) or (0,)


def _unknown_fields(models: Iterable[Any]) -> list[str]:
    found: set[str] = set()
    for model in models:
        found.update(model.additional_properties)
        found.update(model.details.additional_properties)
    return sorted(found)


def _can_chat(client: Client, model: str) -> bool:
    return "completion" in (client.show_model(model).capabilities or [])


def _time_first_token(client: Client, model: str | None, tell: Callable[[str, Any, str], None]) -> None:
    """Measure with the model that was named, or one that is loaded: nobody wants 40 GB loaded unasked."""
    if model is None:
        running = [entry.name for entry in client.list_running()]
        model = next((name for name in running if _can_chat(client, name)), None)
    if model is None:
        tell("first token", "ok", "not measured: no model that chats is loaded (--model loads one)")
        return
    name = model

    def first_token() -> float:
        start = perf_counter()
        with client.chat_stream(name, "Hi", options={"num_predict": 1}) as stream:
            next(stream)
            return perf_counter() - start

    if (seconds := _asked(tell, "first token", first_token)) is not None:
        tell("first token", "ok", f"{seconds * 1000:.0f} ms with {name}")
