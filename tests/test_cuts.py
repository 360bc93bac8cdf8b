"""Connections cut at every byte: the outcome is whole, or says that it is not, and no socket stays behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cuts import Case, all_cases, case, check_cut
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts import BOTH_WAYS, CHAT, finished

from ollama_ext import Client, ConnectionFailed, Timeouts
from ollama_ext.testing import FakeOllama, Json, Raw
from ollama_ext.transport import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cuts import How

pytestmark = pytest.mark.usefixtures("nothing_left_open")

#: Small ones of each kind, cut at every byte.
SWEPT = [
    case("chat-stream-tools", "chat_stream", "v0.9.6"),
    case("generate-stream-thinking", "generate_stream"),
    case("pull-registry-stream", "pull_model_stream"),
    case("pull-registry-missing", "pull_model_stream"),
    case("push-missing", "push_model_stream"),
    case("create-safetensors-stream", "create_model_stream", "v0.24.0"),
    case("pull-registry-nostream", "pull_model_stream"),
    case("chat-unload", "chat_stream"),
    case("chat-unload", "chat"),
    case("generate-unload", "generate", "v0.24.0"),
    case("embed-null", "embed"),
]
CASES = all_cases()


@pytest.fixture
def client(server: FakeOllama) -> Iterator[Client]:
    """Make a client that tries once, and uses no connection again: the server may be about to close it."""
    with Client(server.url, retry=None, max_idle_connections=0) as made:
        yield made


@pytest.mark.parametrize("how", ["clean", "close", "reset"])
@pytest.mark.parametrize("swept", SWEPT, ids=repr)
def test_an_answer_cut_at_any_byte_is_whole_or_says_that_it_is_not(
    server: FakeOllama, client: Client, swept: Case, how: How
) -> None:
    for at in range(len(swept.body) + 1):
        check_cut(server, client, swept, at, how)


@st.composite
def some_cut(draw: st.DrawFn) -> tuple[Case, int, list[int]]:
    """Draw a recorded answer, a place to cut it, and pieces to send it in; the ends of lines are likelier."""
    cut = draw(st.sampled_from(CASES))
    body = cut.body
    ends = [at + after for at, byte in enumerate(body) if byte == 10 for after in (0, 1)]
    place = st.integers(0, len(body))
    at = draw(place | st.sampled_from([0, *ends, len(body) - 1, len(body)]))
    return cut, at, draw(st.lists(st.integers(1, 4000), max_size=6))


sampled = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("how", ["clean", "close", "reset"])
def test_all_recorded_answers_cut_anywhere_and_sent_in_any_pieces(
    server: FakeOllama, client: Client, how: How
) -> None:
    @sampled
    @given(some_cut())
    def check(drawn: tuple[Case, int, list[int]]) -> None:
        cut, at, sizes = drawn
        check_cut(server, client, cut, at, how, sizes=sizes)

    check()


def test_all_recorded_answers_that_stall_anywhere(
    server: FakeOllama, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "DRAIN_LIMIT", 0.02)
    hasty = client.with_options(timeout=Timeouts(first_byte=0.25, between=0.25))

    @settings(sampled, max_examples=24)
    @given(some_cut())
    def check(drawn: tuple[Case, int, list[int]]) -> None:
        cut, at, sizes = drawn
        check_cut(server, hasty, cut, at, "stall", sizes=sizes)

    check()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", [*BOTH_WAYS, "embed", "pull_model", "list_models"])
def test_headers_cut_at_any_byte_are_a_failed_connection(
    server: FakeOllama, client: Client, method: str, how: Any
) -> None:
    head = Raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n")
    for at in range(len(head.body)):
        for verb, path in (
            ("POST", CHAT),
            ("POST", "/api/embed"),
            ("POST", "/api/pull"),
            ("GET", "/api/tags"),
        ):
            server.on(verb, path, head.cut(at, how))
        with pytest.raises(ConnectionFailed) as caught:
            finished(client, method)
        error = caught.value
        assert error.stage == ("receive" if at else "send")
        assert error.retryable
        assert error.request is not None
        assert error.request.url.startswith(f"{server.url}/api/")
        assert error.model == (None if method == "list_models" else "m")


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", BOTH_WAYS)
def test_an_error_body_cut_at_any_byte_is_a_failed_connection(
    server: FakeOllama, client: Client, method: str, how: Any
) -> None:
    refusal = Json({"error": "model 'm' not found"}, 404)
    for at in range(len(refusal.body)):
        server.on("POST", CHAT, refusal.cut(at, how))
        with pytest.raises(ConnectionFailed):
            finished(client, method)
