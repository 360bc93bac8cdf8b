"""The operations: what they send over a real socket, and what they make of any answer."""

from __future__ import annotations

import io
import itertools
import json
import math
import pickle
from typing import Any

import httpx
import pytest
from ollama_openapi import ApiError, Client, File, InvalidBody, models
from ollama_openapi.api.blobs import check_blob, push_blob
from ollama_openapi.api.inference import chat, embed, generate
from ollama_openapi.api.models import copy_model, create_model, list_models, pull_model, push_model
from ollama_openapi.api.server import ping, server_version
from operations import OPERATIONS, Operation, smallest

from ollama_ext.testing import Body, FakeOllama, Json, Lines, Raw, Response

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
each_model = pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.answer not in {"", "text"}], ids=lambda each: each.name
)
each_stream = pytest.mark.parametrize(
    "operation", [each for each in OPERATIONS if each.chunk], ids=lambda each: each.name
)

REQUEST = models.ChatRequest(model="m", messages=[models.Message(role="user", content="Hello")])
#: Some of these no standard lists.
FAILED_STATUSES = [300, 301, 304, 400, 401, 404, 418, 429, 500, 503, 520, 599, 799]
FAILED_BODIES = [
    b'{"error":"no","extra":1}',
    b'{"error":1}',
    b'{"error":null}',
    b"404 page not found",
    b"<html>",
    b"",
    b"[]",
    b"null",
    b"\xff",
]
PIECES = [
    {"model": "m", "created_at": "t", "message": {"role": "assistant", "content": text}, "done": done}
    for text, done in [("Hel", False), ("lo", False), ("", True)]
]


# -- going out


@each_operation
def test_an_operation_sends_what_it_says(operation: Operation) -> None:
    answer: Response = Body(b"", content_type=None)
    if operation.answer not in {"", "text"}:
        answer = Json(smallest(operation.answer))
    with FakeOllama() as server, Client(server.url, headers={"X-Trace": "1"}) as client:
        server.on(operation.method, operation.sent_path, answer)
        reply = operation.module.sync_detailed(client=client, **operation.arguments)
        operation.module.sync(client=client, **operation.arguments)

        request, _ = server.requests

    assert (request.method, request.path, request.query) == (operation.method, operation.sent_path, "")
    assert request.headers["X-Trace"] == "1"
    if operation.request == "binary":
        assert request.headers["Content-Type"] == "application/octet-stream"
        assert request.body == operation.sent_body
    elif operation.request:
        assert request.headers["Content-Type"] == "application/json"
        assert request.json() == operation.sent_body
    else:
        assert "Content-Type" not in request.headers
        assert request.body == b""
    assert (reply.status_code, reply.content) == (200, b"" if operation.method == "HEAD" else answer.body)
    assert type(reply.parsed).__name__ == {"text": "str", "": "NoneType"}.get(
        operation.answer, operation.answer
    )


@each_stream
@pytest.mark.parametrize("said", [True, False, None])
def test_how_a_body_is_sent_decides_whether_it_streams(operation: Operation, said: bool | None) -> None:
    body = operation.arguments["body"]
    if said is not None:
        body.stream = said

    plain = operation.module.build_request(body=body)
    streamed = operation.module.build_request(body=body, stream=True)

    assert json.loads(plain.content)["stream"] is False
    assert json.loads(streamed.content)["stream"] is True


def test_a_plain_call_is_one_however_the_body_says_it(server: FakeOllama) -> None:
    request = models.ChatRequest(model="smollm2:135m", messages=REQUEST.messages, stream=True)
    with Client(server.url) as client:
        assert chat.sync(client=client, body=request).done


@pytest.mark.parametrize(
    ("digest", "path"),
    [
        ("sha256:ab", "/api/blobs/sha256:ab"),
        ("../../version", "/api/blobs/..%2F..%2Fversion"),
        ("a b?c#d%e", "/api/blobs/a%20b%3Fc%23d%25e"),
        ("ü\n", "/api/blobs/%C3%BC%0A"),
    ],
)
def test_a_path_parameter_stays_one_segment_of_the_path(digest: str, path: str, server: FakeOllama) -> None:
    assert check_blob.build_request(digest=digest).path == path
    with Client(server.url) as client, pytest.raises(ApiError):
        check_blob.sync(client=client, digest=digest)
    assert server.requests[0].path == path


@pytest.mark.parametrize("digest", ["", ".", ".."])
def test_a_path_parameter_that_would_change_the_path_is_refused(digest: str) -> None:
    with pytest.raises(ValueError, match="digest must not be"):
        check_blob.build_request(digest=digest)


@pytest.mark.parametrize("payload", [b"four", io.BytesIO(b"four"), iter([b"fo", b"ur"])])
def test_an_upload_may_be_bytes_a_file_or_pieces(payload: Any, server: FakeOllama) -> None:
    server.on("POST", "/api/blobs/x", Body(b"", status=201))
    with Client(server.url) as client:
        answer = push_blob.sync_detailed(client=client, digest="x", body=File(payload))
    assert answer.status_code == 201
    assert server.requests[0].body == b"four"


def test_arguments_are_given_by_name_only() -> None:
    build: Any = check_blob.build_request
    with pytest.raises(TypeError):
        build("sha256:ab")


# -- coming in


@each_operation
def test_any_status_but_a_success_raises_with_status_and_body(operation: Operation) -> None:
    for status, body in itertools.product(FAILED_STATUSES, FAILED_BODIES):
        with pytest.raises(ApiError) as caught:
            operation.module.parse(status, body)

        error = caught.value
        assert (error.status, error.body) == (status, body)
        if operation.error and body == FAILED_BODIES[0]:
            assert error.parsed is not None
            assert error.parsed.to_dict() == {"error": "no", "extra": 1}
            assert str(error) == f"HTTP status {status}: no"
        else:
            assert error.parsed is None
            assert str(error).startswith(f"HTTP status {status}")
        twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (twin.status, twin.body, twin.parsed, str(twin)) == (status, body, error.parsed, str(error))


@each_model
@pytest.mark.parametrize("status", [200, 201, 206, 299])
def test_any_success_is_read(operation: Operation, status: int) -> None:
    value = smallest(operation.answer)
    model = operation.module.parse(status, json.dumps(value).encode())
    assert (type(model).__name__, model.to_dict()) == (operation.answer, value)


@each_model
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'"text"', b"1", b"\xff", b'"\xff"', b'{"a":', b"[" * 100_000]
)
def test_a_success_with_another_body_is_invalid(operation: Operation, body: bytes) -> None:
    with pytest.raises(InvalidBody) as caught:
        operation.module.parse(200, body)
    assert (caught.value.model, caught.value.field) == (operation.answer, None)


def test_an_invalid_body_shows_how_it_starts() -> None:
    with pytest.raises(InvalidBody, match=r"ListResponse: expected JSON, got '<html>"):
        list_models.parse(200, b"<html><body>proxy</body></html>")
    with pytest.raises(InvalidBody, match="got an empty body"):
        list_models.parse(200, b"")
    with pytest.raises(InvalidBody, match=r"ListResponse\.models: expected a list, got an object"):
        list_models.parse(200, b'{"models": {}}')


def test_text_is_read_whatever_its_bytes() -> None:
    assert ping.parse(200, b"Ollama is running") == "Ollama is running"
    assert ping.parse(200, b"\xff") == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("status", [299, 404, 520, 999])
@pytest.mark.parametrize("answer", [b"<html>", b"", b'{"error": "why"}'])
def test_no_status_gets_lost_on_the_way(status: int, answer: bytes, server: FakeOllama) -> None:
    server.on("GET", "/api/version", Body(answer, status=status))
    with Client(server.url) as client, pytest.raises((ApiError, InvalidBody)) as caught:
        server_version.sync(client=client)
    if isinstance(caught.value, ApiError):
        assert (caught.value.status, caught.value.body) == (status, answer)
    else:
        assert status == 299


def test_redirects_are_not_followed(server: FakeOllama) -> None:
    server.on("GET", "/api/version", Body(b"", status=307, headers={"Location": "/elsewhere"}))
    with Client(server.url) as client, pytest.raises(ApiError) as caught:
        server_version.sync(client=client)
    assert caught.value.status == 307
    assert len(server.requests) == 1


def test_nothing_is_returned_where_nothing_is_sent(server: FakeOllama) -> None:
    with Client(server.url) as client:
        body = models.CopyRequest(source="smollm2:135m", destination="b")
        answer = copy_model.sync_detailed(client=client, body=body)
    assert (answer.status_code, answer.content, answer.parsed) == (200, b"", None)
    assert answer.headers["content-LENGTH"] == "0"


# -- streams


def test_a_stream_yields_its_chunks(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines(*PIECES).split([7]))
    with Client(server.url) as client, chat.stream(client=client, body=REQUEST) as chunks:
        assert [chunk.message.content for chunk in chunks] == ["Hel", "lo", ""]
    assert server.requests[0].json()["stream"] is True


@each_stream
def test_every_ndjson_operation_streams(operation: Operation, server: FakeOllama) -> None:
    line = smallest(operation.chunk)
    server.on("POST", operation.path, Lines(line, line))
    with (
        Client(server.url) as client,
        operation.module.stream(client=client, **operation.arguments) as chunks,
    ):
        assert [type(chunk).__name__ for chunk in chunks] == [operation.chunk] * 2


def test_only_ndjson_operations_stream() -> None:
    streaming = {each.module for each in OPERATIONS if hasattr(each.module, "stream")}
    assert streaming == {chat, generate, pull_model, push_model, create_model}
    assert not hasattr(embed, "stream")


def test_a_refusal_is_raised_at_the_call(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Json({"error": "model 'm' not found"}, status=404))
    with Client(server.url) as client:
        with pytest.raises(ApiError, match="model 'm' not found") as caught:
            chat.stream(client=client, body=REQUEST)
        assert caught.value.status == 404
        with pytest.raises(ApiError):  # on the same connection: the first answer was read to its end
            chat.stream(client=client, body=REQUEST)
    assert server.connections == 1


def test_an_error_line_is_raised_where_it_comes(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines(PIECES[0], {"error": "the runner died"}))
    with Client(server.url) as client, chat.stream(client=client, body=REQUEST) as chunks:
        assert next(chunks).message.content == "Hel"
        with pytest.raises(ApiError, match="the runner died") as caught:
            next(chunks)
        assert (caught.value.status, caught.value.body) == (200, b'{"error":"the runner died"}')
        assert list(chunks) == []


@pytest.mark.parametrize("line", [b"<html>\n", b"[]\n", b"{}\n", b'{"model": "m\n'])
def test_a_line_that_is_no_chunk_is_invalid(line: bytes, server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Body(line, content_type="application/x-ndjson"))
    with Client(server.url) as client, chat.stream(client=client, body=REQUEST) as chunks:
        with pytest.raises(InvalidBody) as caught:
            next(chunks)
        assert caught.value.model == "ChatChunk"


def test_leaving_early_closes_the_connection(server: FakeOllama) -> None:
    lines = Lines(*PIECES)
    server.on("POST", "/api/chat", lines.stall(math.inf, at=len(lines.pieces[0])))
    with Client(server.url) as client:
        with chat.stream(client=client, body=REQUEST) as chunks:
            assert next(chunks).message.content == "Hel"
        assert server.wait_for_disconnect().path == "/api/chat"
        assert list(chunks) == []


def test_a_stream_that_nobody_reads_is_closed_too(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines(*PIECES).stall(math.inf, at=1))
    with Client(server.url) as client:
        with chat.stream(client=client, body=REQUEST) as chunks:
            pass
        assert server.wait_for_disconnect().path == "/api/chat"
        assert list(chunks) == []


def test_a_stream_read_to_its_end_leaves_the_connection_for_the_next(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines(*PIECES))
    with Client(server.url) as client:
        for _ in range(2):
            assert len(list(chat.stream(client=client, body=REQUEST))) == len(PIECES)
    assert server.connections == 1


def test_one_json_object_is_a_stream_of_one_chunk(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Json(PIECES[-1]))  # what loading a model is answered with
    with Client(server.url) as client, chat.stream(client=client, body=REQUEST) as chunks:
        assert [chunk.done for chunk in chunks] == [True]


def test_a_cut_stream_is_an_error_of_the_network(server: FakeOllama) -> None:
    server.on("POST", "/api/chat", Lines(*PIECES).cut(at=120))
    with Client(server.url) as client, chat.stream(client=client, body=REQUEST) as chunks:
        next(chunks)
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)


# -- the client


def test_no_wait_is_endless_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, float | None]] = []

    def handle(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"version": "1"})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    own = httpx.Client(timeout=3)
    kinds: list[dict[str, Any]] = [{}, {"timeout": 7.0}, {"timeout": None}, {"http_client": own}]
    for arguments in kinds:
        with Client("http://localhost:1", **arguments) as client:
            server_version.sync(client=client)
    with Client("http://localhost:1", timeout=7, http_client=httpx.Client(timeout=3)) as client:
        server_version.sync(client=client)

    default, seven, never, theirs, both = seen
    assert default == {"connect": 5.0, "read": 600.0, "write": 600.0, "pool": 600.0}
    assert set(seven.values()) == set(both.values()) == {7.0}
    assert set(never.values()) == {None}
    assert set(theirs.values()) == {3.0}
    assert own.is_closed


def test_a_silent_server_is_waited_for_as_long_as_asked(server: FakeOllama) -> None:
    server.on("GET", "/api/version", Raw(b"").delay(math.inf))
    with Client(server.url, timeout=0.05) as client, pytest.raises(httpx.ReadTimeout):
        server_version.sync(client=client)


@pytest.mark.parametrize(
    "base_url",
    ["", "localhost:11434", "127.0.0.1", "ftp://host", "http://", "http://host?a=b", "http://host#a", None],
)
def test_what_is_no_address_is_refused(base_url: Any) -> None:
    with pytest.raises(ValueError, match="base_url must be like"):
        Client(base_url)


def test_an_address_may_have_a_path(server: FakeOllama) -> None:
    server.on("GET", "/ollama/api/version", Json({"version": "1"}))
    with Client(f"{server.url}/ollama/") as client:
        assert server_version.sync(client=client).version == "1"


def test_a_response_names_its_headers_in_any_case(server: FakeOllama) -> None:
    server.on("GET", "/api/version", Json({"version": "1"}, headers={"X-A": "b"}))
    with Client(server.url) as client:
        assert server_version.sync_detailed(client=client).headers["x-a"] == "b"
