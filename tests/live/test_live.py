"""Against a real Ollama: `OLLAMA_HOST=... tox -e live`. Reads and infers; changes nothing of what it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ollama_ext import Client, Done, ResponseError, StreamNotFinished, TextDelta

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME = {"temperature": 0, "seed": 7, "num_predict": 24}
QUESTION = "Name three colours."


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    if not os.environ.get("OLLAMA_HOST"):
        pytest.exit("OLLAMA_HOST is not set: these tests need a real Ollama", returncode=2)
    with Client() as client:
        yield client


def smallest(client: Client, capability: str) -> str:
    """Return the smallest local model with a capability."""
    local = [entry for entry in client.list_models() if not (entry.remote_host or entry.remote_model)]
    for entry in sorted(local, key=lambda entry: entry.size):
        if capability in (client.show_model(entry.name).capabilities or []):
            return entry.name
    pytest.fail(f"the server at {client.host} has no local model with the capability {capability!r}")


@pytest.fixture(scope="module")
def talker(client: Client) -> str:
    return smallest(client, "completion")


@pytest.fixture(scope="module")
def embedder(client: Client) -> str:
    return smallest(client, "embedding")


def test_the_server_tells_its_version(client: Client) -> None:
    assert client.server_version()[0].isdigit()


def test_every_listed_model_can_be_shown(client: Client) -> None:
    listed = client.list_models()

    assert listed
    for entry in listed:
        assert client.show_model(entry.name).details.format_


def test_a_stream_adds_up_to_what_the_plain_call_returns(client: Client, talker: str) -> None:
    client.chat(talker, QUESTION, options=SAME)  # the same state of the prompt cache for both
    plain = client.chat(talker, QUESTION, options=SAME)
    with client.chat_stream(talker, QUESTION, options=SAME) as stream:
        events = list(stream)

    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == stream.reply.text
    assert isinstance(events[-1], Done)
    assert stream.reply.text == plain.text
    assert stream.reply.usage.output_tokens == plain.usage.output_tokens
    assert set(stream.reply.result.to_dict()) == set(plain.result.to_dict())


def test_a_generated_text_streams_and_comes_whole(client: Client, talker: str) -> None:
    client.generate(talker, QUESTION, options=SAME)
    plain = client.generate(talker, QUESTION, options=SAME)
    with client.generate_stream(talker, QUESTION, options=SAME) as stream:
        text = "".join(stream.text_deltas())

    assert text == stream.reply.text == plain.text
    assert stream.reply.result.context == plain.result.context


def test_a_reply_goes_back_into_the_history(client: Client, talker: str) -> None:
    first = client.chat(talker, QUESTION, options=SAME)
    history = [
        {"role": "user", "content": QUESTION},
        first.message,
        {"role": "user", "content": "And a fourth?"},
    ]

    assert client.chat(talker, history, options=SAME).usage.output_tokens > 0


def test_log_probabilities_come_with_their_tokens(client: Client, talker: str) -> None:
    with client.chat_stream(talker, QUESTION, options=SAME, logprobs=True, top_logprobs=2) as stream:
        reply = stream.finish()

    assert "".join(entry.token for entry in reply.logprobs).strip() == reply.text.strip()


def test_a_model_is_loaded_and_unloaded_without_messages(client: Client, talker: str) -> None:
    assert client.chat(talker, None).done_reason == "load"
    with client.chat_stream(talker, None, keep_alive=0) as stream:
        assert stream.finish().done_reason == "unload"


def test_leaving_a_stream_early_stops_the_model(client: Client, talker: str) -> None:
    with client.generate_stream(
        talker, "Count to a thousand.", raw=True, options={"num_predict": 500}
    ) as stream:
        next(stream)
    with pytest.raises(StreamNotFinished):
        stream.reply  # noqa: B018 - the property raises
    assert stream.partial.usage.output_tokens == 0

    assert client.chat(talker, QUESTION, options=SAME).text  # the server is free again


def test_embeddings_come_in_order_and_have_length_one(client: Client, embedder: str) -> None:
    together = client.embed(embedder, ["red", "green", "red"]).embeddings
    alone = client.embed(embedder, "green").embeddings[0]

    assert len(together) == 3
    assert together[0] == pytest.approx(together[2], abs=1e-3)
    assert together[1] == pytest.approx(alone, abs=1e-2)
    assert sum(x * x for x in alone) == pytest.approx(1, abs=1e-3)


def test_a_missing_model_is_refused_in_the_servers_words(client: Client) -> None:
    for call in (client.chat, client.chat_stream, client.generate, client.embed):
        with pytest.raises(ResponseError, match="not found") as caught:
            call("ollama-ext-no-such-model", "hello")
        assert caught.value.status == 404


def test_a_prompt_that_does_not_fit_is_refused(client: Client, talker: str) -> None:
    with pytest.raises(ResponseError) as caught:
        client.chat(talker, "word " * 9000, truncate=False, shift=False, options={"num_ctx": 512})

    assert caught.value.status == 400
    assert "context" in caught.value.message
    assert "{" not in caught.value.message


def test_the_spec_knows_all_that_the_server_sends(client: Client) -> None:
    drift = Path(__file__).parents[2] / "spec" / "drift"
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, str(drift), "--server", client.host], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
