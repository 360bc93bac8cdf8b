"""Through a proxy of every kind that needs no package: the same promises as on the direct way."""

from __future__ import annotations

import gzip
import math
import socket
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from background import background, cancelled, hooks, wait_until
from byte_server import ByteServer, Play
from certificates import serving, trusting
from ollama_openapi.types import Request
from proxy import Proxy
from sockets import nothing_left_behind
from streams import chunk, line
from tls_front import TlsFront

from ollama_ext import (
    CancelToken,
    Client,
    ConnectionFailed,
    ConnectTimeout,
    FirstByteTimeout,
    Forbidden,
    IdleTimeout,
    InvalidArgument,
    InvalidResponse,
    OllamaError,
    StreamTruncated,
    TextDelta,
    Timeouts,
    TotalTimeout,
    Unauthorized,
    parse_host,
)
from ollama_ext.testing import Body, FakeOllama, Json, Lines, Raw
from ollama_ext.transport import Transport, TransportSettings
from ollama_ext.transport.limits import Limits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

REMOTE = "gpu1.example"
CHAT = "/api/chat"
STALLED = Lines(chunk("a"), chunk("b"), chunk(done=True)).stall(math.inf, at=len(line(chunk("a"))) + 1)
SECRET = "pa55/w@rd"  # noqa: S105 - nobody's
QUOTED = "pa55%2Fw%40rd"


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    with nothing_left_behind():
        yield


def tls(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a context for a server with that name, and one that trusts it."""
    authority = trustme.CA()
    return serving(authority, name), trusting(authority)


@pytest.fixture
def remote_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name of the other machine mean this one, so that it can be reached without a proxy."""
    real = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == REMOTE else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


VERSION = Play.of(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"version":"9"}')


# -- which proxy


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_plain_http_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with FakeOllama() as server, Proxy(server.port) as proxy:
        monkeypatch.setenv(variable, proxy.url())
        with Client(f"http://{REMOTE}:11434") as client:
            assert client.server_version()
        assert proxy.asked == [f"GET http://{REMOTE}:11434/api/version HTTP/1.1"]
        assert server.requests[0].headers["host"] == f"{REMOTE}:11434"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_https_goes_through_a_tunnel_of_the_environments_proxy(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    of_server, of_client = tls(REMOTE)
    with ByteServer(VERSION, context=of_server) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv(variable, proxy.url())
        with Client(f"https://{REMOTE}", verify=of_client) as client:
            assert client.server_version() == "9"
        assert proxy.asked == [f"CONNECT {REMOTE}:443 HTTP/1.1"]
        assert server.names == [REMOTE]
        assert server.requests[0].path == "/api/version"


def test_a_proxy_of_the_environment_needs_no_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOllama() as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        with Client(REMOTE) as client:
            assert client.server_version()
        assert len(proxy.asked) == 1


@pytest.mark.usefixtures("remote_is_here")
@pytest.mark.parametrize("bypass", ["*", REMOTE, f"x.example, {REMOTE}", ".example", f"{REMOTE}:{{port}}"])
def test_no_proxy_names_hosts_that_are_reached_directly(monkeypatch: pytest.MonkeyPatch, bypass: str) -> None:
    with ByteServer(VERSION) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("NO_PROXY", bypass.format(port=server.port))
        with Client(f"http://{REMOTE}:{server.port}") as client:
            assert client.server_version() == "9"
        assert proxy.asked == []


@pytest.mark.parametrize("bypass", ["", "other.example", f"{REMOTE}:1", f"x{REMOTE}"])
def test_no_proxy_names_no_others(monkeypatch: pytest.MonkeyPatch, bypass: str) -> None:
    with ByteServer(VERSION) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("NO_PROXY", bypass)
        with Client(f"http://{REMOTE}:{server.port}") as client:
            assert client.server_version() == "9"
        assert len(proxy.asked) == 1


def test_the_proxy_argument_wins_over_the_environment_and_holds_for_this_machine_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeOllama() as server, Proxy(server.port) as mine, Proxy(server.port) as other:
        monkeypatch.setenv("HTTP_PROXY", other.url())
        monkeypatch.setenv("NO_PROXY", "*")
        with Client(server.url, proxy=mine.url()) as client:
            assert client.server_version()
        with Client(REMOTE, proxy=mine.url(), trust_env=False) as client:
            assert client.server_version()
        assert (len(mine.asked), len(other.asked)) == (2, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_never_reached_through_a_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with FakeOllama() as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        with Client(f"http://{host}:{server.port}") as client:
            assert client.server_version()
        assert proxy.asked == []


@pytest.mark.usefixtures("remote_is_here")
def test_without_trust_env_the_environments_proxies_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with ByteServer(VERSION) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        with Client(f"http://{REMOTE}:{server.port}", trust_env=False) as client:
            assert client.server_version() == "9"
        assert proxy.asked == []


# -- proxies that cannot be used

WRONG = [
    f"ftp://user:{QUOTED}@proxy:1",
    f"http://user:{SECRET}:x@proxy:1",
    f"http://user:{QUOTED}@:3128",
    f"http://user:{QUOTED}@proxy:99999",
    f"http://user:{QUOTED}@proxy:port",
    f"http://user:{QUOTED}@[::1",
    f"user:{QUOTED}@proxy",
    "",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_proxy_argument_that_is_no_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"proxy must be a URL such as 'http://proxy:3128'") as caught:
        Client(REMOTE, proxy=url)
    assert caught.value.argument == "proxy"
    assert "pa55" not in shown(caught.value)


@pytest.mark.parametrize("url", [each for each in WRONG if "://" in each])
def test_a_proxy_of_the_environment_that_is_no_url_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    with pytest.raises(InvalidArgument, match=r"HTTP_PROXY.* must be a URL such as") as caught:
        Client(REMOTE)
    assert "pa55" not in shown(caught.value)


@pytest.mark.parametrize("url", [f"http://user:{QUOTED}@pro xy:1", f"http://user:{QUOTED}@\u2488com:1"])
def test_what_only_httpx_finds_wrong_with_a_proxy_is_not_shown_either(url: str) -> None:
    with pytest.raises(OllamaError) as caught, Client(REMOTE, proxy=url, retry=None) as client:
        client.server_version()
    assert "pa55" not in shown(caught.value)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_without_its_package_is_refused_with_the_remedy(scheme: str) -> None:
    with pytest.raises(InvalidArgument, match=r"pip install httpx\[socks\]") as caught:
        Client(REMOTE, proxy=f"{scheme}://user:{QUOTED}@proxy:1080")
    assert "pa55" not in shown(caught.value)


def shown(error: BaseException) -> str:
    """Return all that a traceback could show of an error and its causes."""
    texts = list[str]()
    seen: BaseException | None = error
    while seen is not None:
        texts += [repr(seen), str(seen), repr(vars(seen))]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(texts)


def test_the_password_of_a_proxy_is_in_no_representation() -> None:
    url = f"http://user:{QUOTED}@proxy:3128"
    client = Client(REMOTE, proxy=url)
    for value in (client, TransportSettings(proxy=url), client._calls.transport, vars(client)):  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - what a debugger shows
        assert "pa55" not in repr(value)
    client.close()


# -- proxies that ask who is there, refuse, or are dead


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_user_and_password_in_the_url_are_sent_to_the_proxy_and_no_further(scheme: str) -> None:
    of_server, of_client = tls(REMOTE)
    context = of_server if scheme == "https" else None
    with (
        ByteServer(VERSION, context=context) as server,
        Proxy(server.port, user=f"user:{SECRET}") as proxy,
        Client(f"{scheme}://{REMOTE}", proxy=proxy.url(f"user:{QUOTED}"), verify=of_client) as client,
    ):
        assert client.server_version() == "9"
        assert b"proxy-authorization" in proxy.sent[0].lower()
        if scheme == "https":  # a forward proxy has to take it out itself; ours does not
            assert server.requests[0].header("proxy-authorization") is None


def test_a_proxy_that_wants_a_password_says_so_for_http() -> None:
    with Proxy(0, user="user:x") as proxy, Client(REMOTE, proxy=proxy.url(f"user:{QUOTED}")) as client:
        with pytest.raises(Unauthorized, match="a proxy wants a user and a password") as caught:
            client.server_version()
        assert caught.value.status == 407
        assert "pa55" not in shown(caught.value)
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("refuse", [403, 407])
def test_a_proxy_that_refuses_a_tunnel_is_asked_once(refuse: int) -> None:
    with (
        Proxy(0, refuse=refuse) as proxy,
        Client(f"https://{REMOTE}", proxy=proxy.url(f"user:{QUOTED}")) as client,
    ):
        with pytest.raises(ConnectionFailed, match=rf"{refuse} .*A proxy is in between .*NO_PROXY") as caught:
            client.server_version()
        assert not caught.value.retryable
        assert caught.value.stage == "connect"
        assert "pa55" not in shown(caught.value)
        assert len(proxy.asked) == 1


def test_a_proxy_that_refuses_plain_http_is_forbidden() -> None:
    with (
        Proxy(0, refuse=403) as proxy,
        Client(REMOTE, proxy=proxy.url()) as client,
        pytest.raises(Forbidden),
    ):
        client.server_version()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_listening_at_the_proxy_is_a_failed_connection(scheme: str) -> None:
    with Proxy(0) as proxy:
        url = proxy.url(f"user:{QUOTED}")
    with Client(f"{scheme}://{REMOTE}", proxy=url, retry=None) as client:
        with pytest.raises(ConnectionFailed, match=r"refused.*A proxy is in between") as caught:
            client.server_version()
        assert (caught.value.stage, caught.value.retryable) == ("connect", True)
        assert "pa55" not in shown(caught.value)


def test_a_proxy_without_an_address_is_a_failed_connection() -> None:
    for name in ("a" * 70 + ".example", "no-such-proxy.invalid"):
        with (
            Client(REMOTE, proxy=f"http://{name}:3128", retry=None) as client,
            pytest.raises(ConnectionFailed, match="A proxy is in between"),
        ):
            client.server_version()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_hangs_up_is_a_failed_connection(scheme: str) -> None:
    with (
        ByteServer(Play.of(b"", "close")) as proxy,
        Client(f"{scheme}://{REMOTE}", proxy=proxy.url, retry=None) as client,
        pytest.raises(ConnectionFailed),
    ):
        client.server_version()


def test_a_proxy_that_speaks_no_http_is_an_invalid_response() -> None:
    with (
        ByteServer(Play.of(b"220 mail.example ESMTP\r\n\r\n", "close")) as proxy,
        Client(REMOTE, proxy=proxy.url, retry=None) as client,
        pytest.raises(InvalidResponse, match="is not HTTP"),
    ):
        client.server_version()


# -- certificates


def test_a_server_behind_a_tunnel_must_be_trusted() -> None:
    of_server, _ = tls(REMOTE)
    with (
        ByteServer(VERSION, context=of_server) as server,
        Proxy(server.port) as proxy,
        Client(f"https://{REMOTE}", proxy=proxy.url()) as client,
    ):
        with pytest.raises(ConnectionFailed, match=r"not trusted.*SSL_CERT_FILE") as caught:
            client.server_version()
        assert not caught.value.retryable
        assert len(proxy.asked) == 1


def test_a_proxy_may_itself_be_reached_over_tls_and_trusted_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = serving(authority, "localhost", REMOTE)
    with ByteServer(VERSION) as server, Proxy(server.port, context=context) as proxy:
        with Client(f"http://{REMOTE}", proxy=proxy.url()) as client:
            assert client.server_version() == "9"
        assert proxy.asked == [f"GET http://{REMOTE}/api/version HTTP/1.1"]


# -- streams, limits, cancelling


@pytest.fixture(params=["http", "https"])
def way(request: pytest.FixtureRequest) -> Iterator[tuple[FakeOllama, Callable[..., Client]]]:
    """Return a server behind a proxy, by forwarding or through a tunnel, and what makes clients of it."""
    with FakeOllama() as server, ExitStack() as stack:
        if request.param == "http":
            proxy = stack.enter_context(Proxy(server.port))
            yield server, partial(Client, f"http://{REMOTE}", proxy=proxy.url())
        else:
            front = stack.enter_context(TlsFront(server))
            proxy = stack.enter_context(Proxy(int(front.url.rpartition(":")[2])))
            yield server, partial(Client, front.url, verify=front.trusting, proxy=proxy.url())


Way = tuple[FakeOllama, "Callable[..., Client]"]


def test_a_stream_arrives_whole_and_chunk_by_chunk(way: Way) -> None:
    server, make = way
    server.on("POST", CHAT, STALLED, Lines(chunk("a"), chunk("b", done=True)))
    with make() as client:
        with client.chat_stream("m", "hi") as stream:
            assert next(stream) == TextDelta("a")  # though the rest never comes
        server.wait_for_disconnect()
        assert client.chat_stream("m", "hi").finish().text == "ab"


def test_an_upload_arrives_with_its_length(way: Way) -> None:
    server, make = way
    content = b"x" * 3_000_000
    with make() as client:
        client.push_blob("sha256:" + sha256(content).hexdigest(), content)
    sent = server.requests[-1]
    assert (sent.body_size, sent.headers["content-length"]) == (len(content), str(len(content)))


def test_a_compressed_answer_is_read(way: Way) -> None:
    server, make = way
    packed = gzip.compress(b'{"version": "9"}')
    server.on("GET", "/api/version", Body(packed, headers={"Content-Encoding": "gzip"}))
    with make() as client:
        assert client.server_version() == "9"


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_an_answer_that_cannot_be_unpacked_is_invalid(way: Way, coding: str) -> None:
    server, make = way
    server.on("GET", "/api/version", Body(b"plain", headers={"Content-Encoding": coding}))
    with make(retry=None) as client, pytest.raises(InvalidResponse, match="compressed"):
        client.server_version()


def test_a_connection_that_breaks_in_an_answer_is_a_failed_one(way: Way) -> None:
    server, make = way
    server.on("GET", "/api/version", Json({"version": "9"}).cut(5))
    with make(retry=None) as client, pytest.raises(ConnectionFailed, match="broke") as caught:
        client.server_version()
    assert caught.value.stage == "receive"


def test_cancelling_ends_the_wait_for_the_headers(way: Way) -> None:
    server, make = way
    server.on("POST", CHAT, Json({}).delay(math.inf))
    token = CancelToken()
    with make() as client, background(lambda: client.chat("m", "hi", cancel=token)) as call:
        server.wait_for_request()
        token.cancel()
        cancelled(call)
        server.wait_for_disconnect()


@pytest.mark.parametrize("by", ["token", "stream"])
def test_cancelling_ends_the_wait_for_the_next_token(way: Way, by: str) -> None:
    server, make = way
    server.on("POST", CHAT, STALLED)
    token = CancelToken()
    with make() as client, client.chat_stream("m", "hi", cancel=token) as stream:
        assert next(stream) == TextDelta("a")
        with background(lambda: next(stream)) as call:
            (token if by == "token" else stream).cancel()
            cancelled(call)
        server.wait_for_disconnect()
        assert stream.partial.text == "a"


def test_cancelling_ends_the_wait_for_another_calls_connection(way: Way) -> None:
    server, make = way
    server.on("POST", CHAT, STALLED)
    token = CancelToken()
    with make(max_connections=1) as client, client.chat_stream("m", "hi"):
        with background(lambda: client.server_version(cancel=token)) as call:
            wait_until(lambda: hooks(token))
            token.cancel()
            cancelled(call)
        assert len(server.requests) == 1


def test_a_body_that_the_end_of_the_connection_ends_is_not_whole_because_we_ended_it(way: Way) -> None:
    server, make = way
    token = CancelToken()
    server.on("GET", "/api/version", Raw(b'HTTP/1.1 200 OK\r\n\r\n{"version": "9"}').stall(math.inf, at=35))
    with make() as client, background(lambda: client.server_version(cancel=token)) as call:
        server.wait_for_request()
        token.cancel()
        cancelled(call)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cancelling_ends_the_wait_for_a_proxy_that_is_silent(scheme: str) -> None:
    token = CancelToken()
    with (
        Proxy(0, silent=True) as proxy,
        Client(f"{scheme}://{REMOTE}", proxy=proxy.url()) as client,
        background(lambda: client.server_version(cancel=token)) as call,
    ):
        proxy.wait_until_asked()
        token.cancel()
        cancelled(call)


def test_cancelling_ends_a_handshake_that_goes_nowhere() -> None:
    token = CancelToken()
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        Proxy(mute.getsockname()[1]) as proxy,
        Client(f"https://{REMOTE}", proxy=proxy.url()) as client,
        background(lambda: client.server_version(cancel=token)) as call,
    ):
        accepted, _ = mute.accept()
        with accepted:
            assert accepted.recv(1)  # the client has greeted
            token.cancel()
            cancelled(call)


def test_a_tunnel_that_is_not_opened_in_time_is_a_connect_timeout() -> None:
    with (
        Proxy(0, silent=True) as proxy,
        Client(f"https://{REMOTE}", proxy=proxy.url(), retry=None) as client,
        pytest.raises(ConnectTimeout, match=r"within 0\.05 s \(Timeouts\.connect\).*A proxy is in between"),
    ):
        client.server_version(timeout=Timeouts(connect=0.05))


def test_a_server_that_does_not_answer_is_a_first_byte_timeout(way: Way) -> None:
    server, make = way
    server.on("GET", "/api/version", Json({}).delay(math.inf))
    with make(retry=None) as client, pytest.raises(FirstByteTimeout, match=r"within 0\.1 s"):
        client.server_version(timeout=Timeouts(first_byte=0.1))


def test_a_stream_that_falls_silent_is_an_idle_timeout_with_what_had_arrived(way: Way) -> None:
    server, make = way
    server.on("POST", CHAT, STALLED)
    with make() as client, pytest.raises(IdleTimeout, match=r"for 0\.1 s \(Timeouts\.between\)") as caught:
        client.chat_stream("m", "hi", timeout=Timeouts(between=0.1)).finish()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"


def test_the_total_cuts_what_keeps_coming(way: Way) -> None:
    server, make = way
    drip = Lines(*[chunk("a")] * 500)
    for at in range(0, len(drip.body), 50):
        drip = drip.stall(0.01, at=at)
    server.on("POST", CHAT, drip)
    with make() as client, pytest.raises(TotalTimeout, match=r"longer than 0\.3 s"):
        client.chat_stream("m", "hi", timeout=0.3).finish()


def test_the_total_is_the_limit_of_connecting_too_where_there_is_no_other() -> None:
    timeouts = Timeouts(connect=None, first_byte=None, total=0.05)
    for scheme in ("http", "https"):
        with (
            Proxy(0, silent=True) as proxy,
            Client(f"{scheme}://{REMOTE}", proxy=proxy.url()) as client,
            pytest.raises(TotalTimeout),
        ):
            client.server_version(timeout=timeouts)


def test_the_wait_for_another_calls_connection_has_limits(way: Way) -> None:
    server, make = way
    server.on("POST", CHAT, STALLED)
    with make(max_connections=1, retry=None) as client, client.chat_stream("m", "hi"):
        with pytest.raises(FirstByteTimeout, match="all 1 connections"):
            client.server_version(timeout=Timeouts(first_byte=0.05))
        with pytest.raises(TotalTimeout):
            client.server_version(timeout=0.05)


def test_a_stream_that_is_dropped_closes_its_connection_at_once(way: Way) -> None:
    server, make = way
    server.on("POST", CHAT, STALLED)
    with make() as client:
        stream = client.chat_stream("m", "hi", cancel=CancelToken(), timeout=1000.0)
        next(stream)
        del stream
        server.wait_for_disconnect()


def test_closing_the_client_ends_what_others_read(way: Way) -> None:
    server, make = way
    server.on("POST", CHAT, STALLED)
    client = make()
    stream = client.chat_stream("m", "hi")
    next(stream)
    with background(lambda: next(stream)) as call:
        client.close()
        assert isinstance(error := call.exception(20), StreamTruncated)
        assert "this client was closed" in str(error)
    with pytest.raises(OllamaError, match="closed"):
        client.server_version()


def test_what_the_body_of_an_upload_raises_is_handed_on_as_it_is() -> None:
    class Broken(OSError):
        """Of a disk, say."""

    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise Broken

    with Proxy(0, silent=True) as proxy:
        transport = Transport(parse_host(REMOTE), TransportSettings(proxy=proxy.url()))
        request = Request(method="POST", path="/", content=pieces())
        with pytest.raises(Broken):
            transport.send(request, {}, Limits(Timeouts()))
