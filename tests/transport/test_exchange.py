"""Over real sockets: whatever happens to a connection, the outcome is typed, and no socket is left behind."""

from __future__ import annotations

import gzip
import math
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from certificates import serving
from sockets import ask
from streams import chunk, line

from ollama_ext import (
    Client,
    ConnectionFailed,
    InvalidArgument,
    InvalidResponse,
    OllamaError,
    ReplyStream,
    StreamNotFinished,
    StreamTruncated,
    TextDelta,
)
from ollama_ext.testing import Body, FakeOllama, Json, Lines, Raw, Recording, Response
from ollama_ext.transport import exchange

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHAT = "/api/chat"
STALLED = Lines(chunk("a"), chunk("b"), chunk(done=True)).stall(math.inf, at=len(line(chunk("a"))) + 1)


# -- after the last chunk


WHOLE = Lines(chunk("a"), chunk("b", done=True))


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize(
    "ending",
    [
        WHOLE.cut(len(WHOLE.body), "close"),
        WHOLE.cut(len(WHOLE.body), "reset"),
        WHOLE.stall(math.inf, at=len(WHOLE.body)),
        Lines(chunk("a"), chunk("b", done=True), "garbage", {"error": "late"}),
        Lines(chunk("a"), chunk("b", done=True), "garbage").split([1]),
        Raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nno chunk"
            % (len(WHOLE.body), WHOLE.body)
        ),
        Raw(b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE.body),
    ],
    ids=["close", "reset", "stall", "garbage", "garbage-bytes", "no-http", "until-close"],
)
def test_a_reply_is_whole_once_its_last_chunk_came_whatever_the_connection_does_next(
    ending: Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "DRAIN_LIMIT", 0.02)
    with FakeOllama() as server, Client(server.url) as client:
        server.on("POST", CHAT, ending, WHOLE)
        with client.chat_stream("m", "hi") as stream:
            events = list(stream)
        assert [event.type for event in events] == ["text", "text", "done"]
        assert stream.reply.text == "ab"
        assert client.chat_stream("m", "hi").finish().text == "ab"  # the next call is not harmed


def test_a_server_that_does_not_end_the_body_is_left_after_a_while(
    server: FakeOllama, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "DRAIN_LIMIT", 0.02)
    server.on("POST", CHAT, WHOLE.stall(math.inf, at=len(WHOLE.body)))
    assert client.chat_stream("m", "hi").finish().text == "ab"
    server.wait_for_disconnect()


def read_all(stream: ReplyStream[Any]) -> None:
    list(stream)


def stop_at_done(stream: ReplyStream[Any]) -> None:
    with stream:
        for event in stream:
            if event.type == "done":
                break


def finish(stream: ReplyStream[Any]) -> None:
    stream.finish()


def read_texts(stream: ReplyStream[Any]) -> None:
    "".join(stream.text_deltas())


@pytest.mark.parametrize("read", [read_all, stop_at_done, finish, read_texts])
@pytest.mark.parametrize("late", [0, 0.02])
def test_the_connection_of_a_finished_stream_serves_the_next_call(
    server: FakeOllama, client: Client, read: Callable[[ReplyStream[Any]], None], late: float
) -> None:
    server.on("POST", CHAT, WHOLE.stall(late, at=len(WHOLE.body)), Recording("chat-load"), WHOLE)
    for _ in range(3):
        read(client.chat_stream("m", "hi"))
    client.server_version()
    assert server.connections == 1


# -- leaving early


def leave_with(stream: ReplyStream[Any]) -> None:
    with stream:
        for _ in stream:
            break


def leave_by_exception(stream: ReplyStream[Any]) -> None:
    def fail_in_the_loop() -> None:
        with stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_the_loop()


def leave_by_close_in_the_loop(stream: ReplyStream[Any]) -> None:
    for _ in stream:
        stream.close()


def leave_unread(stream: ReplyStream[Any]) -> None:
    with stream:
        pass


def close_twice(stream: ReplyStream[Any]) -> None:
    stream.close()
    stream.close()


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize(
    "leave", [leave_with, leave_by_exception, leave_by_close_in_the_loop, leave_unread, close_twice]
)
def test_leaving_early_closes_the_connection(leave: Callable[[ReplyStream[Any]], None]) -> None:
    with FakeOllama() as server, Client(server.url) as client:
        server.on("POST", CHAT, STALLED)
        stream = client.chat_stream("m", "hi")
        leave(stream)
        assert server.wait_for_disconnect().path == CHAT
        assert stream.partial.text in {"", "a"}
        assert list(stream) == []
        with pytest.raises(StreamNotFinished, match="left before its end") as caught:
            stream.finish()
        assert caught.value.partial == stream.partial


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("read", [False, True])
def test_a_stream_that_is_dropped_closes_its_connection_at_once(read: bool) -> None:
    with FakeOllama() as server, Client(server.url) as client:
        server.on("POST", CHAT, STALLED)
        stream = client.chat_stream("m", "hi")
        if read:
            next(stream)
        del stream
        server.wait_for_disconnect()


def test_closing_the_client_ends_its_open_streams(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, STALLED)
    stream = client.chat_stream("m", "hi")
    assert next(stream) == TextDelta("a")
    client.close()
    server.wait_for_disconnect()
    with pytest.raises(StreamTruncated, match="client was closed") as caught:
        next(stream)
    assert caught.value.partial == stream.partial
    assert stream.partial.text == "a"


def test_closing_the_client_when_the_last_chunk_came_harms_nothing(
    server: FakeOllama, client: Client
) -> None:
    server.on("POST", CHAT, WHOLE)
    stream = client.chat_stream("m", "hi")
    for event in stream:
        if event.type == "done":
            client.close()
    assert stream.reply.text == "ab"


def test_a_closed_client_says_so(server: FakeOllama) -> None:
    client = Client(server.url)
    client.close()
    client.close()
    for call in (client.list_models, lambda: client.chat("m", "x"), lambda: client.chat_stream("m", "x")):
        with pytest.raises(OllamaError, match="closed"):
            call()
    assert server.requests == []


def test_nobody_listening_is_a_failed_connection_with_advice() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{placeholder.getsockname()[1]}"
        with Client(url, retry=None) as client:
            for call in (client.list_models, lambda: client.chat_stream("m", "x")):
                with pytest.raises(ConnectionFailed, match=f"{url} .*is Ollama running there"):
                    call()


# -- encodings, proxies


@pytest.mark.parametrize("stream", [False, True])
def test_a_compressed_answer_is_read_though_none_was_asked_for(
    server: FakeOllama, client: Client, stream: bool
) -> None:
    body = WHOLE.body if stream else line(chunk("ab", done=True))
    packed = gzip.compress(body)
    server.on("POST", CHAT, Body(packed, headers={"Content-Encoding": "gzip"}).split([7]))
    assert ask(client, CHAT, stream=stream).text == "ab"
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_not_compressed_as_it_says_is_invalid(
    server: FakeOllama, client: Client, stream: bool
) -> None:
    server.on("POST", CHAT, Body(b"plain", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(InvalidResponse, match="not compressed as its headers say"):
        ask(client, CHAT, stream=stream)


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "nonsense://x:1"), ("ALL_PROXY", "socks5://x:1")]
)
def test_a_proxy_that_cannot_be_used_is_said_when_the_client_is_made(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidArgument, match=name):
        Client("https://ollama.example")
    Client("localhost").close()  # which no proxy can reach
    Client("https://ollama.example", trust_env=False).close()


def test_certificates_that_cannot_be_used_are_said_at_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    with Client("https://127.0.0.1:1") as client, pytest.raises(InvalidArgument, match="SSL_CERT_FILE"):
        client.server_version()


def test_a_proxy_of_the_environment_is_used_for_other_machines_only(
    server: FakeOllama, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeOllama() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client("http://gpu1.example:11434") as remote:
            assert remote.server_version()
        assert len(proxy.requests) == 1
        assert client.server_version()
        assert (len(proxy.requests), len(server.requests)) == (1, 1)


# -- what calls leave behind


def test_cookies_are_not_kept(server: FakeOllama) -> None:
    with Client(server.url) as client:
        server.on("GET", "/api/version", Json({"version": "1"}, headers={"Set-Cookie": "session=1"}))
        client.server_version()
        client.server_version()
    assert [each.headers.get("cookie") for each in server.requests] == [None, None]


# -- certificates


def test_a_server_of_this_machine_may_have_a_certificate_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = serving(authority, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://localhost:{listener.getsockname()[1]}"
        server = threading.Thread(target=_answer_tls, args=(listener, context, 2))
        server.start()
        with Client(url) as client, pytest.raises(ConnectionFailed, match=r"not trusted.*SSL_CERT_FILE"):
            client.server_version()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with Client(url) as client:
            assert client.server_version() == "9"
        server.join()


def _answer_tls(listener: socket.socket, context: ssl.SSLContext, connections: int) -> None:
    body = b'{"version": "9"}'
    for _ in range(connections):
        accepted, _address = listener.accept()
        with (
            suppress(ssl.SSLError, ConnectionError),  # a client that does not trust us hangs up
            accepted,
            context.wrap_socket(accepted, server_side=True) as connection,
        ):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            connection.recv(1)  # until the client has read it and closes
