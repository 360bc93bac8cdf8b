"""An Ollama server of our own, to kill: for the live tests that break things."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ollama_ext import Client, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping


class RealServer:
    """A server process on 127.0.0.1, which can be ended and started again on the same port."""

    def __init__(self, binary: Path, models: Path, home: Path, environment: Mapping[str, str]) -> None:
        """Choose a port; nothing is started yet."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self._binary = binary
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")},
            "OLLAMA_HOST": self.host,
            "OLLAMA_MODELS": str(models),
            "HOME": str(home),
            **environment,
        }
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and return when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the binary that the user named
                [self._binary, "serve"], env=self._environment, stdout=log, stderr=log
            )
        patient = RetryPolicy(attempts=200, wait_initial=0.05, wait_max=0.2)
        with Client(self.host, retry=patient) as client:
            client.server_version()
        return self

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the server, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def kill_runners(self) -> None:
        """Kill the processes that run its models."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        for pid in " ".join(file.read_text(encoding="ascii") for file in children).split():
            os.kill(int(pid), signal.SIGKILL)


@contextmanager
def real_server(folder: Path, **environment: str) -> Generator[RealServer]:
    """Run a server with a copy of the models named by ``$OLLAMA_MODELS_FROM``; it ends with the block.

    The blobs of the copy are links, so that nothing is written into the original.
    """
    source = Path(os.environ["OLLAMA_MODELS_FROM"])
    models, home = folder / "models", folder / "home"
    shutil.copytree(source / "manifests", models / "manifests")
    (models / "blobs").mkdir()
    for blob in (source / "blobs").iterdir():
        (models / "blobs" / blob.name).symlink_to(blob)
    home.mkdir()
    server = RealServer(Path(os.environ["OLLAMA_BINARY"]), models, home, environment)
    try:
        yield server.start()
    finally:
        server.end(signal.SIGTERM)
