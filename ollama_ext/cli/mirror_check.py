"""Does the Ollama of this machine see what was imported? It may read another directory."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from ollama_ext.client import Client
from ollama_ext.errors import ConnectionFailed, OllamaError, OllamaTimeout
from ollama_ext.hosts import Host, host_from_environment, parse_host
from ollama_ext.names import parse_name
from ollama_ext.s3.location import SERVICE_STORE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ollama_ext.s3 import TransferResult

    from .app import Session

#: Seconds for the one call that is made.
_PATIENCE = 2.0


def server_to_ask(given: str | None) -> Host | None:
    """Return the server that ought to see what is imported, or None if it is on another machine.

    Args:
        given: What ``--host`` says.

    Raises:
        InvalidArgument: It is no address.
    """
    host = host_from_environment() if given is None else parse_host(given)
    host.dial_url  # noqa: B018 - refuses what cannot be dialled, before a long transfer and not after it
    return host if host.is_loopback else None


def look_whether_it_is_seen(
    session: Session, host: Host, imported: Sequence[TransferResult], store: Path
) -> bool:
    """Ask the Ollama of this machine, if one answers, whether it lists what was imported; say so if not."""
    try:
        with Client(host.given, timeout=_PATIENCE, retry=None) as client:
            listed = client.list_models()
    except (ConnectionFailed, OllamaTimeout):
        return True  # nobody is there: it is imported before the server starts
    except OllamaError as error:
        session.output.note(f"the Ollama at {host.connect} does not tell what it has ({error})")
        return True
    digests = {(entry.name, entry.digest.removeprefix("sha256:")) for entry in listed}

    def is_seen(result: TransferResult) -> bool:
        name, digest = parse_name(result.model), (result.digest or "").removeprefix("sha256:")
        return any(digest == other and name.same_as(parse_name(text)) for text, other in digests)

    unseen = [result.model for result in imported if not is_seen(result)]
    if unseen:
        session.output.note(_explanation(host, unseen, store))
    return not unseen


def _explanation(host: Host, unseen: Sequence[str], store: Path) -> str:
    names = ", ".join(repr(name) for name in unseen)
    told = f"error: the Ollama at {host.connect} does not see {names} in {store}: it reads another directory"
    if not SERVICE_STORE.is_dir() or (store.exists() and store.samefile(SERVICE_STORE)):
        command = _command_again("DIRECTORY")
        return f"{told}. With the OLLAMA_MODELS that it was started with, type\n  {command}"
    who = "" if os.access(SERVICE_STORE, os.W_OK) else " (as root, or as the user of the service)"
    return f"{told}, probably {SERVICE_STORE}. Type{who}\n  {_command_again(str(SERVICE_STORE))}"


def _command_again(store: str) -> str:
    """Return what was typed, with another store."""
    kept: list[str] = []
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument == "--store":
            next(arguments, None)
        elif not argument.startswith("--store="):
            kept.append(argument)
    return shlex.join(["ollama-ext", *kept[:2], "--store", store, *kept[2:]])
