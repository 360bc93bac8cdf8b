"""The verbs, and what they have in common: how to reach the server, in which form to answer, how to end."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import msgspec
import typer

from ollama_ext import __version__
from ollama_ext.client import Client
from ollama_ext.errors import (
    Cancelled,
    ConnectionFailed,
    InvalidArgument,
    ModelNotFound,
    OllamaError,
    OllamaTimeout,
)
from ollama_ext.s3 import BucketUnreachable, ModelMissing

from .output import Output, write_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

#: Exit codes. They are promised in docs/cli.md and in the help.
FAILED, USAGE, UNREACHABLE, NOT_FOUND, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 4, 130, 141

app: typer.Typer = typer.Typer(
    name="ollama-ext",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=(
        "Exit codes: 0 done; 1 the server refused or failed; 2 wrong usage; 3 no server, bucket or "
        "broker, or a time-out; 4 no such model; 130 ended by Ctrl-C; 141 whoever read the output has left."
    ),
)


class Session:
    """One run of a command.

    Attributes:
        host: What ``--host`` says, or None.
        output: Where results go to.
    """

    def __init__(self, host: str | None, timeout: float | None, *, json: bool, no_retry: bool) -> None:
        """Take note of the options that every verb has."""
        self.host = host
        self.output: Output = Output(json=json)
        self._timeout = timeout
        self._retry = not no_retry

    def client(self) -> Client:
        """Return a client of the server."""
        client = Client(self.host)
        if self._timeout is not None:
            client = client.with_options(timeout=self._timeout)
        return client if self._retry else client.with_options(retry=None)


_Host = Annotated[
    str | None, typer.Option(help="Address of the server.", show_default="$OLLAMA_HOST, or this machine")
]
_Timeout = Annotated[
    float | None, typer.Option(min=0.001, help="Seconds for each call.", show_default="none")
]
_NoRetry = Annotated[bool, typer.Option("--no-retry", help="Try each call once.")]
_Json = Annotated[bool, typer.Option("--json", help="Write JSON and nothing else.")]
_Verbose = Annotated[bool, typer.Option("--verbose", help="Log retries, and show where an error came from.")]
_COMMON = {
    "host": (_Host, None),
    "timeout": (_Timeout, None),
    "no_retry": (_NoRetry, False),
    "json": (_Json, False),
    "verbose": (_Verbose, False),
}


def verb(
    name: str, *, on: typer.Typer = app, common: Collection[str] = tuple(_COMMON), **settings: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function, whose first argument is a `Session`, a verb with options that many have.

    Args:
        name: What to type.
        on: Where it belongs to.
        common: Which of the options that all verbs of a server have.
        settings: For typer.

    An argument of the function whose type is a struct stands for the options that are the struct's fields.
    """

    def make(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        parameters: list[inspect.Parameter] = []
        groups: dict[str, tuple[type[msgspec.Struct], list[str]]] = {}
        for parameter in list(signature.parameters.values())[1:]:
            kind = parameter.annotation
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                options = _options_of(kind)
                groups[parameter.name] = kind, [option.name for option in options]
                parameters += options
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        parameters += [_option(key, *_COMMON[key]) for key in common]

        @wraps(function)
        def run_verb(**arguments: Any) -> None:
            told: dict[str, Any] = {key: default for key, (_, default) in _COMMON.items()}
            told |= {key: arguments.pop(key) for key in common}
            for group, (kind, names) in groups.items():
                arguments[group] = kind(**{name: arguments.pop(name) for name in names})
            verbose = told["verbose"]
            if "verbose" in common:  # a verb without it logs in its own way
                logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(message)s")
            session = Session(told["host"], told["timeout"], json=told["json"], no_retry=told["no_retry"])
            _guarded(lambda: function(session, **arguments), verbose=verbose)

        adapted: Any = run_verb
        adapted.__signature__ = inspect.Signature(parameters)
        adapted.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        on.command(name, **settings)(run_verb)
        return function

    return make


def _options_of(kind: type[msgspec.Struct]) -> list[inspect.Parameter]:
    """Return the options that the fields of a struct stand for."""
    hints = get_type_hints(kind, include_extras=True)
    fields = msgspec.structs.fields(kind)
    return [_option(field.name, hints[field.name], field.default) for field in fields]


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _guarded(work: Callable[[], None], *, verbose: bool) -> None:
    """Do the work of a verb; what fails becomes one message and an exit code."""
    try:
        work()
    except OllamaError as error:
        write_error(f"error: {error}", sys.stderr, terminal=sys.stderr.isatty())
        for note in getattr(error, "__notes__", ()):
            write_error(f"({note})", sys.stderr, terminal=sys.stderr.isatty())
        if verbose:
            raise
        raise typer.Exit(exit_code(error)) from None
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # What the interpreter still wants to write at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(PIPE_CLOSED) from None


def exit_code(error: OllamaError) -> int:
    """Return the exit code for an error."""
    from ollama_ext.fleet.errors import (  # noqa: PLC0415 - the fleet is not everyone's
        BrokerBlocked,
        BrokerUnreachable,
        ModelNotServed,
    )

    match error:
        case InvalidArgument():
            return USAGE
        case (
            ConnectionFailed() | OllamaTimeout() | BucketUnreachable() | BrokerUnreachable() | BrokerBlocked()
        ):
            return UNREACHABLE
        case ModelNotFound() | ModelMissing() | ModelNotServed():
            return NOT_FOUND
        case Cancelled():
            return INTERRUPTED
        case _:
            return FAILED


def complete_model(incomplete: str) -> list[str]:
    """Return the models of the server that begin so, for the shell; none if it does not answer at once."""
    try:
        with Client(timeout=1.0, retry=None) as client:
            names = [entry.name for entry in client.list_models()]
    except OllamaError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"{__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Talk to an Ollama server: on a terminal, in a pipe, or as JSON."""


def run() -> int:
    """Run the command of this process; return its exit code."""
    for name in ("models", "inference", "transfers", "mirror", "fleet", "doctor"):
        import_module(f"ollama_ext.cli.{name}")  # each adds its verbs

    try:
        app(standalone_mode=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
