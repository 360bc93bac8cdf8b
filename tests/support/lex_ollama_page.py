"""The page for users of lex-ollama: its rows, and what the Python in its middle column may name."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from markdown_tables import Row, rows_of

from ollama_ext.fleet.dispatch import run_request
from ollama_ext.fleet.messages import Properties, Refusal, Request, parse_request, reply_body
from ollama_ext.settings import Subscription

if TYPE_CHECKING:
    from ollama_ext import Client

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "from-lex-ollama.md"
ROWS = rows_of(PAGE)
#: Headings.
CLIENT_METHODS, ERRORS, BUCKET, SETTINGS = "Methods", "What goes wrong", "Models in S3", "Settings"
FIELDS, FAILURES = "What goes on to Ollama", "The fleet: what becomes of a request that fails"

_ROOMS: Final = (
    *("ollama_ext", "ollama_ext.s3", "ollama_ext.settings"),
    *(
        f"ollama_ext.fleet.{room}"
        for room in (
            *("dispatch", "messages", "topology", "definitions", "declaring", "outbox", "jobs"),
            *("running", "faults"),
        )
    ),
    "ollama_ext.fleet",
)

MESSAGES: Final = [{"role": "user", "content": "Hello"}]
#: The request of the page's example.
PUBLISHED: Final[dict[str, Any]] = {
    "request_type": "embed",
    "model": "all-minilm",
    "input": ["alpha", "beta"],
    "truncate": True,
    "reply_to": "llm.reply.node-17",
    "correlation_id": "c-0042",
}
#: Properties that say something of everything.
GIVEN: Final = Properties(
    content_type="application/json",
    reply_to="llm.reply.property",
    correlation_id="c-property",
    message_id="m-1",
    expiration="60000",
    type="llm",
    app_id="legion",
    timestamp=1_775_600_000,
    priority=5,
    headers={"region": "here", "model": "another", "x-run-limit-ms": 30_000},
)
CHAT: Final = Subscription(type="chat", model="llama3.2")
EMBED: Final = Subscription(type="embed", model="all-minilm")


def rows(heading: str) -> list[Row]:
    """Return the rows under a heading."""
    found = [row for row in ROWS if row.heading == heading]
    assert found, f"the page has no table under {heading!r}"
    return found


def where(row: Row) -> str:
    """Return where a row stands, for the identifier of a test."""
    return f"{PAGE.name}:{row.line}"


def first_word(row: Row) -> str:
    """Return the name that the first code of a row begins with; empty where it has none."""
    return "".join(row.code(0)[:1]).partition("(")[0]


class Names(dict[str, Any]):
    """What the expressions of the page may name: what the tests made, and what the library offers."""

    def __missing__(self, name: str) -> Any:
        """Look for a name in the library.

        Raises:
            KeyError: It is nowhere; Python makes a NameError of it.
        """
        for room in _ROOMS:
            found = getattr(importlib.import_module(room), name, None)
            if found is not None and not isinstance(found, ModuleType):
                return found
        raise KeyError(name)

    def value(self, code: str) -> Any:
        """Return what an expression of the page gives; a stream is read to its end."""
        value = eval(code, {}, self)  # noqa: S307 - our own page
        return value.finish() if hasattr(value, "finish") else value


def parsed(body: dict[str, Any], properties: Properties, subscription: Subscription) -> Request:
    """Return what a worker makes of a good message."""
    request = parse_request(json.dumps(body).encode(), properties, subscription)
    assert not isinstance(request, Refusal)
    return request


def request_of(properties: Properties) -> Request:
    """Return what a worker makes of a message with these properties and an empty object as its body."""
    return parsed({}, properties, CHAT)


def replied(body: dict[str, Any], subscription: Subscription, client: Client) -> dict[str, Any]:
    """Return the body of the reply to a message."""
    request = parsed(body, Properties(), subscription)
    reply: dict[str, Any] = json.loads(reply_body(request, run_request(request.body, client, subscription)))
    return reply
