"""Arguments: what goes on the wire of what users type."""

from __future__ import annotations

import base64
import copy
import json
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from streams import chunk

from ollama_ext import Client, InvalidArgument, Message, Options, Tool
from ollama_ext.testing import FakeOllama, Json, Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Sent = Callable[[], Any]

CHAT, GENERATE, EMBED, SHOW = "/api/chat", "/api/generate", "/api/embed", "/api/show"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PNG = bytes(range(256))
BASE64 = base64.b64encode(PNG).decode()


@pytest.fixture(scope="module")
def running() -> Iterator[FakeOllama]:
    with FakeOllama() as server:
        server.on("POST", CHAT, Json(chunk("x", done=True)))
        server.on("POST", GENERATE, Recording("generate-nostream"))
        server.on("POST", EMBED, Recording("embed-one"))
        yield server


@pytest.fixture
def client(running: FakeOllama) -> Iterator[Client]:
    with Client(running.url) as made:
        yield made


@pytest.fixture
def sent(running: FakeOllama) -> Sent:
    """Return the body of the request that was sent since the test began; there must be one."""
    before = len(running.requests)

    def body() -> Any:
        (request,) = running.requests[before:]
        assert request.headers["content-type"] == "application/json"
        return json.loads(request.body)

    return body


# -- what goes on the wire


def test_only_what_was_given_is_sent_and_stream_is_false(client: Client, sent: Sent) -> None:
    client.chat("m", "hi")
    assert sent() == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}


def test_a_chat_without_messages_only_loads(client: Client, sent: Sent) -> None:
    client.chat("m", None)
    assert sent() == {"model": "m", "stream": False}


def test_a_generate_call_without_a_prompt_only_loads(client: Client, sent: Sent) -> None:
    client.generate("m")
    assert sent() == {"model": "m", "stream": False}


def test_embedding_nothing_only_loads(client: Client, running: FakeOllama, sent: Sent) -> None:
    running.on("POST", EMBED, Recording("embed-null"))
    client.embed("m", None)
    assert sent() == {"model": "m"}


def test_model_and_question_may_be_named(client: Client, running: FakeOllama, sent: Sent) -> None:
    running.on("POST", EMBED, Recording("embed-one"))
    client.embed(model="m", input=("a",))
    assert sent() == {"model": "m", "input": ["a"]}


@pytest.mark.filterwarnings("ignore::ollama_ext.UnknownName")
def test_every_argument_of_chat_reaches_the_wire_under_the_name_of_the_api(
    client: Client, sent: Sent
) -> None:
    client.chat(
        "m",
        [],
        tools=[WEATHER],
        format={"type": "object"},
        options={"temperature": 0.5, "stop": ["x"], "not_yet_known": 1},
        keep_alive="5m",
        think="high",
        truncate=False,
        shift=True,
        logprobs=True,
        top_logprobs=3,
        debug_render_only=False,
        extra_body={"newer": {"a": 1}},
    )
    assert sent() == {
        "model": "m",
        "messages": [],
        "tools": [WEATHER],
        "format": {"type": "object"},
        "options": {"temperature": 0.5, "stop": ["x"], "not_yet_known": 1},
        "keep_alive": "5m",
        "think": "high",
        "truncate": False,
        "shift": True,
        "logprobs": True,
        "top_logprobs": 3,
        "_debug_render_only": False,
        "newer": {"a": 1},
        "stream": False,
    }


def test_every_argument_of_generate_reaches_the_wire(client: Client, sent: Sent) -> None:
    fields: dict[str, Any] = {
        "prompt": "p",
        "suffix": "s",
        "system": "y",
        "template": "t",
        "context": [1, 2],
        "raw": True,
        "format": "json",
        "think": False,
        "keep_alive": -1,
    }
    client.generate("m", images=[PNG], **fields)
    assert sent() == {"model": "m", **fields, "images": [BASE64], "stream": False}


def test_every_argument_of_embed_reaches_the_wire(client: Client, sent: Sent) -> None:
    fields: dict[str, Any] = {
        "truncate": False,
        "dimensions": 8,
        "options": {"num_ctx": 64},
        "keep_alive": 1.5,
    }
    client.embed("m", "text", **fields)
    assert sent() == {"model": "m", "input": "text", **fields}


def test_every_argument_of_show_reaches_the_wire(client: Client, running: FakeOllama, sent: Sent) -> None:
    running.on("POST", SHOW, Recording("show"))
    fields: dict[str, Any] = {"verbose": True, "system": "s", "options": {"seed": 1}}
    client.show_model("m", **fields)
    assert sent() == {"model": "m", **fields}


def test_extra_body_wins_over_the_named_arguments(client: Client, sent: Sent) -> None:
    client.chat("m", "x", think=True, extra_body={"think": "max", "model": "other"})
    assert (sent()["think"], sent()["model"]) == ("max", "other")


@pytest.mark.parametrize(
    ("given", "wire"),
    [
        (timedelta(minutes=5), 300),
        (timedelta(milliseconds=1500), 1.5),
        (timedelta(seconds=-1), -1),
        (0, 0),
        ("1h30m", "1h30m"),
    ],
)
def test_keep_alive_is_seconds_a_timedelta_or_gos_notation(
    client: Client, sent: Sent, given: Any, wire: object
) -> None:
    client.chat("m", "x", keep_alive=given)
    assert sent()["keep_alive"] == wire


def test_images_are_files_bytes_or_base64(client: Client, sent: Sent, tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    file.write_bytes(PNG)
    images = (file, PNG, bytearray(PNG), memoryview(PNG), BASE64)
    client.chat("m", [{"role": "user", "content": "what?", "images": images}])
    assert sent()["messages"][0]["images"] == [BASE64] * 5


def test_base64_in_lines_is_sent_as_it_is_for_the_server_reads_over_line_ends(
    client: Client, sent: Sent
) -> None:
    lines = base64.encodebytes(PNG).decode()
    client.generate("m", "what?", images=[lines])
    assert sent()["images"] == [lines]


def test_a_string_is_never_read_as_a_path(client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "abcd"
    secret.write_text("secret")
    with pytest.raises(InvalidArgument, match=r"pathlib\.Path"):
        client.generate("m", "x", images=[str(secret)])


def user(content: str) -> Message:
    return Message(role="user", content=content)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "hi"}],
        ({"role": "user", "content": "hi"},),
        (each for each in [{"role": "user", "content": "hi"}]),
        [MappingProxyType({"role": "user", "content": "hi"})],
        [user("hi")],
    ],
    ids=["list", "tuple", "generator", "mapping", "Message"],
)
def test_messages_come_in_many_kinds(client: Client, sent: Sent, messages: Any) -> None:
    client.chat("m", messages)
    assert sent()["messages"] == [{"role": "user", "content": "hi"}]


def test_the_message_of_a_reply_goes_back_as_it_came(running: FakeOllama, client: Client) -> None:
    with FakeOllama() as server, Client(server.url) as other:
        server.on("POST", CHAT, Recording("chat-stream-two-tools"), Recording("chat-stream-thinking"))
        history: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
        for _ in range(2):
            history.append(other.chat_stream("m", history).finish().message)
        client.chat("m", [*history, {"role": "tool", "tool_name": "f", "tool_call_id": "c", "content": "1"}])
    first, second = running.requests[-1].json()["messages"][1:3]
    lines = Recording("chat-stream-two-tools").exchange.response.lines()
    assert first["tool_calls"] == [call for each in lines for call in each["message"].get("tool_calls", [])]
    assert second["thinking"]
    assert [first, second] == history[1:]


def test_tools_are_mappings_or_models(client: Client, sent: Sent) -> None:
    client.chat("m", "x", tools=(WEATHER, Tool.from_dict(WEATHER), MappingProxyType(WEATHER)))
    assert sent()["tools"] == [WEATHER] * 3


def test_options_may_be_a_model(client: Client, sent: Sent) -> None:
    client.chat("m", "x", options=Options(num_ctx=64, top_p=0.5))
    assert sent()["options"] == {"num_ctx": 64, "top_p": 0.5}


class Known(StrEnum):
    """Names of a program's own."""

    MODEL = "m"
    ROLE = "user"


def test_names_may_be_members_of_an_enumeration(client: Client, sent: Sent) -> None:
    client.chat(Known.MODEL, [{"role": Known.ROLE, "content": "hi"}])
    assert sent() == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}


@pytest.mark.filterwarnings("ignore::ollama_ext.UnknownName")
def test_what_callers_pass_is_not_changed(client: Client) -> None:
    given: dict[str, Any] = {
        "messages": [{"role": "user", "content": "x", "images": [PNG], "more": {"a": [1]}}],
        "tools": [WEATHER],
        "format": {"type": "object", "properties": {}},
        "options": {"stop": ["a"], "seed": 1},
        "extra_body": {"new": [1]},
        "extra_headers": {"X-One": "1"},
    }
    before = copy.deepcopy(given)
    client.chat("m", **given)
    assert given == before
