"""What goes wrong is raised as the page for users of lex-ollama says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
from lex_ollama_page import ERRORS, FAILURES, MESSAGES, ROWS, Names, rows, where
from model_stores import digest_of
from streams import chunk

from ollama_ext import Client, OllamaError, Timeouts
from ollama_ext.fleet.dispatch import run_request
from ollama_ext.s3 import Mirror
from ollama_ext.testing import FakeOllama, Json, Lines, Raw, Response, no_wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markdown_tables import Row

Scenario: TypeAlias = Callable[[Mirror, FakeOllama], object]


def refused(
    call: Callable[[Client], object], request: str | None = None, answer: Response | None = None
) -> Scenario:
    """Return a scenario: a request gets an answer, and the call is made."""

    def scenario(_mirror: Mirror, server: FakeOllama) -> object:
        if request is not None and answer is not None:
            method, path = request.split()
            server.on(method, path, answer)
        with Client(server.url, timeout=Timeouts(first_byte=0.2)) as client, no_wait():
            return call(client)

    return scenario


def ask(client: Client) -> object:
    return client.chat("llama3.2", "Hello")


def read_through(client: Client) -> object:
    with client.chat_stream("llama3.2", MESSAGES) as stream:
        return list(stream)


CHAT, TAGS, BLOB = "POST /api/chat", "GET /api/tags", digest_of(b"a blob")
GONE: Final = Json({"error": "model 'gone' not found"}, 404)
WHOLE: Final = Lines(chunk("a"), chunk("b"), chunk("c", done=True))
#: What leads to the error of each row, by how the row begins.
SCENARIOS: Final[Mapping[str, Scenario]] = {
    "`chat` of a model that is not there": refused(lambda client: client.chat("gone", "Hello")),
    "any method, status 400": refused(ask, CHAT, Json({"error": "bad"}, 400)),
    "any method, status 500": refused(Client.list_models, TAGS, Json({"error": "broken"}, 500)),
    "any method, status 503": refused(Client.list_models, TAGS, Json({"error": "busy"}, 503)),
    "`Faraday::ConnectionFailed`": refused(Client.list_models, TAGS, Raw(b"")),
    "`Faraday::TimeoutError`": refused(ask, CHAT, Json({}).delay(60)),
    "`chat_stream` with status 404": refused(read_through, CHAT, GONE),
    "`chat_stream` with an error line": refused(read_through, CHAT, Lines(chunk("a"), {"error": "it broke"})),
    "`chat_stream` cut off": refused(read_through, CHAT, WHOLE.cut(at=len(WHOLE.pieces[0]))),
    "`chat_stream` with a line that is no JSON": refused(read_through, CHAT, Lines(chunk("a"), "text")),
    "`copy_model`, `delete_model` refused": refused(
        lambda client: client.copy_model("gone", "mine"), "POST /api/copy", GONE
    ),
    "`check_blob` with status 500": refused(
        lambda client: client.check_blob(BLOB), f"HEAD /api/blobs/{BLOB}", Json({}, 500)
    ),
    "`push_blob` with a wrong digest": refused(lambda client: client.push_blob(BLOB, b"another")),
    "`pull_model` of a model that no registry has": refused(
        lambda client: client.pull_model("gone"),
        "POST /api/pull",
        Lines({"error": "pull model manifest: file does not exist"}),
    ),
    "`DigestMismatchError`": lambda mirror, _server: mirror.import_model("bad"),
    "a name such as": lambda mirror, _server: mirror.import_model("../../x"),
    "a manifest without `layers`": lambda mirror, _server: mirror.import_model("bare"),
    "a model that the bucket has not": lambda mirror, _server: mirror.import_model("none"),
}
RAISING = [row for row in ROWS if any(row.cells[0].startswith(start) for start in SCENARIOS)]


def test_every_row_of_an_error_has_its_scenario() -> None:
    starts = [start for row in RAISING for start in SCENARIOS if row.cells[0].startswith(start)]
    assert sorted(starts) == sorted(SCENARIOS)
    assert set(rows(ERRORS)) <= set(RAISING)


@pytest.mark.parametrize("row", RAISING, ids=where)
def test_what_goes_wrong_is_raised_as_the_row_says(
    row: Row, names: Names, mirror: Mirror, server: FakeOllama
) -> None:
    (scenario,) = (SCENARIOS[start] for start in SCENARIOS if row.cells[0].startswith(start))
    with pytest.raises(OllamaError) as caught:
        scenario(mirror, server)
    assert isinstance(caught.value, names.value(row.code(1)[0]))


def test_an_import_that_fails_stops_no_other(mirror: Mirror) -> None:
    assert [result.ok for result in mirror.import_models(["none", "all-minilm"])] == [False, True]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Json({"error": "invalid options"}, 400), "Fault.CALLER"),
        (Raw(b""), "Fault.MACHINE"),
        (GONE, "Fault.MODEL_MISSING"),
    ],
    ids=["refused", "gone", "no model"],
)
def test_a_failure_in_the_fleet_is_whose_the_page_says(
    answer: Response, fault: str, names: Names, server: FakeOllama
) -> None:
    assert any(fault in row.code(1) for row in rows(FAILURES))
    server.on("POST", "/api/chat", answer)
    with Client(server.url, retry=None) as client:
        outcome = run_request({"model": "llama3.2", "messages": MESSAGES}, client)
    assert outcome.fault is names.value(fault)
    assert outcome.usage == {}
    assert outcome.error is not None
