"""What no server should answer, and some do: each is an error of ours with status and first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from streams import chunk, line

from ollama_ext import (
    ChatReply,
    Client,
    InvalidResponse,
    OllamaError,
    ResponseError,
    StreamError,
    StreamTruncated,
)
from ollama_ext.testing import Body, FakeOllama, Json, Raw, Response

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT, GENERATE = "/api/chat", "/api/generate"


def ask(client: Client, *, stream: bool) -> ChatReply:
    return client.chat_stream("m", "hi").finish() if stream else client.chat("m", "hi")


WHOLE = chunk("ab", done=True)
BAD: dict[str, Response] = {
    "HTML": Body("<!doctype html><title>Welcome</title>"),
    "text": Body("hello\nthere\n", content_type="text/plain"),
    "nothing": Body(b"", content_type="application/json"),
    "no content": Body(b"", status=204, content_type=None),
    "a list": Json([1, 2]),
    "null": Json(None),
    "a string": Json("x"),
    "a number": Json(7),
    "an empty object": Json({}),
    "no message": Json({name: value for name, value in WHOLE.items() if name != "message"}),
    "message null": Json({**WHOLE, "message": None}),
    "message a list": Json({**WHOLE, "message": []}),
    "content a number": Json(chunk(done=True, message={"content": 5})),
    "calls an object": Json(chunk(done=True, message={"tool_calls": {}})),
    "done text": Json({**WHOLE, "done": "true"}),
    "model a number": Json({**WHOLE, "model": 5}),
    "a count that is text": Json({**WHOLE, "eval_count": "5"}),
    "invalid UTF-8": Body(line(WHOLE).replace(b"ab", b"\xff\xfe"), content_type="application/json"),
    "half an object": Body(line(WHOLE)[:40], content_type="application/json"),
    "two objects at once": Body(line(WHOLE) * 2, content_type="application/json"),
    "too deep": Body(b'{"message":' + b"[" * 100_000, content_type="application/json"),
    "a BOM": Body(b"\xef\xbb\xbf<", content_type="application/json"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "bad"), BAD.items(), ids=BAD)
def test_an_answer_that_is_no_reply_is_an_error_with_status_and_first_bytes(
    server: FakeOllama, client: Client, name: str, bad: Response, stream: bool
) -> None:
    server.on("POST", CHAT, bad)
    # An object without an end of line that does not decode: of a stream it is the beginning of a line.
    cut = {"nothing", "no content", "half an object", "two objects at once", "invalid UTF-8"}
    expected = StreamTruncated if stream and name in cut else InvalidResponse
    with pytest.raises(expected) as caught:
        ask(client, stream=stream)
    error = caught.value
    assert (error.status, error.model) == (bad.status, "m")
    assert bad.body.startswith(error.body)
    if isinstance(error, InvalidResponse) and bad.body:
        assert repr(error.body[:12].decode(errors="replace"))[1:-1] in str(error)
        assert len(str(error)) < 1000
        assert str(error).count(repr(error.body[:200].decode(errors="replace"))) == 1
    if stream:
        assert isinstance(error.partial, ChatReply)
        assert error.partial.text in {"", "ab"}


@pytest.mark.parametrize(
    "bad", [BAD["HTML"], BAD["nothing"], BAD["a list"], BAD["null"], BAD["an empty object"]]
)
def test_the_other_calls_say_so_as_well(server: FakeOllama, client: Client, bad: Response) -> None:
    calls: dict[str, Callable[[], object]] = {
        "/api/tags": client.list_models,
        "/api/show": lambda: client.show_model("m"),
        "/api/embed": lambda: client.embed("m", "x"),
        "/api/version": client.server_version,
        GENERATE: lambda: client.generate("m", "x"),
    }
    for path, call in calls.items():
        server.on("GET", path, bad)
        server.on("POST", path, bad)
        with pytest.raises(InvalidResponse) as caught:
            call()
        assert (caught.value.status, caught.value.body) == (200, bad.body)
        assert caught.value.request is not None
        assert caught.value.request.url == f"{server.url}{path}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [300, 301, 304, 307, 308, 400, 418, 451, 499, 500, 502, 520, 599, 999])
def test_a_status_that_is_no_success_is_an_error_and_no_redirect_is_followed(
    server: FakeOllama, client: Client, status: int, stream: bool
) -> None:
    body = b"" if status == 304 else b"<html>" + b"x" * 5000
    moved = {"Location": f"{server.url}/elsewhere"} if status < 400 else {}
    server.on("POST", CHAT, Body(body, status, headers=moved))
    with pytest.raises(ResponseError) as caught:
        ask(client.with_options(retry=None), stream=stream)
    assert (caught.value.status, caught.value.body) == (status, body)
    assert f"HTTP status {status}" in str(caught.value)
    assert len(str(caught.value)) < 400
    assert all(f"redirects to '{url}'" in str(caught.value) for url in moved.values())
    assert [each.path for each in server.requests] == [CHAT]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 201, 299])
def test_any_status_of_success_is_one(server: FakeOllama, client: Client, status: int, stream: bool) -> None:
    server.on("POST", CHAT, Json(WHOLE, status))
    reply = ask(client, stream=stream)
    assert (reply.text, reply.status) == ("ab", status)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x16\x03\x01 this is TLS",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes",
        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + line(WHOLE),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + line(WHOLE),
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_an_answer_that_is_no_http_or_frames_its_body_wrongly_is_an_error_of_ours(
    server: FakeOllama, client: Client, raw: bytes, stream: bool
) -> None:
    server.on("POST", CHAT, Raw(raw))
    with pytest.raises(OllamaError) as caught:
        ask(client, stream=stream)
    assert caught.value.request is not None
    assert caught.value.model == "m"


@pytest.mark.parametrize(("texts", "vectors"), [(["a", "b"], 0), (["a", "b"], 1), ("a", 2), (["a", ""], 1)])
def test_vectors_that_do_not_match_the_texts_are_an_error(
    server: FakeOllama, client: Client, texts: str | list[str], vectors: int
) -> None:
    server.on("POST", "/api/embed", Json({"model": "m", "embeddings": [[0.6, 0.8]] * vectors}))
    with pytest.raises(InvalidResponse, match=f"returned {vectors} vectors for") as caught:
        client.embed("m", texts)
    assert (caught.value.status, caught.value.model) == (200, "m")


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_with_a_status_of_success_is_told_in_the_servers_words(
    server: FakeOllama, client: Client, stream: bool
) -> None:
    server.on("POST", CHAT, Json({"error": "the runner is gone"}))
    with pytest.raises(OllamaError, match="the runner is gone") as caught:
        ask(client, stream=stream)
    assert isinstance(caught.value, StreamError if stream else ResponseError)


def test_a_bad_item_is_named_by_its_place_in_a_stream_as_in_a_plain_reply(
    server: FakeOllama, client: Client
) -> None:
    bad = {**WHOLE, "message": {"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}}
    server.on("POST", CHAT, Json(bad))
    for stream in (False, True):
        with pytest.raises(InvalidResponse, match=r"tool_calls\[0\]\.function\.name"):
            ask(client, stream=stream)
