"""Routes that the library has no method for, through ``request()``."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_ext import (
    Client,
    ConnectionFailed,
    InvalidArgument,
    InvalidResponse,
    ModelNotFound,
    ResponseError,
    RouteNotFound,
    ServerBusy,
    StreamError,
)
from ollama_ext.testing import Body, FakeOllama, Json, Lines, Raw, Recording, Response, no_wait

NEW = "/api/new"
RESET = Raw(b"").cut(0, "reset")


@pytest.mark.parametrize("value", [{"a": [1, None, "ü"]}, [], "text", 5, 1.5, True, None])
def test_json_comes_back_decoded(server: FakeOllama, client: Client, value: object) -> None:
    server.on("GET", NEW, Json(value))
    assert client.request("GET", NEW) == value


def test_lines_come_back_as_a_list(server: FakeOllama, client: Client) -> None:
    server.on("POST", NEW, Lines({"a": 1}, {"b": 2}), Lines(), Lines({"a": 1}).cut(7, "clean"))
    assert client.request("POST", NEW) == [{"a": 1}, {"b": 2}]
    assert client.request("POST", NEW) is None  # without a body
    assert client.request("POST", NEW) == [{"a": 1}]  # the last line needs no end


def test_text_comes_back_as_text(server: FakeOllama, client: Client) -> None:
    assert client.request("GET", "/") == "Ollama is running"
    server.on(
        "GET", NEW, Body(b"gr\xfc\xdf", content_type="text/plain"), Body("<p>", content_type="TEXT/HTML")
    )
    assert client.request("GET", NEW) == "gr\ufffd\ufffd"
    assert client.request("GET", NEW) == "<p>"


@pytest.mark.parametrize(
    "answer", [Body(b"", 200, None), Body(b"", 204, None), Body(b"", 200, "application/json")]
)
def test_an_answer_without_a_body_is_none(server: FakeOllama, client: Client, answer: Response) -> None:
    server.on("DELETE", NEW, answer)
    assert client.request("DELETE", NEW) is None


def test_a_head_has_no_body(client: Client) -> None:
    assert client.request("HEAD", "/") is None


def test_method_path_query_and_body_go_out_as_they_are(server: FakeOllama, client: Client) -> None:
    server.on("PUT", NEW, Json({}))
    client.request("put", f"{NEW}?x=%20a&y=[1]", json={"ü": [None, 1.5]}, extra_headers={"X-A": "1"})
    client.request("PUT", NEW)
    first, second = server.requests
    assert (first.method, first.path, first.query) == ("PUT", NEW, "x=%20a&y=[1]")
    assert first.json() == {"ü": [None, 1.5]}
    assert (first.headers["content-type"], first.headers["x-a"]) == ("application/json", "1")
    assert (second.body, second.headers["content-length"]) == (b"", "0")
    assert "content-type" not in second.headers


@pytest.mark.parametrize("json", [[], {}, 0, "", False], ids=repr)
def test_only_none_is_no_body(server: FakeOllama, client: Client, json: Any) -> None:
    server.on("POST", NEW, Json({}))
    client.request("POST", NEW, json=json)
    assert server.requests[0].json() == json


def test_the_prefix_of_the_host_is_put_before_the_path(server: FakeOllama) -> None:
    server.on("GET", f"/prefix{NEW}", Json(1))
    with Client(f"{server.url}/prefix") as client:
        assert client.request("GET", NEW) == 1


# -- refusals


def test_refusals_are_the_errors_of_every_other_method(server: FakeOllama, client: Client) -> None:
    with pytest.raises(RouteNotFound, match=NEW) as caught:
        client.request("GET", NEW)
    assert caught.value.request is not None
    assert (caught.value.request.method, caught.value.request.url) == ("GET", f"{server.url}{NEW}")
    with pytest.raises(RouteNotFound):
        client.request("PATCH", "/api/tags")
    with pytest.raises(ModelNotFound, match="nope"):
        client.request("POST", "/api/show", json={"model": "nope"})
    with pytest.raises(ResponseError, match="redirects"):
        client.request("GET", "/api/tags/")


def test_an_error_with_a_status_of_success_is_an_error(server: FakeOllama, client: Client) -> None:
    server.on("GET", NEW, Json({"error": "boom"}), Json({"error": "boom", "more": 1}))
    with pytest.raises(ResponseError, match="boom"):
        client.request("GET", NEW)
    assert client.request("GET", NEW) == {"error": "boom", "more": 1}  # a field of a newer API, who knows


def test_an_error_line_in_a_stream_is_an_error(server: FakeOllama, client: Client) -> None:
    server.on("POST", NEW, Lines({"status": "a"}, {"error": "boom"}))
    with no_wait(), pytest.raises(StreamError, match="boom") as caught:
        client.request("POST", NEW)
    assert caught.value.status == 200
    server.on("POST", "/api/pull", Recording("pull-registry-missing"))
    with pytest.raises(ModelNotFound):
        client.request("POST", "/api/pull", json={"model": "m"})


@pytest.mark.parametrize(
    "answer",
    [
        Body("{", content_type="application/json"),
        Body("<html>", content_type="application/json"),
        Body("ok", content_type=None),
        Body(b'"\xff"', content_type="application/json"),
        Body("[" * 100_000, content_type="application/json"),
        Body('{"a":1}\n{"b":', content_type="application/x-ndjson"),
    ],
    ids=["cut", "html", "text without a type", "no utf-8", "too deep", "half a line"],
)
def test_an_answer_that_is_not_what_its_type_says_is_invalid(
    server: FakeOllama, client: Client, answer: Response
) -> None:
    server.on("GET", NEW, answer)
    with no_wait(), pytest.raises(InvalidResponse, match="starts with") as caught:
        client.request("GET", NEW)
    assert caught.value.status == 200
    assert caught.value.body
    assert len(server.requests) == 1


# -- arguments


@pytest.mark.parametrize("method", ["", " GET", "GET ", "GE T", "GET\r\nX: y", "M\xdcR", 5, None, b"GET"])
def test_what_is_no_method_is_refused(server: FakeOllama, client: Client, method: Any) -> None:
    with pytest.raises(InvalidArgument, match="method must be") as caught:
        client.request(method, NEW)
    assert caught.value.argument == "method"
    assert server.connections == 0


@pytest.mark.parametrize(
    "path",
    [
        "",
        "api/new",
        "http://example.com/",
        "/a b",
        "/a\r\nX: y",
        "/a\n",
        "/ü",
        "/a#b",
        '/"',
        "/{}",
        5,
        None,
        b"/a",
    ],
)
def test_what_is_no_path_is_refused(server: FakeOllama, client: Client, path: Any) -> None:
    with pytest.raises(InvalidArgument, match="path must start") as caught:
        client.request("GET", path)
    assert caught.value.argument == "path"
    assert server.connections == 0


def holding_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "json", [{1, 2}, object(), {"a": b"\xff".decode("latin-1"), "b": {3}}, "\ud800"], ids=repr
)
def test_what_json_has_no_form_for_is_refused(server: FakeOllama, client: Client, json: Any) -> None:
    with pytest.raises(InvalidArgument, match="json cannot be sent as JSON") as caught:
        client.request("POST", NEW, json=json)
    assert caught.value.argument == "json"
    assert server.connections == 0


def test_a_list_that_holds_itself_is_refused(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="json cannot be sent as JSON"):
        client.request("POST", NEW, json=holding_itself())


# -- trying again


@pytest.mark.parametrize("method", ["GET", "get"])
def test_a_get_is_made_again_after_a_broken_connection(
    server: FakeOllama, client: Client, method: str
) -> None:
    server.on("GET", NEW, RESET, Raw(b""), Json({"error": "x"}, 500), Json(1))
    with no_wait():
        assert client.request(method, NEW) == 1
    assert len(server.requests) == 4


def test_a_head_is_made_again_too(server: FakeOllama, client: Client) -> None:
    server.on("HEAD", NEW, RESET, Body(b"", 200))
    with no_wait():
        assert client.request("HEAD", NEW) is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_any_other_method_is_not_for_it_may_have_been_done(
    server: FakeOllama, client: Client, method: str
) -> None:
    server.on(method, NEW, RESET, Json(1))
    with no_wait(), pytest.raises(ConnectionFailed):
        client.request(method, NEW, json={})
    assert len(server.requests) == 1


def test_a_post_that_was_refused_before_it_began_is_made_again(server: FakeOllama, client: Client) -> None:
    server.on("POST", NEW, Json({"error": "busy"}, 503), Json(1))
    with no_wait():
        assert client.request("POST", NEW, json={"a": 1}) == 1
    assert [each.json() for each in server.requests] == [{"a": 1}] * 2
    server.on("POST", NEW, Json({"error": "busy"}, 503))
    with pytest.raises(ServerBusy):
        client.request("POST", NEW, retry=None)


def test_a_stream_that_breaks_is_no_answer(server: FakeOllama, client: Client) -> None:
    lines = Lines({"a": 1}, {"b": 2})
    broken = lines.cut(8, "reset")
    server.on("POST", NEW, broken, lines)
    with no_wait(), pytest.raises(ConnectionFailed) as caught:
        client.request("POST", NEW)
    assert caught.value.stage == "receive"
    server.on("GET", NEW, broken, lines)
    with no_wait():
        assert client.request("GET", NEW) == [{"a": 1}, {"b": 2}]
    assert len(server.requests) == 3
