"""The bytes of an answer: as they arrive where that is possible, and in any case all of them."""

from __future__ import annotations

import io
import random
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import urllib3
from byte_server import ByteServer, Play
from certificates import serving, trusting

from ollama_ext.s3 import BucketAnswerRefused
from ollama_ext.s3.bucket_body import BodyReader, check_encoding, check_range

if TYPE_CHECKING:
    import ssl

    from s3_servers import S3Server


class Plain:
    """A body that can only be read and closed."""

    def __init__(self, content: bytes) -> None:
        """Take what is in it."""
        self._file = io.BytesIO(content)
        self.closed = False

    def read(self, size: int) -> bytes:
        """Return some of it."""
        return self._file.read(size)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def test_a_body_with_nothing_but_read_is_read_and_closed() -> None:
    body = Plain(b"x" * 600_000)
    reader = BodyReader(body, "s3://models/key", '"etag"')
    pieces = list(iter(reader.read, b""))
    reader.abort()  # which it cannot do, and does not fail at
    reader.close()
    assert b"".join(pieces) == b"x" * 600_000
    assert max(map(len, pieces)) <= 256 << 10
    assert body.closed


AS_BOTOCORE: Any = {"preload_content": False, "decode_content": False, "enforce_content_length": False}
CONTENT = random.Random(5).randbytes(600_000)  # noqa: S311 - no secrets


@pytest.fixture(params=["http", "tls"])
def contexts(request: pytest.FixtureRequest) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Return what a server and a client need for TLS, or nothing twice."""
    if request.param == "http":
        return None, None
    authority = trustme.CA()
    return serving(authority), trusting(authority)


# Around what the standard library may read ahead (8 KiB), and around the size from which it is passed by.
@pytest.mark.parametrize("size", [0, 1, 8_000, 8_300, 65_535, 65_536, 73_728, 262_144, 262_145, 600_000])
@pytest.mark.parametrize("with_head", [0, 1, 5_000, 70_000])
def test_every_byte_arrives_however_much_comes_with_the_head_and_the_connection_is_used_again(
    contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None], size: int, with_head: int
) -> None:
    of_server, of_client = contexts
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    body = CONTENT[:size]
    play = Play((head + body[:with_head], *filter(None, [body[with_head:]])))
    with ByteServer(play, context=of_server) as server, urllib3.PoolManager(ssl_context=of_client) as pool:
        for _ in range(2):
            answer = pool.request("GET", server.url, **AS_BOTOCORE)
            reader = BodyReader(answer, "s3://models/key", None)
            got = b"".join(bytes(piece) for piece in iter(reader.read, b""))
            reader.close()
            assert got == body
        assert server.connections == 1


def test_a_connection_that_ends_early_gives_what_had_arrived_and_is_not_used_again(
    contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None],
) -> None:
    of_server, of_client = contexts
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n"
    with (
        ByteServer(Play((head, CONTENT[:400_000]), "cut"), context=of_server) as server,
        urllib3.PoolManager(ssl_context=of_client) as pool,
    ):
        answer = pool.request("GET", server.url, **AS_BOTOCORE)
        reader = BodyReader(answer, "s3://models/key", None)
        got = b"".join(bytes(piece) for piece in iter(reader.read, b""))
        reader.close()
        assert got == CONTENT[:400_000]
        pool.request("GET", server.url, **AS_BOTOCORE).close()
        assert server.connections == 2


def test_the_installed_boto3_gives_what_has_arrived_and_can_be_ended(moto: S3Server, bucket: str) -> None:
    with closing(moto.client()) as client:
        client.put_object(Bucket=bucket, Key="key", Body=b"content")
        answer: Any = client.get_object(Bucket=bucket, Key="key")["Body"]
        below = answer._raw_stream  # noqa: SLF001 - what `BodyReader` builds on
        assert below.read1(3) == b"con"
        assert below.length_remaining == 4
        below.shutdown()
        below.close()


@pytest.mark.parametrize(
    ("headers", "start", "end"),
    [
        ({"content-range": "bytes 0-9/100", "content-length": "10"}, 0, 10),
        ({"content-range": "bytes 90-99/100", "content-length": "10"}, 90, 100),
        ({"content-length": "100"}, 0, 100),
        ({"content-length": "100", "content-encoding": "identity"}, 0, 100),
    ],
)
def test_the_range_that_was_asked_for_is_taken(headers: dict[str, str], start: int, end: int) -> None:
    check_range({"HTTPHeaders": headers}, "s3://models/key", start, end, 100)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-range": "bytes 0-9/101", "content-length": "10"},
        {"content-range": "bytes 1-10/100", "content-length": "10"},
        {"content-range": "bytes 0-10/100", "content-length": "11"},
        {"content-range": "bytes 0-9/*", "content-length": "10"},
        {"content-range": "bytes 0-9/100", "content-length": "11"},
        {"content-range": "bytes 0-9/100"},
        {"content-length": "100"},
        {},
    ],
    ids=str,
)
def test_another_range_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BucketAnswerRefused):
        check_range({"HTTPHeaders": headers}, "s3://models/key", 0, 10, 100)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_bytes_that_are_not_the_objects_are_refused(encoding: str) -> None:
    with pytest.raises(BucketAnswerRefused, match="encoding"):
        check_encoding({"HTTPHeaders": {"content-encoding": encoding}}, "s3://models/key")
