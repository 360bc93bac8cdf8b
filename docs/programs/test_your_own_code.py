"""Test code that talks to Ollama, without one: pytest test_your_own_code.py"""

import pytest

from ollama_ext import Client, RetryPolicy, StreamTruncated
from ollama_ext.testing import FakeOllama, Json, Recording, no_wait


def summarise(client: Client, text: str) -> str:
    """Stand for the code under test."""
    return client.chat("smollm2:135m", f"Summarise: {text}").text


def test_a_busy_server_is_asked_again() -> None:
    """Without waiting, and the calls counted."""
    busy = Json({"error": "server busy, please try again.  maximum pending requests exceeded"}, 503)
    with FakeOllama() as server, Client(server.url, retry=RetryPolicy(attempts=3)) as client, no_wait():
        server.on("POST", "/api/chat", busy, busy, Recording("chat-nostream"))
        assert summarise(client, "a long text")
        assert len(server.requests) == 3


def test_what_had_arrived_is_kept_when_the_connection_breaks() -> None:
    """Cut in the middle of a recorded reply."""
    with FakeOllama() as server, Client(server.url) as client:
        server.on("POST", "/api/chat", Recording("chat-stream").cut(at=500, how="reset"))
        with pytest.raises(StreamTruncated) as caught:
            client.chat_stream("smollm2:135m", "Why is the sky blue?").finish()
        assert caught.value.partial_text.startswith("The")
