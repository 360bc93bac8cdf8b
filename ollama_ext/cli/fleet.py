"""fleet worker, call, check, definitions: Ollama on many machines, reached by queues of RabbitMQ."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import typer

from ollama_ext.errors import InvalidArgument

from .app import FAILED, Session, app, verb
from .inference import asked_for, tell_vectors

# What needs the fleet or its settings imports them itself: --help needs neither.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    from ollama_ext.fleet.check import Report
    from ollama_ext.fleet.client import FleetClient
    from ollama_ext.settings import Settings

fleet_app: typer.Typer = typer.Typer(
    name="fleet",
    help="Ollama on many machines, behind RabbitMQ: run a worker, ask, check, prepare a broker.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(fleet_app)

_COMMON = ("json", "verbose")
_TIMEOUT = 600.0

_Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The settings.", show_default="the environment alone", dir_okay=False),
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting that goes before the file's, such as worker.slots=2; may be repeated.",
    ),
]


@verb("worker", on=fleet_app, common=())
def worker(
    session: Session,  # noqa: ARG001 - every verb has one
    config: _Config = None,
    set_: _Set = None,
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="How long to wait for the broker and for Ollama at first; 0 tries once.",
            show_default="for ever",
        ),
    ] = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what the AMQP client does, too.")] = False,
) -> None:
    """Serve queues with an Ollama, until stopped.

    SIGTERM or Ctrl-C has it finish what runs, the same again gives that back and ends at once.
    """
    from ollama_ext.fleet.__main__ import overrides_of

    from .fleet_worker import run_worker

    run_worker(config, overrides_of(set_ or ()), wait=wait, verbose=verbose)


@verb("call", on=fleet_app, common=_COMMON)
def call(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    prompt: Annotated[
        list[str] | None, typer.Argument(metavar="[PROMPT]...", help="What to ask; else what is piped in.")
    ] = None,
    *,
    type: Annotated[  # noqa: A002 - as in the settings
        Literal["chat", "generate", "embed"],
        typer.Option(help="What to ask for; embed takes texts or lines."),
    ] = "chat",
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The broker.", show_default="amqp.url of the settings"),
    ] = None,
    config: _Config = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where requests are published: the lane.",
            show_default="amqp.exchange of the settings",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(min=0.001, metavar="SECONDS", help="For the whole call, a wait in the queue too."),
    ] = _TIMEOUT,
) -> None:
    """Ask a model of the fleet one thing. Whichever worker is free answers."""
    from ollama_ext.fleet import FleetClient
    from ollama_ext.settings import Settings

    amqp = Settings.load(config, overrides={"amqp.url": broker, "amqp.exchange": exchange}).amqp
    _quiet_pika()
    if type == "embed":
        texts = prompt or ([] if sys.stdin.isatty() else sys.stdin.read().splitlines())
        if not texts:
            raise InvalidArgument("nothing to embed: pass texts, or pipe lines in", argument="prompt")
        with FleetClient(amqp, timeout=timeout, name="ollama-ext fleet call") as client:
            tell_vectors(session.output, texts, client.embed(model, texts))
        return
    asked = asked_for(prompt)
    if asked is None:
        raise InvalidArgument("nothing is asked: pass a prompt, or pipe one in", argument="prompt")
    with FleetClient(amqp, timeout=timeout, name="ollama-ext fleet call") as client:
        _tell_answer(session, client, model, asked, chat=type == "chat")


def _tell_answer(session: Session, client: FleetClient, model: str, asked: str, *, chat: bool) -> None:
    reply: Any = client.chat(model, asked) if chat else client.generate(model, asked)
    if session.output.json:
        session.output.data(reply.result)
    else:
        session.output.text(f"{reply.text}\n")


@verb("check", on=fleet_app, common=_COMMON)
def check(session: Session, config: _Config = None, set_: _Set = None) -> None:
    """Say what a worker would find. Where something is wrong, what to type; nothing is changed."""
    from ollama_ext.fleet.__main__ import overrides_of
    from ollama_ext.settings import Settings

    settings = Settings.load(config, overrides=overrides_of(set_ or ()))
    _quiet_pika()
    report = _checked(settings, config)
    if session.output.json:
        session.output.data(report.plain())
    else:
        _tell(session, report)
    if not report.ok:
        raise typer.Exit(FAILED)


def _checked(settings: Settings, config: Path | None) -> Report:
    import ollama_ext.fleet

    ollama_ext.fleet.FleetClient  # noqa: B018 - says what to install where pika is missing
    from ollama_ext.fleet.check import check as look

    return look(settings, None if config is None else str(config))


def _tell(session: Session, report: Report) -> None:
    output = session.output
    output.table(("SETTING", "VALUE", "FROM"), [(row.key, row.value, row.origin) for row in report.settings])
    output.line("")
    for finding in report.findings:
        output.line(f"{finding.state:<9}{finding.about:<14}{finding.text}")
        for line in finding.fix.splitlines():
            output.line(f"{'':<9}{'-> ':>14}{line}")


@verb("definitions", on=fleet_app, common=("verbose",))
def definitions(
    session: Session,
    config: _Config = None,
    *,
    broker_version: Annotated[
        str | None, typer.Option(metavar="X.Y", help="The broker's: `rabbitmqctl version` tells it.")
    ] = None,
    permissions: Annotated[
        bool, typer.Option("--permissions", help="Print the commands that give users their rights, instead.")
    ] = False,
    vhost: Annotated[
        str | None, typer.Option(metavar="NAME", help="The virtual host.", show_default="that of amqp.url")
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A user that workers log in as; may be repeated.",
            show_default="that of amqp.url",
        ),
    ] = None,
    caller: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A user that callers log in as; may be repeated.")
    ] = None,
) -> None:
    """Print what the broker needs once. For `rabbitmqctl import_definitions`, or commands to type."""
    from ollama_ext.fleet import definitions as made
    from ollama_ext.fleet.topology import configured_exchanges
    from ollama_ext.settings import Settings

    settings = Settings.load(config)
    exchange = settings.amqp.exchange
    parts = urlsplit(settings.amqp.urls[0])
    where = vhost if vhost is not None else unquote(parts.path[1:]) or "/"
    if permissions:
        exchanges = configured_exchanges(settings.subscriptions, exchange)
        workers = user or ([] if caller else [unquote(parts.username or "guest")])
        lines = [line for name in workers for line in made.permission_lines(name, where, exchanges, "worker")]
        for name in caller or ():
            lines += made.permission_lines(name, where, exchanges, "caller")
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return
    if user or caller:
        raise InvalidArgument("--user and --caller are for --permissions: add that", argument="user")
    if broker_version is None:
        raise InvalidArgument(
            "say which version the broker has, as each takes other policies: "
            '--broker-version "$(rabbitmqctl version)"',
            argument="broker_version",
        )
    document = made.definitions(
        settings.subscriptions, exchange=exchange, vhost=where, version=broker_version
    )
    sys.stdout.write(made.definitions_text(document))
    for line in made.configuration_lines(broker_version):
        session.output.note(f"rabbitmq.conf of this version needs besides, and a restart: {line}")


def _quiet_pika() -> None:
    """Leave it to our own errors to say why there is no connection, unless all is to be told."""
    if not logging.getLogger().isEnabledFor(logging.INFO):
        logging.getLogger("pika").setLevel(logging.CRITICAL)
