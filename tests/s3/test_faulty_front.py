"""The front of the S3 tests does to a request what it is told to, and nothing to any other."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import urllib3
from botocore.exceptions import ClientError
from faulty_s3 import PIECE, FaultyFront
from s3_faults import (
    Before,
    Body,
    Close,
    Headers,
    Reset,
    Stall,
    Throttle,
    WholeBody,
    access_denied,
    expired_token,
    moved,
    slow_down,
)
from s3_servers import S3Server, moto_s3
from sockets import nothing_left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_faults import Fault
    from types_boto3_s3 import S3Client

CONTENT = bytes(range(256)) * 1024
PATH = "/models/blobs/sha256:aa"
URL = "/models/blobs/sha256%3Aaa"


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    """A server with one bucket that holds one object."""
    with moto_s3() as server:
        with closing(server.client()) as client:
            client.create_bucket(Bucket="models")
            client.put_object(Bucket="models", Key="blobs/sha256:aa", Body=CONTENT, ACL="public-read")
        yield server


@pytest.fixture
def http(front: FaultyFront) -> Iterator[urllib3.HTTPConnectionPool]:
    """A client that does nothing of its own accord, over one connection."""
    with urllib3.HTTPConnectionPool(
        "127.0.0.1", urlsplit(front.url).port, retries=False, timeout=20, maxsize=1
    ) as pool:
        yield pool


@pytest.fixture
def client(front: FaultyFront) -> Iterator[S3Client]:
    """boto3's client, which signs, and retries nothing."""
    with closing(S3Server("front", front.url).client()) as made:
        yield made


def ranged(first: int, last: int) -> dict[str, str]:
    return {"Range": f"bytes={first}-{last}"}


def head_of(front: FaultyFront) -> tuple[socket.socket, bytes]:
    """Ask for the object; return the connection, and the head of the answer with what came along."""
    connection = socket.create_connection(("127.0.0.1", urlsplit(front.url).port or 0), timeout=20)
    connection.sendall(f"GET {URL} HTTP/1.1\r\nHost: front\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(PIECE)
    return connection, data


def silence(front: FaultyFront) -> bytes:
    """Ask for the object, and return what comes before the connection ends."""
    with socket.create_connection(("127.0.0.1", urlsplit(front.url).port or 0), timeout=20) as connection:
        connection.sendall(f"GET {URL} HTTP/1.1\r\nHost: front\r\n\r\n".encode())
        return connection.recv(PIECE)


def rest(connection: socket.socket, data: bytes) -> tuple[bytes, str]:
    """Return the body up to the end of the connection, and how that came."""
    end = "FIN"
    try:
        while more := connection.recv(PIECE):
            data += more
    except ConnectionResetError:
        end = "RST"
    return data.partition(b"\r\n\r\n")[2], end


def test_without_a_fault_everything_goes_through_unchanged(client: S3Client, front: FaultyFront) -> None:
    key = "blobs/sha256:bb"
    client.put_object(Bucket="models", Key=key, Body=CONTENT, ContentType="text/x-test")
    assert client.head_object(Bucket="models", Key=key)["ContentType"] == "text/x-test"
    answer = client.get_object(Bucket="models", Key=key, Range="bytes=10-19")
    assert (answer["Body"].read(), answer["ContentRange"]) == (CONTENT[10:20], "bytes 10-19/262144")
    assert [each.get("Key") for each in client.list_objects_v2(Bucket="models").get("Contents", [])] == [
        "blobs/sha256:aa",
        key,
    ]
    client.delete_object(Bucket="models", Key=key)
    assert [
        (each.method, each.path, each.range_starts, each.status, each.sent) for each in front.requests
    ] == [
        ("PUT", f"/models/{key}", None, 200, 0),
        ("HEAD", f"/models/{key}", None, 200, 0),
        ("GET", f"/models/{key}", 10, 206, 10),
        ("GET", "/models", None, 200, front.requests[3].sent),
        ("DELETE", f"/models/{key}", None, 204, 0),
    ]
    assert "list-type=2" in front.requests[3].query


def test_a_fault_is_done_to_the_request_that_was_named(
    front: FaultyFront, http: urllib3.HTTPConnectionPool
) -> None:
    front.fail(slow_down(), path_ends="sha256:aa", range_starts=100, times=2)
    asked = [(0, 99), (100, 199), (100, 199), (100, 199), (200, 299)]
    answers = [http.request("GET", URL, headers=ranged(*each)).status for each in asked]
    assert answers == [206, 503, 503, 206, 206]
    assert [each.fault for each in front.requests] == [None, slow_down(), slow_down(), None, None]
    assert front.connections == 1


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (slow_down(), "SlowDown", 503),
        (access_denied(), "AccessDenied", 403),
        (expired_token(), "ExpiredToken", 400),
    ],
)
def test_an_error_of_s3_is_one_to_boto3(
    client: S3Client, front: FaultyFront, fault: Fault, code: str, status: int
) -> None:
    front.fail(fault, method="PUT")
    with pytest.raises(ClientError) as raised:
        client.put_object(Bucket="models", Key="never", Body=CONTENT)
    assert raised.value.response.get("Error", {}).get("Code") == code
    assert raised.value.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == status
    assert "Contents" not in client.list_objects_v2(Bucket="models", Prefix="never")


def test_a_bucket_that_moved_names_its_region(http: urllib3.HTTPConnectionPool, front: FaultyFront) -> None:
    front.fail(moved("eu-west-1"), method="HEAD")
    answer = http.request("HEAD", URL, redirect=False)
    assert (answer.status, answer.headers["x-amz-bucket-region"]) == (301, "eu-west-1")
    assert http.request("HEAD", URL).status == 200


@pytest.mark.parametrize("after", [0, 1, 100_000])
def test_a_reset_comes_after_that_many_bytes(front: FaultyFront, after: int) -> None:
    front.fail(Reset(after))
    connection, data = head_of(front)
    with connection:
        body, end = rest(connection, data)
    assert (body, end) == (CONTENT[:after], "RST")
    assert front.requests[0].sent == after


@pytest.mark.parametrize("after", [0, 1, 100_000])
def test_a_close_comes_after_that_many_bytes(front: FaultyFront, after: int) -> None:
    front.fail(Close(after))
    connection, data = head_of(front)
    with connection:
        body, end = rest(connection, data)
    assert (body, end) == (CONTENT[:after], "FIN")
    assert front.requests[0].sent == after


@pytest.mark.parametrize("fault", [Reset(None), Close(None)])
def test_an_upload_is_stored_though_its_answer_never_comes(
    client: S3Client, front: FaultyFront, http: urllib3.HTTPConnectionPool, fault: Fault
) -> None:
    front.fail(fault, method="PUT")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.request("PUT", "/models/lost", body=CONTENT)
    assert client.get_object(Bucket="models", Key="lost")["Body"].read() == CONTENT
    client.delete_object(Bucket="models", Key="lost")


def test_a_stall_lasts_until_the_client_leaves(front: FaultyFront) -> None:
    front.fail(Stall(1000))
    connection, data = head_of(front)
    with connection:
        while len(data.partition(b"\r\n\r\n")[2]) < 1000:
            data += connection.recv(PIECE)
        front.wait_until(lambda requests: requests[0].sent == 1000)
        assert not front.requests[0].over
        assert data.partition(b"\r\n\r\n")[2] == CONTENT[:1000]
    front.wait_until(lambda requests: requests[0].over)


def test_every_connection_and_thread_ends_with_the_front(moto: S3Server) -> None:
    with ExitStack() as clients, nothing_left_behind():
        with FaultyFront(moto.endpoint_url) as front:
            front.fail(Stall(0))
            front.fail(Throttle(1))
            connections = [clients.enter_context(head_of(front)[0]) for _ in range(3)]
            front.wait_until(lambda requests: requests[1].sent == 1 and requests[2].over)
            assert [each.over for each in front.requests] == [False, False, True]
        for each in connections:
            while each.recv(PIECE):
                pass
            each.close()


def test_a_throttled_body_is_whole(http: urllib3.HTTPConnectionPool, front: FaultyFront) -> None:
    front.fail(Throttle(1_000_000))
    assert http.request("GET", URL).data == CONTENT


def test_headers_can_lie(http: urllib3.HTTPConnectionPool, front: FaultyFront) -> None:
    front.fail(Headers({"content-range": "bytes 0-9/10", "ETag": None, "Content-Encoding": "none"}))
    answer = http.request("GET", URL, headers=ranged(10, 19))
    assert (answer.status, answer.data) == (206, CONTENT[10:20])
    assert answer.headers["Content-Range"] == "bytes 0-9/10"
    assert answer.headers["Content-Encoding"] == "none"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("said", ["10", "300000", None])
def test_a_wrong_length_ends_the_connection_with_the_body(front: FaultyFront, said: str | None) -> None:
    front.fail(Headers({"Content-Length": said}))
    connection, data = head_of(front)
    with connection:
        body, end = rest(connection, data)
    assert (body, end) == (CONTENT, "FIN")
    assert re.findall(rb"\r\nContent-Length: (\d+)", data) == ([] if said is None else [said.encode()])


def test_a_range_can_be_ignored(http: urllib3.HTTPConnectionPool, front: FaultyFront) -> None:
    front.fail(WholeBody())
    answer = http.request("GET", URL, headers=ranged(10, 19))
    assert (answer.status, answer.data) == (200, CONTENT)
    assert front.requests[0].range == "bytes=10-19"


def test_a_body_can_be_another_one(http: urllib3.HTTPConnectionPool, front: FaultyFront) -> None:
    front.fail(Body(b"others"))
    answer = http.request("GET", URL, headers=ranged(10, 19))
    assert (answer.status, answer.data, answer.headers["Content-Length"]) == (206, b"others", "6")
    assert answer.headers["Content-Range"] == "bytes 10-19/262144"


def test_the_object_can_change_just_before_a_part_is_read(
    moto: S3Server, front: FaultyFront, http: urllib3.HTTPConnectionPool
) -> None:
    with closing(moto.client()) as own:
        own.put_object(Bucket="models", Key="changing", Body=b"a" * 20, ACL="public-read")
        front.fail(
            Before(
                lambda: own.put_object(Bucket="models", Key="changing", Body=b"b" * 20, ACL="public-read")
            ),
            range_starts=10,
        )
        parts = [http.request("GET", "/models/changing", headers=ranged(at, at + 9)) for at in (0, 10)]
        assert [each.data for each in parts] == [b"a" * 10, b"b" * 10]
        own.delete_object(Bucket="models", Key="changing")


def test_what_a_callback_raises_is_raised_at_the_end(moto: S3Server) -> None:
    def fail() -> None:
        raise FileNotFoundError("in the callback")

    front = FaultyFront(moto.endpoint_url)
    front.fail(Before(fail))
    with pytest.raises(FileNotFoundError, match="in the callback"), front:
        assert silence(front) == b""


def test_faults_at_random_are_the_same_with_the_same_seed(
    front: FaultyFront, http: urllib3.HTTPConnectionPool
) -> None:
    runs: list[list[int]] = []
    for seed in (1, 1, 2):
        front.heal()
        front.fail_at_random(slow_down(), 0.3, seed)
        runs.append([http.request("GET", URL, headers=ranged(0, 0)).status for _ in range(40)])
    assert runs[0] == runs[1] != runs[2]
    assert 0 < runs[0].count(503) < 40
    front.heal()
    assert http.request("GET", URL).status == 200


def test_an_upload_in_chunks_goes_through(client: S3Client, http: urllib3.HTTPConnectionPool) -> None:
    pieces = iter([CONTENT[:1000], CONTENT[1000:]])
    assert http.request("PUT", "/models/chunked", body=pieces).status == 200
    assert client.get_object(Bucket="models", Key="chunked")["Body"].read() == CONTENT
    client.delete_object(Bucket="models", Key="chunked")


def test_connections_are_counted_and_kept(front: FaultyFront, http: urllib3.HTTPConnectionPool) -> None:
    for _ in range(3):
        assert http.request("GET", URL).status == 200
    assert front.connections == 1
    assert silence(front).startswith(b"HTTP/1.1 200 OK")
    assert front.connections == 2
