"""What every method takes beside its request, and what a client is made with."""

from __future__ import annotations

import hashlib
import inspect
import math
import ssl
from typing import Any

import pytest
from scripts import CREATE, PULL, PUSH

from ollama_ext import (
    Cancelled,
    CancelToken,
    Client,
    ConnectionFailed,
    FirstByteTimeout,
    InvalidArgument,
    OllamaError,
    Retry,
    RetryPolicy,
    ServerBusy,
    Timeouts,
)
from ollama_ext.testing import FakeOllama, Json, no_wait

pytestmark = pytest.mark.usefixtures("nothing_left_open")

CHAT, GENERATE, EMBED, ME = "/api/chat", "/api/generate", "/api/embed", "/api/me"
BLOB = f"sha256:{'0' * 64}"
CONTENT = b"some bytes"
PUSHED = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"

#: Every method that asks the server, its arguments, and which request it begins with.
METHODS: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "chat": (("m", "hi"), "POST", CHAT),
    "chat_stream": (("m", "hi"), "POST", CHAT),
    "generate": (("m", "hi"), "POST", GENERATE),
    "generate_stream": (("m", "hi"), "POST", GENERATE),
    "embed": (("m", "hi"), "POST", EMBED),
    "list_models": ((), "GET", "/api/tags"),
    "show_model": (("m",), "POST", "/api/show"),
    "copy_model": (("a", "b"), "POST", "/api/copy"),
    "delete_model": (("m",), "DELETE", "/api/delete"),
    "recommend_models": ((), "GET", "/api/experimental/model-recommendations"),
    "list_running": ((), "GET", "/api/ps"),
    "load_model": (("m",), "POST", GENERATE),
    "unload_model": (("m",), "POST", GENERATE),
    "pull_model": (("m",), "POST", PULL),
    "pull_model_stream": (("m",), "POST", PULL),
    "push_model": (("m",), "POST", PUSH),
    "push_model_stream": (("m",), "POST", PUSH),
    "create_model": (("m", "n"), "POST", CREATE),
    "create_model_stream": (("m", "n"), "POST", CREATE),
    "check_blob": ((BLOB,), "HEAD", f"/api/blobs/{BLOB}"),
    "push_blob": ((None, CONTENT), "HEAD", f"/api/blobs/{PUSHED}"),
    "server_version": ((), "GET", "/api/version"),
    "server_status": ((), "GET", "/api/status"),
    "whoami": ((), "POST", ME),
    "sign_out": ((), "POST", "/api/signout"),
    "web_search": (("q",), "POST", "/api/experimental/web_search"),
    "web_fetch": (("u",), "POST", "/api/experimental/web_fetch"),
    "request": (("POST", "/api/new"), "POST", "/api/new"),
}
every_method = pytest.mark.parametrize("method", METHODS)


def run(client: Client, method: str, **options: Any) -> Any:
    """Call a method to the end of what it does."""
    outcome = getattr(client, method)(*METHODS[method][0], **options)
    return outcome.finish() if method.endswith("_stream") else outcome


def script(server: FakeOllama, method: str, *answers: Any) -> None:
    """Answer the request that a method begins with."""
    _, verb, path = METHODS[method]
    server.on(verb, path, *answers)


BUSY = Json({"error": "busy"}, 503)


def test_no_method_is_forgotten() -> None:
    public = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert public - {"close", "with_options"} == set(METHODS)


# -- of every method


@every_method
def test_without_retries_it_is_tried_once(server: FakeOllama, client: Client, method: str) -> None:
    script(server, method, BUSY)
    with pytest.raises(ServerBusy):
        run(client, method, retry=None)
    assert len(server.requests) == 1


@every_method
def test_the_policy_of_a_call_says_how_often_it_is_tried(
    server: FakeOllama, client: Client, method: str
) -> None:
    script(server, method, BUSY)
    told: list[Retry] = []
    with no_wait(), pytest.raises(ServerBusy):
        run(client, method, retry=RetryPolicy(attempts=2, on_retry=told.append))
    assert len(server.requests) == 2
    assert [(each.attempt, each.attempts) for each in told] == [(1, 2)]
    with no_wait(), pytest.raises(ServerBusy):
        run(client, method)  # by default, four times
    assert len(server.requests) == 6


@every_method
def test_a_cancelled_token_raises_before_anything_is_sent(
    server: FakeOllama, client: Client, method: str
) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        run(client, method, cancel=token)
    assert server.connections == 0


@every_method
def test_a_timeout_holds(server: FakeOllama, client: Client, method: str) -> None:
    script(server, method, Json({}).delay(math.inf))
    with pytest.raises(FirstByteTimeout):
        run(client, method, timeout=Timeouts(first_byte=0.02), retry=None)


@every_method
def test_extra_headers_are_sent_and_win(server: FakeOllama, method: str) -> None:
    script(server, method, BUSY)
    with Client(server.url, headers={"X-A": "client", "X-B": "client"}, retry=None) as client:
        with pytest.raises(ServerBusy):
            run(client, method, extra_headers={"x-a": "call"})
        with pytest.raises(ServerBusy):
            run(client, method, extra_headers=None)
    first, second = (each.headers for each in server.requests)
    assert (first["x-a"], first["x-b"]) == ("call", "client")
    assert (second["x-a"], second["x-b"]) == ("client", "client")


@every_method
def test_an_option_that_nobody_knows_is_named(server: FakeOllama, client: Client, method: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'retries'"):
        run(client, method, retries=3)
    assert server.connections == 0


BAD: list[tuple[str, Any]] = [
    ("timeout", "5"),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", True),
    ("timeout", math.nan),
    ("timeout", (1, 2)),
    ("retry", 3),
    ("retry", False),
    ("retry", RetryPolicy),
    ("cancel", True),
    ("cancel", CancelToken),
    ("extra_headers", [("a", "b")]),
    ("extra_headers", {"X-A": 5}),
    ("extra_headers", {5: "x"}),
    ("extra_headers", {"X A": "x"}),
    ("extra_headers", {"X-A": "a\r\nX-B: b"}),
    ("extra_headers", {"X-A": " a"}),
    ("extra_headers", {"Content-Length": "5"}),
]


@every_method
def test_a_wrong_value_of_an_option_is_refused_by_name(
    server: FakeOllama, client: Client, method: str
) -> None:
    for option, value in BAD:
        with pytest.raises(InvalidArgument, match=option) as caught:
            run(client, method, **{option: value})
        assert caught.value.argument == option, value
    assert server.connections == 0


def test_options_reach_every_request_of_a_call(server: FakeOllama, client: Client) -> None:
    client.push_blob(None, CONTENT, extra_headers={"X-A": "1"})
    assert [each.method for each in server.requests] == ["HEAD", "POST"]
    assert {each.headers["x-a"] for each in server.requests} == {"1"}


# -- other options for the same client


def test_a_client_with_other_options_shares_the_connections(server: FakeOllama, client: Client) -> None:
    other = client.with_options(timeout=60, retry=None)
    assert type(other) is Client
    assert other is not client
    assert other.host == client.host
    client.server_version()
    other.server_version()
    client.with_options().server_version()
    assert server.connections == 1


@pytest.mark.parametrize("first", ["the one", "the other"])
def test_closing_either_closes_both(server: FakeOllama, first: str) -> None:
    client = Client(server.url)
    other = client.with_options(timeout=60)
    client.server_version()
    (client if first == "the one" else other).close()
    for each in (client, other):
        with pytest.raises(OllamaError, match="closed"):
            each.server_version()
    assert len(server.requests) == 1
    client.close()  # may be done again
    other.close()


def test_headers_are_added_to_those_of_the_client(server: FakeOllama) -> None:
    with Client(server.url, headers={"X-A": "1", "X-B": "1"}) as client:
        other = client.with_options(headers={"x-b": "2", "X-C": "2"})
        third = other.with_options(headers={"X-C": "3"}, retry=None)
        for each in (client, other, third):
            each.server_version()
    seen = [tuple(each.headers.get(name, "") for name in ("x-a", "x-b", "x-c")) for each in server.requests]
    assert seen == [("1", "1", ""), ("1", "2", "2"), ("1", "2", "3")]


def test_what_is_left_out_stays_as_it_is(server: FakeOllama) -> None:
    server.on("GET", "/api/version", BUSY)
    with Client(server.url, retry=RetryPolicy(attempts=2)) as client, no_wait():
        for each, tries in ((client.with_options(timeout=60), 2), (client.with_options(retry=None), 1)):
            before = len(server.requests)
            with pytest.raises(ServerBusy):
                each.server_version()
            assert len(server.requests) == before + tries


@pytest.mark.parametrize("name", ["host", "verify", "max_connections", "headerz"])
def test_what_cannot_be_changed_is_named(client: Client, name: str) -> None:
    options: dict[str, Any] = {name: None}
    with pytest.raises(TypeError, match=rf"with_options\(\) got an unexpected keyword argument '{name}'"):
        client.with_options(**options)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("timeout", "5"),
        ("timeout", 0),
        ("retry", 3),
        ("headers", {"X-A": 5}),
        ("headers", [("X-A", "5")]),
        ("api_key", "a b"),
        ("api_key", ""),
        ("api_key", 5),
    ],
)
def test_other_options_are_checked(client: Client, argument: str, value: Any) -> None:
    arguments: dict[str, Any] = {"allow_plain_http_key": True, argument: value}
    with pytest.raises(InvalidArgument, match=argument) as caught:
        client.with_options(**arguments)
    assert caught.value.argument == argument


def test_a_key_is_sent_where_that_is_allowed(server: FakeOllama, client: Client) -> None:
    with pytest.raises(InvalidArgument, match="in the clear") as caught:
        client.with_options(api_key="s3cret")
    assert caught.value.argument == "api_key"
    assert "s3cret" not in str(caught.value)
    keyed = client.with_options(api_key="s3cret", allow_plain_http_key=True)
    keyed.server_version()
    keyed.with_options(api_key="other").server_version()  # it stays allowed
    client.server_version()
    assert [each.headers.get("authorization") for each in server.requests] == [
        "Bearer s3cret",
        "Bearer other",
        None,
    ]


# -- making a client


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("host", "ftp://example.com"),
        ("timeout", "5"),
        ("timeout", -1),
        ("timeout", True),
        ("retry", 3),
        ("retry", True),
        ("headers", "X-A: 1"),
        ("headers", {"X-A": "a\nb"}),
        ("headers", {"Transfer-Encoding": "chunked"}),
        ("api_key", "a b"),
        ("api_key", "\u00fc"),
        ("api_key", 5),
        ("verify", "/etc/ssl/cert.pem"),
        ("verify", None),
        ("verify", 1),
        ("proxy", "proxy:3128"),
        ("proxy", "ftp://proxy"),
        ("proxy", "http://"),
        ("proxy", "http://proxy:port"),
        ("proxy", 5),
        ("max_connections", 0),
        ("max_connections", -1),
        ("max_connections", True),
        ("max_connections", 1.5),
        ("max_idle_connections", -1),
        ("max_idle_connections", None),
        ("max_idle_connections", "5"),
    ],
)
def test_a_client_is_not_made_of_what_cannot_be_right(argument: str, value: Any) -> None:
    arguments: dict[str, Any] = {"host": "127.0.0.1:11434", "allow_plain_http_key": True, argument: value}
    with pytest.raises(InvalidArgument) as caught:
        Client(**arguments)
    assert caught.value.argument == argument


def test_a_client_may_be_made_of_all_of_these() -> None:
    with Client(
        "https://gpu1/prefix",
        timeout=Timeouts(total=5),
        retry=None,
        headers={"X-A": "1"},
        api_key="s3cret",
        verify=ssl.create_default_context(),
        proxy="http://user:s3cret@proxy:3128",
        trust_env=False,
        max_connections=1,
        max_idle_connections=0,
    ) as client:
        assert client.host == "https://gpu1:443/prefix"


def test_no_connection_is_made_before_the_first_call(server: FakeOllama) -> None:
    with Client(server.url):
        pass
    assert server.connections == 0


def test_connections_that_are_not_kept_are_closed_after_each_call(server: FakeOllama) -> None:
    with Client(server.url, max_idle_connections=0) as client:
        client.server_version()
        client.server_version()
    assert server.connections == 2


def test_a_client_shows_where_it_goes_and_no_secret(server: FakeOllama) -> None:
    with Client(
        server.url,
        headers={"X-Key": "s3cret"},
        api_key="s3cret",
        allow_plain_http_key=True,
        proxy="http://user:s3cret@127.0.0.1:9",
    ) as client:
        assert repr(client) == f"Client({server.url!r})"
        other = client.with_options(api_key="s3cret2", headers={"X-Other": "s3cret3"})
        assert repr(other) == repr(client)
        for each in (client, other):
            for shown in (str(each), repr(vars(each)), repr(each.__dict__)):
                assert "s3cret" not in shown
        with pytest.raises(ConnectionFailed) as caught:  # nobody listens there
            client.server_version(retry=None)
        assert "s3cret" not in str(caught.value) + repr(vars(caught.value))


def test_a_password_in_a_host_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidArgument, match="credentials as a header") as caught:
        Client("http://user:s3cret@127.0.0.1:1")
    assert caught.value.argument == "host"
    assert "s3cret" not in str(caught.value)
