"""What a transfer of ``ollama-ext mirror`` tells while it lasts, and how Ctrl-C ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from faulty_s3 import FaultyFront
from model_stores import blob_at, digest_of, make_model, put_model
from s3_faults import Stall

from ollama_ext.cli.mirror_progress import EVERY, Follower, span
from ollama_ext.cli.output import Output
from ollama_ext.s3 import TransferProgress, TransferTotals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from commands import Command, OnTerminal
    from s3_servers import S3Server
    from types_boto3_s3 import S3Client

PART = 16 << 20
LARGE = bytes(range(256)) * (2 * PART // 256 + 4096)  # two parts of 16 MiB and one of 1 MiB
DIGEST = digest_of(LARGE)


def step(completed: int, *, state: str = "downloading", rate: float = 0.0) -> TransferProgress:
    """Return a step of a transfer of 100 MB."""
    total = 100_000_000
    remaining = (total - completed) / rate if rate else None
    totals = TransferTotals(completed, total, completed / total, completed, rate, remaining)
    return TransferProgress(state, "m:latest", "sha256:" + "a" * 64, completed, total, totals)  # type: ignore[arg-type]


# -- in a pipe


def test_a_pipe_gets_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    follower = Follower(Output(json=False), clock=lambda: now)
    with follower.follow() as show:
        for second in range(31):
            now = 100.0 + second
            show(step(second * 3_000_000, rate=3e6))
    assert EVERY == 10
    assert capsys.readouterr().out.splitlines() == [
        "30 %, 30 MB of 100 MB, 3.0 MB/s, 23 s left",
        "60 %, 60 MB of 100 MB, 3.0 MB/s, 13 s left",
        "90 %, 90 MB of 100 MB, 3.0 MB/s, 3.3 s left",
    ]


def test_the_summary_adds_up_transfers_one_after_the_other() -> None:
    now = 0.0
    follower = Follower(Output(json=False), clock=lambda: now)
    for _ in range(2):
        with follower.follow("m") as show:
            show(step(100_000_000, state="done"))
    now = 20.0
    assert follower.summary() == (
        "200 MB transferred, 0 B there already, 1 of 1 blobs verified, 20 s, 10 MB/s"
    )


def test_the_summary_counts_what_a_transfer_had_moved_when_it_failed() -> None:
    now = 0.0
    follower = Follower(Output(json=False), clock=lambda: now)
    with suppress(ValueError), follower.follow("m") as show:
        show(step(40_000_000))
        raise ValueError("broken")
    now = 10.0
    assert follower.summary() == (
        "40 MB transferred, 0 B there already, 0 of 1 blobs verified, 10 s, 4.0 MB/s"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (12.4, "12 s"), (268, "4 min 28 s"), (3900, "1 h 05 min")],
)
def test_times_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


# -- on a terminal


def test_a_terminal_shows_a_bar_and_then_what_was_done(
    s3: S3Client, bucket: str, store: Path, on_terminal: OnTerminal
) -> None:
    put_model(s3, bucket, "mistral", [LARGE])
    terminal = on_terminal("mirror", "import", "mistral", "--reserve", "0", "--no-check")
    assert terminal.end() == 0
    assert "in all" in terminal.seen
    assert "mistral:latest: imported, 2 blobs fetched (35 MB), 0 blobs there already" in terminal.seen
    assert "2 of 2 blobs verified" in terminal.seen
    assert "credentials" not in terminal.seen, "what boto3 logs is shown"
    assert blob_at(store, DIGEST).is_file()


def test_a_dry_run_draws_no_bar(s3: S3Client, bucket: str, store: Path, on_terminal: OnTerminal) -> None:
    put_model(s3, bucket, "mistral", [b"weights"])
    terminal = on_terminal("mirror", "import", "mistral", "--dry-run")
    assert terminal.end() == 0
    assert "would import" in terminal.seen
    assert "in all" not in terminal.seen
    assert not store.exists()


# -- ended in the middle


@pytest.fixture
def front(
    moto: S3Server, s3: S3Client, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyFront]:
    """Stand between the command and a bucket with one large model."""
    put_model(s3, bucket, "mistral", [LARGE])
    with FaultyFront(moto.endpoint_url) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running


def test_ctrl_c_says_that_the_import_goes_on_and_it_does(
    front: FaultyFront, store: Path, on_terminal: OnTerminal, mirror: Command
) -> None:
    blob = blob_at(store, DIGEST)
    front.fail(Stall(0), path_ends=blob.name, range_starts=2 * PART, times=None)
    terminal = on_terminal("mirror", "import", "mistral", "--reserve", "0", "--no-check")
    terminal.wait_for(f"{DIGEST.removeprefix('sha256:')[:12]} downloading")
    terminal.wait_for("33.6/34.6 MB")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "stopped; what is staged is used by the next import" in terminal.seen
    assert not blob.exists()
    front.heal()
    done = mirror("import", "mistral", "--reserve", "0", "--json")
    (result,) = [told["result"] for told in map(json.loads, done.out.splitlines()) if "result" in told]
    assert result["ok"]
    assert result["bytes_fetched"] < 2 * PART
    assert blob.read_bytes() == LARGE


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_container_that_is_told_to_end_does_so_at_once(
    front: FaultyFront, store: Path, ending: signal.Signals
) -> None:
    stalled = blob_at(store, DIGEST).name
    front.fail(Stall(0), path_ends=stalled, times=None)
    arguments = ("import", "mistral", "--reserve", "0", "--no-check")
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "ollama_ext", "mirror", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            front.wait_until(lambda requests: any(request.path.endswith(stalled) for request in requests))
            process.send_signal(ending)
            _, told = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 130
    assert "what is staged is used by the next import" in told
    assert "Traceback" not in told


def test_ctrl_c_in_a_publication_says_that_it_goes_on(
    bucket: str, store: Path, on_terminal: OnTerminal
) -> None:
    del bucket
    make_model(store, "mistral", [LARGE])
    terminal = on_terminal("mirror", "publish", "mistral", "--limit-rate", "5M")
    terminal.wait_for(" uploading")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "what was sent is used by the next publish" in terminal.seen
