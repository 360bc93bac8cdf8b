"""The page for users of lex-ollama is complete, and the Python in its middle column does what it says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from lex_ollama_page import BUCKET, CLIENT_METHODS, FIELDS, PAGE, ROWS, Names, first_word, rows, where
from lex_ollama_surface import DECLARED, METHODS, PUBLIC
from model_stores import digest_of

from ollama_ext import Client, Timeouts
from ollama_ext.plans import CreateArguments
from ollama_ext.s3 import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from markdown_tables import Row

    from ollama_ext.testing import FakeOllama

# -- it is complete


METHOD_ROWS = [row for row in [*rows(CLIENT_METHODS), *rows(BUCKET)] if first_word(row) in METHODS]


def test_every_method_of_the_original_has_a_row_of_its_own() -> None:
    assert [first_word(row) for row in METHOD_ROWS] == list(METHODS)


@pytest.mark.parametrize("name", PUBLIC.split())
def test_everything_public_of_the_original_has_a_row(name: str) -> None:
    word = re.compile(rf"(?:(?<![\w.])|[#.]){re.escape(name)}(?![\w?])")
    assert any(word.search(code) for row in ROWS for code in row.code(0)), f"no row has {name}"


@pytest.mark.parametrize(
    ("heading", "name"), [(heading, name) for heading in DECLARED for name in DECLARED[heading].split()]
)
def test_everything_that_the_original_declares_has_a_row(heading: str, name: str) -> None:
    assert any(name in code for row in rows(heading) for code in row.code(0))


@pytest.mark.parametrize("row", METHOD_ROWS, ids=where)
def test_every_argument_of_the_original_has_its_counterpart(row: Row) -> None:
    """The row has them all, and ours takes the same name, or the page says what to write instead."""
    theirs = METHODS[first_word(row)][0].split()
    assert re.findall(r"(\w+):", row.code(0)[0]) == theirs
    owner, _, name = row.code(1)[0].partition("(")[0].partition(".")
    told, ours = row.cells[2], {"default_models"} if name == "import_models" else set[str]()
    if owner == "mirror":
        told += text_above_the_table(BUCKET)
        ours |= {*inspect.signature(getattr(Mirror, name)).parameters, *inspect.signature(Mirror).parameters}
    else:
        ours |= set(inspect.signature(getattr(Client, name)).parameters)
    if name == "create_model":
        ours |= CreateArguments.__annotations__.keys()
    for argument in theirs:
        assert argument in ours or f"`{argument}:`" in told, f"{where(row)} says nothing of {argument}:"


def text_above_the_table(heading: str) -> str:
    return PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n| ")[0]


# -- it is true


def queue_arguments(queues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [queue["arguments"] for queue in queues]


ZERO_USAGE: Final = dict.fromkeys(
    [
        "input_tokens",
        "output_tokens",
        "total_duration",
        "load_duration",
        "prompt_eval_duration",
        "eval_duration",
    ],
    0,
)
QUORUM: Final = {"x-queue-type": "quorum"}
#: What an expression of the page must give, where more is to be said of it than that it runs.
CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    'Client("http://gpu1:11434")': lambda client: client.host == "http://gpu1:11434",
    "Client().host": lambda host: host == "http://127.0.0.1:11434",
    "Timeouts(connect=5, first_byte=600, between=120)": lambda limits: limits == Timeouts(),
    'usage_of({"eval_count": 3})': lambda usage: usage.to_dict() == {**ZERO_USAGE, "output_tokens": 3},
    "EMPTY_USAGE": lambda usage: usage.to_dict() == ZERO_USAGE,
    "error.retryable": lambda retryable: retryable is True,
    "reply.usage.to_dict()": lambda usage: usage.keys() == ZERO_USAGE.keys() and usage["output_tokens"] > 0,
    "reply.result.to_dict()": lambda result: result["message"]["role"] == "assistant",
    "reply.status": lambda status: status == 200,
    "reply.text": bool,
    "stream.reply.text": bool,
    "vectors.usage": lambda usage: usage.input_tokens > 0,
    "vectors.embeddings": lambda vectors: len(vectors) == 1,
    "mirror.list_models()[0].name": lambda name: name == "all-minilm:latest",
    "mirror.list_models()": lambda models: (
        {"all-minilm:latest", "llama3.2:1b"} <= {each.name for each in models}
    ),
    "imported.ok": lambda ok: ok is True,
    "imported.blobs_fetched": lambda blobs: blobs == 2,
    "imported.errors": lambda errors: errors == (),
    "subscription.type, subscription.model": lambda both: both == ("chat", "qwen3.5:27b"),
    'queue_name("chat", "qwen3.5:27b")': lambda name: name == "llm.request.ollama.chat.qwen3.5.27b",
    'queue_name("embed", "nomic-embed-text")': lambda name: (
        name == "llm.request.ollama.embed.nomic-embed-text"
    ),
    'queue_name("generate", "llama3.2")': lambda name: name == "llm.request.ollama.generate.llama3.2",
    "DEFAULT_EXCHANGE": lambda name: name == "llm.request",
    "PROVIDER": lambda name: name == "ollama",
    "DEAD_QUEUE": lambda name: name == "llm.dead",
    'definitions([subscription], version="4.1.0")["queues"]': lambda queues: (
        queue_arguments(queues) == [QUORUM, QUORUM]
    ),
    'definitions([subscription], version="4.1.0")["bindings"]': lambda bindings: len(bindings) == 1,
    "letter.exchange": lambda name: name == "",
    "letter.exchange, letter.routing_key": lambda both: both == ("", "llm.reply.node-17"),
    "request_of(given).reply_to": lambda queue: queue == "llm.reply.property",
    "request_of(given).correlation_id": lambda value: value == "c-property",
    "request_of(given).patience": lambda seconds: seconds == 60,
    "request_of(given).run_limit": lambda seconds: seconds == 30,
    'parse_request(b"[]", given, subscription)': lambda refusal: (
        refusal.code == "invalid_request" and refusal.reply_to == "llm.reply.property"
    ),
    "parse_request(body, properties, subscription)": lambda request: request.reply_to == "llm.reply.node-17",
    'request.body["model"]': lambda model: model == "all-minilm",
    "request.reply_to": lambda queue: queue == "llm.reply.node-17",
    "request.correlation_id": lambda value: value == "c-0042",
    "request.correlation_property": lambda value: value == "c-0042",
    "list(KINDS)": lambda kinds: kinds == ["chat", "generate", "embed"],
    'answer["correlation_id"]': lambda value: value == 7,
    'answer["result"]': lambda result: result["done"] is True and result["message"]["content"] != "",
    'answer["usage"]': lambda usage: usage.keys() == ZERO_USAGE.keys(),
    'answer["model"]': lambda model: model == "llama3.2",
    'answer["provider"]': lambda provider: provider == "ollama",
    'answer["status"]': lambda status: status == 200,
    'failed["result"]': lambda result: result.keys() == {"error"},
    'failed["error"]': lambda error: error.keys() == {"code", "message", "retryable"},
    "sent.message_id": lambda value: value == "r-1",
    "sent.type, sent.app_id": lambda both: both == ("llm.reply", "ollama-ext"),
    "sent.headers": lambda headers: headers["x-ollama-ext-worker"] == "gpu-07",
    'default_store({"OLLAMA_MODELS": "/srv/models"})': lambda path: path == Path("/srv/models"),
    "WorkerSettings().max_reply_bytes": lambda size: size == 8 << 20,
    'reply_refused("somebody.elses", ("llm.reply.",), ())': bool,
}
RUN = [row for row in ROWS if row.heading != FIELDS]  # whose middle column has fields, not Python


@pytest.mark.parametrize("row", RUN, ids=where)
def test_what_a_row_says_of_ours_runs(row: Row, names: Names) -> None:
    assert row.code(1), f"{where(row)} has nothing of ours"
    for code in row.code(1):
        value = names.value(code)
        assert code not in CHECKS or CHECKS[code](value), f"{where(row)}: {code} is {value!r}"


def test_every_check_is_of_something_that_the_page_says() -> None:
    assert CHECKS.keys() <= {code for row in RUN for code in row.code(1)}


@pytest.mark.parametrize("row", rows(CLIENT_METHODS), ids=where)
def test_a_method_asks_what_the_original_asks(row: Row, names: Names, fake: FakeOllama) -> None:
    asked = METHODS[first_word(row)][1]
    assert asked is not None
    before, blob = len(fake.requests), names["digest"]
    code = row.code(1)[0]
    if first_word(row) == "push_blob":  # one that the server has is not sent again
        blob, code = digest_of(b"more"), code.replace("digest", "None").replace("weights", "more")
    names.value(code)
    sent = {f"{request.method} {request.path}" for request in fake.requests[before:]}
    assert asked.format(digest=blob) in sent
