"""Arguments of wrong kinds: refused by name, and nothing is sent."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from streams import chunk

from ollama_ext import ChatReply, Client, InvalidArgument, Message, OllamaError, Usage
from ollama_ext.testing import FakeOllama, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG = bytes(range(256))
BASE64 = base64.b64encode(PNG).decode()
WEATHER: dict[str, Any] = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(scope="module")
def running() -> Iterator[FakeOllama]:
    with FakeOllama() as server:
        server.on("POST", "/api/chat", Json(chunk("x", done=True)))
        yield server


@pytest.fixture
def client(running: FakeOllama) -> Iterator[Client]:
    with Client(running.url) as made:
        yield made


CYCLE: dict[str, Any] = {}
CYCLE["again"] = CYCLE


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    return value


def weather(city: str) -> str:
    return city


class Schema:
    """Looks like a model of Pydantic."""

    model_json_schema = dict[str, Any]


X = [{"role": "user", "content": "x"}]
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "model a tuple": ("model", {"model": ("m",)}, "must be a string, not tuple"),
    "model None": ("model", {"model": None}, "must be a string, not NoneType"),
    "model empty": ("model", {"model": ""}, "is empty"),
    "model bytes": ("model", {"model": b"m"}, "must be a string, not bytes"),
    "model not Unicode": ("model", {"model": "\ud800"}, "cannot be sent as JSON"),
    "messages a number": ("messages", {"messages": 5}, "not int"),
    "messages bytes": ("messages", {"messages": b"hi"}, "not bytes"),
    "messages one mapping": ("messages", {"messages": X[0]}, "not dict"),
    "messages one model": ("messages", {"messages": Message(role="user", content="x")}, "not Message"),
    "a message that is text": ("messages", {"messages": ["hi"]}, r"messages\[0\] must be a mapping"),
    "a message without role": (
        "messages",
        {"messages": [*X, {"content": "x"}]},
        r"messages\[1\]\.role: is missing",
    ),
    "content a list": (
        "messages",
        {"messages": [{**X[0], "content": [{}]}]},
        r"\.content: expected a string",
    ),
    "content not Unicode": (
        "messages",
        {"messages": [{**X[0], "content": "\ud800"}]},
        "messages cannot be sent",
    ),
    "arguments of a call text": (
        "messages",
        {"messages": [{**X[0], "tool_calls": [{}]}]},
        "function: is missing",
    ),
    "a message that holds itself": (
        "messages",
        {"messages": [{**X[0], "x": CYCLE}]},
        "cannot be sent as JSON",
    ),
    "a set in a message": ("messages", {"messages": [{**X[0], "x": object()}]}, "cannot be sent as JSON"),
    "images text": ("messages", {"messages": [{**X[0], "images": BASE64}]}, "must be a sequence of images"),
    "images bytes": ("messages", {"messages": [{**X[0], "images": PNG}]}, "must be a sequence of images"),
    "images a bytearray": (
        "messages",
        {"messages": [{**X[0], "images": bytearray(PNG)}]},
        "must be a sequence",
    ),
    "images a path": (
        "messages",
        {"messages": [{**X[0], "images": Path("x")}]},
        "must be a sequence of images",
    ),
    "images a mapping": ("messages", {"messages": [{**X[0], "images": {"a": PNG}}]}, "must be a sequence"),
    "an image that is a number": (
        "messages",
        {"messages": [{**X[0], "images": [5]}]},
        r"images\[0\] must be a Path",
    ),
    "an image that does not exist": (
        "messages",
        {"messages": [{**X[0], "images": [PNG, Path("/no/such.png")]}]},
        r"messages\[0\]\.images\[1\]: cannot read /no/such\.png: No such file",
    ),
    "an image that is a folder": (
        "messages",
        {"messages": [{**X[0], "images": [Path("/")]}]},
        "Is a directory",
    ),
    "an image of no name": ("messages", {"messages": [{**X[0], "images": [Path("a\0b")]}]}, "null byte"),
    "an image as a data URL": (
        "messages",
        {"messages": [{**X[0], "images": [f"data:image/png;base64,{BASE64}"]}]},
        "no 'data:' prefix",
    ),
    "an image in the URL alphabet": (
        "messages",
        {"messages": [{**X[0], "images": ["-_-_"]}]},
        "is not base64",
    ),
    "an image without padding": ("messages", {"messages": [{**X[0], "images": ["YQ"]}]}, "is not base64"),
    "an image that is not ASCII": ("messages", {"messages": [{**X[0], "images": ["\xe4"]}]}, "is not base64"),
    "tools a mapping": ("tools", {"tools": WEATHER}, "expected a list"),
    "tools text": ("tools", {"tools": "weather"}, "expected a list"),
    "a tool that is a function": ("tools", {"tools": [weather]}, r"tools\[0\] is the function weather"),
    "a tool that is text": (
        "tools",
        {"tools": ["weather"]},
        r"tools\[0\]: expected an object|expected an object",
    ),
    "a tool without a function": ("tools", {"tools": [{}]}, "function: is missing"),
    "format a number": ("format", {"format": 5}, "must be 'json' or a JSON Schema"),
    "format a model class": ("format", {"format": Schema}, r"pass Schema\.model_json_schema\(\)"),
    "format a list": ("format", {"format": []}, "must be 'json' or a JSON Schema"),
    "format too deep": ("format", {"format": {"x": deep()}}, "format cannot be sent as JSON"),
    "format that holds itself": ("format", {"format": CYCLE}, "format cannot be sent as JSON"),
    "options a list": ("options", {"options": [1]}, "expected an object"),
    "options text": ("options", {"options": "x"}, "expected an object"),
    "an option of a wrong kind": (
        "options",
        {"options": {"temperature": "hot"}},
        "options.temperature: expected",
    ),
    "stop a string": ("options", {"options": {"stop": "x"}}, "options.stop: expected a list"),
    "NaN in options": ("options", {"options": {"temperature": float("nan")}}, "temperature is nan"),
    "infinity in an unknown option": ("options", {"options": {"new": [1, float("inf")]}}, r"new\[1\] is inf"),
    "keep_alive a list": ("keep_alive", {"keep_alive": [5]}, "keep_alive: expected"),
    "keep_alive true": ("keep_alive", {"keep_alive": True}, "keep_alive: expected"),
    "keep_alive NaN": ("keep_alive", {"keep_alive": float("nan")}, "keep_alive: nan is no number"),
    "think a number": ("think", {"think": 1}, "think: expected"),
    "truncate text": ("truncate", {"truncate": "yes"}, "truncate: expected a boolean"),
    "shift a number": ("shift", {"shift": 0}, "shift: expected a boolean"),
    "logprobs a number": ("logprobs", {"logprobs": 5}, "logprobs: expected a boolean"),
    "top_logprobs text": ("top_logprobs", {"top_logprobs": "5"}, "top_logprobs: expected an integer"),
    "top_logprobs half": ("top_logprobs", {"top_logprobs": 1.5}, "top_logprobs: expected an integer"),
    "top_logprobs true": ("top_logprobs", {"top_logprobs": True}, "top_logprobs: expected an integer"),
    "debug_render_only text": ("debug_render_only", {"debug_render_only": "x"}, "expected a boolean"),
    "extra_body a list": ("extra_body", {"extra_body": [("a", 1)]}, "must be a mapping"),
    "extra_body with numbers": ("extra_body", {"extra_body": {1: 2}}, "strings as keys"),
    "extra_body no JSON": ("new", {"extra_body": {"new": object()}}, "new cannot be sent as JSON"),
    "extra_body of a wrong kind": ("think", {"extra_body": {"think": 5}}, "think: expected"),
    "extra_headers a list": ("extra_headers", {"extra_headers": [("a", "b")]}, "must be a mapping"),
    "a header that is a number": ("extra_headers", {"extra_headers": {"X-A": 5}}, "must be strings"),
    "a header that is bytes": ("extra_headers", {"extra_headers": {b"X-A": "5"}}, "must be strings"),
    "a header without a name": ("extra_headers", {"extra_headers": {"": "x"}}, "no name of a header"),
    "a header named with a space": ("extra_headers", {"extra_headers": {"X A": "x"}}, "no name of a header"),
    "a header named with a colon": ("extra_headers", {"extra_headers": {"X:A": "x"}}, "no name of a header"),
    "a header with a line end": ("extra_headers", {"extra_headers": {"X-A": "x\r\nY: z"}}, "X-A"),
    "a header with a space at its end": ("extra_headers", {"extra_headers": {"X-A": "x "}}, "X-A"),
    "a header beyond ASCII": ("extra_headers", {"extra_headers": {"X-A": "\xe4"}}, "X-A"),
    "a header with a NUL": ("extra_headers", {"extra_headers": {"X-A": "a\0"}}, "X-A"),
    "a length of one's own": (
        "extra_headers",
        {"extra_headers": {"content-length": "5"}},
        "set by the client",
    ),
    "chunks of one's own": (
        "extra_headers",
        {"extra_headers": {"Transfer-Encoding": "gzip"}},
        "set by the client",
    ),
}


@pytest.mark.filterwarnings("ignore::ollama_ext.UnknownName")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_an_argument_of_a_wrong_kind_is_refused_by_name_and_nothing_is_sent(
    client: Client, running: FakeOllama, case: tuple[str, dict[str, Any], str], stream: bool
) -> None:
    argument, given, words = case
    before = len(running.requests)
    call: Any = client.chat_stream if stream else client.chat
    with pytest.raises(InvalidArgument, match=words) as caught:
        call(**{"model": "m", "messages": "x", **given})
    assert caught.value.argument == argument
    assert isinstance(caught.value, ValueError)
    assert not caught.value.retryable
    assert len(running.requests) == before


OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "prompt a list": ("generate", "prompt", {"prompt": ["x"]}),
    "suffix a number": ("generate", "suffix", {"suffix": 5}),
    "system a number": ("generate", "system", {"system": 5}),
    "template a number": ("generate", "template", {"template": 5}),
    "context text": ("generate", "context", {"context": "x"}),
    "context of text": ("generate", "context", {"context": ["x"]}),
    "raw text": ("generate", "raw", {"raw": "x"}),
    "images one": ("generate", "images", {"images": PNG}),
    "an image that does not exist": ("generate", "images", {"images": [Path("/no/such.png")]}),
    "input a number": ("embed", "input", {"input": 5}),
    "input of numbers": ("embed", "input", {"input": ["x", 5]}),
    "input bytes": ("embed", "input", {"input": b"x"}),
    "dimensions text": ("embed", "dimensions", {"input": "x", "dimensions": "8"}),
    "verbose text": ("show_model", "verbose", {"verbose": "x"}),
    "show of a wrong model": ("show_model", "model", {"model": 5}),
}


@pytest.mark.parametrize(("method", "argument", "given"), OTHERS.values(), ids=OTHERS)
def test_the_arguments_of_the_other_calls_are_refused_by_name_too(
    client: Client, running: FakeOllama, method: str, argument: str, given: dict[str, Any]
) -> None:
    before = len(running.requests)
    with pytest.raises(InvalidArgument, match=argument) as caught:
        getattr(client, method)(**{"model": "m", **given})
    assert caught.value.argument == argument
    assert len(running.requests) == before


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("host", {"host": 5}),
        ("host", {"host": b"x"}),
        ("headers", {"headers": [("a", "b")]}),
        ("headers", {"headers": {"X-A": None}}),
    ],
)
def test_a_client_is_not_made_of_wrong_arguments(argument: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=argument) as caught:
        Client(**given)
    assert caught.value.argument == argument


@pytest.mark.parametrize("value", ["s3cret\n", "s3cret ", "s3cret\xe4"])
def test_the_value_of_a_header_is_in_no_message(running: FakeOllama, value: str) -> None:
    with pytest.raises(OllamaError) as caught:
        Client(running.url, headers={"Authorization": value})
    assert "s3cret" not in str(caught.value) + repr(caught.value) + repr(vars(caught.value))
    assert "Authorization" in str(caught.value)


def test_replies_are_not_taken_for_messages(client: Client) -> None:
    reply = client.chat("m", "x")
    assert isinstance(reply, ChatReply)
    history: Any = [reply]
    with pytest.raises(InvalidArgument, match=r"messages\[0\] must be a mapping or a Message, not ChatReply"):
        client.chat("m", history)


@pytest.mark.parametrize("method", ["chat", "chat_stream", "generate", "generate_stream"])
@pytest.mark.parametrize("stream", [True, False, None])
def test_whether_a_reply_is_streamed_is_not_for_extra_body(
    client: Client, running: FakeOllama, method: str, stream: bool | None
) -> None:
    before = len(running.requests)
    with pytest.raises(InvalidArgument, match=r"'stream'.*call chat_stream") as caught:
        getattr(client, method)("m", "x", extra_body={"stream": stream})
    assert caught.value.argument == "extra_body"
    assert len(running.requests) == before


def test_the_model_in_extra_body_is_checked_too(client: Client) -> None:
    with pytest.raises(InvalidArgument, match="model is empty"):
        client.chat("m", "x", extra_body={"model": ""})


class Point(NamedTuple):
    """A tuple, so a list in JSON."""

    x: float


@dataclass
class Place:
    """Something that is nothing in JSON."""

    x: float


NAN = float("nan")
HOLDING_NAN = {
    "list": [NAN],
    "tuple": (NAN,),
    "mapping": {"x": NAN},
    "named tuple": Point(NAN),
    "set": {NAN},
    "frozenset": frozenset([NAN]),
    "dataclass": Place(NAN),
    "struct": Usage(input_tokens=cast("int", NAN)),
    "decimal": Decimal("NaN"),
}


@pytest.mark.parametrize("value", HOLDING_NAN.values(), ids=HOLDING_NAN)
def test_a_number_that_json_cannot_hold_is_never_sent_as_null(
    client: Client, running: FakeOllama, value: object
) -> None:
    before = len(running.requests)
    with pytest.raises(InvalidArgument, match="options cannot be sent as JSON") as named:
        client.chat("m", "x", options={"new": value})
    with pytest.raises(InvalidArgument, match="options cannot be sent as JSON") as extra:
        client.chat("m", "x", extra_body={"options": {"new": value}})
    assert named.value.argument == extra.value.argument == "options"
    assert len(running.requests) == before
