"""Cancelling: whatever a call waits for, it ends, the server sees it, and nothing is left behind."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from background import background, cancelled, hooks, wait_until
from scripts import (
    BOTH_WAYS,
    CHAT,
    GENERATE,
    PULL,
    REPLY,
    STEPS,
    STREAM,
    TRANSFERS,
    finished,
    silent_after,
    started,
)
from streams import chunk
from tls_front import TlsFront

from ollama_ext import (
    Cancelled,
    CancelToken,
    ChatReply,
    Client,
    InvalidArgument,
    OllamaError,
    RetryPolicy,
    StreamNotFinished,
    TextDelta,
)
from ollama_ext.testing import FakeOllama, Json, Lines, Raw

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("nothing_left_open")

SILENT = STREAM.delay(math.inf)
STALLED = silent_after(STREAM, 2)


@pytest.fixture(params=["http", "https"])
def any_client(request: pytest.FixtureRequest, server: FakeOllama) -> Iterator[Client]:
    """Make a client of the server, over TLS or not."""
    if request.param == "http":
        with Client(server.url) as client:
            yield client
    else:
        with TlsFront(server) as front, Client(front.url, verify=front.trusting) as client:
            yield client


# -- the token


def test_a_token_is_cancelled_once_and_for_all() -> None:
    token, other = CancelToken(), CancelToken()
    assert (token.cancelled, repr(token)) == (False, "CancelToken(not cancelled)")
    assert token.wait(0.001) is False
    token.raise_if_cancelled()
    for _ in range(2):
        token.cancel()
        assert (token.cancelled, repr(token)) == (True, "CancelToken(cancelled)")
    assert token.wait() is True
    with pytest.raises(Cancelled, match="the call was cancelled"):
        token.raise_if_cancelled()
    assert not other.cancelled


@pytest.mark.parametrize("wrong", [True, "token", threading.Event(), CancelToken])
def test_what_is_no_token_is_refused(client: Client, server: FakeOllama, wrong: Any) -> None:
    for method in (*BOTH_WAYS, "list_models", "pull_model_stream"):
        with pytest.raises(InvalidArgument, match="cancel must be a CancelToken"):
            started(client, method, cancel=wrong)
    assert server.requests == []


# -- before


@pytest.mark.parametrize("retry", [None, RetryPolicy()])
@pytest.mark.parametrize(
    "method", ["chat", "chat_stream", "embed", "list_models", "pull_model", "pull_model_stream"]
)
def test_a_call_with_a_token_that_is_used_up_is_not_sent_and_costs_no_connection(
    client: Client, server: FakeOllama, method: str, retry: RetryPolicy | None
) -> None:
    token = CancelToken()
    token.cancel()
    for connections in (0, 1):  # without an idle one, and with
        with pytest.raises(Cancelled):
            finished(client, method, cancel=token, retry=retry)
        assert server.connections == connections
        client.server_version()
    assert {each.path for each in server.requests} == {"/api/version"}
    assert server.connections == 1


# -- while the call waits


@pytest.mark.parametrize("method", BOTH_WAYS)
def test_cancelling_ends_the_wait_for_another_calls_connection(server: FakeOllama, method: str) -> None:
    server.on("POST", CHAT, STALLED, REPLY)
    token = CancelToken()
    with Client(server.url, max_connections=1) as client, client.chat_stream("m", "hi") as held:
        next(held)
        with background(lambda: finished(client, method, cancel=token)) as call:
            wait_until(lambda: hooks(token))
            token.cancel()
            assert cancelled(call).model == "m"
        assert not server.requests[0].disconnected
        held.close()
        assert finished(client, "chat").text == "abc"
        assert len(server.requests) == 2


@pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("method", ["chat", "chat_stream", "embed", "list_models", "pull_model_stream"])
def test_cancelling_ends_the_wait_for_the_headers(
    server: FakeOllama, any_client: Client, method: str, reused: bool
) -> None:
    for verb, path in (("POST", CHAT), ("POST", "/api/embed"), ("POST", PULL), ("GET", "/api/tags")):
        server.on(verb, path, SILENT)
    if reused:
        any_client.server_version()
    token = CancelToken()
    with background(lambda: finished(any_client, method, cancel=token)) as call:
        server.wait_for_request(1 + reused)
        token.cancel()
        error = cancelled(call)
    assert (error.status, error.partial, error.progress) == (None, None, None)
    assert error.request is not None
    assert error.request.url.startswith(any_client.host)
    assert server.wait_for_disconnect().connection == 1
    assert any_client.server_version()
    assert server.connections == 2


@pytest.mark.parametrize("by", ["token", "stream"])
def test_cancelling_ends_the_wait_for_the_next_token(server: FakeOllama, any_client: Client, by: str) -> None:
    server.on("POST", CHAT, STALLED)
    token = CancelToken()
    stream = any_client.chat_stream("m", "hi", cancel=token)
    assert [next(stream), next(stream)] == [TextDelta("a"), TextDelta("b")]
    with background(lambda: next(stream)) as call:
        (token.cancel if by == "token" else stream.cancel)()
        error = cancelled(call)
    assert isinstance(error.partial, ChatReply)
    assert (error.partial, error.partial.text) == (stream.partial, "ab")
    assert (error.status, error.model) == (200, "m")
    server.wait_for_disconnect()
    assert list(stream) == []
    with pytest.raises(StreamNotFinished, match=r"failed \(the call was cancelled\)"):
        _ = stream.reply
    stream.close()
    assert any_client.server_version()


def test_cancelling_ends_the_wait_for_the_rest_of_a_plain_reply(server: FakeOllama, client: Client) -> None:
    whole = REPLY.split([20])
    server.on("POST", CHAT, silent_after(whole, 1))
    token = CancelToken()
    with background(lambda: client.chat("m", "hi", cancel=token)) as call:
        server.wait_for_request()
        token.cancel()
        cancelled(call)
    server.wait_for_disconnect()


def test_a_body_that_the_end_of_the_connection_ends_is_not_whole_because_we_ended_it(
    server: FakeOllama, client: Client
) -> None:
    begun = Raw(b"HTTP/1.1 200 OK\r\n\r\n" + STREAM.pieces[0])
    server.on("POST", CHAT, begun.stall(math.inf, at=len(begun.body)))
    stream = client.chat_stream("m", "hi")
    next(stream)
    stream.cancel()
    with pytest.raises(Cancelled):
        next(stream)


def test_cancelling_ends_the_wait_before_another_try(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, Json({"error": "server busy"}, 503))
    waits = threading.Event()
    policy = RetryPolicy(wait_initial=1000, wait_max=1000, total=None, on_retry=lambda _: waits.set())
    for count, method in enumerate(BOTH_WAYS, 1):
        token = CancelToken()
        waits.clear()
        with background(lambda: finished(client, method, cancel=token, retry=policy)) as call:  # noqa: B023 - ends here
            waits.wait(20)
            token.cancel()
            cancelled(call)
        assert len(server.requests) == count


# -- when there is nothing to end


def test_cancelling_after_the_end_harms_nothing(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, REPLY, STREAM)
    server.on("POST", PULL, STEPS)
    tokens = [CancelToken() for _ in range(3)]
    reply = client.chat("m", "hi", cancel=tokens[0])
    with (
        client.chat_stream("m", "hi", cancel=tokens[1]) as stream,
        client.pull_model_stream("m", cancel=tokens[2]) as pull,
    ):
        stream.finish()
        pull.finish()
        assert [hooks(token) for token in tokens] == [{}, {}, hooks(tokens[2])]
        for end in (*[token.cancel for token in tokens], stream.cancel, stream.cancel, pull.cancel):
            end()
        assert stream.reply.text == reply.text == "abc"
    client.server_version()
    assert server.connections == 2  # as many as were open at a time, each used again


def test_cancelling_at_the_last_event_leaves_the_reply_whole(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, STREAM.stall(math.inf, at=len(STREAM.body)))
    with client.chat_stream("m", "hi") as stream:
        for event in stream:
            if event.type == "done":
                stream.cancel()
    assert stream.reply.text == "abc"


def test_cancelling_twice_or_after_closing_harms_nothing(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, STALLED)
    stream = client.chat_stream("m", "hi")
    next(stream)
    stream.cancel()
    stream.cancel()
    with pytest.raises(Cancelled):
        next(stream)
    stream.cancel()
    stream.close()
    stream.cancel()
    assert client.server_version()


# -- a stream that nobody is reading just then


def test_cancelling_from_within_the_loop_ends_it_though_more_has_arrived(
    server: FakeOllama, client: Client
) -> None:
    server.on("POST", CHAT, Lines(*[chunk(str(number)) for number in range(10)], chunk(done=True)))
    stream = client.chat_stream("m", "hi")
    for event in stream:
        assert event == TextDelta("0")
        stream.cancel()
        break
    with pytest.raises(Cancelled) as caught:
        next(stream)
    assert caught.value.partial == stream.partial
    assert stream.partial.text == "0"


@pytest.mark.parametrize("by", ["token", "stream"])
def test_a_stream_that_is_cancelled_while_nobody_reads_says_so_when_it_is_read(
    server: FakeOllama, client: Client, by: str
) -> None:
    server.on("POST", CHAT, STALLED)
    token = CancelToken()
    with client.chat_stream("m", "hi", cancel=token) as stream:
        next(stream)
        with background(token.cancel if by == "token" else stream.cancel):
            server.wait_for_disconnect()  # at once, not when it is read
        with pytest.raises(Cancelled) as caught:
            stream.finish()
        assert caught.value.partial == stream.partial


# -- one token, many calls


def test_one_token_ends_all_its_calls_and_no_other(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, SILENT)
    server.on("POST", PULL, silent_after(STEPS, 1))
    server.on("POST", GENERATE, Json({"model": "m", "created_at": "", "response": "", "done": True}))
    token, other = CancelToken(), CancelToken()
    methods = ["chat", "chat_stream", "pull_model", "pull_model_stream"] * 2
    with ExitStack() as threads, background(lambda: client.chat("m", "hi", cancel=other)) as spared:
        calls = [
            threads.enter_context(background(partial(finished, client, method, cancel=token)))
            for method in methods
        ]
        server.wait_for_request(len(methods) + 1)
        token.cancel()
        for call in calls:
            cancelled(call)
        server.wait_for_disconnect(len(methods))
        assert not spared.done()
        with pytest.raises(Cancelled):
            client.generate("m", "hi", cancel=token)
        assert client.generate("m", "hi").status == 200
        other.cancel()
        cancelled(spared)


# -- what a token holds


@pytest.mark.parametrize("method", ["chat_stream", "pull_model_stream", "create_model_stream"])
@pytest.mark.parametrize("read", [False, True])
def test_a_token_keeps_no_stream_alive(server: FakeOllama, client: Client, method: str, read: bool) -> None:
    server.on("POST", CHAT, STALLED)
    for path in TRANSFERS:
        server.on("POST", path, silent_after(STEPS, 2))
    token = CancelToken()
    gc.disable()  # it is freed at once, not when a collector comes by
    try:
        stream = started(client, method, cancel=token)
        if read:
            next(stream)
        gone = weakref.ref(stream)
        del stream
        assert gone() is None
        if read or method != "create_model_stream":  # which asks nothing before it is read
            server.wait_for_disconnect()
        assert hooks(token) == {}
    finally:
        gc.enable()
    token.cancel()
    assert client.server_version()


@pytest.mark.parametrize("method", ["chat_stream", "pull_model_stream"])
def test_a_stream_that_is_closed_unread_leaves_its_connection(
    server: FakeOllama, client: Client, method: str
) -> None:
    server.on("POST", CHAT, STALLED)
    server.on("POST", PULL, silent_after(STEPS, 2))
    with started(client, method) as stream:
        pass
    server.wait_for_disconnect()
    assert list(stream) == []


def test_a_token_that_serves_for_long_does_not_grow(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, REPLY, Json({"error": "no"}, 400), STREAM)
    token = CancelToken()
    for method in ("chat", "chat", "chat_stream", "list_models", "server_version"):
        with suppress(OllamaError):
            finished(client, method, cancel=token)
        assert hooks(token) == {}
