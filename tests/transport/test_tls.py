"""TLS: whom a client trusts, what it says when it does not, and limits and cancelling over it."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from background import background, cancelled
from byte_server import ByteServer, Play
from certificates import serving, trusting
from sockets import nothing_left_behind
from streams import chunk, line

from ollama_ext import (
    CancelToken,
    Client,
    ConnectionFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    InvalidResponse,
    StreamTruncated,
    TextDelta,
    Timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"version":"9"}'
VERSION = Play.of(HEAD + b"Content-Length: 15\r\n\r\n" + BODY)
UNFRAMED = HEAD + b"\r\n" + BODY


@pytest.fixture(autouse=True)
def _nothing_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):  # of the machine
        monkeypatch.delenv(name, raising=False)
    with nothing_left_behind():
        yield


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return an authority that nobody trusts yet."""
    return trustme.CA()


# -- trust


@pytest.mark.parametrize("how", ["SSL_CERT_FILE", "SSL_CERT_DIR", "context", "False"])
def test_a_certificate_of_ones_own_is_trusted_where_it_is_said(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    verify: Any = True
    match how:
        case "SSL_CERT_FILE":
            monkeypatch.setenv(how, str(file))
        case "SSL_CERT_DIR":
            monkeypatch.setenv(how, str(tmp_path))
            file.rename(tmp_path / f"{subject_hash(file)}.0")
        case "context":
            verify = trusting(authority)
        case _:
            verify = False
    with (
        ByteServer(VERSION, context=serving(authority)) as server,
        Client(f"https://localhost:{server.port}", verify=verify) as client,
    ):
        assert client.server_version() == "9"
        assert client.server_version() == "9"
        assert server.connections == 1
        assert server.names == ["localhost"]


def subject_hash(file: Path) -> str:
    """Return the name under which OpenSSL looks for a certificate in a directory."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - our own


def refused(server: ByteServer, host: str, words: str, **options: Any) -> ConnectionFailed:
    """Return the error of a client that does not trust the server, which must have been asked once only."""
    before = server.connections
    with Client(f"https://{host}:{server.port}", **options) as client:
        with pytest.raises(ConnectionFailed, match=words) as caught:
            client.server_version()
        assert server.connections == before + 1
    assert server.requests == []
    assert (caught.value.stage, caught.value.retryable) == ("connect", False)
    return caught.value


def test_a_certificate_that_nobody_vouches_for_is_refused_with_the_remedy(authority: trustme.CA) -> None:
    with ByteServer(VERSION, context=serving(authority)) as server:
        refused(server, "localhost", r"not trusted.*SSL_CERT_FILE or verify=")


def test_without_trust_env_the_environments_certificates_do_not_count(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with ByteServer(VERSION, context=serving(authority)) as server:
        refused(server, "localhost", "not trusted", trust_env=False)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, host: str) -> None:
    with ByteServer(VERSION, context=serving(authority, "gpu1.example")) as server:
        refused(server, host, "for another name", verify=trusting(authority))


def test_a_certificate_of_the_past_or_the_future_is_refused(authority: trustme.CA) -> None:
    past, future = datetime(2001, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    for first, last, words in (
        (past, past.replace(year=2002), r"has expired.*renew it"),
        (future, future.replace(year=2101), "not yet valid.*clock"),
    ):
        context = serving(authority, "localhost", not_before=first, not_after=last)
        with ByteServer(VERSION, context=context) as server:
            refused(server, "localhost", words, verify=trusting(authority))


def test_an_address_is_checked_as_an_address_and_no_name_is_sent_for_it(authority: trustme.CA) -> None:
    with (
        ByteServer(VERSION, context=serving(authority)) as server,
        Client(server.url, verify=trusting(authority)) as client,
    ):
        assert client.server_version() == "9"
        assert server.names == [None]


# -- the wrong protocol


def test_https_to_a_server_of_plain_http_asks_whether_that_was_meant() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Client(f"https://127.0.0.1:{listener.getsockname()[1]}") as client,
        background(client.server_version) as call,
    ):
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(65536)
            accepted.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")  # as Go's server
        error = call.exception(20)
    assert isinstance(error, ConnectionFailed)
    assert "is it http://, not https://" in str(error)
    assert not error.retryable


def test_plain_http_to_a_server_of_tls_is_a_typed_error(authority: trustme.CA) -> None:
    with (
        ByteServer(VERSION, context=serving(authority)) as server,
        Client(f"http://127.0.0.1:{server.port}", retry=None) as client,
        pytest.raises((ConnectionFailed, InvalidResponse)),
    ):
        client.server_version()


# -- handshakes


def test_a_server_that_hangs_up_in_the_handshake_is_a_failed_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, retry=None) as client, background(client.server_version) as call:
            accepted, _ = listener.accept()
            accepted.recv(1)
            accepted.close()  # with unread bytes: a reset
            error = call.exception(20)
    assert isinstance(error, ConnectionFailed)
    assert error.stage == "connect"


def test_a_handshake_that_goes_nowhere_is_a_connect_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Client(f"https://127.0.0.1:{listener.getsockname()[1]}", retry=None) as client,
        pytest.raises(ConnectTimeout, match=r"within 0\.05 s \(Timeouts\.connect\)"),
    ):
        client.server_version(timeout=Timeouts(connect=0.05))


# -- limits, cancelling, ends


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[tuple[ByteServer, Client]]:
    """Return a server and a client of it that does not try twice."""
    with (
        ByteServer(VERSION, context=serving(authority)) as server,
        Client(f"https://localhost:{server.port}", verify=trusting(authority), retry=None) as client,
    ):
        yield server, client


Secure = tuple[ByteServer, Client]
CHUNK = line(chunk("a")) + b"\n"
BEGUN = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(CHUNK), CHUNK)


def test_a_silent_server_is_a_first_byte_timeout(secure: Secure) -> None:
    server, client = secure
    server.on("/api/version", Play.of(b"", "stall"))
    with pytest.raises(FirstByteTimeout):
        client.server_version(timeout=Timeouts(first_byte=0.05))


def test_headers_that_trickle_are_cut_by_the_limit_on_the_first_byte(secure: Secure) -> None:
    server, client = secure
    server.on("/api/version", Play.of(HEAD, "stall"))
    with pytest.raises(IdleTimeout, match=r"0\.05 s \(Timeouts\.first_byte\)"):
        client.server_version(timeout=Timeouts(first_byte=0.05))


def test_a_stream_that_falls_silent_is_an_idle_timeout(secure: Secure) -> None:
    server, client = secure
    server.on("/api/chat", Play.of(BEGUN, "stall"))
    stream = client.chat_stream("m", "hi", timeout=Timeouts(between=0.05))
    assert next(stream) == TextDelta("a")
    with pytest.raises(IdleTimeout, match=r"0\.05 s"):
        next(stream)


def test_cancelling_wakes_who_reads_and_the_server_sees_it(secure: Secure) -> None:
    server, client = secure
    server.on("/api/chat", Play.of(BEGUN, "stall"))
    token = CancelToken()
    stream = client.chat_stream("m", "hi", cancel=token)
    assert next(stream) == TextDelta("a")
    with background(lambda: next(stream)) as call:
        token.cancel()
        cancelled(call)
    server.wait_until(lambda it: it.open_connections == 0)


@pytest.mark.parametrize("then", ["close", "cut"])
def test_a_body_without_a_length_ends_with_the_connection_with_or_without_leave(
    secure: Secure, then: Any
) -> None:
    server, client = secure
    server.on("/api/version", Play.of(UNFRAMED, then))
    assert client.server_version() == "9"
    server.on("/api/version", VERSION)
    assert client.server_version() == "9"
    assert server.connections == 2


@pytest.mark.parametrize("then", ["close", "cut", "reset"])
def test_a_body_that_says_how_long_it_is_is_never_cut_in_silence(secure: Secure, then: Any) -> None:
    server, client = secure
    server.on("/api/version", Play.of(HEAD + b"Content-Length: 16\r\n\r\n" + BODY, then))
    with pytest.raises(ConnectionFailed) as caught:
        client.server_version()
    assert caught.value.stage == "receive"
    server.on("/api/chat", Play.of(BEGUN, then))
    with pytest.raises(StreamTruncated):
        client.chat_stream("m", "hi").finish()


@pytest.mark.parametrize("then", ["close", "cut", "reset"])
def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(
    authority: trustme.CA, then: Any
) -> None:
    with (
        ByteServer(VERSION, context=serving(authority)) as server,
        Client(f"https://localhost:{server.port}", verify=trusting(authority), retry=None) as client,
    ):
        server.on("/api/version", Play(VERSION.pieces, then), VERSION)
        with suppress(ConnectionFailed):  # a reset may be faster than the answer
            client.server_version()
        if then != "close":  # there the server waits for us to take leave, which we never do
            server.wait_until(lambda it: it.open_connections == 0)
        else:
            server.wait_until(lambda it: it.requests != [])
        assert client.server_version() == "9"
        assert server.connections == 2


def test_a_large_body_goes_out_and_comes_in(secure: Secure) -> None:
    server, client = secure
    text = "x" * 3_000_000
    body = b'{"version":"%s"}' % text.encode()
    server.on("/api/version", Play.of(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    assert client.server_version() == text
    server.on("/api/pull", Play.of(HEAD + b"Content-Length: 20\r\n\r\n" + b'{"status":"success"}'))
    client.pull_model(text)
    assert text.encode() in server.requests[-1].body
    assert server.requests[-1].complete
