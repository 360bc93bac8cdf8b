"""One client for many threads, and none for two processes."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from background import background, wait_until
from scripts import CHAT, PULL, STEPS, STREAM, silent_after, started

from ollama_ext import Client, OllamaError, Timeouts, TotalTimeout
from ollama_ext.transport.limits import Limits
from ollama_ext.transport.pool import Pool

if TYPE_CHECKING:
    from ollama_ext.testing import FakeOllama
    from ollama_ext.transport.connection import Connection

THREADS, ROUNDS = 32, 8
EMBEDDER = "all-minilm:l6-v2"


def spelling(number: int) -> str:
    """Return the name of a model in a spelling of its own for each thread, which the server echoes."""
    letters = zip("smollm", f"{number:06b}", strict=True)
    return "".join(letter.upper() if bit == "1" else letter for letter, bit in letters) + "2:135m"


def one_call(client: Client, kind: int, number: int) -> None:
    """Make a call, and see that the answer is the one to it."""
    model = spelling(number)
    match kind:
        case 0:
            assert client.chat(model, "hi").result.model == model
        case 1:
            assert client.chat_stream(model, "hi").finish().result.model == model
        case 2:
            with client.generate_stream(model, "hi") as stream:  # and leave it early
                assert next(stream).type == "text"
                assert stream.partial.result.model == model
        case _:
            assert len(client.embed(EMBEDDER, ["x"] * (number + 1)).embeddings) == number + 1


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("most", [None, 4])
def test_one_client_serves_many_threads_each_with_its_own_answers(
    server: FakeOllama, most: int | None
) -> None:
    barrier = threading.Barrier(THREADS)

    def work(client: Client, number: int) -> None:
        barrier.wait(20)
        for turn in range(ROUNDS):
            one_call(client, (number + turn) % 4, number)

    with Client(server.url, max_connections=most) as client:
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(work, client, number) for number in range(THREADS)]:
                done.result()
        assert len(server.requests) == THREADS * ROUNDS
        left_early = THREADS * ROUNDS // 4
        assert server.connections <= (THREADS if most is None else most) + left_early
        assert max(concurrent(server)) <= (most or THREADS)


def concurrent(server: FakeOllama) -> list[int]:
    """Return how many connections were in use at each request: from its first request to its last."""
    numbers = [each.connection for each in server.requests]
    first = {number: numbers.index(number) for number in numbers}
    last = {number: at for at, number in enumerate(numbers)}
    return [sum(first[each] <= at <= last[each] for each in first) for at in range(len(numbers))]


@pytest.mark.usefixtures("nothing_left_open")
def test_no_more_connections_are_open_at_a_time_than_is_allowed(server: FakeOllama) -> None:
    server.on("POST", CHAT, silent_after(STREAM, 1))
    with Client(server.url, max_connections=3) as client:
        streams = [client.chat_stream("m", "hi") for _ in range(3)]
        with background(client.server_version) as waiting:
            way: Any = client._calls.transport._way  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - tells who waits
            wait_until(lambda: way.pool._changed._waiters)  # noqa: SLF001
            assert server.connections == 3
            assert not waiting.done()
            streams[1].close()
            assert waiting.result(20)
        assert server.connections == 4
        for stream in streams:
            stream.close()


@pytest.mark.usefixtures("nothing_left_open")
def test_connections_that_were_used_at_once_are_kept_as_far_as_allowed(server: FakeOllama) -> None:
    server.on("POST", CHAT, STREAM.stall(math.inf, at=len(STREAM.pieces[0])), STREAM)
    for kept in (0, 2):
        with Client(server.url, max_idle_connections=kept) as client:
            before = server.connections
            server.on("POST", CHAT, STREAM)
            streams = [client.chat_stream("m", "hi") for _ in range(4)]
            assert server.connections == before + 4
            for stream in streams:
                stream.finish()
            for stream in [client.chat_stream("m", "hi") for _ in range(4)]:
                stream.finish()
            assert server.connections == before + 8 - kept


class LateLimits(Limits):
    """Limits of a call whose time is over at the very moment at which it is its turn."""

    def __init__(self) -> None:
        """Start the count."""
        super().__init__(Timeouts())
        self.checks = 0

    def check(self) -> None:
        """Be too late the third time."""
        self.checks += 1
        if self.checks == 3:  # after it was woken
            raise TotalTimeout("too late")


class FakeConnection:
    """As much of a connection as a pool looks at."""

    idle_since = math.inf
    reused = False

    def is_stale(self) -> bool:
        """Be as good as new."""
        return False

    def close(self) -> None:
        """Do nothing."""


def test_a_call_that_gives_up_when_it_is_its_turn_lets_the_next_one_have_it() -> None:
    connection: Connection = FakeConnection()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    pool = Pool(lambda _: connection, 1, 1, 60)
    held = pool.take(Limits(Timeouts()))
    condition: Any = pool._changed  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - tells who waits
    waiters = condition._waiters  # noqa: SLF001
    with background(lambda: pool.take(LateLimits())) as late:
        wait_until(lambda: len(waiters) == 1)
        with background(lambda: pool.take(Limits(Timeouts()))) as patient:
            wait_until(lambda: len(waiters) == 2)
            pool.put_back(held)
            assert isinstance(late.exception(20), TotalTimeout)
            assert patient.result(20) is connection


# -- streams and threads


@pytest.mark.usefixtures("nothing_left_open")
@pytest.mark.parametrize("method", ["chat_stream", "pull_model_stream"])
def test_a_stream_that_another_thread_reads_is_left_alone(
    server: FakeOllama, client: Client, method: str
) -> None:
    server.on("POST", CHAT, silent_after(STREAM, 1))
    server.on("POST", PULL, silent_after(STEPS, 1))
    stream = started(client, method)
    next(stream)
    events = stream._events if method == "chat_stream" else stream._steps  # noqa: SLF001
    with background(lambda: next(stream)) as reading:
        wait_until(lambda: events.gi_running)
        for use in (stream.close, stream.finish, lambda: next(stream), lambda: list(stream)):
            with pytest.raises(OllamaError, match="another thread is reading this stream"):
                use()
        assert not server.requests[0].disconnected
        stream.cancel()
        assert reading.exception(20)


@pytest.mark.usefixtures("nothing_left_open")
def test_closing_a_client_ends_the_calls_of_all_threads(server: FakeOllama) -> None:
    server.on("POST", CHAT, STREAM.delay(math.inf))
    client = Client(server.url)
    with (
        background(lambda: client.chat("m", "hi")) as plain,
        background(lambda: client.chat_stream("m", "hi")) as stream,
    ):
        server.wait_for_request(2)
        client.close()
        for call in (plain, stream):
            assert isinstance(error := call.exception(20), OllamaError)
            assert "this client was closed" in str(error)
            assert not error.retryable
    server.wait_for_disconnect(2)


def all_calls(client: Client) -> None:
    """Make one call of each kind."""
    for kind in range(4):
        one_call(client, kind, kind)


@pytest.mark.usefixtures("nothing_left_open")
def test_closing_a_client_at_any_moment_ends_each_call_in_a_known_way(server: FakeOllama) -> None:
    chance = random.Random(4)  # noqa: S311 - guards nothing
    for _ in range(40):
        client = Client(server.url, retry=None)
        closer = threading.Timer(chance.uniform(0, 0.004), client.close)
        with background(partial(all_calls, client)) as calls:
            closer.start()
            try:
                calls.result(20)
            except OllamaError as error:
                assert "closed" in str(error)  # noqa: PT017 - not each time
            closer.join()


# -- processes

FORK = """
import gc, os, sys
from ollama_ext import Client, OllamaError

client = Client(sys.argv[1])
client.server_version()  # leaves an idle connection
stream = client.chat_stream("m", "hi")
print(next(stream).text, flush=True)
child = os.fork()
if child == 0:
    uses = [
        client.server_version,
        client.with_options(retry=None).list_models,
        lambda: client.chat("m", "hi"),
        lambda: client.chat_stream("m", "hi"),
        lambda: next(stream),
    ]
    for use in uses:
        try:
            use()
        except OllamaError as error:
            assert "before a fork" in str(error), error
            assert type(error) is OllamaError
        else:
            raise SystemExit("the child could use it")
    assert stream.partial.text == "a"
    with Client(sys.argv[1]) as own:
        own.server_version()
    {leave}
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(client.server_version(), flush=True)
sys.stdin.readline()
stream.close()
client.close()
"""
LEAVE = {
    "by its end": "sys.exit()",
    "by closing all": "stream.cancel(); stream.close(); client.close(); client.close(); sys.exit()",
    "by a collected stream": "del stream; gc.collect(); os._exit(0)",
    "by a with block": "\n    with client, stream:\n        sys.exit()",
}


@pytest.mark.parametrize("leave", LEAVE)
def test_a_child_is_told_to_make_its_own_client_and_harms_nothing_of_its_parents(
    server: FakeOllama, leave: str
) -> None:
    server.on("POST", CHAT, silent_after(STREAM, 1))
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-W", "error", "-c", FORK.replace("{leave}", LEAVE[leave]), server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert parent.stdout.readline() == "a\n"
        version = parent.stdout.readline()
        assert version.startswith("0.33"), parent.stderr.read()
        asked = next(request for request in server.requests if request.path == CHAT)
        assert not asked.disconnected  # the stream of the parent lives on
        parent.stdin.write("go on\n")
        parent.stdin.close()
        assert parent.wait(20) == 0, parent.stderr.read()
