"""list, show, ps, cp, rm, load, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import Session, complete_model, verb
from .output import moment, size

if TYPE_CHECKING:
    from ollama_openapi.models import ProcessModelResponse, ShowResponse

_Model = Annotated[
    str, typer.Argument(metavar="MODEL", autocompletion=complete_model, help="Name of a model.")
]
_Models = Annotated[
    list[str], typer.Argument(metavar="MODEL...", autocompletion=complete_model, help="Names.")
]
_SHORT_ID = 12


@verb("list")
@verb("ls", hidden=True)
def list_models(session: Session) -> None:
    """List the models that the server has, newest first."""
    with session.client() as client:
        models = client.list_models()
    if session.output.json:
        session.output.data(models)
        return
    rows = [
        (model.name, model.digest[:_SHORT_ID], size(model.size), moment(model.modified_at))
        for model in models
    ]
    session.output.table(("NAME", "ID", "SIZE", "MODIFIED"), rows)


@verb("ps")
def ps(session: Session) -> None:
    """List the models that are loaded."""
    with session.client() as client:
        models = client.list_running()
    if session.output.json:
        session.output.data(models)
        return
    rows = [
        (
            model.name,
            model.digest[:_SHORT_ID],
            size(model.size),
            _processor(model),
            str(model.context_length or ""),
            moment(model.expires_at),
        )
        for model in models
    ]
    session.output.table(("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"), rows)


def _processor(model: ProcessModelResponse) -> str:
    """Return how much of a model is where, as Ollama prints it."""
    if not model.size_vram or not model.size:
        return "100% CPU"
    gpu = round(100 * min(model.size_vram / model.size, 1))
    return "100% GPU" if gpu == 100 else f"{100 - gpu}%/{gpu}% CPU/GPU"  # noqa: PLR2004 - percent


@verb("show")
def show(
    session: Session,
    model: _Model,
    *,
    modelfile: Annotated[bool, typer.Option("--modelfile", help="Print the Modelfile only.")] = False,
    parameters: Annotated[bool, typer.Option("--parameters", help="Print the parameters only.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Print the template only.")] = False,
    system: Annotated[bool, typer.Option("--system", help="Print the system prompt only.")] = False,
    license: Annotated[bool, typer.Option("--license", help="Print the licence only.")] = False,  # noqa: A002
) -> None:
    """Show what the server knows about a model."""
    with session.client() as client:
        known = client.show_model(model)
    if session.output.json:
        session.output.data(known)
        return
    wanted = {
        "modelfile": modelfile,
        "parameters": parameters,
        "template": template,
        "system": system,
        "license_": license,
    }
    if any(wanted.values()):
        for name in (name for name, is_wanted in wanted.items() if is_wanted):
            session.output.line(getattr(known, name) or "")
        return
    for title, rows in _sections(known).items():
        session.output.line(f"  {title}")
        for name, value in rows:
            session.output.line(f"    {name:<20}{value}" if value else f"    {name}")
        session.output.line("")


def _sections(known: ShowResponse) -> dict[str, list[tuple[str, str]]]:
    details, info = known.details, _plain_info(known)
    architecture = str(info.get("general.architecture") or details.family)
    about = [
        ("architecture", architecture),
        ("parameters", details.parameter_size),
        ("context length", str(info.get(f"{architecture}.context_length") or "")),
        ("embedding length", str(info.get(f"{architecture}.embedding_length") or "")),
        ("quantization", details.quantization_level),
    ]
    sections = {"Model": [(name, value) for name, value in about if value]}
    if known.capabilities:
        sections["Capabilities"] = [(str(each), "") for each in known.capabilities]
    for title, text in (
        ("Parameters", known.parameters),
        ("System", known.system),
        ("License", "\n".join((known.license_ or "").splitlines()[:2])),
    ):
        if text:
            sections[title] = [(" ".join(line.split()), "") for line in text.splitlines() if line.strip()]
    return sections


def _plain_info(known: ShowResponse) -> dict[str, Any]:
    info: Any = known.model_info
    return info if isinstance(info, dict) else dict(info.additional_properties) if info else {}


@verb("cp")
def cp(
    session: Session,
    source: _Model,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="The new name.")],
) -> None:
    """Give a model a second name."""
    with session.client() as client:
        client.copy_model(source, destination)
    _done(session, f"copied '{source}' to '{destination}'", source=source, destination=destination)


@verb("rm")
def rm(session: Session, models: _Models) -> None:
    """Delete models."""
    with session.client() as client:
        for model in models:
            client.delete_model(model)
            _done(session, f"deleted '{model}'", deleted=model)


@verb("load")
def load(
    session: Session,
    models: _Models,
    *,
    keep_alive: Annotated[
        str | None,
        typer.Option(help="How long to keep it: 10m, 2h, seconds as a number, or -1 for ever."),
    ] = None,
) -> None:
    """Load models into memory, and return when they are ready."""
    with session.client() as client:
        for model in models:
            client.load_model(model, keep_alive=duration(keep_alive))
            _done(session, f"loaded '{model}'", loaded=model)


@verb("stop")
def stop(session: Session, models: _Models) -> None:
    """Have models leave memory."""
    with session.client() as client:
        for model in models:
            client.unload_model(model)
            _done(session, f"stopped '{model}'", stopped=model)


def duration(text: str | None) -> float | str | None:
    """Return what a user typed as ``keep_alive``: a plain number is seconds."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _done(session: Session, words: str, **fields: str) -> None:
    if session.output.json:
        session.output.data(fields)
    else:
        session.output.line(words)
