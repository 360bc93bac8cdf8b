"""Every field of every request of the API can be reached by a parameter, and arrives as the API names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from ollama_openapi import models
from streams import chunk

from ollama_ext.testing import FakeOllama, Json, Lines, Recording, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ollama_openapi.types import Model

    from ollama_ext import Client

OLDER_NAME = "an older name of a field that has a parameter"
METHOD = "which method is called says so"
DIGEST = f"sha256:{'1' * 64}"
PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object"}
OPTIONS = {"seed": 1}
DONE = Lines({"status": "success"})


@dataclass(frozen=True)
class Reach:
    """How the fields of a request are reached.

    Attributes:
        method: The method of the client.
        given: Arguments that reach all fields that can be.
        sent: What goes out, where that is not what was given.
        path: Where to.
        answer: What comes back.
        not_reached: The fields that no parameter is for, and why.
    """

    method: str
    path: str
    given: Mapping[str, Any]
    answer: Response
    sent: Mapping[str, Any] = field(default_factory=dict[str, Any])
    not_reached: Mapping[str, str] = field(default_factory=dict[str, str])
    verb: str = "POST"


MESSAGE = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "description": "", "parameters": SCHEMA}}
CHAT = {
    "model": "m",
    "messages": [MESSAGE],
    "tools": [TOOL],
    "format": SCHEMA,
    "options": OPTIONS,
    "keep_alive": 5,
    "think": True,
    "truncate": True,
    "shift": True,
    "logprobs": True,
    "top_logprobs": 2,
    "debug_render_only": True,
}
GENERATE = {name: value for name, value in CHAT.items() if name not in {"messages", "tools"}} | {
    "prompt": "p",
    "suffix": "s",
    "images": [PNG],
    "system": "y",
    "template": "t",
    "context": [1, 2],
    "raw": True,
}
TRANSFER = {
    "username": "the server reads it and uses it for nothing",
    "password": "the same",
    "name": OLDER_NAME,
}
GENERATED = {
    "model": "m",
    "created_at": "2026-11-25T00:00:00Z",
    "response": "a",
    "done": True,
    "done_reason": "stop",
}

REQUESTS: dict[str, list[Reach]] = {
    "ChatRequest": [
        Reach("chat", "/api/chat", CHAT, Json(chunk("a", done=True)), {"stream": False}),
        Reach("chat_stream", "/api/chat", CHAT, Lines(chunk("a", done=True)), {"stream": True}),
    ],
    "GenerateRequest": [
        Reach("generate", "/api/generate", GENERATE, Json(GENERATED), {"stream": False}),
        Reach("generate_stream", "/api/generate", GENERATE, Lines(GENERATED), {"stream": True}),
    ],
    "EmbedRequest": [
        Reach(
            "embed",
            "/api/embed",
            {
                "model": "m",
                "input": ["a"],
                "truncate": True,
                "dimensions": 3,
                "keep_alive": "5m",
                "options": OPTIONS,
            },
            Json({"model": "m", "embeddings": [[1.0]]}),
        )
    ],
    "EmbeddingRequest": [],  # the older route for one text: embed() is for one and for many
    "ShowRequest": [
        Reach(
            "show_model",
            "/api/show",
            {"model": "m", "verbose": True, "system": "s", "options": OPTIONS},
            Recording("show"),
            not_reached={"template": "the server does nothing with it", "name": OLDER_NAME},
        )
    ],
    "CopyRequest": [Reach("copy_model", "/api/copy", {"source": "a", "destination": "b"}, Json(None))],
    "DeleteRequest": [
        Reach(
            "delete_model",
            "/api/delete",
            {"model": "m"},
            Json(None),
            not_reached={"name": OLDER_NAME},
            verb="DELETE",
        )
    ],
    **{
        f"{verb.title()}Request": [
            Reach(
                f"{verb}_model{how}",
                f"/api/{verb}",
                {"model": "m", "insecure": True},
                DONE,
                {"stream": True},
                TRANSFER,
            )
            for how in ("", "_stream")
        ]
        for verb in ("pull", "push")
    },
    "CreateRequest": [
        Reach(
            f"create_model{how}",
            "/api/create",
            {
                "model": "m",
                "from_": "n",
                "files": {"a.gguf": DIGEST},
                "adapters": {"b.gguf": DIGEST},
                "draft_files": {"c.gguf": DIGEST},
                "quantize": "q8_0",
                "draft_quantize": "q4_0",
                "template": "t",
                "license": "l",
                "system": "s",
                "parameters": {"seed": 1},
                "messages": [MESSAGE],
                "renderer": "r",
                "parser": "p",
                "requires": "0.14.0",
                "info": {"capabilities": ["tools"]},
                "remote_host": "h",
            },
            DONE,
            {"stream": True},
            {"name": OLDER_NAME, "quantization": OLDER_NAME},
        )
        for how in ("", "_stream")
    ],
    "WebSearchRequest": [
        Reach(
            "web_search",
            "/api/experimental/web_search",
            {"query": "q", "max_results": 2},
            Json({"results": []}),
        )
    ],
    "WebFetchRequest": [
        Reach("web_fetch", "/api/experimental/web_fetch", {"url": "u"}, Json({"title": "", "content": ""}))
    ],
}
RENAMED = {"from_": "from", "debug_render_only": "_debug_render_only"}
ALL = [(schema, reach) for schema, reaches in REQUESTS.items() for reach in reaches]


def test_no_request_of_the_api_is_forgotten() -> None:
    assert {name for name in dir(models) if name.endswith("Request")} == set(REQUESTS)


@pytest.mark.parametrize(("schema", "reach"), ALL, ids=[reach.method for _, reach in ALL])
def test_every_field_is_reached_by_a_parameter_or_has_a_reason_not_to_be(
    server: FakeOllama, client: Client, schema: str, reach: Reach
) -> None:
    server.on(reach.verb, reach.path, reach.answer)
    outcome = getattr(client, reach.method)(**reach.given)
    if reach.method.endswith("_stream"):
        outcome.finish()
    sent = server.requests[0].json()
    assert sent == {**{RENAMED.get(name, name): value for name, value in reach.given.items()}, **reach.sent}
    known: type[Model] = getattr(models, schema)
    fields = set(known._json_names.values())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the names of the spec
    assert sent.keys() | reach.not_reached.keys() == fields
    assert not sent.keys() & reach.not_reached.keys()
    assert all(reach.not_reached.values())


@pytest.mark.parametrize(("schema", "reach"), ALL, ids=[reach.method for _, reach in ALL])
def test_extra_body_and_extra_headers_go_out_and_win(
    server: FakeOllama, client: Client, schema: str, reach: Reach
) -> None:
    server.on(reach.verb, reach.path, reach.answer)
    first, value = next(iter(reach.given.items()))
    outcome = getattr(client, reach.method)(
        **reach.given,
        extra_body={first: f"{value}2", "newer_than_us": [{"a": None}]},
        extra_headers={"X-New": "1", "User-Agent": "mine"},
    )
    if reach.method.endswith("_stream"):
        outcome.finish()
    request = server.requests[0]
    assert request.json()[first] == f"{value}2"
    assert request.json()["newer_than_us"] == [{"a": None}]
    assert (request.headers["x-new"], request.headers["user-agent"]) == ("1", "mine")
    assert hasattr(models, schema)
