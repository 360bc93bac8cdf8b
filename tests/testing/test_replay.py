"""What goes over the wire is what was recorded or scripted, byte for byte."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from raw_http import RawConnection, ask, converse, parse, request

from ollama_ext.testing import (
    Body,
    Ending,
    FakeOllama,
    Json,
    Lines,
    Raw,
    RecordedExchange,
    Recording,
    recordings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeOllama]:
    """One server for the tests that replay everything."""
    with FakeOllama() as running:
        yield running


def _name(exchange: RecordedExchange) -> str:
    return f"{exchange.version}-{exchange.name}"


@pytest.mark.parametrize("exchange", recordings(), ids=_name)
def test_a_replayed_recording_is_the_recording(shared: FakeOllama, exchange: RecordedExchange) -> None:
    method, path, recorded = exchange.request.method, exchange.request.path, exchange.response
    shared.on(method, path, Recording(exchange.name, exchange.version))
    answer = ask(shared.port, method, path)
    assert answer.status == recorded.status
    assert answer.chunks == [chunk.data for chunk in recorded.chunks]
    assert answer.complete == recorded.clean_end
    assert answer.rest == b""


@pytest.mark.parametrize("exchange", recordings(), ids=_name)
def test_a_replayed_recording_has_the_recorded_headers(
    shared: FakeOllama, exchange: RecordedExchange
) -> None:
    method, path = exchange.request.method, exchange.request.path
    shared.on(method, path, Recording(exchange.name, exchange.version))
    answer = ask(shared.port, method, path)  # asks for Connection: close, as the recorder did
    expected = list(exchange.response.headers)
    if exchange.name == "pull-offline-nostream":  # whose text was shortened after recording
        expected[expected.index(("Content-Length", "175"))] = ("Content-Length", "172")
    assert sorted(answer.headers) == sorted(expected)


def test_a_recorded_crash_of_the_server_ends_within_the_chunked_body(server: FakeOllama) -> None:
    server.on("POST", "/api/generate", Recording("generate-stream-server-killed"))
    capture = converse(server.port, request("POST", "/api/generate", {}))
    assert capture.ended == "closed"
    assert not capture.answer().complete


CUT = [
    Recording("chat-stream-tools"),  # in chunks
    Recording("chat-missing-model"),  # with Content-Length
]


@pytest.mark.parametrize("how", ["clean", "close", "reset"])
@pytest.mark.parametrize("whole", CUT, ids=["chunks", "length"])
def test_a_cut_at_every_byte_is_seen_by_the_client(shared: FakeOllama, whole: Recording, how: Ending) -> None:
    for at in range(len(whole.body) + 1):
        shared.on("POST", "/api/chat", whole.cut(at, how))
        capture = converse(shared.port, request("POST", "/api/chat", {}, {"Connection": "close"}))
        answer = capture.answer()
        assert capture.ended == ("reset" if how == "reset" else "closed")
        assert answer.body == whole.body[:at]
        assert answer.rest == b""
        everything = at == len(whole.body) and not whole.chunked
        assert answer.complete == (how == "clean" or everything)


def test_a_clean_cut_leaves_the_connection_open(server: FakeOllama) -> None:
    server.on("GET", "/api/version", Recording("version").cut(5, "clean"))
    server.on("GET", "/api/tags", Lines(1, 2).cut(1, "clean"))
    with RawConnection(server.port) as connection:
        connection.send(request("GET", "/api/version") + request("GET", "/api/tags"))
        assert parse(connection.read_until(b'{"ver')).body == b'{"ver'
        assert parse(connection.read_until(b"0\r\n\r\n")).chunks == [b"1"]


def test_a_split_stream_arrives_in_chunks_of_these_sizes(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Recording("chat-stream-tools").split([1, 2, 3]))
    answer = ask(server.port, "POST", "/api/chat", {})
    assert [len(chunk) for chunk in answer.chunks[:7]] == [1, 2, 3, 1, 2, 3, 1]
    assert answer.body == Recording("chat-stream-tools").exchange.response.body


def test_a_split_body_with_a_length_is_still_the_same_body(server: FakeOllama) -> None:
    server.on("GET", "/api/version", Recording("version").split([1]))
    assert ask(server.port, "GET", "/api/version").json() == {"version": "0.33.0-rc2"}


@pytest.mark.parametrize("value", [None, [], [1], {}, "text", 3, True, {"a": None}])
def test_any_json_value_can_be_the_answer(server: FakeOllama, value: object) -> None:
    server.on("GET", "/api/tags", Json(value))
    answer = ask(server.port, "GET", "/api/tags")
    assert answer.json() == value
    assert ("Content-Type", "application/json; charset=utf-8") in answer.headers


def test_lines_are_one_chunk_each(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines({"a": 1}, None, status=206))
    answer = ask(server.port, "POST", "/api/chat", {})
    assert answer.status == 206
    assert answer.chunks == [b'{"a":1}\n', b"null\n"]
    assert ("Content-Type", "application/x-ndjson") in answer.headers


def test_no_lines_are_an_empty_stream(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines())
    answer = ask(server.port, "POST", "/api/chat", {})
    assert (answer.chunks, answer.complete) == ([], True)


def test_html_can_be_the_answer(server: FakeOllama) -> None:
    server.on("GET", "/", Body("<h1>Bad Gateway</h1>", 502))
    answer = ask(server.port, "GET", "/")
    assert (answer.status, answer.body) == (502, b"<h1>Bad Gateway</h1>")
    assert ("Content-Type", "text/html; charset=utf-8") in answer.headers


def test_an_empty_body_can_be_the_answer(server: FakeOllama) -> None:
    server.on("GET", "/", Body(content_type=None))
    answer = ask(server.port, "GET", "/")
    assert sorted(answer.headers) == [("Connection", "close"), ("Content-Length", "0")]


def test_a_status_without_a_body_has_no_length_either(server: FakeOllama) -> None:
    server.on("GET", "/", Body(status=204, content_type=None))
    assert converse(server.port, request("GET", "/", None, {"Connection": "close"})).data == (
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    )


def test_compressed_bytes_can_be_the_answer(server: FakeOllama) -> None:
    packed = gzip.compress(b"{}")
    server.on("GET", "/", Body(packed, headers={"Content-Encoding": "gzip"}))
    answer = ask(server.port, "GET", "/")
    assert gzip.decompress(answer.body) == b"{}"
    assert ("Content-Encoding", "gzip") in answer.headers


def test_given_headers_replace_those_of_the_same_name(server: FakeOllama) -> None:
    given = {"content-type": "text/x", "Retry-After": "7"}
    server.on("GET", "/", Json({}, 503, given))
    headers = ask(server.port, "GET", "/").headers
    assert ("Retry-After", "7") in headers
    assert [value for name, value in headers if name.lower() == "content-type"] == ["text/x"]


def test_a_status_that_nobody_registered_is_sent(server: FakeOllama) -> None:
    server.on("GET", "/", Json({}, 599))
    data = converse(server.port, request("GET", "/", None, {"Connection": "close"})).data
    assert data.startswith(b"HTTP/1.1 599 status code 599\r\n")


@pytest.mark.parametrize("length", ["2", "10"])
def test_a_wrong_length_is_sent_as_scripted_and_ends_the_connection(server: FakeOllama, length: str) -> None:
    server.on("GET", "/", Body(b"abcd", headers={"Content-Length": length}))
    capture = converse(server.port, request("GET", "/"))
    assert capture.ended == "closed"
    assert capture.data.endswith(f"Content-Length: {length}\r\n\r\nabcd".encode())


def test_bytes_that_are_no_http_are_sent_as_they_are(server: FakeOllama) -> None:
    server.on("GET", "/", Raw(b"\x00\xffSSH-2.0\r\n"))
    capture = converse(server.port, request("GET", "/"))
    assert (capture.data, capture.ended) == (b"\x00\xffSSH-2.0\r\n", "closed")


def test_a_connection_can_close_without_an_answer(server: FakeOllama) -> None:
    server.on("GET", "/", Raw(b""))
    capture = converse(server.port, request("GET", "/"))
    assert (capture.data, capture.ended) == (b"", "closed")


def test_a_connection_can_be_reset_without_an_answer(server: FakeOllama) -> None:
    server.on("GET", "/", Raw(b"").cut(0, "reset"))
    capture = converse(server.port, request("GET", "/"))
    assert (capture.data, capture.ended) == (b"", "reset")


def test_the_answer_to_head_has_headers_and_no_body(server: FakeOllama) -> None:
    server.on("HEAD", "/x", Json({"a": 1}).stall(60, at=3))
    answer = ask(server.port, "HEAD", "/x")
    assert ("Content-Length", "7") in answer.headers
    assert answer.rest == b""


def test_a_large_body_arrives_whole_before_a_reset(server: FakeOllama) -> None:
    content = bytes(range(256)) * (1 << 14)  # 4 MiB: more than the kernel takes at once
    server.on("GET", "/", Body(content).cut(len(content), "reset"))
    capture = converse(server.port, request("GET", "/"))
    assert capture.ended == "reset"
    assert capture.answer().body == content
