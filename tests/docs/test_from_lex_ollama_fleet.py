"""Requests and settings that were written for lex-ollama mean what the page for its users says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import lex_ollama_surface as theirs
import msgspec
import pytest
from lex_ollama_page import (
    CHAT,
    FIELDS,
    GIVEN,
    MESSAGES,
    PUBLISHED,
    SETTINGS,
    Names,
    parsed,
    replied,
    request_of,
    rows,
    where,
)

from ollama_ext import Client
from ollama_ext.fleet.dispatch import KINDS, handle_request
from ollama_ext.fleet.messages import Properties
from ollama_ext.settings import Settings, Subscription
from ollama_ext.testing import FakeOllama, Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markdown_tables import Row

REPLY_KEYS = theirs.DECLARED["The fleet: the reply"].split()
#: What fields hold that are no numbers.
VALUES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("input", "text", "prompt"), "Hello"),
    "messages": MESSAGES,
    "images": ["AAAA"],
    "options": {"seed": 1},
    "format": "json",
    "tools": [],
    "context": [1],
}


@pytest.mark.parametrize("row", rows(FIELDS), ids=where)
def test_the_fields_of_a_request_go_on_as_the_row_says(row: Row, server: FakeOllama) -> None:
    request_type, *fields = row.code(0)
    ours = row.code(1)
    subscription = Subscription(type=request_type, model="llama3.2")
    server.on("POST", f"/api/{request_type}", Json({"error": "that is enough"}, 400))
    with Client(server.url) as client:
        for field, sent_as in zip(fields or ours, ours, strict=True):
            value = VALUES.get(field, 1)
            handle_request({"model": "llama3.2", field: value}, client, subscription)
            streamed = {} if request_type == "embed" else {"stream": True}
            assert server.requests[-1].json() == {"model": "llama3.2", sent_as: value, **streamed}


@pytest.mark.parametrize("request_type", KINDS)
def test_the_page_has_every_field_that_goes_on(request_type: str) -> None:
    told = {field for row in rows(FIELDS) if row.code(0)[0] == request_type for field in row.code(1)}
    assert told == set(KINDS[request_type].fields)


def test_a_request_as_it_was_published_for_the_original_is_understood(client: Client) -> None:
    """The example of the page with the original's address, with type and model and without."""
    published = {**PUBLISHED, "model": "all-minilm:l6-v2", "reply_to": "agent.node-17"}
    bare = {name: published[name] for name in ("input", "reply_to", "correlation_id")}
    subscription = Subscription(type="embed", model="all-minilm:l6-v2")
    for body in (published, bare):
        request = parsed(body, Properties(content_type="application/json"), subscription)
        assert (request.reply_to, request.correlation_id) == ("agent.node-17", "c-0042")
        reply = replied(body, subscription, client)
        assert list(reply) == REPLY_KEYS
        assert (reply["correlation_id"], reply["status"]) == ("c-0042", 200)
        assert len(reply["result"]["embeddings"]) == 2


def test_a_header_changes_nothing_of_a_request() -> None:
    assert GIVEN.headers["model"] == "another"
    assert request_of(GIVEN).body["model"] == CHAT.model


def test_a_failure_has_the_keys_of_the_original_and_an_error(names: Names) -> None:
    assert names["failed"].keys() == {*REPLY_KEYS, "error"}
    assert (names["failed"]["usage"], names["failed"]["status"]) == ({}, 404)


# -- settings


def paths_of(value: Any, path: str = "legion.ollama") -> Iterator[tuple[str, Any]]:
    """Return the keys of a file, and what they hold; of a list of mappings those of the first."""
    if isinstance(value, dict):
        for name, held in value.items():
            yield from paths_of(held, f"{path}.{name}")
    elif isinstance(value, list) and isinstance(value[0], dict):
        yield from paths_of(value[0], f"{path}[]")
    else:
        yield path, tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize(("path", "value"), list(paths_of(theirs.SETTINGS)), ids=str)
def test_a_setting_is_where_the_row_says(path: str, value: Any, names: Names) -> None:
    (row,) = (row for row in rows(SETTINGS) if path in row.code(0))
    assert names.value(row.code(1)[0]) == value


def test_a_file_in_our_own_layout_means_the_same(names: Names) -> None:
    """Its keys are those of the middle column."""
    ours: dict[str, Any] = {"subscriptions": theirs.SETTINGS["subscriptions"]}
    for row in rows(SETTINGS):
        for code in row.code(1):
            path = re.fullmatch(r"settings\.(\w+)(?:\.(\w+))?", code)
            if path is not None and path[2]:
                ours.setdefault(path[1], {})[path[2]] = names.value(code)
            elif path is not None:
                ours[path[1]] = names.value(code)
    settings = Settings.from_mapping(ours, environ={})
    assert settings == msgspec.structs.replace(names["settings"], origins=settings.origins)
