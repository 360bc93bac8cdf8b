"""Pulling and pushing models, with and without their progress, and uploading blobs."""

from __future__ import annotations

import hashlib
import os
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from byte_server import ByteServer, Play
from scripts import PULL, PUSH, STEPS, TRANSFERS, finished, started
from streams import assert_lawful, identify

from ollama_ext import (
    BadRequest,
    Client,
    ConnectionFailed,
    InvalidArgument,
    InvalidResponse,
    ModelNotFound,
    ModelNotInRegistry,
    OllamaError,
    Progress,
    ServerError,
    StreamError,
    StreamTruncated,
)
from ollama_ext.testing import (
    FakeOllama,
    Json,
    Lines,
    Raw,
    RecordedExchange,
    Recording,
    Response,
    no_wait,
    recordings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_left_open")

BOTH = [PULL, PUSH]
CUT = STEPS.cut(len(STEPS.pieces[0]) + 5, "reset")
OFFLINE = Recording("pull-offline")  # an error line for which there is hope


def recorded(*, failed: bool) -> list[RecordedExchange]:
    """Return the recorded pulls, pushes and creates of all versions that came to an end."""
    return [
        each
        for each in recordings()
        if each.request.path in TRANSFERS
        and each.response.status == 200
        and (b'"error"' in each.response.body) == failed
    ]


def assert_ends_at_one(steps: Sequence[Progress]) -> None:
    """Assert that nothing goes back and that only success is all of it."""
    assert_lawful(steps)
    for step in steps[:-1]:
        assert step.overall.fraction < 1.0


# -- pulls, pushes and creates as real servers told them


@pytest.mark.parametrize("exchange", recorded(failed=False), ids=identify)
def test_a_recorded_transfer_succeeds_and_its_progress_goes_to_one(
    server: FakeOllama, client: Client, exchange: RecordedExchange
) -> None:
    path = exchange.request.path
    server.on("POST", path, Recording(exchange.name, exchange.version))
    with started(client, f"{TRANSFERS[path]}_stream") as stream:
        steps: list[Progress] = list(stream)
        assert stream.progress == steps[-1]
        assert stream.finish() is None
    assert_ends_at_one(steps)
    assert [step.status for step in steps] == [
        line["status"] for line in map(dict, exchange.response.lines())
    ]
    assert steps[-1].status == "success"
    assert steps[-1].overall.fraction == 1.0
    assert steps[-1].overall.completed == steps[-1].overall.total
    assert finished(client, TRANSFERS[path]) is None
    assert [each.json()["stream"] for each in server.requests] == [True, True]
    assert server.connections == 1


@pytest.mark.parametrize("exchange", recorded(failed=True), ids=identify)
def test_a_recorded_failure_is_raised_with_the_progress_before_it(
    server: FakeOllama, client: Client, exchange: RecordedExchange
) -> None:
    path = exchange.request.path
    server.on("POST", path, Recording(exchange.name, exchange.version))
    stream = started(client, f"{TRANSFERS[path]}_stream")
    steps: list[Progress] = []
    with pytest.raises(StreamError) as caught:
        steps += stream
    with pytest.raises(type(caught.value)) as plain, no_wait():
        finished(client, TRANSFERS[path])
    assert str(plain.value) == str(caught.value)
    for error in (caught.value, plain.value):
        assert error.progress == stream.progress
        assert (error.status, error.model) == (200, "m")
        assert error.request is not None
        assert error.request.url == f"{server.url}{path}"
    assert list(stream) == []
    # A plain call is made anew where there is hope, a stream that has begun is not.
    assert len(server.requests) == 1 + (4 if caught.value.retryable else 1)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (PULL, "pull-registry-nostream"),
        (PUSH, "push-registry-nostream"),
        ("/api/create", "create-gguf-nostream"),
    ],
)
def test_a_server_that_answers_with_one_object_has_done_it_all(
    server: FakeOllama, client: Client, path: str, name: str
) -> None:
    server.on("POST", path, Recording(name))
    assert finished(client, TRANSFERS[path]) is None
    steps = list(started(client, f"{TRANSFERS[path]}_stream"))
    assert [(step.status, step.overall.fraction) for step in steps] == [("success", 1.0)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_the_registry_lacks_is_not_found_and_not_asked_for_again(
    server: FakeOllama, client: Client, stream: bool
) -> None:
    server.on("POST", PULL, Recording("pull-registry-missing"))
    server.on("POST", PUSH, Recording("push-missing"))
    for count, path in enumerate(BOTH, 1):
        with pytest.raises(ModelNotFound) as caught, no_wait():
            finished(client, TRANSFERS[path] + "_stream" * stream)
        assert type(caught.value) is ModelNotInRegistry
        assert caught.value.model == "m"
        assert len(server.requests) == count


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("stream", [False, True])
def test_only_what_was_given_is_sent(server: FakeOllama, client: Client, path: str, stream: bool) -> None:
    server.on("POST", path, STEPS)
    method = TRANSFERS[path] + "_stream" * stream
    finished(client, method)
    finished(client, method, insecure=True)
    finished(client, method, insecure=False, extra_body={"username": "u", "model": "other"})
    assert [each.json() for each in server.requests] == [
        {"model": "m", "stream": True},
        {"model": "m", "insecure": True, "stream": True},
        {"model": "other", "insecure": False, "username": "u", "stream": True},
    ]


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"insecure": "yes"}, "insecure"),
        ({"insecure": 1}, "insecure"),
        ({"extra_body": {"stream": False}}, "extra_body"),
        ({"extra_body": {"stream": True}}, "extra_body"),
        ({"extra_body": [("a", 1)]}, "extra_body"),
        ({"extra_body": {"model": ""}}, "model"),
        ({"extra_body": {5: 1}}, "extra_body"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(
    server: FakeOllama, client: Client, path: str, given: dict[str, Any], argument: str
) -> None:
    for method in (TRANSFERS[path], f"{TRANSFERS[path]}_stream"):
        with pytest.raises(InvalidArgument, match=argument) as caught:
            started(client, method, **given)
        assert caught.value.argument == argument
    assert server.connections == 0


# -- what goes wrong on the way


@pytest.mark.parametrize("path", TRANSFERS)
@pytest.mark.parametrize(
    "trouble",
    [
        CUT,
        STEPS.cut(CUT.body.index(b"moving"), "close"),
        STEPS.cut(len(STEPS.pieces[0]), "clean"),
        Lines(),
        Raw(b""),
        OFFLINE,
        Json({"error": "busy"}, 503),
        Json({"error": "x"}, 500),
    ],
    ids=["reset", "closed", "ended early", "no line at all", "no answer", "error line", "503", "500"],
)
def test_a_plain_call_is_made_again_from_the_start(
    server: FakeOllama, client: Client, path: str, trouble: Response
) -> None:
    server.on("POST", path, trouble, trouble, STEPS)
    with no_wait():
        finished(client, TRANSFERS[path])
    first, *again = [each.body for each in server.requests]
    assert again == [first, first]


@pytest.mark.parametrize("path", TRANSFERS)
@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (CUT, StreamTruncated),
        (STEPS.cut(len(STEPS.pieces[0]), "clean"), StreamTruncated),
        (OFFLINE, StreamError),
    ],
    ids=["reset", "ended early", "error line"],
)
def test_a_stream_that_has_begun_is_not_and_tells_how_far_it_came(
    server: FakeOllama, client: Client, path: str, trouble: Response, error: type[OllamaError]
) -> None:
    server.on("POST", path, trouble, STEPS)
    stream = started(client, f"{TRANSFERS[path]}_stream")
    with no_wait(), pytest.raises(error) as caught:
        stream.finish()
    assert caught.value.progress == stream.progress
    assert caught.value.progress is not None
    assert caught.value.progress.overall.fraction < 1.0
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", TRANSFERS)
def test_opening_a_stream_is_tried_again(server: FakeOllama, client: Client, path: str) -> None:
    server.on("POST", path, Raw(b""), Json({"error": "busy"}, 503), STEPS)
    with no_wait():
        finished(client, f"{TRANSFERS[path]}_stream")
    assert len(server.requests) == 3


@pytest.mark.parametrize("path", TRANSFERS)
@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (CUT, StreamTruncated),
        (Lines(), StreamTruncated),
        (Raw(b""), ConnectionFailed),
        (OFFLINE, StreamError),
    ],
    ids=["reset", "no line at all", "no answer", "error line"],
)
def test_without_retries_it_is_tried_once(
    server: FakeOllama, client: Client, path: str, trouble: Response, error: type[OllamaError]
) -> None:
    server.on("POST", path, trouble, STEPS)
    with pytest.raises(error):
        finished(client, TRANSFERS[path], retry=None)
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", TRANSFERS)
def test_it_is_no_success_without_the_last_line(server: FakeOllama, client: Client, path: str) -> None:
    server.on("POST", path, Lines({"status": "preparing"}, {"status": "verifying"}))
    with no_wait(), pytest.raises(StreamTruncated, match=r"without success.*'verifying'") as caught:
        finished(client, TRANSFERS[path])
    assert caught.value.progress is not None
    assert caught.value.progress.status == "verifying"
    assert len(server.requests) == 4


@pytest.mark.parametrize("path", TRANSFERS)
def test_a_refusal_is_raised_at_once(server: FakeOllama, client: Client, path: str) -> None:
    server.on("POST", path, Json({"error": "invalid model name"}, 400))
    for method in (TRANSFERS[path], f"{TRANSFERS[path]}_stream"):
        with pytest.raises(BadRequest, match="invalid model name"):
            finished(client, method)
    assert len(server.requests) == 2
    assert server.connections == 1


@pytest.mark.parametrize("path", TRANSFERS)
def test_a_line_that_is_no_progress_is_an_invalid_answer(
    server: FakeOllama, client: Client, path: str
) -> None:
    server.on("POST", path, Lines({"status": "preparing"}, {"status": 5}))
    with no_wait(), pytest.raises(InvalidResponse, match="status"):
        finished(client, TRANSFERS[path])
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("begun", [False, True])
def test_leaving_a_stream_closes_its_connection(
    server: FakeOllama, client: Client, path: str, begun: bool
) -> None:
    server.on("POST", path, STEPS.stall(60, at=len(STEPS.pieces[0])))
    with started(client, f"{TRANSFERS[path]}_stream") as stream:
        if begun:
            assert next(stream).status == "preparing"
    server.wait_for_disconnect()
    assert list(stream) == []
    stream.close()


# -- blobs


CONTENT = b"GGUF" + bytes(range(256)) * 4096  # more than one read
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
BLOB = f"/api/blobs/{DIGEST}"
OTHER = f"sha256:{'0' * 64}"


def test_whether_a_blob_is_there(server: FakeOllama, client: Client) -> None:
    assert client.check_blob(DIGEST) is False
    client.push_blob(DIGEST, CONTENT)
    assert client.check_blob(DIGEST) is True
    assert client.check_blob(OTHER) is False
    assert server.connections == 1


@pytest.mark.parametrize("spelled", [DIGEST.upper().replace("SHA256", "sha256"), DIGEST.replace(":", "-")])
def test_a_digest_may_be_spelled_as_ollama_spells_it(
    server: FakeOllama, client: Client, spelled: str
) -> None:
    assert client.push_blob(spelled, CONTENT) == DIGEST
    assert client.check_blob(spelled)
    assert {each.path for each in server.requests} == {BLOB}


@pytest.mark.parametrize(
    "digest", ["", "x", DIGEST[7:], DIGEST.upper(), DIGEST[:-1], DIGEST + "0", f" {DIGEST}", 5, None, b"x"]
)
def test_what_is_no_digest_is_refused_before_anything_is_sent(
    server: FakeOllama, client: Client, digest: Any
) -> None:
    calls: list[Callable[[], object]] = [lambda: client.check_blob(digest)]
    if digest is not None:  # which is right for push_blob
        calls.append(lambda: client.push_blob(digest, CONTENT))
    for call in calls:
        with pytest.raises(InvalidArgument, match=r"digest .* is not a SHA-256 digest") as caught:
            call()
        assert caught.value.argument == "digest"
    assert server.connections == 0


def test_a_server_that_cannot_say_whether_it_has_a_blob_is_an_error(
    server: FakeOllama, client: Client
) -> None:
    server.on("HEAD", BLOB, Json({"error": "x"}, 500))
    with no_wait(), pytest.raises(ServerError):
        client.check_blob(DIGEST)
    assert len(server.requests) == 4


def as_pipe(content: bytes, _directory: Path) -> Any:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    threading.Thread(target=write).start()
    return os.fdopen(reading, "rb")


def as_path(content: bytes, directory: Path) -> Path:
    path = directory / "blob"
    path.write_bytes(content)
    return path


def as_file_at_an_offset(content: bytes, directory: Path) -> Any:
    file = as_path(b"before" + content, directory).open("rb")
    file.seek(len(b"before"))
    return file


def as_bytes_io_at_an_offset(content: bytes, _directory: Path) -> BytesIO:
    file = BytesIO(b"before" + content)
    file.seek(len(b"before"))
    return file


KINDS: dict[str, Callable[[bytes, Path], Any]] = {
    "path": as_path,
    "bytes": lambda content, _: content,
    "bytearray": lambda content, _: bytearray(content),
    "memoryview": lambda content, _: memoryview(content),
    "BytesIO": lambda content, _: BytesIO(content),
    "BytesIO at an offset": as_bytes_io_at_an_offset,
    "file at an offset": as_file_at_an_offset,
    "pipe": as_pipe,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [CONTENT, b""], ids=["large", "empty"])
def test_content_of_every_kind_arrives_whole(
    server: FakeOllama, client: Client, tmp_path: Path, kind: str, content: bytes
) -> None:
    given = KINDS[kind](content, tmp_path)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    try:
        assert client.push_blob(None, given) == digest
        if kind.startswith("file"):
            assert given.tell() == len(b"before")  # as the caller left it
    finally:
        if hasattr(given, "close"):
            given.close()
    asked, sent = server.requests
    assert (asked.method, sent.method) == ("HEAD", "POST")
    assert asked.path == sent.path == f"/api/blobs/{digest}"
    assert f"sha256:{sent.body_sha256}" == digest
    assert sent.headers["content-length"] == str(len(content))
    assert "transfer-encoding" not in sent.headers
    assert server.connections == 1


@pytest.mark.parametrize("kind", ["path", "bytes", "pipe"])
def test_content_with_another_digest_is_refused_before_a_byte_is_sent(
    server: FakeOllama, client: Client, tmp_path: Path, kind: str
) -> None:
    given = KINDS[kind](CONTENT, tmp_path)
    try:
        with pytest.raises(InvalidArgument, match=f"has the digest {DIGEST}, not {OTHER}") as caught:
            client.push_blob(OTHER, given)
    finally:
        if hasattr(given, "close"):
            given.close()
    assert caught.value.argument == "digest"
    assert server.connections == 0


def test_a_blob_that_is_there_is_not_sent(server: FakeOllama, client: Client) -> None:
    client.push_blob(None, CONTENT)
    steps: list[Progress] = []
    assert client.push_blob(DIGEST, CONTENT, on_progress=steps.append) == DIGEST
    assert [each.method for each in server.requests] == ["HEAD", "POST", "HEAD"]
    assert (steps[-1].status, steps[-1].completed, steps[-1].total) == ("uploading", *[len(CONTENT)] * 2)
    assert_ends_at_one(steps)


@pytest.mark.parametrize("status", [200, 201])
def test_created_and_already_there_are_both_success(server: FakeOllama, client: Client, status: int) -> None:
    server.on("POST", BLOB, Raw(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
    assert client.push_blob(DIGEST, CONTENT) == DIGEST


def test_what_the_server_says_about_an_upload_is_raised(server: FakeOllama, client: Client) -> None:
    server.on("POST", BLOB, Recording("blob-push-wrong-digest"))
    with pytest.raises(BadRequest, match="digest mismatch"):
        client.push_blob(DIGEST, CONTENT)
    assert len(server.requests) == 2


def test_the_progress_of_an_upload_never_goes_back_and_is_whole_at_its_end(client: Client) -> None:
    steps: list[Progress] = []
    client.push_blob(None, CONTENT, on_progress=steps.append)
    assert [step.status for step in steps] == sorted(step.status for step in steps)  # hashing, uploading
    assert_ends_at_one(steps)
    hashing = [step for step in steps if step.status == "hashing"]
    uploading = [step for step in steps if step.status == "uploading"]
    for phase in (hashing, uploading):
        assert [step.completed for step in phase] == sorted(step.completed for step in phase)
        assert (phase[-1].completed, phase[-1].total) == (len(CONTENT), len(CONTENT))
    assert hashing[0].completed < len(CONTENT)  # more than one read
    assert uploading[0].completed == 0
    assert {step.digest for step in uploading} == {DIGEST}
    # There is more to come for whoever uploads: only a server's success is 1.0.
    assert uploading[-1].overall.completed == len(CONTENT)
    assert uploading[-1].overall.fraction == 0.99


def test_what_the_callback_raises_ends_the_upload(server: FakeOllama, client: Client) -> None:
    def told(step: Progress) -> None:
        if step.status == "uploading" and step.completed:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        client.push_blob(None, CONTENT * 20, on_progress=told)
    assert not server.wait_for_disconnect().complete


MISSING = Play.of(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n")
CREATED = Play.of(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_that_breaks_in_its_middle_is_sent_again_whole_and_hashed_once(
    tmp_path: Path, kind: str
) -> None:
    content = CONTENT * 8
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    steps: list[Progress] = []
    given = KINDS[kind](content, tmp_path)
    broken = Play((), then="reset", read="head")
    with ByteServer(MISSING, broken, broken, CREATED) as server, Client(server.url) as client:
        try:
            with no_wait():
                assert client.push_blob(digest, given, on_progress=steps.append) == digest
        finally:
            if hasattr(given, "close"):
                given.close()
        asked, *sent = server.requests
    assert asked.method == "HEAD"
    assert [(each.method, each.complete) for each in sent] == [("POST", False)] * 2 + [("POST", True)]
    assert sent[-1].body == content
    assert {each.header("content-length") for each in sent} == {str(len(content))}
    assert sum(step.status == "hashing" and step.completed == len(content) for step in steps) == 1
    assert_ends_at_one(steps)


def test_an_upload_that_breaks_without_retries_has_failed(tmp_path: Path) -> None:
    broken = Play((), then="reset", read="head")
    with ByteServer(MISSING, broken, CREATED) as server, Client(server.url) as client:
        with pytest.raises(ConnectionFailed) as caught:
            client.push_blob(None, as_path(CONTENT * 8, tmp_path), retry=None)
        assert caught.value.request is not None
        assert caught.value.request.method == "POST"
        assert len(server.requests) == 2


@pytest.mark.parametrize("when", ["before it is sent", "while it is sent"])
def test_a_file_that_changes_after_it_was_hashed_is_not_stored_as_what_it_was(
    server: FakeOllama, client: Client, tmp_path: Path, when: str
) -> None:
    path = as_path(CONTENT * 8, tmp_path)

    def told(step: Progress) -> None:
        if step.status == "uploading" and bool(step.completed) == (when == "while it is sent"):
            path.write_bytes(b"other")

    with no_wait(), pytest.raises(InvalidArgument, match="changed since it was opened") as caught:
        client.push_blob(None, path, on_progress=told)
    assert caught.value.argument == "content"
    assert not server.wait_for_disconnect().complete
    assert [each.method for each in server.requests] == ["HEAD", "POST"]


@pytest.mark.parametrize("content", ["weights.gguf", 5, None, ["x"]], ids=repr)
def test_what_is_no_content_is_refused_by_name(server: FakeOllama, client: Client, content: Any) -> None:
    with pytest.raises(InvalidArgument, match="content") as caught:
        client.push_blob(None, content)
    assert caught.value.argument == "content"
    assert server.connections == 0


def test_a_file_that_is_not_there_is_named(server: FakeOllama, client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"nothing\.gguf"):
        client.push_blob(None, tmp_path / "nothing.gguf")
    assert server.connections == 0
