"""Which server is sent which key, and that a key shows up nowhere else."""

from __future__ import annotations

import logging
import pickle
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts import CHAT, REPLY, STREAM, finished

from ollama_ext import CancelToken, Client, InvalidArgument, OllamaError, Timeouts
from ollama_ext.testing import Body, FakeOllama, Json, Raw
from ollama_ext.transport import connection, direct

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from ollama_ext.transport.connection import Connection

#: All that means https://ollama.com, which is where a key of the environment belongs.
CLOUD = ["https://ollama.com", "https://ollama.com/", "https://ollama.com:443", "ollama.com"]
#: Other https hosts, some of which look like it.
ELSEWHERE = [
    "https://ollama.com:8443",
    "https://ollama.com:80",
    "https://api.ollama.com",
    "https://www.ollama.com",
    "https://ollama.com.",
    "https://ollama.com.example",
    "https://notollama.com",
    "https://ollama.co",
    "https://example.com/ollama.com",
    "https://127.0.0.1",
    "https://localhost:11434",
]
#: Hosts where anybody on the way could listen.
PLAIN = [
    "http://ollama.com",
    "http://ollama.com:443",
    "http://ollama.com:80",
    "ollama.com:443",
    "http://api.ollama.com",
    "gpu1",
    "127.0.0.1",
    "http://localhost:11434",
    "[::1]:11434",
]

ENVIRONMENT, GIVEN, OWN = "key-of-the-environment", "key-that-is-given", "Bearer key-of-my-own"


@pytest.fixture(autouse=True)
def dialled(server: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """Have every connection end at the scripted server; return where they were meant to go, and if by TLS."""
    hosts: list[tuple[str, int, bool]] = []

    def dial(
        host: str, port: int, limit: float | None, tls: ssl.SSLContext | None, _server_name: str
    ) -> Connection:
        hosts.append((host, port, tls is not None))
        return connection.dial("127.0.0.1", server.port, limit, None, "")

    monkeypatch.setattr(direct, "dial", dial)
    return hosts


@pytest.fixture
def key_in_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Set the key that Ollama's own tools read."""
    monkeypatch.setenv("OLLAMA_API_KEY", ENVIRONMENT)
    return iter([ENVIRONMENT])


def sent_by(client: Client, server: FakeOllama, **call: Any) -> str | None:
    """Return what a call says who it is."""
    client.server_version(**call)
    return server.requests[-1].headers.get("authorization")


# -- a key of the environment


@pytest.mark.usefixtures("key_in_environment")
@pytest.mark.parametrize("by", ["argument", "OLLAMA_HOST"])
@pytest.mark.parametrize("host", [*CLOUD, *ELSEWHERE, *PLAIN])
def test_a_key_of_the_environment_goes_to_ollama_com_over_tls_and_nowhere_else(
    server: FakeOllama,
    monkeypatch: pytest.MonkeyPatch,
    dialled: list[tuple[str, int, bool]],
    host: str,
    by: str,
) -> None:
    server.on("GET", "/ollama.com/api/version", Json({"version": "1"}))
    if by == "OLLAMA_HOST":
        monkeypatch.setenv("OLLAMA_HOST", host)
    with Client(host if by == "argument" else None) as client:
        sent = sent_by(client, server)
        copied = sent_by(client.with_options(timeout=5), server)
    assert sent == copied == (f"Bearer {ENVIRONMENT}" if host in CLOUD else None)
    if sent:
        assert dialled == [("ollama.com", 443, True)]


def test_without_a_key_nothing_is_sent(server: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    for empty in (None, "", "  "):
        if empty is not None:
            monkeypatch.setenv("OLLAMA_API_KEY", empty)
        with Client("https://ollama.com") as client:
            assert sent_by(client, server) is None


def test_space_around_a_key_of_the_environment_is_no_part_of_it(
    server: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", f" {ENVIRONMENT}\n")
    with Client("https://ollama.com") as client:
        assert sent_by(client, server) == f"Bearer {ENVIRONMENT}"


def test_a_key_of_the_environment_that_no_header_can_carry_is_said_where_it_counts(
    server: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "s3cret of two words")
    with pytest.raises(InvalidArgument, match="OLLAMA_API_KEY must be a key") as caught:
        Client("https://ollama.com")
    assert "s3cret" not in str(caught.value)
    with Client("gpu1") as client:
        assert sent_by(client, server) is None


# -- a key that is given


@pytest.mark.usefixtures("key_in_environment")
@pytest.mark.parametrize("host", [*CLOUD, *ELSEWHERE])
def test_a_key_that_is_given_goes_to_any_host_over_tls(
    server: FakeOllama, dialled: list[tuple[str, int, bool]], host: str
) -> None:
    server.on("GET", "/ollama.com/api/version", Json({"version": "1"}))
    with Client(host, api_key=GIVEN) as client:
        assert sent_by(client, server) == f"Bearer {GIVEN}"
        assert sent_by(client.with_options(retry=None), server) == f"Bearer {GIVEN}"
    assert all(tls for _, _, tls in dialled)


@pytest.mark.usefixtures("key_in_environment")
@pytest.mark.parametrize("host", PLAIN)
def test_a_key_that_is_given_is_refused_over_plain_http_unless_it_is_allowed(
    server: FakeOllama, host: str
) -> None:
    with pytest.raises(
        InvalidArgument, match=r"in the clear to http://.*allow_plain_http_key=True"
    ) as caught:
        Client(host, api_key=GIVEN)
    assert caught.value.argument == "api_key"
    assert GIVEN not in str(caught.value)
    assert server.connections == 0
    with Client(host, api_key=GIVEN, allow_plain_http_key=True) as client:
        assert sent_by(client, server) == f"Bearer {GIVEN}"


@pytest.mark.usefixtures("key_in_environment")
@pytest.mark.parametrize("host", PLAIN)
def test_allowing_plain_http_sends_no_key_that_is_not_given(server: FakeOllama, host: str) -> None:
    with Client(host, allow_plain_http_key=True) as client:
        assert sent_by(client, server) is None


@pytest.mark.parametrize("key", ["", " ", "two words", "line\n", "\x00", "schl\xfcssel", b"bytes", 5, True])
@pytest.mark.parametrize("make", ["Client", "with_options"])
def test_what_is_no_key_is_refused_and_not_shown(key: Any, make: str) -> None:
    made = Client("https://host")
    refuses: Any = made.with_options if make == "with_options" else partial(Client, "https://host")
    with pytest.raises(InvalidArgument, match="api_key must be a key of printable ASCII") as caught:
        refuses(api_key=key)
    assert caught.value.argument == "api_key"
    if key and isinstance(key, str) and key.strip():
        assert key not in str(caught.value)


# -- keys and headers


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_key_and_a_header_of_ones_own_are_one_too_many(name: str) -> None:
    for make in (partial(Client, "https://host"), Client("https://host").with_options):
        with pytest.raises(InvalidArgument, match="both given: leave one out") as caught:
            make(api_key=GIVEN, headers={name: OWN})
        assert caught.value.argument == "api_key"


@pytest.mark.usefixtures("key_in_environment")
@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_header_of_ones_own_beats_the_key_of_the_environment(server: FakeOllama, name: str) -> None:
    for host in (*CLOUD, "gpu1"):
        with Client(host, headers={name: OWN}) as client:
            assert sent_by(client, server) == OWN
            assert sent_by(client.with_options(timeout=5), server) == OWN
            assert sent_by(client.with_options(headers={"X-A": "1"}), server) == OWN


@pytest.mark.usefixtures("key_in_environment")
def test_a_header_of_a_call_beats_every_key_once(server: FakeOllama) -> None:
    for options in ({}, {"api_key": GIVEN}, {"headers": {"Authorization": "x"}}):
        with Client("https://ollama.com", **options) as client:  # pyright: ignore[reportArgumentType] - of several kinds
            usual = sent_by(client, server)
            assert sent_by(client, server, extra_headers={"AUTHORIZATION": OWN}) == OWN
            assert sent_by(client, server) == usual != OWN
            assert server.requests[-2].headers.pairs.count(("AUTHORIZATION", OWN)) == 1


@pytest.mark.usefixtures("key_in_environment")
def test_another_key_takes_the_place_of_the_first(server: FakeOllama) -> None:
    with Client("https://ollama.com", api_key=GIVEN) as client:
        other = client.with_options(api_key="another")
        assert sent_by(other, server) == "Bearer another"
        assert sent_by(other.with_options(timeout=5), server) == "Bearer another"
        assert sent_by(client, server) == f"Bearer {GIVEN}"
        assert sent_by(client.with_options(headers={"authorization": OWN}), server) == OWN


def test_leave_to_send_a_key_in_the_clear_stays_with_the_client_that_has_it(server: FakeOllama) -> None:
    with Client("gpu1") as client, pytest.raises(InvalidArgument, match="in the clear"):
        client.with_options(api_key=GIVEN)
    with Client("gpu1", allow_plain_http_key=True) as client:
        assert sent_by(client.with_options(api_key=GIVEN), server) == f"Bearer {GIVEN}"
        again = client.with_options(timeout=5).with_options(api_key="another")
        assert sent_by(again, server) == "Bearer another"
        with pytest.raises(InvalidArgument, match="in the clear"):
            client.with_options(api_key=GIVEN, allow_plain_http_key=False)


def wanted(host: str, environment: bool, key: bool, header: bool, allowed: bool) -> str | None:
    """Return what must be sent; raise `InvalidArgument` where that is nothing good."""
    if key and (header or (host in PLAIN and not allowed)):
        raise InvalidArgument("refused")
    if key:
        return f"Bearer {GIVEN}"
    if header:
        return OWN
    return f"Bearer {ENVIRONMENT}" if environment and host in CLOUD else None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*CLOUD, *ELSEWHERE[:8], *PLAIN]), st.tuples(*[st.booleans()] * 4))
def test_every_combination_of_host_key_header_and_leave(
    server: FakeOllama, host: str, options: tuple[bool, bool, bool, bool]
) -> None:
    environment, key, header, allowed = options
    with pytest.MonkeyPatch.context() as patched:
        if environment:
            patched.setenv("OLLAMA_API_KEY", ENVIRONMENT)

        def make() -> Client:
            return Client(
                host,
                api_key=GIVEN if key else None,
                headers={"Authorization": OWN} if header else None,
                allow_plain_http_key=allowed,
            )

        try:
            expected = wanted(host, environment, key, header, allowed)
        except InvalidArgument:
            with pytest.raises(InvalidArgument):
                make()
            return
        with make() as client:
            assert sent_by(client, server) == expected


# -- where a key must not show up


def test_a_key_shows_up_in_nothing_that_anybody_reads(
    server: FakeOllama, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "s3cret-key"
    broken = STREAM.cut(5)
    moved = Body("", 307, headers={"Location": "http://elsewhere.example/?x=1"})
    busy = Json({"error": "server busy"}, 503, headers={"Retry-After": "0"})
    server.on("POST", CHAT, Json({"error": "no"}, 401), Body("<html>"), broken, Raw(b""), moved, busy)
    used_up = CancelToken()
    used_up.cancel()
    shown: list[str] = []
    with Client("https://host", api_key=key) as client:
        assert sent_by(client, server) == f"Bearer {key}"
        calls: list[dict[str, Any]] = [{}] * 6
        calls += [{"cancel": used_up}, {"extra_headers": {"Authorization": f"Bearer {key} "}}]
        for number, call in enumerate(calls):
            with pytest.raises(OllamaError) as caught:
                finished(client, "chat_stream" if number % 2 else "chat", retry=None, **call)
            error = caught.value
            shown += [str(error), repr(error), repr(vars(error)), pickle.dumps(error).decode("latin-1")]
            shown += traceback.format_exception(error)
        server.on("POST", CHAT, busy, REPLY)
        client.chat("m", "hi", timeout=Timeouts(total=20))  # tried twice, which is logged
        other = client.with_options(api_key=f"{key}-too")
        shown += [repr(each) for each in (client, other, vars(client), vars(other), client._calls)]  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        shown += [str(client), client.host]
        with pytest.raises(TypeError):  # it holds locks: there is no way to write one down
            pickle.dumps(client)
    assert "try 1 of" in caplog.text
    assert "s3cret" not in "".join(shown) + caplog.text
    assert {each.headers["authorization"] for each in server.requests} == {f"Bearer {key}"}


def test_a_redirect_is_not_followed_with_the_key(
    server: FakeOllama, dialled: list[tuple[str, int, bool]]
) -> None:
    server.on("GET", "/api/version", Body("", 302, headers={"Location": "https://evil.example/"}))
    with (
        Client("https://ollama.com", api_key=GIVEN, retry=None) as client,
        pytest.raises(OllamaError, match=r"redirects to 'https://evil\.example/'"),
    ):
        client.server_version()
    assert [host for host, _, _ in dialled] == ["ollama.com"]
