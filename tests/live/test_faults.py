"""A real Ollama that is killed, busy or cut off: servers of our own, from a program and a store of models.

Needs ``$OLLAMA_BINARY`` (the program) and ``$OLLAMA_MODELS_FROM`` (a store with a small model for text and
one for embeddings; it is only read).
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from real_server import real_server
from registry import registry

from ollama_ext import (
    Cancelled,
    CancelToken,
    Client,
    ConnectionFailed,
    ModelNotInRegistry,
    OllamaError,
    Retry,
    RetryPolicy,
    ServerBusy,
    ServerError,
    StreamError,
    StreamTruncated,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from real_server import RealServer

pytestmark = pytest.mark.skipif(
    not {"OLLAMA_BINARY", "OLLAMA_MODELS_FROM"} <= os.environ.keys(),
    reason="set OLLAMA_BINARY (the program) and OLLAMA_MODELS_FROM (a store of models, only read)",
)

ENDLESS = {"num_predict": 2000, "temperature": 1.5}
STORY = "Tell a very long story."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealServer]:
    with real_server(tmp_path) as running:
        yield running


@pytest.fixture
def client(server: RealServer) -> Iterator[Client]:
    with Client(server.host) as client:
        yield client


def smallest(client: Client, capability: str) -> str:
    for entry in sorted(client.list_models(), key=lambda entry: entry.size):
        if capability in (client.show_model(entry.name).capabilities or []):
            return entry.name
    pytest.fail(f"the store has no model with the capability {capability!r}")


@pytest.fixture
def talker(client: Client) -> str:
    return smallest(client, "completion")


@pytest.fixture
def embedder(client: Client) -> str:
    return smallest(client, "embedding")


def test_a_runner_that_is_killed_in_a_stream_is_an_error_with_what_had_arrived(
    server: RealServer, client: Client, talker: str
) -> None:
    with client.chat_stream(talker, STORY, options=ENDLESS) as stream:
        next(stream)
        server.kill_runners()
        with pytest.raises((StreamError, StreamTruncated)) as caught:
            stream.finish()
    assert caught.value.partial_text

    assert client.chat(talker, "Hi.", options={"num_predict": 5}).text  # a new runner


def test_a_runner_that_is_killed_in_a_plain_call_is_tried_once_more(
    server: RealServer, client: Client, talker: str
) -> None:
    client.load_model(talker)
    retries: list[Retry] = []
    policy = RetryPolicy(on_retry=retries.append)
    threading.Timer(0.5, server.kill_runners).start()

    assert client.generate(talker, STORY, options={"num_predict": 300, "seed": 1}, retry=policy).text
    assert [type(retry.error) for retry in retries] in ([ServerError], [])  # it may have been done by then


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_in_a_stream_leaves_half_a_reply_and_an_error(
    server: RealServer, client: Client, talker: str, how: signal.Signals
) -> None:
    with client.chat_stream(talker, STORY, options=ENDLESS) as stream:
        next(stream)
        server.end(how)
        with pytest.raises((StreamTruncated, StreamError)) as caught:
            stream.finish()
    assert caught.value.partial_text


def test_a_server_that_ends_in_a_plain_call_is_a_failure_and_no_second_prompt(
    server: RealServer, client: Client, talker: str
) -> None:
    client.load_model(talker)
    retries: list[Retry] = []
    threading.Timer(0.5, server.end).start()
    fresh = Client(server.host, retry=RetryPolicy(on_retry=retries.append))  # no connection is kept
    with fresh, pytest.raises(ConnectionFailed) as caught:
        fresh.chat(talker, STORY, options=ENDLESS)
    assert caught.value.stage == "send"
    assert retries == []


def test_a_server_that_was_restarted_between_two_calls_is_no_failure(
    server: RealServer, client: Client, talker: str
) -> None:
    assert client.chat(talker, "Hi.", options={"num_predict": 5}).text
    server.end()
    server.start()
    assert client.chat(talker, "Hi.", options={"num_predict": 5}).text


def test_a_busy_server_says_so_and_serves_those_who_wait(tmp_path: Path) -> None:
    limits = {"OLLAMA_MAX_QUEUE": "1", "OLLAMA_MAX_LOADED_MODELS": "1", "OLLAMA_NUM_PARALLEL": "1"}
    with real_server(tmp_path, **limits) as server, Client(server.host) as client:
        talker, embedder = smallest(client, "completion"), smallest(client, "embedding")
        refused: list[OllamaError] = []
        stop = CancelToken()

        def ask_for_the_other() -> None:
            try:
                client.embed(embedder, "red", retry=None, cancel=stop)
            except Cancelled:
                pass
            except OllamaError as error:
                refused.append(error)

        with client.generate_stream(talker, STORY, options=ENDLESS) as stream:
            next(stream)
            threads = [threading.Thread(target=ask_for_the_other) for _ in range(12)]
            for thread in threads:
                thread.start()
            while not refused:
                next(stream)  # the model is in use: the others must wait, and the queue is short
        stop.cancel()
        for thread in threads:
            thread.join()
        assert {type(error) for error in refused} == {ServerBusy}
        patient = RetryPolicy(attempts=50, wait_max=1.0)
        assert client.embed(embedder, "red", retry=patient).embeddings


def test_an_embedding_survives_a_runner_that_is_killed_before_it(
    server: RealServer, client: Client, embedder: str
) -> None:
    client.load_model(embedder)
    server.kill_runners()
    assert client.embed(embedder, ["red", "green"]).embeddings


def test_a_cancelled_call_frees_the_model(client: Client, talker: str) -> None:
    client.load_model(talker)
    token = CancelToken()
    threading.Timer(0.5, token.cancel).start()
    with pytest.raises(Cancelled):
        client.generate(talker, STORY, options={"num_predict": 100_000}, cancel=token)
    assert client.chat(talker, "Hi.", options={"num_predict": 5}).text


def test_a_model_goes_to_a_registry_and_comes_back(client: Client, talker: str) -> None:
    with registry() as there:
        name = f"{there.address}/library/round-trip:test"
        client.create_model(name, talker, system="You are brief.")
        client.push_model(name, insecure=True)
        assert len(there.manifests) == 1
        client.delete_model(name)

        with client.pull_model_stream(name, insecure=True) as steps:
            fractions = [step.overall.fraction for step in steps]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0
        assert client.show_model(name).system == "You are brief."
        assert client.chat(name, "Hi.", options={"num_predict": 5}).text


def test_a_registry_that_cuts_a_download_costs_time_only(client: Client, embedder: str) -> None:
    with registry() as there:
        name = f"{there.address}/library/cut:test"
        client.create_model(name, embedder, system="x")
        client.push_model(name, insecure=True)
        client.delete_model(name)
        client.delete_model(embedder)  # so that the blobs have to come from there
        there.cut_downloads = 2
        client.pull_model(name, insecure=True)
        assert there.cut_downloads == 0
        assert client.embed(name, "red").embeddings


def test_a_model_that_no_registry_has_is_said_to_be_missing(client: Client) -> None:
    with registry() as there, pytest.raises(ModelNotInRegistry):
        client.pull_model(f"{there.address}/library/nothing", insecure=True)
