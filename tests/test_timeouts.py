"""Waiting has limits: each of `Timeouts` holds, alone and over retries, and says so when it is reached."""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts import (
    BOTH_WAYS,
    CHAT,
    CREATE,
    EMBED,
    GENERATE,
    PULL,
    PUSH,
    REPLY,
    STEPS,
    STREAM,
    TRANSFERS,
    finished,
    host_that_reads_nothing,
    host_that_takes_no_connection,
    silent_after,
    started,
)
from streams import chunk
from tls_front import TlsFront

from ollama_ext import (
    ChatReply,
    Client,
    ConnectionFailed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    InvalidArgument,
    OllamaTimeout,
    Progress,
    RetryPolicy,
    ServerBusy,
    Timeouts,
    TotalTimeout,
)
from ollama_ext.testing import FakeOllama, Json, Lines, Raw
from ollama_ext.testing.waiting import no_wait
from ollama_ext.timeouts import timeouts_of
from ollama_ext.transport import direct

if TYPE_CHECKING:
    from collections.abc import Callable

leaves_nothing = pytest.mark.usefixtures("nothing_left_open")

SHORT = 0.05  # seconds; what it is to cut would last for ever
LONG = 30.0  # never reached

NAMES = ("connect", "first_byte", "between", "total")
LONGEST = 2_147_483

good = st.floats(0, LONGEST, exclude_min=True) | st.integers(1, LONGEST)
bad = (
    st.floats(max_value=0)
    | st.floats(LONGEST, exclude_min=True)
    | st.integers(max_value=0)
    | st.integers(LONGEST + 1)
    | st.just(math.nan)
    | st.booleans()
    | st.text()
    | st.binary()
    | st.lists(st.integers(1, 9))
    | st.decimals(1, 9)
)


# -- values


@given(st.dictionaries(st.sampled_from(NAMES), good | st.none()))
def test_positive_seconds_and_none_are_limits(limits: dict[str, Any]) -> None:
    timeouts = Timeouts(**limits)
    assert {name: getattr(timeouts, name) for name in limits} == limits
    assert timeouts_of(timeouts) is timeouts


@given(st.sampled_from(NAMES), bad)
def test_whatever_is_no_positive_number_of_seconds_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=f"^{name} must be a (positive )?number") as caught:
        Timeouts(**{name: value})
    assert "None" in str(caught.value)
    assert caught.value.argument == "timeout"
    with pytest.raises(InvalidArgument, match=r"^timeout must be a (positive )?number"):
        timeouts_of(value)


@given(good)
def test_a_number_is_the_limit_of_the_whole_call(seconds: float) -> None:
    assert timeouts_of(seconds) == Timeouts(total=seconds)


def test_none_is_no_limit_at_all() -> None:
    assert timeouts_of(None) == Timeouts(connect=None, first_byte=None, between=None, total=None)


def test_nothing_waits_for_ever_unless_it_is_told_to() -> None:
    assert Timeouts() == Timeouts(connect=5, first_byte=600, between=120, total=None)


@pytest.mark.parametrize("timeout", [0, -1, math.inf, "30", True, 10**400], ids=lambda value: f"{value!r:.9}")
def test_a_wrong_timeout_is_refused_before_anything_is_sent(
    server: FakeOllama, client: Client, timeout: Any
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: Client(server.url, timeout=timeout),
        lambda: client.with_options(timeout=timeout),
        lambda: client.list_models(timeout=timeout),
        lambda: client.chat_stream("m", "hi", timeout=timeout),
        lambda: client.pull_model_stream("m", timeout=timeout),
        lambda: client.create_model_stream("m", "n", timeout=timeout),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument, match="timeout must be a"):
            call()
    assert server.connections == 0


@leaves_nothing
def test_the_longest_limits_can_be_waited_for(server: FakeOllama) -> None:
    server.on("POST", CHAT, STREAM)
    longest = Timeouts(connect=LONGEST, first_byte=LONGEST, between=LONGEST, total=LONGEST)
    with Client(server.url, timeout=longest, max_connections=1) as client:
        assert client.chat_stream("m", "hi").finish().text == "abc"
        with TlsFront(server) as front, Client(front.url, verify=front.trusting, timeout=longest) as secure:
            assert secure.chat_stream("m", "hi").finish().text == "abc"


# -- the connection


@leaves_nothing
def test_a_host_that_takes_no_connection_is_a_connect_timeout() -> None:
    with (
        host_that_takes_no_connection() as url,
        Client(url, timeout=Timeouts(connect=SHORT), retry=None) as client,
    ):
        for method in BOTH_WAYS:
            with pytest.raises(ConnectTimeout, match=r"within 0\.05 s \(Timeouts\.connect\)") as caught:
                finished(client, method)
            assert (caught.value.model, caught.value.partial) == ("m", None)
            assert caught.value.request is not None
            assert caught.value.request.url == f"{url}{CHAT}"
            assert caught.value.retryable


@leaves_nothing
def test_the_total_ends_the_wait_for_a_connection_too() -> None:
    with host_that_takes_no_connection() as url, Client(url) as client:
        for limits in (SHORT, Timeouts(connect=None, total=SHORT)):
            for method in BOTH_WAYS:
                with pytest.raises(TotalTimeout, match=r"longer than 0\.05 s \(Timeouts\.total"):
                    finished(client, method, timeout=limits)


def test_a_connection_that_the_system_gives_up_itself_has_failed_though_there_is_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dial(*_: object) -> None:
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr(direct, "dial", dial)
    with Client("http://192.0.2.1", timeout=None, retry=None) as client:
        for method in BOTH_WAYS:
            with pytest.raises(ConnectionFailed, match=r"Connection timed out.*is Ollama running there"):
                finished(client, method)


@leaves_nothing
@pytest.mark.parametrize(
    ("limits", "kind", "words"),
    [
        (Timeouts(first_byte=SHORT), FirstByteTimeout, r"all 1 connections .* in use for 0\.05 s"),
        (Timeouts(first_byte=None, total=SHORT), TotalTimeout, r"longer than 0\.05 s"),
        (SHORT, TotalTimeout, r"longer than 0\.05 s"),
    ],
)
def test_the_wait_for_another_calls_connection_has_limits(
    server: FakeOllama, limits: Any, kind: type[OllamaTimeout], words: str
) -> None:
    server.on("POST", CHAT, silent_after(STREAM, 1), REPLY)
    with Client(server.url, max_connections=1, retry=None) as client:
        with client.chat_stream("m", "hi") as stream:
            next(stream)
            for method in BOTH_WAYS:
                with pytest.raises(kind, match=words):
                    finished(client, method, timeout=limits)
        assert client.chat("m", "hi", timeout=LONG).text == "abc"  # whoever gave up takes no place


# -- the answer


@leaves_nothing
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_server_that_does_not_answer_is_a_first_byte_timeout(server: FakeOllama, secure: bool) -> None:
    server.on("POST", CHAT, STREAM.delay(math.inf))
    limits = Timeouts(first_byte=SHORT)

    def check(client: Client) -> None:
        for count, method in enumerate(BOTH_WAYS, 1):
            with pytest.raises(FirstByteTimeout, match=r"within 0\.05 s \(Timeouts\.first_byte\)") as caught:
                finished(client, method)
            error = caught.value
            assert (error.status, error.model, error.partial) == (None, "m", None)
            assert isinstance(pickle.loads(pickle.dumps(error)), FirstByteTimeout)  # noqa: S301 - our own bytes
            server.wait_for_disconnect(count)
        assert len(server.requests) == 2  # a prompt is not run twice

    if secure:
        with TlsFront(server) as front, Client(front.url, verify=front.trusting, timeout=limits) as client:
            check(client)
    else:
        with Client(server.url, timeout=limits) as client:
            check(client)


@leaves_nothing
def test_headers_that_trickle_are_cut_by_the_limit_on_the_first_byte(server: FakeOllama) -> None:
    head = Raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000 + b"\r\nContent-Length: 0\r\n\r\n")
    for at in range(4, len(head.body), 4):
        head = head.stall(SHORT / 10, at=at)
    server.on("POST", CHAT, head)
    with Client(server.url, timeout=Timeouts(first_byte=2 * SHORT, between=LONG)) as client:
        for count, method in enumerate(BOTH_WAYS, 1):
            with pytest.raises(IdleTimeout, match=r"Timeouts\.first_byte"):
                finished(client, method)
            server.wait_for_disconnect(count)


@leaves_nothing
def test_a_plain_reply_that_stops_in_its_middle_is_waited_for_as_long_as_for_the_first_byte(
    server: FakeOllama,
) -> None:
    server.on("POST", CHAT, silent_after(REPLY.split([9]), 2))
    with Client(server.url, timeout=Timeouts(first_byte=SHORT)) as client:
        with pytest.raises(IdleTimeout, match=r"for 0\.05 s \(Timeouts\.first_byte\)"):
            client.chat("m", "hi")
        server.wait_for_disconnect()


@leaves_nothing
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_stream_that_falls_silent_is_an_idle_timeout_with_what_had_arrived(
    server: FakeOllama, secure: bool
) -> None:
    server.on("POST", CHAT, silent_after(STREAM, 2))
    limits = Timeouts(between=SHORT)

    def check(client: Client) -> None:
        stream = client.chat_stream("m", "hi")
        with pytest.raises(IdleTimeout, match=r"for 0\.05 s \(Timeouts\.between\)") as caught:
            stream.finish()
        error = caught.value
        assert isinstance(error.partial, ChatReply)
        assert (error.partial, error.partial.text) == (stream.partial, "ab")
        assert (error.status, error.model) == (200, "m")
        assert error.request is not None
        assert list(stream) == []
        server.wait_for_disconnect()

    if secure:
        with TlsFront(server) as front, Client(front.url, verify=front.trusting, timeout=limits) as client:
            check(client)
    else:
        with Client(server.url, timeout=limits) as client:
            check(client)


@leaves_nothing
def test_a_stream_that_keeps_coming_is_never_cut_by_the_limit_on_silence(server: FakeOllama) -> None:
    slow = Lines(*[chunk(str(number)) for number in range(8)], chunk(done=True))
    for count in range(len(slow.pieces)):
        slow = slow.stall(0.05, at=sum(map(len, slow.pieces[:count])))
    server.on("POST", CHAT, slow)
    with Client(server.url, timeout=Timeouts(between=0.4, first_byte=LONG)) as client:
        assert client.chat_stream("m", "hi").finish().text == "01234567"


@leaves_nothing
def test_a_server_that_takes_nothing_of_a_request_is_an_idle_timeout() -> None:
    long = "x" * 20_000_000
    with (
        host_that_reads_nothing() as url,
        Client(url, timeout=Timeouts(between=SHORT), retry=None) as client,
    ):
        for call in (client.chat, client.chat_stream):
            with pytest.raises(IdleTimeout, match=r"took nothing .* 0\.05 s \(Timeouts\.between\)"):
                call("m", long)
            with pytest.raises(TotalTimeout, match=r"longer than 0\.05 s"):
                call("m", long, timeout=Timeouts(between=None, total=SHORT))


# -- the whole call


@leaves_nothing
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_the_total_cuts_a_stream_that_keeps_coming(server: FakeOllama, secure: bool) -> None:
    endless = Lines(*[chunk("x") for _ in range(2000)], chunk(done=True))
    for count in range(2000):
        endless = endless.stall(0.005, at=count * len(endless.pieces[0]))
    server.on("POST", CHAT, endless)

    def check(client: Client) -> None:
        stream = client.chat_stream("m", "hi", timeout=4 * SHORT)
        with pytest.raises(
            TotalTimeout, match=r"longer than 0\.2 s \(Timeouts\.total, or timeout=\)"
        ) as caught:
            stream.finish()
        assert isinstance(caught.value.partial, ChatReply)
        assert caught.value.partial == stream.partial
        assert set(stream.partial.text) == {"x"}
        assert (caught.value.status, caught.value.model) == (200, "m")
        assert not caught.value.retryable
        server.wait_for_disconnect()

    if secure:
        with TlsFront(server) as front, Client(front.url, verify=front.trusting) as client:
            check(client)
    else:
        with Client(server.url) as client:
            check(client)


@leaves_nothing
@pytest.mark.parametrize("limits", [SHORT, Timeouts(first_byte=None, total=SHORT)])
def test_the_total_cuts_a_call_that_is_not_answered_and_it_is_not_tried_again(
    server: FakeOllama, limits: Any
) -> None:
    server.on("GET", "/api/tags", Json({"models": []}).delay(math.inf))
    with Client(server.url, timeout=limits) as client:
        with pytest.raises(TotalTimeout, match=r"longer than 0\.05 s"):
            client.list_models()
        assert len(server.requests) == 1


@leaves_nothing
def test_the_total_spans_the_tries(server: FakeOllama) -> None:
    busy = Json({"error": "server busy"}, 503)
    server.on("POST", CHAT, busy, busy, REPLY.delay(math.inf))
    policy = RetryPolicy(wait_initial=0, wait_max=0)
    with Client(server.url, timeout=3 * SHORT, retry=policy) as client:
        with pytest.raises(TotalTimeout, match=r"longer than 0\.15 s") as caught:
            client.chat("m", "hi")
        assert len(server.requests) == 3
        assert "tried 3 times" in "".join(caught.value.__notes__)


@leaves_nothing
def test_no_try_follows_that_could_start_only_after_the_total(server: FakeOllama) -> None:
    server.on("POST", CHAT, Json({"error": "server busy"}, 503))
    waits: list[float] = []
    policy = RetryPolicy(
        wait_initial=1,
        wait_max=100,
        jitter=0,
        total=None,
        attempts=9,
        on_retry=lambda r: waits.append(r.wait),
    )
    with Client(server.url, timeout=10, retry=policy) as client, no_wait():
        with pytest.raises(ServerBusy):  # it tells more than that the time is over
            client.chat("m", "hi")
        assert waits == [1, 2, 4]
        assert len(server.requests) == 4


# -- pulls, pushes and creates


@leaves_nothing
@pytest.mark.parametrize("path", [PULL, PUSH, CREATE])
def test_a_pause_of_a_transfer_that_is_longer_than_between_is_no_silence(
    server: FakeOllama, path: str
) -> None:
    server.on("POST", path, STEPS.stall(4 * SHORT, at=len(STEPS.pieces[0])))
    with Client(server.url, timeout=Timeouts(between=SHORT, first_byte=LONG)) as client:
        finished(client, TRANSFERS[path])
        with started(client, f"{TRANSFERS[path]}_stream") as stream:
            assert [step.status for step in stream] == ["preparing", "moving aa", "success"]
        assert len(server.requests) == 2


@leaves_nothing
@pytest.mark.parametrize("path", [PULL, PUSH, CREATE])
def test_a_transfer_that_falls_silent_is_an_idle_timeout_that_tells_how_far_it_had_come(
    server: FakeOllama, path: str
) -> None:
    server.on("POST", path, silent_after(STEPS, 2))
    with Client(server.url, timeout=Timeouts(first_byte=SHORT, between=LONG), retry=None) as client:
        for method in (TRANSFERS[path], f"{TRANSFERS[path]}_stream"):
            with pytest.raises(IdleTimeout, match=r"for 0\.05 s \(Timeouts\.first_byte\)") as caught:
                finished(client, method)
            progress = caught.value.progress
            assert isinstance(progress, Progress)
            assert (progress.completed, progress.total) == (4, 10)
            assert (caught.value.model, caught.value.status) == ("m", 200)
        server.wait_for_disconnect(2)


@leaves_nothing
@pytest.mark.parametrize("path", [PULL, PUSH, CREATE])
def test_the_total_cuts_a_transfer(server: FakeOllama, path: str) -> None:
    server.on("POST", path, silent_after(STEPS, 2))
    with Client(server.url) as client:
        for method in (TRANSFERS[path], f"{TRANSFERS[path]}_stream"):
            with pytest.raises(TotalTimeout) as caught:
                finished(client, method, timeout=SHORT)
            assert isinstance(caught.value.progress, Progress)
        server.wait_for_disconnect(2)


# -- whose limits


@leaves_nothing
def test_the_limits_of_a_call_beat_those_of_the_client(server: FakeOllama) -> None:
    late = 2 * SHORT
    server.on("POST", CHAT, REPLY.delay(late))
    server.on(
        "POST", GENERATE, Json({"model": "m", "created_at": "", "response": "x", "done": True}).delay(late)
    )
    server.on("POST", EMBED, Json({"model": "m", "embeddings": [[0.5]]}).delay(late))
    server.on("GET", "/api/version", Json({"version": "1"}).delay(late))
    with Client(server.url, timeout=SHORT, retry=None) as client:
        for method in ("chat", "generate", "embed", "server_version"):
            with pytest.raises(TotalTimeout):
                finished(client, method)
            for patient in (None, Timeouts(total=LONG)):
                assert finished(client, method, timeout=patient)


@leaves_nothing
def test_a_client_with_other_limits_shares_the_connections(server: FakeOllama) -> None:
    server.on("POST", CHAT, REPLY, REPLY, REPLY.delay(3 * SHORT), REPLY.delay(math.inf))
    with Client(server.url) as client:
        hasty, patient = client.with_options(timeout=SHORT), client.with_options(timeout=None)
        hasty.chat("m", "hi")
        client.chat("m", "hi")
        patient.chat("m", "hi")
        assert server.connections == 1
        with pytest.raises(TotalTimeout):
            hasty.chat("m", "hi")
