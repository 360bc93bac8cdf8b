"""Signals: Ctrl-C comes out of whatever waits, as KeyboardInterrupt, and leaves nothing behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from background import background
from scripts import CHAT, PULL, REPLY, STEPS, STREAM, host_that_takes_no_connection, silent_after

from ollama_ext import Cancelled, CancelToken, Client
from ollama_ext.testing import FakeOllama, Json
from ollama_ext.transport.message import Message

if TYPE_CHECKING:
    from collections.abc import Generator

#: A program that is interrupted while it does something, and then looks at what is left.
PROGRAM = """
import signal, sys
from pathlib import Path
from ollama_ext import Client, RetryPolicy

def files():
    return len(list(Path("/proc/self/fd").iterdir()))

client = Client(sys.argv[1], **{options})
before = files()
try:
    print("ready", flush=True)
    {work}
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("interrupted", flush=True)
print(files() - before, "files more", flush=True)
if {again}:
    client.server_version()
client.close()
print(files() - before, "files more", flush=True)
"""


@contextmanager
def program(
    url: str, work: str, *, again: bool = True, options: str = "{}"
) -> Generator[subprocess.Popen[str]]:
    """Run the program until it is about to do its work."""
    code = PROGRAM.format(work=work, again=again, options=options)
    command = [sys.executable, "-W", "error", "-c", code, url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:  # noqa: S603 - ours
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            yield running
        finally:
            running.kill()


def interrupt(running: subprocess.Popen[str]) -> str:
    """Press Ctrl-C, and return what the program says from then on; it must reach its end.

    A signal that comes between Python's last look for signals and the system call in which it then waits is
    seen only after that call. Nobody can do anything about it but press again.
    """
    for _ in range(20):
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            output, _ = running.communicate(timeout=1)
            assert running.returncode == 0
            return output
    raise AssertionError("it does not heed Ctrl-C")


WORK = {
    "a plain call": 'client.chat("m", "hi")',
    "the opening of a stream": 'client.generate_stream("m", "hi")',
    "a stream": 'list(client.chat_stream("stream", "hi"))',
    "a stream in a with block": '\n    with client.chat_stream("stream", "hi") as stream: stream.finish()',
    "a pull": 'client.pull_model("m")',
    "a pull with progress": 'client.pull_model_stream("m").finish()',
    "a reused connection": "client.server_version(); client.list_models()",
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_ctrl_c_ends_a_call_and_its_connection(server: FakeOllama, work: str) -> None:
    server.on("POST", CHAT, silent_after(STREAM, 2) if "stream" in work else REPLY.delay(math.inf))
    server.on("POST", "/api/generate", STREAM.delay(math.inf))
    server.on("POST", PULL, silent_after(STEPS, 1))
    server.on("GET", "/api/tags", Json({"models": []}).delay(math.inf))
    with program(server.url, work) as running:
        server.wait_for_request(1 + work.startswith("client.server_version"), timeout=20)
        assert interrupt(running) == "interrupted\n0 files more\n0 files more\n"
        server.wait_for_disconnect()


def test_ctrl_c_ends_the_wait_for_a_connection() -> None:
    with host_that_takes_no_connection() as url, program(url, "client.list_models()", again=False) as running:
        assert interrupt(running) == "interrupted\n0 files more\n0 files more\n"


def test_ctrl_c_ends_the_wait_before_another_try(server: FakeOllama) -> None:
    server.on("POST", CHAT, Json({"error": "server busy"}, 503))
    options = (
        "dict(retry=RetryPolicy(wait_initial=1000, wait_max=1000, total=None,"
        " on_retry=lambda _: print('waits', flush=True)))"
    )
    # The connection of the refusal is kept for the next call, and is no leak.
    work = 'client.server_version(); before = files(); client.chat("m", "hi")'
    with program(server.url, work, options=options) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "waits\n"
        assert interrupt(running) == "interrupted\n0 files more\n-1 files more\n"
    assert server.connections == 1


def test_ctrl_c_ends_the_wait_for_another_calls_connection(server: FakeOllama) -> None:
    server.on("POST", CHAT, silent_after(STREAM, 1))
    work = (
        'stream = client.chat_stream("m", "hi"); next(stream); before = files(); print("waits", flush=True);'
        "client.list_models()"
    )
    with program(server.url, work, again=False, options="dict(max_connections=1)") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "waits\n"
        assert interrupt(running).startswith("interrupted\n0 files more\n")
    server.wait_for_disconnect()


def test_ctrl_c_within_the_parser_of_http_is_still_ctrl_c() -> None:
    class Interrupted(Message):
        """One in whose method the signal is noticed."""

        def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 - the parser's own call
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted("GET").feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.usefixtures("nothing_left_open")
def test_the_handler_of_a_signal_may_cancel_what_its_own_thread_is_doing(
    server: FakeOllama, client: Client
) -> None:
    assert threading.current_thread() is threading.main_thread()
    server.on("POST", CHAT, silent_after(STREAM, 2))
    token = CancelToken()

    def knock() -> None:
        server.wait_for_request()
        os.kill(os.getpid(), signal.SIGUSR1)

    def cancel(*_: object) -> None:
        token.cancel()

    before = signal.signal(signal.SIGUSR1, cancel)
    try:
        with background(knock), pytest.raises(Cancelled):
            client.chat_stream("m", "hi", cancel=token).finish()
    finally:
        signal.signal(signal.SIGUSR1, before)
    server.wait_for_disconnect()


@pytest.mark.usefixtures("nothing_left_open")
def test_signals_that_end_nothing_harm_no_call(server: FakeOllama, client: Client) -> None:
    server.on("POST", CHAT, STREAM.stall(0.1, at=len(STREAM.pieces[0])))
    heard = list[int]()

    def knock() -> None:
        server.wait_for_request()
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)

    def hear(*_: object) -> None:
        heard.append(1)

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with background(knock):
            assert client.chat_stream("m", "hi").finish().text == "abc"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard
