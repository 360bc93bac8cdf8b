"""Connections cut at every byte: the outcome is whole, or says that it is not, and no socket stays behind."""

from __future__ import annotations

from typing import Any

import pytest
from sockets import ask
from streams import new_state, play, text_of, whole_lines

from ollama_ext import (
    Client,
    ConnectionFailed,
    Done,
    Event,
    InvalidResponse,
    StreamNotFinished,
    StreamTruncated,
)
from ollama_ext.testing import FakeOllama, Json, Raw, Recording

CHAT = "/api/chat"


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("how", ["clean", "close", "reset"])
@pytest.mark.parametrize(
    "recording",
    [
        Recording("chat-stream-two-tools"),
        Recording("generate-stream-thinking"),
        Recording("chat-stream-tools", "v0.9.6"),
    ],
    ids=["two-tools", "thinking", "tools-0.9.6"],
)
def test_a_stream_cut_at_any_byte_is_whole_or_says_that_it_is_not(recording: Recording, how: Any) -> None:
    exchange, body = recording.exchange, recording.body
    path, model = exchange.request.path, exchange.request.json()["model"]
    with FakeOllama() as server, Client(server.url) as client:
        open_stream = client.chat_stream if path == CHAT else client.generate_stream
        for at in range(len(body) + 1):
            server.on("POST", path, recording.cut(at, how))
            stream = open_stream(model, "hi")
            events, error = list[Event](), None
            try:
                events += stream
            except StreamTruncated as caught:
                error = caught
            # An unterminated last line counts, but only where the body properly ended.
            at_line_end = how == "clean" and body[at : at + 1] == b"\n"
            arrived = body[: at + 1] if at_line_end else body[:at]
            lines = whole_lines(arrived)
            state = new_state(exchange)
            assert events == play(state, [arrived[: arrived.rfind(b"\n") + 1]])
            assert stream.partial == state.partial
            assert stream.partial.text == text_of(lines)
            if lines and lines[-1]["done"]:
                assert error is None
                assert isinstance(events[-1], Done)
                assert stream.reply == stream.partial
            else:
                assert error is not None
                assert error.partial == stream.partial
                assert (error.status, error.model) == (200, model)
                with pytest.raises(StreamNotFinished) as unfinished:
                    _ = stream.reply
                assert unfinished.value.__cause__ is error


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("how", ["clean", "close", "reset"])
@pytest.mark.parametrize("name", ["chat-nostream-thinking", "generate-debug-render"])
def test_a_plain_reply_cut_at_any_byte_is_whole_or_an_error(name: str, how: Any) -> None:
    recording = Recording(name)
    path = recording.exchange.request.path
    with FakeOllama() as server, Client(server.url) as client:
        for at in range(len(recording.body)):
            server.on("POST", path, recording.cut(at, how))
            with pytest.raises(InvalidResponse if how == "clean" else ConnectionFailed) as caught:
                ask(client, path, stream=False)
            assert caught.value.model == "m"
            if how == "clean":
                assert (caught.value.status, caught.value.body) == (200, recording.body[:at])
        server.on("POST", path, recording.cut(len(recording.body), how))
        assert ask(client, path, stream=False).result.to_dict() == recording.exchange.response.json()


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [False, True])
def test_headers_cut_at_any_byte_are_a_failed_connection(stream: bool, how: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    with FakeOllama() as server, Client(server.url) as client:
        for at in range(len(head)):
            server.on("POST", CHAT, Raw(head).cut(at, how))
            with pytest.raises(ConnectionFailed) as caught:
                ask(client, CHAT, stream=stream)
            assert caught.value.request is not None
            assert (caught.value.request.url, caught.value.model) == (f"{server.url}{CHAT}", "m")
            assert caught.value.retryable


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_body_cut_at_any_byte_is_a_failed_connection(stream: bool, how: Any) -> None:
    refusal = Json({"error": "model 'm' not found"}, 404)
    with FakeOllama() as server, Client(server.url) as client:
        for at in range(len(refusal.body)):
            server.on("POST", CHAT, refusal.cut(at, how))
            with pytest.raises(ConnectionFailed):
                ask(client, CHAT, stream=stream)
