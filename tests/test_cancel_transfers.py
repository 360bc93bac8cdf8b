"""Cancelling what moves models and blobs: pulls, pushes, creates and uploads."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from background import background, cancelled
from scripts import PULL, STEPS, TRANSFERS, SlowReader, finished, silent_after, started

from ollama_ext import Cancelled, CancelToken, Client, Progress, ProgressStream

if TYPE_CHECKING:
    from pathlib import Path

    from ollama_ext.testing import FakeOllama

pytestmark = pytest.mark.usefixtures("nothing_left_open")


@pytest.mark.parametrize("path", TRANSFERS)
@pytest.mark.parametrize("by", ["token", "stream"])
def test_cancelling_ends_a_transfer_and_tells_how_far_it_had_come(
    server: FakeOllama, client: Client, path: str, by: str
) -> None:
    server.on("POST", path, silent_after(STEPS, 2))
    token = CancelToken()
    stream = started(client, f"{TRANSFERS[path]}_stream", cancel=token)
    next(stream)
    next(stream)
    with background(lambda: next(stream)) as call:
        (token.cancel if by == "token" else stream.cancel)()
        error = cancelled(call)
    assert isinstance(error.progress, Progress)
    assert error.progress == stream.progress
    assert (error.progress.completed, error.status, error.model) == (4, 200, "m")
    server.wait_for_disconnect()
    assert list(stream) == []
    assert token.cancelled == (by == "token")
    assert client.server_version()


@pytest.mark.parametrize("path", TRANSFERS)
def test_cancelling_ends_a_transfer_that_nobody_watches(
    server: FakeOllama, client: Client, path: str
) -> None:
    server.on("POST", path, silent_after(STEPS, 2))
    token = CancelToken()
    with background(lambda: finished(client, TRANSFERS[path], cancel=token)) as call:
        server.wait_for_request()
        token.cancel()
        cancelled(call)
    server.wait_for_disconnect()


def test_cancelling_after_success_leaves_a_transfer_a_success(server: FakeOllama, client: Client) -> None:
    server.on("POST", PULL, silent_after(STEPS, 3))
    with client.pull_model_stream("m") as stream:
        for step in stream:
            if step.status == "success":
                stream.cancel()
    assert stream.progress is not None
    assert stream.progress.overall.fraction == 1.0


LARGE = bytes(20_000_000)


def wait_for_bytes_to_be_sent(stream: ProgressStream) -> None:
    for step in stream:
        if step.status == "uploading" and step.completed:
            return


def test_cancelling_ends_an_upload() -> None:
    token, sending = CancelToken(), threading.Event()

    def told(step: Progress) -> None:
        if step.status == "uploading" and step.completed:
            sending.set()

    with (
        SlowReader() as server,
        Client(server.url) as client,
        background(lambda: client.push_blob(None, LARGE, on_progress=told, cancel=token)) as call,
    ):
        sending.wait(20)
        token.cancel()
        cancelled(call)
    assert server.missing > 0


@pytest.mark.parametrize("by", ["token", "stream"])
def test_cancelling_ends_the_upload_of_a_create(tmp_path: Path, by: str) -> None:
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"GGUF" + LARGE)
    token = CancelToken()
    with (
        SlowReader() as server,
        Client(server.url) as client,
        client.create_model_stream("m", files={"weights.gguf": weights}, cancel=token) as stream,
    ):
        wait_for_bytes_to_be_sent(stream)
        with background(stream.finish) as call:
            (token.cancel if by == "token" else stream.cancel)()
            error = cancelled(call)
        assert isinstance(error.progress, Progress)
        assert error.progress == stream.progress
    assert server.missing > 0


def test_leaving_a_create_ends_its_upload(tmp_path: Path) -> None:
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"GGUF" + LARGE)
    with (
        SlowReader() as server,
        Client(server.url) as client,
        client.create_model_stream("m", files={"weights.gguf": weights}) as stream,
    ):
        wait_for_bytes_to_be_sent(stream)
    assert server.missing > 0


def test_cancelling_ends_the_hashing(server: FakeOllama, client: Client) -> None:
    token = CancelToken()
    with pytest.raises(Cancelled):
        client.push_blob(None, BytesIO(LARGE), on_progress=lambda _: token.cancel(), cancel=token)
    assert server.connections == 0
