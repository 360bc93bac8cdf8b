"""The server's state and account, and the web through it."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_ext import (
    Client,
    ConnectionFailed,
    InvalidArgument,
    InvalidResponse,
    RouteNotFound,
    ServerBusy,
    ServerError,
    Unauthorized,
)
from ollama_ext.testing import FakeOllama, Json, Raw, Recording, Response, no_wait

ME, SIGN_OUT = "/api/me", "/api/signout"
SEARCH, FETCH = "/api/experimental/web_search", "/api/experimental/web_fetch"
USER = {"id": "7", "email": "a@example.com", "name": "ann", "plan": "free", "newer": [1]}
SIGNED_OUT = Json({"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=gpu1&key=x"}, 401)
FOUND = {"results": [{"title": "t", "url": "https://example.com", "content": "c"}]}
PAGE = {"title": "t", "content": "c", "links": ["https://example.com/a"]}


@pytest.mark.parametrize("version", ["v0.33.0-rc2", "v0.24.0"])
def test_the_status_says_whether_the_cloud_is_allowed(version: str) -> None:
    with FakeOllama(version) as server, Client(server.url) as client:
        cloud = client.server_status().cloud
    assert (cloud.disabled, cloud.source) == (False, "none")


def test_a_server_that_knows_no_status_is_an_older_one() -> None:
    with FakeOllama("v0.9.6") as server, Client(server.url) as client:
        with pytest.raises(RouteNotFound, match="/api/status"):
            client.server_status()
        assert len(server.requests) == 1


def test_whoami_is_the_account_with_fields_that_are_newer_too(server: FakeOllama, client: Client) -> None:
    server.on("POST", ME, Json(USER))
    user = client.whoami()
    assert (user.id, user.name, user.email, user.plan) == ("7", "ann", "a@example.com", "free")
    assert user.to_dict() == USER


@pytest.mark.parametrize("method", ["whoami", "sign_out"])
def test_without_an_account_the_error_says_where_to_sign_in(
    server: FakeOllama, client: Client, method: str
) -> None:
    for path in (ME, SIGN_OUT):
        server.on("POST", path, SIGNED_OUT)
    with pytest.raises(Unauthorized, match=r"sign in at https://ollama\.com/connect") as caught:
        getattr(client, method)()
    assert caught.value.signin_url == "https://ollama.com/connect?name=gpu1&key=x"
    assert len(server.requests) == 1


def test_whoami_of_a_server_that_is_offline_is_tried_again_and_then_says_so(
    server: FakeOllama, client: Client
) -> None:
    with no_wait(), pytest.raises(ServerBusy, match="account unavailable") as caught:
        client.whoami()
    assert caught.value.status == 503
    assert len(server.requests) == 4
    server.on("POST", ME, Recording("me-offline"), Json(USER))
    with no_wait():
        assert client.whoami().name == "ann"


def test_signing_out_sends_no_body(server: FakeOllama, client: Client) -> None:
    server.on("POST", SIGN_OUT, Json(None))
    client.sign_out()
    assert server.requests[0].body == b""


ANSWERS = {SIGN_OUT: Json(None), SEARCH: Json(FOUND), FETCH: Json(PAGE)}
CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    SIGN_OUT: ("sign_out", ()),
    SEARCH: ("web_search", ("q",)),
    FETCH: ("web_fetch", ("https://example.com",)),
}


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (Raw(b""), ConnectionFailed),
        (Raw(b"").cut(0, "reset"), ConnectionFailed),
        (Json({"error": "x"}, 500), ServerError),
        (Json({"error": "x"}, 502), ServerError),
    ],
    ids=["closed", "reset", "500", "502"],
)
def test_what_may_have_been_done_is_not_done_again(
    server: FakeOllama, client: Client, path: str, trouble: Response, error: type[Exception]
) -> None:
    server.on("POST", path, trouble, ANSWERS[path])
    method, arguments = CALLS[path]
    with no_wait(), pytest.raises(error):
        getattr(client, method)(*arguments)
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", CALLS)
def test_what_was_refused_before_it_began_is_tried_again(
    server: FakeOllama, client: Client, path: str
) -> None:
    server.on("POST", path, Json({"error": "x"}, 503), Json({"error": "x"}, 429), ANSWERS[path])
    method, arguments = CALLS[path]
    with no_wait():
        getattr(client, method)(*arguments)
    assert len(server.requests) == 3


def test_a_search_finds_pages(server: FakeOllama, client: Client) -> None:
    server.on("POST", SEARCH, Json(FOUND), Json({"results": None}))
    found = client.web_search("why is the sky blue?")
    assert found.to_dict() == FOUND
    assert not client.web_search("", max_results=3).results
    assert [each.json() for each in server.requests] == [
        {"query": "why is the sky blue?"},
        {"query": "", "max_results": 3},
    ]


def test_a_page_is_fetched_as_text(server: FakeOllama, client: Client) -> None:
    server.on("POST", FETCH, Json(PAGE), Json({"title": "t", "content": "c"}))
    page = client.web_fetch("https://example.com")
    assert (page.title, page.content, page.links) == ("t", "c", ["https://example.com/a"])
    assert client.web_fetch("https://example.com").to_dict() == {"title": "t", "content": "c"}
    assert server.requests[0].json() == {"url": "https://example.com"}


@pytest.mark.parametrize(
    ("method", "given", "argument"),
    [
        ("web_search", {"query": 5}, "query"),
        ("web_search", {"query": None}, "query"),
        ("web_search", {"query": "x", "max_results": "3"}, "max_results"),
        ("web_search", {"query": "x", "max_results": True}, "max_results"),
        ("web_fetch", {"url": b"https://example.com"}, "url"),
        ("web_fetch", {"url": None}, "url"),
    ],
)
def test_arguments_of_a_wrong_kind_are_refused_by_name(
    server: FakeOllama, client: Client, method: str, given: dict[str, Any], argument: str
) -> None:
    with pytest.raises(InvalidArgument, match=argument) as caught:
        getattr(client, method)(**given)
    assert caught.value.argument == argument
    assert server.connections == 0


def test_an_answer_that_lacks_what_the_api_promises_is_invalid(server: FakeOllama, client: Client) -> None:
    server.on("POST", ME, Json({"name": "ann"}))
    with no_wait(), pytest.raises(InvalidResponse, match=r"id|email"):
        client.whoami()
    server.on("GET", "/api/status", Json({}))
    with no_wait(), pytest.raises(InvalidResponse, match="cloud"):
        client.server_status()
    assert len(server.requests) == 2
