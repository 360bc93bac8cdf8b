"""What is in memory: listing, loading, unloading."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ollama_ext import BadRequest, Client, InvalidArgument, ModelNotFound, TotalTimeout
from ollama_ext.testing import VERSIONS, FakeOllama, Json, Raw, Recording, no_wait

GENERATE, EMBED, PS = "/api/generate", "/api/embed", "/api/ps"
EMBEDS_ONLY = Json({"error": '"all-minilm:l6-v2" does not support generate'}, 400)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_models_that_are_loaded_are_listed_as_the_server_tells(version: str) -> None:
    with FakeOllama(version) as server, Client(server.url) as client:
        told = Recording("ps", version)
        server.on("GET", PS, told, Recording("ps-empty", version))
        running = client.list_running()
        assert [each.to_dict() for each in running] == told.exchange.response.json()["models"]
        assert running[0].size >= running[0].size_vram >= 0
        assert client.list_running() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chat_model_is_loaded_and_unloaded_by_a_request_without_a_prompt(version: str) -> None:
    with FakeOllama(version) as server, Client(server.url) as client:
        # 0.9.6 and 0.24 were recorded unloading only; a load is answered alike.
        server.on("POST", GENERATE, Recording("generate-load"), Recording("generate-unload", version))
        client.load_model("smollm2:135m")
        client.unload_model("smollm2:135m")
        loaded, unloaded = server.requests
    assert loaded.json() == {"model": "smollm2:135m", "stream": False}
    assert unloaded.json() == {"model": "smollm2:135m", "keep_alive": 0, "stream": False}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (timedelta(minutes=5), 300),
        (timedelta(seconds=-1), -1),
        (90, 90),
        (1.5, 1.5),
        (0, 0),
        (-1, -1),
        ("5m", "5m"),
        ("1h30m", "1h30m"),
        ("-1s", "-1s"),
    ],
)
def test_how_long_it_stays_may_be_a_timedelta_seconds_or_gos_notation(
    server: FakeOllama, client: Client, given: Any, sent: float | str
) -> None:
    client.load_model("smollm2:135m", keep_alive=given)
    assert server.requests[0].json() == {"model": "smollm2:135m", "keep_alive": sent, "stream": False}


@pytest.mark.parametrize("value", ["5 minutes", "5", "soon", True, b"5m", float("nan"), [5]])
def test_what_is_no_length_of_time_is_refused_before_anything_is_sent(
    server: FakeOllama, client: Client, value: Any
) -> None:
    with pytest.raises(InvalidArgument, match="keep_alive") as caught:
        client.load_model("m", keep_alive=value)
    assert caught.value.argument == "keep_alive"
    assert server.connections == 0


def test_a_model_that_only_embeds_is_loaded_by_an_embed_call_with_the_same_options(
    server: FakeOllama, client: Client
) -> None:
    server.on("POST", GENERATE, EMBEDS_ONLY)
    client.load_model("all-minilm:l6-v2", keep_alive="5m", extra_headers={"X-A": "1"})
    refused, loaded = server.requests
    assert (refused.path, loaded.path) == (GENERATE, EMBED)
    assert loaded.json() == {"model": "all-minilm:l6-v2", "keep_alive": "5m"}
    assert refused.headers["x-a"] == loaded.headers["x-a"] == "1"
    assert server.connections == 1


def test_a_model_that_only_embeds_is_unloaded_like_any_other(server: FakeOllama, client: Client) -> None:
    server.on("POST", GENERATE, EMBEDS_ONLY)
    client.unload_model("all-minilm:l6-v2")
    assert server.requests[-1].path == EMBED
    assert server.requests[-1].json() == {"model": "all-minilm:l6-v2", "keep_alive": 0}


def test_other_refusals_of_a_load_are_raised_and_nothing_else_is_asked(
    server: FakeOllama, client: Client
) -> None:
    with pytest.raises(ModelNotFound, match="nope") as caught:
        client.load_model("nope")
    assert caught.value.model == "nope"
    server.on("POST", GENERATE, Json({"error": "invalid duration"}, 400))
    with pytest.raises(BadRequest, match="invalid duration"):
        client.load_model("m")
    assert [each.path for each in server.requests] == [GENERATE, GENERATE]


def test_a_failure_of_the_embed_call_is_the_failure_of_the_load(server: FakeOllama, client: Client) -> None:
    server.on("POST", GENERATE, EMBEDS_ONLY)
    server.on("POST", EMBED, Json({"error": "model 'm' not found"}, 404))
    with pytest.raises(ModelNotFound) as caught:
        client.load_model("m")
    assert caught.value.request is not None
    assert caught.value.request.url.endswith(EMBED)


def test_the_total_spans_both_requests(server: FakeOllama, client: Client) -> None:
    server.on("POST", GENERATE, EMBEDS_ONLY.delay(0.15))
    server.on("POST", EMBED, Json({"model": "m", "embeddings": []}).delay(0.15))
    with pytest.raises(TotalTimeout):  # each alone is in time
        client.load_model("all-minilm:l6-v2", timeout=0.2)


def test_loading_is_tried_again_for_it_only_loads_once(server: FakeOllama, client: Client) -> None:
    server.on(
        "POST", GENERATE, Raw(b"").cut(0, "reset"), Json({"error": "x"}, 503), Recording("generate-load")
    )
    with no_wait():
        client.load_model("smollm2:135m")
    assert len(server.requests) == 3
