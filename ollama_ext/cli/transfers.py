"""pull, push, create: bars on a terminal, a line for each step in a pipe."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ollama_ext.errors import InvalidArgument

from .app import Session, complete_model, verb
from .output import Output, printable, size

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import TaskID

    from ollama_ext.plans import CreateArguments
    from ollama_ext.progress import Progress as Step
    from ollama_ext.streaming import ProgressStream

_Model = Annotated[
    str, typer.Argument(metavar="MODEL", autocompletion=complete_model, help="Name of the model.")
]
_Insecure = Annotated[bool, typer.Option("--insecure", help="Talk to the registry over plain http.")]

#: Seconds between two lines about the same step in a pipe.
_EVERY = 10.0


@verb("pull")
def pull(session: Session, model: _Model, *, insecure: _Insecure = False) -> None:
    """Have the server download a model."""
    with session.client() as client, _resumable(session, "pull"):
        _follow(session.output, client.pull_model_stream(model, insecure=insecure or None))


@verb("push")
def push(session: Session, model: _Model, *, insecure: _Insecure = False) -> None:
    """Have the server upload a model to its registry."""
    with session.client() as client, _resumable(session, "push"):
        _follow(session.output, client.push_model_stream(model, insecure=insecure or None))


@verb("create")
def create(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the new model.")],
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="A Modelfile.", show_default="./Modelfile, if there is one"),
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", help="The model that it is made from.")] = None,
    files: Annotated[
        Path | None, typer.Option(help="Weights: a GGUF file, or a directory of safetensors or GGUF.")
    ] = None,
    adapters: Annotated[Path | None, typer.Option(help="A LoRA adapter, in the same forms.")] = None,
    quantize: Annotated[str | None, typer.Option("--quantize", "-q", help="Such as q4_K_M.")] = None,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    template: Annotated[str | None, typer.Option(help="Prompt template.")] = None,
) -> None:
    """Create a model from another one, from weights of this machine, or by a Modelfile."""
    if file is None and from_ is None and files is None:
        file = Path("Modelfile")
        if not file.exists():
            raise InvalidArgument(
                "nothing to create a model from: no Modelfile here; pass --file, --from or --files",
                argument="file",
            )
    given = {
        "modelfile": file,
        "files": files,
        "adapters": adapters,
        "quantize": quantize,
        "system": system,
        "template": template,
    }
    arguments = cast("CreateArguments", {name: value for name, value in given.items() if value is not None})
    with session.client() as client, _resumable(session, "create"):
        _follow(session.output, client.create_model_stream(model, from_, **arguments))


@contextmanager
def _resumable(session: Session, what: str) -> Generator[None]:
    try:
        yield
    except KeyboardInterrupt:
        session.output.note(f"\nstopped; the same {what} again goes on with what is there")
        raise


def _follow(output: Output, steps: ProgressStream) -> None:
    with steps:
        if output.json:
            for step in steps:
                output.data(msgspec.to_builtins(step))
        elif output.terminal:
            _draw(output, steps)
        else:
            _print(output, steps)


def _print(output: Output, steps: ProgressStream) -> None:
    """Write a line when the step changes, and now and then in between."""
    last, told = "", 0.0
    for step in steps:
        now = monotonic()
        if step.status != last or (step.total and now - told >= _EVERY):
            last, told = step.status, now
            output.line(f"{step.status}{_amount(step)}")


def _amount(step: Step) -> str:
    return f" {size(step.completed)} of {size(step.total)}" if step.total else ""


def _draw(output: Output, steps: ProgressStream) -> None:
    """Draw a bar for each layer, and one for all of it."""
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    bars: dict[tuple[str, str], TaskID] = {}
    with Progress(*columns, console=output.console, refresh_per_second=10) as drawn:
        whole = drawn.add_task("in all", total=None)
        for step in steps:
            drawn.update(whole, completed=step.overall.completed, total=step.overall.total or None)
            if not step.total:
                drawn.console.print(printable(step.status), markup=False)
                continue
            key = (step.status, step.digest)
            if key not in bars:
                bars[key] = drawn.add_task(printable(step.status)[:40], total=step.total)
            drawn.update(bars[key], completed=step.completed, total=step.total)
        if (last := steps.progress) is not None:  # it has succeeded, so all of it is there
            drawn.update(whole, completed=last.overall.total or 1, total=last.overall.total or 1)
