"""Starts transfers in processes of their own, and holds or kills them at a step; see `killed_transfers`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 60.0  # seconds; against a hang only

PART = 32 << 10  # bytes of a part that is fetched, and of one write
UPLOAD_PART = 5 << 20  # bytes of a part that is sent: no server takes smaller ones
#: How often a run is begun that is to come to a step: buckets count in whole seconds, and threads settle
#: which of two models comes first, so not every run takes the same steps.
TRIES = 40

_PROGRAM = Path(__file__).with_name("killed_transfers.py")


class Step(NamedTuple):
    """A step of a transfer: its name, and whether it can be half done."""

    name: str
    divisible: bool


@dataclass
class Ended:
    """How a transfer ended."""

    steps: list[Step]
    results: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    killed: bool = False

    @property
    def ok(self) -> bool:
        """Whether every model is where it was to go."""
        return not self.killed and self.error is None and all(each["ok"] for each in self.results)


class Job:
    """A transfer that runs in a process of its own."""

    def __init__(self, nursery: Nursery, pid: int, channel: socket.socket) -> None:
        """Take the process, and the connection to it."""
        self.pid = pid
        self._nursery = nursery
        self._channel = channel
        self._lines = channel.makefile("rb")
        self._steps: list[Step] = []
        self._end: dict[str, Any] | None = None

    def step(self) -> Step | None:
        """Wait until it is about to take a step, and return that; None when it has ended.

        If it is held there, it waits for `go` or `release` then.
        """
        line = self._lines.readline()
        told = json.loads(line) if line.endswith(b"\n") else {}
        if "step" not in told:
            self._end = told
            return None
        self._steps.append(Step(*told["step"]))
        return self._steps[-1]

    def go(self) -> None:
        """Let it take the step that it waits for."""
        self._channel.sendall(b"g")

    def go_until(self, begins: str) -> Step:
        """Let it go on until it is about to take a step whose name begins so, and return that."""
        while (step := self.step()) is not None:
            if step.name.startswith(begins):
                return step
            self.go()
        raise AssertionError(f"it ended without a step {begins!r}: {self.result()}")

    def release(self) -> None:
        """Let it take this step and all others. It still tells them if it did so before."""
        self._channel.sendall(b"r")

    def kill(self) -> Ended:
        """Kill it, and return when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        return self.result()

    def result(self) -> Ended:
        """Wait for its end, and return what came of it."""
        while self._end is None:
            self.step()
        self._lines.close()
        self._channel.close()
        self._nursery.jobs.discard(self)
        status = self._nursery.ask(wait=self.pid)
        assert "trace" not in self._end, self._end["trace"]
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return Ended(self._steps, killed=True)
        return Ended(self._steps, self._end["results"], self._end["error"])


class Nursery:
    """Where transfers are started; a context manager that ends it, and all transfers that still run.

    Attributes:
        jobs: The transfers whose end was not waited for yet.
    """

    def __enter__(self) -> Self:
        """Start the program."""
        self.jobs: set[Job] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        command = [sys.executable, str(_PROGRAM), str(self._listener.getsockname()[1])]
        environment = os.environ | {
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self._process = subprocess.Popen(  # noqa: S603 - a file beside this one
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        return self

    def __exit__(self, *exception: object) -> None:
        """End it."""
        for job in list(self.jobs):
            job.kill()
        self._process.communicate()
        self._listener.close()

    def start(
        self,
        work: str,
        *,
        hold: bool = False,
        hold_at: str | None = None,
        tell: bool = False,
        kill_at: str | None = None,
        torn: bool = False,
        **arguments: Any,
    ) -> Job:
        """Start a transfer.

        Args:
            work: One of the names in ``WORK`` of the program.
            hold: Whether it waits before every step.
            hold_at: The step before which it waits, and tells that; afterwards it is as if it were released.
            tell: Whether it tells its steps and does not wait.
            kill_at: The step before which it kills itself.
            torn: Whether it does half of that step first.
            arguments: What the work takes; ``mirror`` is what `mirror_arguments` returns.
        """
        stops = {"hold": hold, "hold_at": hold_at, "tell": tell or hold, "kill_at": kill_at, "torn": torn}
        pid = self.ask(work=work, arguments=arguments, stops=stops)
        channel, _ = self._listener.accept()
        channel.settimeout(PATIENCE)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        job = Job(self, pid, channel)
        self.jobs.add(job)
        return job

    def run(self, work: str, **arguments: Any) -> Ended:
        """Start a transfer as `start` does, and wait for its end."""
        return self.start(work, **arguments).result()

    def ask(self, **request: Any) -> int:
        """Have the program do something, and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def mirror_arguments(
    endpoint_url: str, bucket: str, store: Path, keys: Sequence[str], **settings: Any
) -> dict[str, Any]:
    """Return what a nursery makes a mirror of."""
    return {"endpoint_url": endpoint_url, "bucket": bucket, "store": str(store), "keys": keys, **settings}
