"""The server as a server: HTTP/1.1, scripts, what it saw, and how it goes away."""

from __future__ import annotations

import hashlib
import http.client
import json
import math
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from raw_http import TIMEOUT, RawConnection, ask, converse, parse, request

from ollama_ext.testing import Body, FakeOllama, Json, Lines, Recording, Response

# -- scripts


def test_responses_come_in_order_and_the_last_is_repeated(server: FakeOllama) -> None:
    server.on("GET", "/x", Json(1), Json(2), Json(3))
    assert [ask(server.port, "GET", "/x").json() for _ in range(5)] == [1, 2, 3, 3, 3]


def test_scripting_again_replaces(server: FakeOllama) -> None:
    server.on("GET", "/x", Json(1), Json(2))
    ask(server.port, "GET", "/x")
    server.on("get", "/x", Json(9))
    assert ask(server.port, "GET", "/x").json() == 9


def test_a_script_is_for_its_method_and_path_only(server: FakeOllama) -> None:
    server.on("GET", "/x", Json(1))
    assert ask(server.port, "POST", "/x").status == 404
    assert ask(server.port, "GET", "/xy").status == 404


def test_a_script_matches_whatever_the_query(server: FakeOllama) -> None:
    server.on("GET", "/x", Json(1))
    assert ask(server.port, "GET", "/x?ts=5").json() == 1
    assert (server.requests[0].path, server.requests[0].query) == ("/x", "ts=5")


def test_a_script_comes_before_what_the_server_would_say(server: FakeOllama) -> None:
    server.on("GET", "/api/version", Json({"version": "9"}))
    assert ask(server.port, "GET", "/api/version").json() == {"version": "9"}


def test_a_response_can_be_shared_by_routes_and_servers(server: FakeOllama) -> None:
    shared = Json("same")
    with FakeOllama() as other:
        server.on("GET", "/a", shared)
        other.on("GET", "/b", shared)
        assert ask(server.port, "GET", "/a").json() == ask(other.port, "GET", "/b").json()


# -- what came


def test_a_request_is_seen_as_it_was_sent(server: FakeOllama) -> None:
    body = {"model": "m", "stream": False}
    sent = request("POST", "/api/chat", body, {"Connection": "close", "X-One": " a ", "x-one": "b"})
    converse(server.port, sent)
    seen = server.wait_for_request()
    assert (seen.method, seen.path, seen.query) == ("POST", "/api/chat", "")
    assert seen.json() == body
    assert seen.body == json.dumps(body).encode()
    assert seen.headers["X-ONE"] == "a, b"
    assert ("X-One", "a") in seen.headers.pairs
    assert "host" in seen.headers
    assert seen.complete
    assert not seen.disconnected


def test_a_request_shows_itself_without_the_values_of_its_headers(server: FakeOllama) -> None:
    converse(server.port, request("GET", "/", None, {"Authorization": "s3cret", "Connection": "close"}))
    assert "s3cret" not in repr(server.requests) + repr(server.requests[0].headers)
    assert repr(server.requests[0]) == "<RecordedRequest GET /, 0 bytes>"


def test_a_body_that_is_no_json_says_so(server: FakeOllama) -> None:
    ask(server.port, "POST", "/api/chat", b"{")
    with pytest.raises(ValueError, match="no JSON"):
        server.requests[0].json()


def test_a_chunked_upload_is_put_together(server: FakeOllama) -> None:
    server.on("POST", "/x", Json("ok"))
    chunks = b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
    head = request("POST", "/x", None, {"Transfer-Encoding": "chunked", "Connection": "close"})
    assert converse(server.port, head + chunks).answer().json() == "ok"
    assert server.requests[0].body == b"abc0123456789"


def test_of_a_large_upload_the_first_16_mib_are_kept_and_all_is_hashed(server: FakeOllama) -> None:
    server.on("POST", "/x", Json("ok"))
    content = os.urandom(1 << 16) * (17 << 4)
    with RawConnection(server.port) as connection:
        connection.send(request("POST", "/x", content, {"Connection": "close"}))
        assert connection.read_all().answer().json() == "ok"
    seen = server.requests[0]
    assert seen.body_size == len(content) == 17 << 20
    assert seen.body == content[: 16 << 20]
    assert seen.body_sha256 == hashlib.sha256(content).hexdigest()
    with pytest.raises(ValueError, match="were kept"):
        seen.json()


def test_waiting_for_a_request_returns_it(server: FakeOllama) -> None:
    with RawConnection(server.port) as connection:
        connection.send(request("GET", "/api/version") + request("GET", "/api/tags"))
        assert server.wait_for_request(count=2).path == "/api/tags"
        assert server.wait_for_request().path == "/api/version"


def test_waiting_in_vain_says_what_came(server: FakeOllama) -> None:
    ask(server.port, "GET", "/api/tags")
    with pytest.raises(TimeoutError, match=r"2 requests, got 1.*GET /api/tags"):
        server.wait_for_request(count=2, timeout=0)
    with pytest.raises(TimeoutError, match="1 clients that left early, got 0"):
        server.wait_for_disconnect(timeout=0)


@pytest.mark.parametrize(
    "response",
    [
        Lines(1, 2).stall(math.inf, at=2),
        Lines(1, 2).stall(math.inf),
        Json({}).delay(math.inf),
        Body(b"x" * (32 << 20)),  # more than the client takes
    ],
    ids=["within the body", "before the body", "before the head", "while it is sent"],
)
def test_a_client_that_leaves_early_is_seen(server: FakeOllama, response: Response) -> None:
    server.on("GET", "/x", response)
    with RawConnection(server.port) as connection:
        connection.send(request("GET", "/x"))
        server.wait_for_request()
        assert not server.requests[0].disconnected
    assert server.wait_for_disconnect() is server.requests[0]
    assert server.requests[0].disconnected


def test_a_client_that_closes_with_unread_bytes_left_early(server: FakeOllama) -> None:
    server.on("GET", "/x", Json("0123456789"))
    with RawConnection(server.port) as connection:
        connection.send(request("GET", "/x"))
        connection.read_until(b"\r\n\r\n")
        connection.read(3)
    assert server.wait_for_disconnect().path == "/x"


def test_a_client_that_leaves_within_its_upload_is_seen(server: FakeOllama) -> None:
    with RawConnection(server.port) as connection:
        connection.send(b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    seen = server.wait_for_disconnect()
    assert (seen.body, seen.complete) == (b"abc", False)


def test_a_client_that_read_it_all_did_not_leave_early(server: FakeOllama) -> None:
    ask(server.port, "GET", "/api/version")
    with pytest.raises(TimeoutError):
        server.wait_for_disconnect(timeout=0)


# -- HTTP/1.1


def test_a_connection_is_kept_alive_for_many_requests(server: FakeOllama) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    for path in ["/", "/api/version", "/nope", "/api/tags", "/api/chat"]:
        client.request("GET", path)
        client.getresponse().read()
    client.request("POST", "/api/chat", json.dumps({"model": "smollm2:135m", "messages": [{}]}))
    assert len(client.getresponse().readlines()) > 2
    client.request("HEAD", "/")
    client.getresponse().read()
    client.close()
    assert [each.connection for each in server.requests] == [1] * 7
    assert server.connections == 1


def test_a_second_connection_is_counted(server: FakeOllama) -> None:
    ask(server.port, "GET", "/")
    ask(server.port, "GET", "/")
    assert [each.connection for each in server.requests] == [1, 2]
    assert server.connections == 2


def test_requests_sent_ahead_are_answered_in_order(server: FakeOllama) -> None:
    server.on("GET", "/x", Json(1).stall(0.01, at=0), Json(2), Json(3))
    closing = request("GET", "/x", None, {"Connection": "close"})
    rest = converse(server.port, request("GET", "/x") * 2 + closing).data
    values: list[int] = []
    while rest:
        answer = parse(rest)
        values, rest = [*values, answer.json()], answer.rest
    assert values == [1, 2, 3]


def test_close_is_answered_with_close(server: FakeOllama) -> None:
    assert ("Connection", "close") in ask(server.port, "GET", "/").headers


def test_a_client_that_expects_100_continue_is_told_to(server: FakeOllama) -> None:
    head = request("POST", "/x", None, {"Content-Length": "2", "Expect": "100-continue"})
    server.on("POST", "/x", Json("ok"))
    with RawConnection(server.port) as connection:
        connection.send(head)
        assert connection.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(b"{}")
        assert connection.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK")


def test_a_url_as_target_is_its_path(server: FakeOllama) -> None:
    assert ask(server.port, "GET", "http://example.com/api/version?a=b").status == 200
    assert (server.requests[0].path, server.requests[0].query) == ("/api/version", "a=b")


BAD = {
    "no http": (b"hello\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 400),
    "old version": (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", 505),
    "relative target": (b"GET api HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "control character in target": (b"GET /api/blobs/\x01/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "broken url": (b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "space in header name": (b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: x\r\n more\r\n\r\n", 400),
    "negative length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
    ),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "unknown coding": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "unknown expectation": (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: fun\r\n\r\n", 417),
    "no chunk size": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        400,
    ),
    "chunk too long": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        400,
    ),
    "endless line": (b"GET /" + b"a" * (1 << 20), 431),
    "endless headers": (b"GET / HTTP/1.1\r\n" + b"A: bcdefgh\r\n" * (1 << 17), 431),
    "endless chunk size": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 5000,
        400,
    ),
}


@pytest.mark.parametrize(("data", "status"), BAD.values(), ids=list(BAD))
def test_what_is_no_http_is_refused_and_the_connection_closed(
    server: FakeOllama, data: bytes, status: int
) -> None:
    capture = converse(server.port, data)
    assert capture.ended == "closed"
    assert capture.answer().status == status


def test_32_clients_are_served_at_once(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Recording("chat-stream"))
    body = Recording("chat-stream").exchange.response.body
    together = threading.Barrier(32, timeout=TIMEOUT)

    def talk(_: int) -> list[bytes]:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        replies: list[bytes] = []
        for _ in range(3):
            client.request("POST", "/api/chat", b"{}")
            replies.append(client.getresponse().read())
            together.wait()  # every connection is open here, or this breaks
        client.close()
        return replies

    with ThreadPoolExecutor(32) as pool:
        for replies in pool.map(talk, range(32)):
            assert replies == [body] * 3
    assert server.connections == 32
    assert len(server.requests) == 96


# -- life


def test_the_address_is_known_while_it_runs() -> None:
    with FakeOllama() as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


def test_starting_twice_is_an_error_and_stopping_twice_is_not() -> None:
    server = FakeOllama().start()
    with pytest.raises(RuntimeError, match="running already, at http://"):
        server.start()
    server.stop()
    server.stop()
    FakeOllama().stop()


def test_a_stopped_server_can_start_again_with_its_script() -> None:
    server = FakeOllama()
    server.on("GET", "/x", Json(1))
    for count in (1, 2):
        with server:
            assert ask(server.port, "GET", "/x").json() == 1
            assert len(server.requests) == count


def test_a_stopped_server_refuses_connections() -> None:
    with FakeOllama() as server:
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        ask(port, "GET", "/")


@pytest.mark.parametrize(
    "response",
    [
        Lines(1, 2).stall(math.inf, at=2),
        Json(1).delay(math.inf),
        Lines(1).stall(math.inf, at=2).cut(2, "reset"),
        Body(b"x" * (32 << 20)),
        Lines(1, 2).cut(1, "close"),
        Json(1),
    ],
    ids=["stalling", "delaying", "before a reset", "blocked in a write", "cut", "idle"],
)
def test_stopping_ends_every_connection_and_thread(response: Response) -> None:
    threads_before = set(threading.enumerate())
    server = FakeOllama().start()
    server.on("GET", "/x", response)
    with RawConnection(server.port) as hanging_on, RawConnection(server.port) as silent:
        hanging_on.send(request("GET", "/x"))
        silent.send(b"GET /x HT")
        server.wait_for_request()
        server.stop()
        assert set(threading.enumerate()) <= threads_before
        hanging_on.read_all()
        assert silent.read_all().data == b""
    assert not server.requests[0].disconnected


def test_an_error_in_the_with_block_stops_the_server_too() -> None:
    server = FakeOllama()

    def fail() -> None:
        with server:
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


def test_import_ollama_ext_does_not_load_the_server() -> None:
    code = "import sys, ollama_ext; sys.exit('ollama_ext.testing' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own code
