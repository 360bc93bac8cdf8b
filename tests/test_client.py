"""The client as its users see it: what servers of every version answer, and what servers should not."""

from __future__ import annotations

import logging
import pickle
import traceback
from copy import deepcopy
from typing import Any

import pytest
from streams import UNFINISHED, chunk, identify, new_state, play, recorded_streams, text_of, whole_lines

from ollama_ext import (
    ChatReply,
    Client,
    Done,
    GenerateReply,
    IncompleteReply,
    OllamaError,
    RequestInfo,
    ResponseError,
    StreamError,
    StreamNotFinished,
    StreamTruncated,
    TextDelta,
)
from ollama_ext.refusals import refusal
from ollama_ext.testing import (
    VERSIONS,
    Body,
    FakeOllama,
    Json,
    Lines,
    Raw,
    RecordedExchange,
    Recording,
    recordings,
)
from ollama_ext.testing.waiting import no_wait

CHAT, GENERATE = "/api/chat", "/api/generate"


def ask(client: Client, path: str, *, stream: bool, model: str = "m") -> ChatReply | GenerateReply:
    if stream:
        return (client.chat_stream if path == CHAT else client.generate_stream)(model, "hi").finish()
    return (client.chat if path == CHAT else client.generate)(model, "hi")


# -- what real servers answered


@pytest.mark.parametrize("exchange", recorded_streams(), ids=identify)
def test_a_recorded_stream_comes_through_as_it_is(
    server: FakeOllama, client: Client, exchange: RecordedExchange
) -> None:
    path, model = exchange.request.path, exchange.request.json()["model"]
    server.on("POST", path, Recording(exchange.name, exchange.version))
    with (client.chat_stream if path == CHAT else client.generate_stream)(model, "hi") as stream:
        events: list[Any] = []
        if exchange.name in UNFINISHED:
            with pytest.raises((StreamError, StreamTruncated)) as caught:
                events += stream
            assert caught.value.partial == stream.partial
        else:
            events += stream
            assert stream.reply is stream.finish()
            assert events[-1] == Done(stream.reply.usage, stream.reply.done_reason)
        assert stream.status == 200
        lines = [each for each in whole_lines(exchange.response.body) if "error" not in each]
        assert stream.partial.text == text_of(lines)
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text_of(lines)


@pytest.mark.parametrize(
    "exchange",
    [
        each
        for each in recordings()
        if each.request.path in {CHAT, GENERATE}
        and each.response.status == 200
        and each.response.content_type == "application/json"
    ],
    ids=identify,
)
def test_a_recorded_plain_reply_is_the_result(
    server: FakeOllama, client: Client, exchange: RecordedExchange
) -> None:
    server.on("POST", exchange.request.path, Recording(exchange.name, exchange.version))
    plain = ask(client, exchange.request.path, stream=False)
    assert plain.result.to_dict() == exchange.response.json()
    # A load, an unload and a rendered prompt come as one object even where a stream was asked for.
    assert ask(client, exchange.request.path, stream=True) == plain
    assert server.connections == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stream_adds_up_to_what_the_plain_call_returns(version: str) -> None:
    with FakeOllama(version) as server, Client(server.url) as client:
        streamed = client.generate_stream("smollm2:135m", "hi").finish()
        server.on("POST", GENERATE, Json(streamed.result.to_dict()))
        assert client.generate("smollm2:135m", "hi") == streamed


@pytest.mark.parametrize("version", VERSIONS)
def test_the_read_only_calls_work_with_every_version(version: str) -> None:
    with FakeOllama(version) as server, Client(server.url) as client:
        assert client.server_version() == version.removeprefix("v")
        tags = Recording("tags", version)
        server.on("GET", "/api/tags", tags)
        assert [each.to_dict() for each in client.list_models()] == tags.exchange.response.json()["models"]
        shown = client.show_model("smollm2:135m")
        assert shown.details.family == "llama"
        reply = client.embed("all-minilm:l6-v2", ["a", "b"])
        assert [len(vector) for vector in reply.embeddings] == [384, 384]
        assert reply.usage.input_tokens > 0
        assert client.embed("all-minilm:l6-v2", None).embeddings == []
        assert server.connections == 1


def refusals() -> list[RecordedExchange]:
    """Return every recorded refusal; what answered a HEAD is left out, for it has no body of its own."""
    return [each for each in recordings() if each.response.status >= 400 and each.request.method != "HEAD"]


@pytest.mark.parametrize("exchange", refusals(), ids=identify)
def test_every_recorded_refusal_is_raised_as_the_error_that_it_stands_for(
    server: FakeOllama, client: Client, exchange: RecordedExchange
) -> None:
    answer = exchange.response
    headers = {name.lower(): value for name, value in answer.headers}
    for path in (CHAT, GENERATE):
        server.on("POST", path, Recording(exchange.name, exchange.version))
        expected = refusal(answer.status, headers, answer.body, path=path, model="m")
        expected.request = RequestInfo(method="POST", url=f"{server.url}{path}")
        for stream in (False, True):
            with pytest.raises(type(expected)) as caught, no_wait():
                ask(client, path, stream=stream)
            assert type(caught.value) is type(expected)
            assert str(caught.value) == str(expected)
            assert vars(caught.value) | {"__notes__": []} == vars(expected) | {"__notes__": []}
    assert server.connections == 1  # the body was read, so the connection is used again


def test_a_killed_runner_is_an_error_with_what_had_arrived(server: FakeOllama, client: Client) -> None:
    server.on("POST", GENERATE, Recording("generate-stream-runner-killed"))
    stream = client.generate_stream("m", "hi")
    with pytest.raises(StreamError, match="unexpected EOF") as caught:
        stream.finish()
    error = caught.value
    assert error.partial == stream.partial
    assert len(stream.partial.text) > 100
    assert (error.status, error.model) == (200, "m")
    assert error.request is not None
    assert error.request.url == f"{server.url}{GENERATE}"
    assert pickle.loads(pickle.dumps(error)).partial == deepcopy(error).partial == stream.partial  # noqa: S301 - our own bytes


def test_status_200_with_done_false_is_an_incomplete_reply(server: FakeOllama, client: Client) -> None:
    for path, name in ((CHAT, "chat-nostream"), (GENERATE, "generate-nostream")):
        body = {**Recording(name).exchange.response.json(), "done": False}
        del body["done_reason"]
        server.on("POST", path, Json(body))
        with pytest.raises(IncompleteReply) as caught:
            ask(client, path, stream=False)
        error = caught.value
        assert not isinstance(error, StreamTruncated)
        assert isinstance(error.partial, ChatReply | GenerateReply)
        assert error.partial.result.to_dict() == body
        assert (error.status, error.model) == (200, "m")
        assert error.request is not None


# -- streams


THREE = Lines(chunk("a", message={"thinking": "t"}), chunk("b"), chunk(done=True))


def test_a_stream_is_an_iterator_that_goes_on_where_it_was_left(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, THREE)
    with client.chat_stream("m", "hi") as stream:
        assert next(stream).type == "thinking"
        assert next(iter(stream)) == TextDelta("a")
        assert list(stream.text_deltas()) == ["b"]
        assert next(stream, None) is None
        assert list(stream) == []
    assert stream.reply.text == "ab"
    assert stream.finish() == stream.partial == stream.reply


def test_the_reply_before_the_end_is_an_error_with_what_has_arrived(
    server: FakeOllama, client: Client
) -> None:
    server.on("POST", CHAT, THREE)
    with client.chat_stream("m", "hi") as stream:
        next(stream)
        with pytest.raises(StreamNotFinished, match="iterate on, or call finish") as caught:
            _ = stream.reply
        assert caught.value.partial == stream.partial
        assert (stream.partial.thinking, caught.value.status, caught.value.model) == ("t", 200, "m")
        assert caught.value.request is not None
        assert stream.finish().text == "ab"


def test_after_an_error_there_are_no_more_events(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, Lines(chunk("a"), {"error": "boom"}, chunk("b", done=True)))
    with client.chat_stream("m", "hi") as stream:
        assert next(stream) == TextDelta("a")
        with pytest.raises(StreamError, match="boom") as caught:
            next(stream)
        assert next(stream, None) is None
        assert list(stream.text_deltas()) == []
        with pytest.raises(StreamNotFinished, match=r"failed \(boom\)") as unfinished:
            stream.finish()
        assert unfinished.value.__cause__ is caught.value
    assert stream.partial.text == "a"


def test_a_refusal_is_raised_where_the_stream_is_opened(server: FakeOllama, client: Client) -> None:
    with pytest.raises(ResponseError, match="model 'nope' not found"):
        client.chat_stream("nope", "hi")
    assert server.requests[0].json()["stream"] is True


# -- secrets


def test_headers_of_the_client_are_sent_and_never_shown(
    server: FakeOllama, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = "Bearer s3cret-value"
    server.on("POST", CHAT, Json({"error": "no"}, 401), Body("<html>"), THREE.cut(5), Raw(b""))
    errors: list[OllamaError] = []
    secret = {"Authorization": credentials, "X-Key": "s3cret-too"}
    with Client(server.url, headers=secret, retry=None) as client:
        for stream in (False, False, True, True):
            with pytest.raises(OllamaError) as caught:
                ask(client, CHAT, stream=stream)
            errors.append(caught.value)
        shown = [repr(client), repr(vars(client)), client.host]
    for error in errors:
        shown += [str(error), repr(error), repr(vars(error)), pickle.dumps(error).decode("latin-1")]
        shown += traceback.format_exception(error)
    assert "s3cret" not in "".join(shown) + caplog.text
    assert {each.headers["authorization"] for each in server.requests} == {credentials}
    assert len(server.requests) == 4


def test_headers_go_out_once_whatever_the_case_of_their_names(server: FakeOllama) -> None:
    headers = {"user-agent": "mine", "authorization": "one", "X-A": "client"}
    with Client(server.url, headers=headers) as client:
        client.server_version(extra_headers={"AUTHORIZATION": "two", "x-a": "call"})
        client.server_version()
    first, second = server.requests
    assert (first.headers["user-agent"], first.headers["authorization"], first.headers["x-a"]) == (
        "mine",
        "two",
        "call",
    )
    assert (second.headers["authorization"], second.headers["x-a"]) == ("one", "client")


def test_the_client_says_who_it_is_and_where_it_goes(server: FakeOllama) -> None:
    with Client(server.url) as client:
        client.server_version()
        assert client.host == server.url
    assert server.requests[0].headers["user-agent"].startswith("ollama-ext/")


def test_the_host_comes_from_the_environment_with_its_prefix(
    server: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{server.port}/prefix/")
    server.on("GET", "/prefix/api/version", Json({"version": "1"}))
    with Client() as client:
        assert client.host == f"http://127.0.0.1:{server.port}/prefix"
        assert client.server_version() == "1"


def test_the_states_used_alone_give_the_stream_of_the_client(server: FakeOllama, client: Client) -> None:
    recording = Recording("chat-stream")
    server.on("POST", CHAT, recording)
    state = new_state(recording.exchange)
    model = recording.exchange.request.json()["model"]
    assert list(client.chat_stream(model, "hi")) == play(state, [recording.body])
