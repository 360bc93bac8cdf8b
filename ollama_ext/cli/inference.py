"""chat, embed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ollama_ext.errors import InvalidArgument, OllamaError
from ollama_ext.events import Done, LogprobsDelta, TextDelta, ThinkingDelta, ToolCallDelta

from .app import Session, complete_model, verb
from .models import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollama_ext.client import Client
    from ollama_ext.replies import EmbedReply
    from ollama_ext.usage import Usage

    from .output import Output

_Model = Annotated[
    str, typer.Argument(metavar="MODEL", autocompletion=complete_model, help="Name of the model.")
]
_KeepAlive = Annotated[str | None, typer.Option(help="How long it stays loaded: 10m, 2h, seconds, -1.")]
_Options = Annotated[list[str] | None, typer.Option("--option", "-o", help="An option, as NAME=VALUE.")]
_SHOWN_NUMBERS = 4


@verb("chat")
def chat(
    session: Session,
    model: _Model,
    prompt: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="What to ask.")] = None,
    *,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    image: Annotated[list[Path] | None, typer.Option(help="An image to go with the prompt.")] = None,
    think: Annotated[
        bool | None,
        typer.Option("--think/--no-think", help="Whether to think first.", show_default="the model's"),
    ] = None,
    think_level: Annotated[str | None, typer.Option(help="How much to think: low, medium, high.")] = None,
    format: Annotated[  # noqa: A002 - what Ollama calls it
        str | None, typer.Option(help="'json', or a file with a JSON Schema.")
    ] = None,
    option: _Options = None,
    keep_alive: _KeepAlive = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Print tokens and speed to the standard error.")
    ] = False,
) -> None:
    """Talk to a model: with a prompt, with what is piped in, or turn by turn on a terminal."""
    settings: dict[str, Any] = {
        "think": think_level or think,
        "format": _format(format),
        "options": _options(option),
        "keep_alive": duration(keep_alive),
    }
    history: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    with session.client() as client:
        asked = asked_for(prompt)
        if asked is None:
            _converse(session, client, model, history, settings, stats=stats)
            return
        message: dict[str, Any] = {"role": "user", "content": asked}
        if image:
            message["images"] = image
        _answer(session, client, model, [*history, message], settings, stats=stats)


def asked_for(prompt: list[str] | None) -> str | None:
    """Return what is asked, by words, what is piped in, or both; None if there is neither, on a terminal."""
    words = " ".join(prompt or [])
    if sys.stdin.isatty():
        return words or None
    piped = sys.stdin.read()
    if not words and not piped.strip():
        raise InvalidArgument("nothing is asked: pass a prompt, or pipe one in", argument="prompt")
    return f"{words}\n\n{piped}" if words and piped.strip() else words or piped


def _converse(
    session: Session,
    client: Client,
    model: str,
    history: list[dict[str, Any]],
    settings: dict[str, Any],
    *,
    stats: bool,
) -> None:
    """Take turns until the user has enough. Ctrl-C ends a reply, not the conversation."""
    client.load_model(model, keep_alive=settings["keep_alive"])
    session.output.note("/bye or Ctrl-D ends, Ctrl-C stops a reply.")
    while True:
        try:
            said = input(">>> ")
        except (EOFError, KeyboardInterrupt):
            session.output.line("")
            return
        if said.strip() in {"/bye", "/exit"}:
            return
        if not said.strip():
            continue
        turn = [*history, {"role": "user", "content": said}]
        try:
            history = [*turn, _answer(session, client, model, turn, settings, stats=stats)]
        except KeyboardInterrupt:
            session.output.line("")
        except OllamaError as error:  # the next turn may go better
            session.output.note(f"error: {error}")


def _answer(
    session: Session,
    client: Client,
    model: str,
    history: list[dict[str, Any]],
    settings: dict[str, Any],
    *,
    stats: bool,
) -> dict[str, Any]:
    """Print a reply while it comes; return it as a message."""
    output = session.output
    with client.chat_stream(model, history, **settings) as stream:
        for event in stream:
            if output.json:
                continue
            match event:
                case ThinkingDelta(text=text) if output.terminal:
                    output.text(text, dim=True)
                case TextDelta(text=text):
                    output.text(text)
                case ToolCallDelta(call=call):
                    output.line(json.dumps(call.to_dict()))
                case Done(usage=usage) if stats:
                    output.note(_stats(usage))
                case ThinkingDelta() | LogprobsDelta() | Done():
                    pass
    if output.json:
        output.data(stream.reply.result)
    else:
        output.line("")
    return stream.reply.message


def _stats(usage: Usage) -> str:
    return (
        f"\n{usage.input_tokens} tokens in, {usage.output_tokens} out, "
        f"{usage.tokens_per_second:.1f} per second, {usage.load_duration / 1e9:.2f} s to load"
    )


def _format(text: str | None) -> str | dict[str, Any] | None:
    if text is None or text == "json":
        return text
    try:
        schema: dict[str, Any] = msgspec.json.decode(Path(text).read_bytes(), type=dict[str, Any])
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            f"--format must be 'json' or a file with a JSON Schema; {text!r}: {error}", argument="format"
        ) from None
    return schema


def _options(given: list[str] | None) -> dict[str, Any] | None:
    """Return options as values: what is JSON is taken as such, anything else as text."""
    options: dict[str, Any] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InvalidArgument(f"--option must be NAME=VALUE, not {item!r}", argument="option")
        try:
            options[name] = msgspec.json.decode(value)
        except ValueError:
            options[name] = [value] if name == "stop" else value
    return options or None


@verb("embed")
def embed(
    session: Session,
    model: _Model,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Texts; else the lines of the standard input."),
    ] = None,
    *,
    dimensions: Annotated[int | None, typer.Option(help="Length of the vectors.")] = None,
    keep_alive: _KeepAlive = None,
) -> None:
    """Turn texts into vectors: a table on a terminal, a line of JSON for each in a pipe."""
    lines = texts or ([] if sys.stdin.isatty() else sys.stdin.read().splitlines())
    if not lines:
        raise InvalidArgument("nothing to embed: pass texts, or pipe lines in", argument="texts")
    with session.client() as client:
        reply = client.embed(model, lines, dimensions=dimensions, keep_alive=duration(keep_alive))
    tell_vectors(session.output, lines, reply)


def tell_vectors(output: Output, texts: Sequence[str], reply: EmbedReply) -> None:
    """Write vectors: a table on a terminal, a line of JSON for each in a pipe."""
    if output.json:
        output.data(reply.result)
    elif output.terminal:
        rows = [
            (
                text,
                str(len(vector)),
                " ".join(f"{number:+.4f}" for number in vector[:_SHOWN_NUMBERS]) + " ...",
            )
            for text, vector in zip(texts, reply.embeddings, strict=True)
        ]
        output.table(("TEXT", "NUMBERS", "THE FIRST"), rows)
    else:
        for vector in reply.embeddings:
            output.data(vector)
