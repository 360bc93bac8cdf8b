"""The programs in docs/programs run, each as its user would run it, against the scripted server."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from model_stores import digest_of, put_model
from s3_servers import moto_s3

from ollama_ext.testing import FakeOllama, Json, Lines, Recording

if TYPE_CHECKING:
    from collections.abc import Callable

    from ollama_ext.testing import Response

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "programs"
ALIASES = {
    "llama3.2": "smol-tools",
    "qwen3": "smol-think",
    "all-minilm": "all-minilm:l6-v2",
    "short-answers": "smollm2:135m",
}
BUSY = Json({"error": "server busy, please try again.  maximum pending requests exceeded"}, 503)
CREATED = Lines({"status": "writing manifest"}, {"status": "success"})


def run(server: FakeOllama, program: str, *arguments: str, command: tuple[str, ...] = ()) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own programs
        [sys.executable, "-W", "error", *command, str(FOLDER / program), *arguments],
        env={**os.environ, "OLLAMA_HOST": server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain(folder: Path) -> tuple[str, ...]:
    """Return no arguments."""
    del folder
    return ()


def lines_to_embed(folder: Path) -> tuple[str, ...]:
    """Return a file of 130 lines."""
    file = folder / "lines.txt"
    file.write_text("\n".join(f"line {number}" for number in range(130)), encoding="utf-8")
    return (str(file),)


def weights(folder: Path) -> tuple[str, ...]:
    """Return a file to upload and a name."""
    file = folder / "tiny.gguf"
    file.write_bytes(b"GGUF" + bytes(3_000_000))
    return str(file), "tiny"


Script = dict[tuple[str, str], list["Response"]]

#: For each program: what the server is told beforehand, what the program is given, what it must print.
PROGRAMS: dict[str, tuple[Script, Callable[[Path], tuple[str, ...]], list[str]]] = {
    "stream_with_tools.py": (
        {("POST", "/api/chat"): [Recording("chat-stream-tools"), Recording("chat-stream")]},
        plain,
        ["[get_weather {"],
    ),
    "batch_embedding.py": ({}, lines_to_embed, ["130 vectors of 384 numbers from"]),
    "pull_with_a_bar.py": (
        {("POST", "/api/pull"): [Recording("pull-registry-progress")]},
        plain,
        ["[" + "#" * 40 + "] 100% success"],
    ),
    "retry_policy.py": (
        {
            ("POST", "/api/chat"): [
                BUSY,
                BUSY,
                Recording("chat-nostream"),
                BUSY,
                BUSY,
                Recording("chat-nostream"),
            ]
        },
        plain,
        ["try 1 of 6: ServerBusy", "try 2 of 6: ServerBusy", "once was not enough: HTTP status 503"],
    ),
    "cancel_from_another_thread.py": (
        {("POST", "/api/chat"): [Recording("chat-stream").stall(math.inf, at=600)]},
        plain,
        ["stopped after"],
    ),
    "deadlines.py": (
        {
            ("POST", "/api/chat"): [
                Recording("chat-stream").stall(math.inf, at=600),
                Recording("chat-nostream").delay(math.inf),
            ]
        },
        plain,
        ["it fell silent; 'The", "the call took longer than 1 s"],
    ),
    "many_threads.py": ({}, plain, ["What is 0 times 0?", "What is 15 times 15?"]),
    "create_from_a_modelfile.py": (
        {
            ("POST", "/api/create"): [CREATED],
            ("DELETE", "/api/delete"): [Recording("delete")],
        },
        plain,
        ["writing manifest", "success"],
    ),
    "upload_weights.py": (
        {("POST", "/api/create"): [CREATED]},
        weights,
        ["uploading 3,000,004 of 3,000,004 bytes", "is there", "tiny is made of it"],
    ),
    "structured_output.py": (
        {("POST", "/api/chat"): [Recording("chat-nostream-schema")]},
        plain,
        ["Paris -1"],
    ),
    "which_server_is_up.py": ({}, plain, ["127.0.0.1"]),
    "keep_it_loaded.py": ({}, plain, ["tokens per second"]),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_docs_does_what_it_says(program: str, tmp_path: Path) -> None:
    script, arguments, wanted = PROGRAMS[program]
    with FakeOllama(aliases=ALIASES) as server:
        for (method, path), responses in script.items():
            server.on(method, path, *responses)
        printed = run(server, program, *arguments(tmp_path))
    for words in wanted:
        assert words in printed


def test_the_test_of_the_docs_passes(server: FakeOllama) -> None:
    pytest_alone = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(FOLDER),
        "-c",
        os.devnull,
    )
    assert "2 passed" in run(server, "test_your_own_code.py", command=pytest_alone)


def test_the_program_of_the_mirror_brings_models_of_a_bucket(
    server: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    with moto_s3() as moto, closing(moto.client()) as client:
        for name, value in moto.environment().items():
            monkeypatch.setenv(name, value)
        client.create_bucket(Bucket="models")
        manifest = put_model(client, "models", "llama3.2:1b", [b"weights"])
        printed = run(server, "mirror.py", "models", "llama3.2:1b")
    assert "100% llama3.2:1b done" in printed
    assert f"llama3.2:1b: 2 fetched, 2 good, {digest_of(manifest)}" in printed


def test_there_are_no_other_programs_and_the_page_lists_them_all() -> None:
    names = {file.name for file in FOLDER.glob("*.py")}
    assert names == {*PROGRAMS, "mirror.py", "test_your_own_code.py"}
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in page for name in names)
