"""Copying, deleting and recommending models."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_ext import (
    BadRequest,
    Client,
    ConnectionFailed,
    InvalidArgument,
    ModelNotFound,
    RouteNotFound,
    ServerBusy,
    ServerError,
)
from ollama_ext.testing import VERSIONS, FakeOllama, Json, Raw, Recording, Response, no_wait

COPY, DELETE = "/api/copy", "/api/delete"
RESET = Raw(b"").cut(0, "reset")
DONE = Recording("delete")
GONE = Json({"error": "model 'm' not found"}, 404)


@pytest.mark.parametrize("version", VERSIONS)
def test_copy_and_delete_succeed_with_every_version(version: str) -> None:
    with FakeOllama(version) as server, Client(server.url) as client:
        client.copy_model("smollm2:135m", "team/smol")
        client.delete_model("smollm2:135m")
        copied, deleted = server.requests
    assert (copied.method, copied.path, deleted.method, deleted.path) == ("POST", COPY, "DELETE", DELETE)
    assert copied.json() == {"source": "smollm2:135m", "destination": "team/smol"}
    assert deleted.json() == {"model": "smollm2:135m"}
    assert server.connections == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_model_that_is_not_there_is_neither_copied_nor_deleted(version: str) -> None:
    with FakeOllama(version) as server, Client(server.url) as client:
        with pytest.raises(ModelNotFound, match="nope"):
            client.copy_model("nope", "b")
        with pytest.raises(ModelNotFound, match="nope") as caught:
            client.delete_model("nope")
        assert (caught.value.model, caught.value.status) == ("nope", 404)
        assert len(server.requests) == 2


def test_a_name_that_the_server_does_not_take_is_its_refusal(server: FakeOllama, client: Client) -> None:
    server.on("POST", COPY, Recording("copy-bad-name"))
    with pytest.raises(BadRequest, match="a b/c"):
        client.copy_model("smollm2:135m", "a b/c")


@pytest.mark.parametrize(
    ("method", "arguments", "argument"),
    [
        ("copy_model", ("", "b"), "source"),
        ("copy_model", ("a", ""), "destination"),
        ("copy_model", ("a", 5), "destination"),
        ("copy_model", (None, "b"), "source"),
        ("delete_model", ("",), "model"),
        ("delete_model", (["a"],), "model"),
    ],
)
def test_what_is_no_name_is_refused_by_the_name_of_the_argument(
    server: FakeOllama, client: Client, method: str, arguments: tuple[Any, ...], argument: str
) -> None:
    with pytest.raises(InvalidArgument, match=argument) as caught:
        getattr(client, method)(*arguments)
    assert caught.value.argument == argument
    assert server.connections == 0


# -- a delete that is repeated


@pytest.mark.parametrize(
    "lost",
    [
        RESET,
        Raw(b""),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Len"),
        Json({"error": "remove layer: input/output error"}, 500),
        Json({"error": "bad gateway"}, 502),
    ],
    ids=["reset", "closed", "cut in the headers", "failed after the name was gone", "proxy"],
)
def test_a_repeated_delete_that_finds_nothing_has_done_its_work(
    server: FakeOllama, client: Client, lost: Response
) -> None:
    server.on("DELETE", DELETE, lost, GONE)
    with no_wait():
        client.delete_model("m")
    assert [each.json() for each in server.requests] == [{"model": "m"}] * 2


def test_a_delete_that_never_began_and_then_finds_nothing_is_no_success(
    server: FakeOllama, client: Client
) -> None:
    server.on("DELETE", DELETE, Json({"error": "server busy"}, 503), GONE)
    with no_wait(), pytest.raises(ModelNotFound):
        client.delete_model("m")
    assert len(server.requests) == 2


def test_a_delete_that_is_not_repeated_tells_that_the_answer_was_lost(
    server: FakeOllama, client: Client
) -> None:
    server.on("DELETE", DELETE, RESET, GONE)
    with pytest.raises(ConnectionFailed) as caught:
        client.delete_model("m", retry=None)
    assert caught.value.model == "m"
    assert len(server.requests) == 1


def test_one_delete_knows_nothing_of_another(server: FakeOllama, client: Client) -> None:
    server.on("DELETE", DELETE, RESET, GONE, GONE)
    with no_wait():
        client.delete_model("m")
        with pytest.raises(ModelNotFound):
            client.delete_model("m")


@pytest.mark.parametrize("trouble", [RESET, Json({"error": "no"}, 500), Json({"error": "no"}, 503)])
def test_copy_and_delete_are_tried_again_because_a_second_run_does_the_same(
    server: FakeOllama, client: Client, trouble: Response
) -> None:
    server.on("POST", COPY, trouble, Recording("copy"))
    server.on("DELETE", DELETE, trouble, DONE)
    with no_wait():
        client.copy_model("a", "b")
        client.delete_model("m")
    assert [each.path for each in server.requests] == [COPY, COPY, DELETE, DELETE]


def test_a_delete_that_goes_on_failing_raises_its_last_error(server: FakeOllama, client: Client) -> None:
    server.on("DELETE", DELETE, Json({"error": "disk on fire"}, 500))
    with no_wait(), pytest.raises(ServerError, match="disk on fire") as caught:
        client.delete_model("m")
    assert len(server.requests) == 4
    assert any("tried 4 times" in note for note in caught.value.__notes__)


# -- recommendations


@pytest.mark.parametrize("version", VERSIONS)
def test_recommended_models_are_those_of_the_server(version: str) -> None:
    recording = Recording("model-recommendations")
    with FakeOllama(version) as server, Client(server.url) as client:
        server.on("GET", "/api/experimental/model-recommendations", recording)
        told = client.recommend_models()
    assert told.to_dict() == recording.exchange.response.json()
    assert told.recommendations
    assert told.recommendations[0].model


def test_a_server_that_knows_no_recommendations_is_told_from_one_without_a_model() -> None:
    with FakeOllama("v0.9.6") as server, Client(server.url) as client:
        with pytest.raises(RouteNotFound, match="new enough"):
            client.recommend_models()
        server.on("GET", "/api/experimental/model-recommendations", Json({"error": "busy"}, 503))
        with pytest.raises(ServerBusy):
            client.recommend_models(retry=None)
