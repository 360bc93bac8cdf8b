"""Cancelling at any moment: a call gives a whole reply or is cancelled, and there is no third way."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from scripts import CHAT, EMBED, GENERATE, PULL, STEPS, STREAM, finished, started

from ollama_ext import Cancelled, CancelToken, Client
from ollama_ext.testing import FakeOllama, Json

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[Client, CancelToken], Any]

THREADS, ROUNDS = 8, 25
PAUSE = 0.002  # seconds, twice in each answer: time to be cancelled in
GENERATED = {"model": "m", "created_at": "", "response": "abc", "done": True}

#: What is called, and what it must give unless it is cancelled.
CALLS: list[tuple[Call, object]] = [
    (lambda client, token: client.generate("m", "hi", cancel=token).text, "abc"),
    (lambda client, token: client.chat_stream("m", "hi", cancel=token).finish().text, "abc"),
    (lambda client, token: client.embed("m", "hi", cancel=token).embeddings, [[0.5]]),
    (lambda client, token: client.list_models(cancel=token), []),
    (lambda client, token: finished(client, "pull_model_stream", cancel=token), None),
]


def cancel_at_random(client: Client, chance: random.Random, called: tuple[Call, object]) -> str:
    """Make a call that another thread cancels at some moment; return what became of it."""
    call, whole = called
    token = CancelToken()
    canceller = threading.Timer(chance.uniform(0, 4 * PAUSE), token.cancel)
    canceller.start()
    try:
        assert call(client, token) == whole
    except Cancelled:
        assert token.cancelled
        return "cancelled"
    finally:
        canceller.join()
    return "whole"


def cancel_stream_at_random(client: Client, chance: random.Random) -> str:
    """Do the same with the `cancel` of a stream."""
    stream = started(client, "chat_stream")
    canceller = threading.Timer(chance.uniform(0, 2 * PAUSE), stream.cancel)
    canceller.start()
    try:
        assert stream.finish().text == "abc"
    except Cancelled:
        assert "abc".startswith(stream.partial.text)
        return "cancelled"
    finally:
        canceller.join()
    return "whole"


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("most", [None, 3], ids=["unlimited", "three connections"])
def test_a_call_that_is_cancelled_at_any_moment_is_whole_or_cancelled(
    server: FakeOllama, most: int | None
) -> None:
    middle = len(STREAM.pieces[0])
    server.on("POST", CHAT, STREAM.delay(PAUSE).stall(PAUSE, at=middle))
    server.on("POST", GENERATE, Json(GENERATED).delay(2 * PAUSE))
    server.on("POST", EMBED, Json({"model": "m", "embeddings": [[0.5]]}).delay(PAUSE))
    server.on("POST", PULL, STEPS.stall(PAUSE, at=0).stall(PAUSE, at=len(STEPS.pieces[0])))
    server.on("GET", "/api/tags", Json({"models": []}).delay(2 * PAUSE))

    def work(number: int) -> list[str]:
        chance = random.Random(number)  # noqa: S311 - guards nothing
        outcomes = []
        for turn in range(ROUNDS):
            kind = (number + turn) % (len(CALLS) + 1)
            if kind == len(CALLS):
                outcomes.append(cancel_stream_at_random(client, chance))
            else:
                outcomes.append(cancel_at_random(client, chance, CALLS[kind]))
        return outcomes

    with Client(server.url, max_connections=most) as client, ThreadPoolExecutor(THREADS) as pool:
        outcomes = Counter(outcome for each in pool.map(work, range(THREADS)) for outcome in each)
        assert sum(outcomes.values()) == THREADS * ROUNDS
        assert outcomes["cancelled"] > 0
        assert client.list_models() == []
