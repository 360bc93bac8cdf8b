"""Runs the commands that are measured: fresh processes, a clean environment, what the kernel says of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ACCESS_KEY, SECRET_KEY = "benchmark", "benchmark-secret"
REGION = "us-east-1"

#: Seconds between two looks at a process that is watched.
INTERVAL = 0.05

#: Where system programs are that a user's PATH may lack; first of all where this Python has its programs.
_FOLDERS = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")
_KEPT = ("PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "TMPDIR", "LANG")


class MeasureError(Exception):
    """Something that is needed for a measurement failed; the message says what."""


def program(name: str) -> str | None:
    """Return the path of a program, or None where it is not installed."""
    found = shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if name != "s5cmd" or found is None:
        return found
    # The package of that name starts the program through Python: nobody should pay for that here.
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return found
    inside = (str(file.locate()) for file in files if file.as_posix().startswith("s5cmd/bin/s5cmd"))
    return next(inside, found)


def environment(home: Path, ca: Path | None = None) -> dict[str, str]:
    """Return the variables that all methods get: the credentials, and no settings of whoever runs this.

    Args:
        home: What they take for the home folder.
        ca: A certificate to trust.
    """
    return {
        **{name: os.environ[name] for name in _KEPT if name in os.environ},
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **({"AWS_CA_BUNDLE": str(ca)} if ca else {}),
    }


@dataclass(frozen=True)
class Command:
    """A program with its arguments and all of its variables."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """What one run of a method took.

    Attributes:
        seconds: From the start of its first process to the end of its last.
        synced: The same with ``sync`` of the files that it left; None where it leaves none.
        user: Seconds of processor time in its processes, their children included.
        system: Seconds of processor time in the kernel for them.
        peak: Bytes resident at the highest in the largest of its processes.
    """

    seconds: float
    synced: float | None
    user: float
    system: float
    peak: int

    @property
    def cpu(self) -> float:
        """Seconds of processor time."""
        return self.user + self.system


@dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
        status: Its exit status; negative for the signal that ended it.
        output: What it printed, its errors included.
        user: Seconds of processor time, its children included.
        system: The same in the kernel.
        peak: Bytes resident at the highest.
    """

    status: int
    output: str
    user: float
    system: float
    peak: int


def run(command: Command, *, watch: Callable[[int], None] | None = None) -> Ended:
    """Run a command to its end.

    Args:
        command: What to run.
        watch: Called with the process id every `INTERVAL` seconds while it runs.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - the commands are ours
            command.arguments,
            env=command.variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                # Not Popen.wait(): wait4 gives the figures of this very process and of its children.
                ended, status, usage = os.wait4(process.pid, os.WNOHANG if watch else 0)
                if ended:
                    break
                if watch:
                    watch(process.pid)
                    time.sleep(INTERVAL)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return Ended(process.returncode, text, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)


def succeed(command: Command, *, watch: Callable[[int], None] | None = None) -> Ended:
    """Run a command to its end.

    Raises:
        MeasureError: It failed.
    """
    ended = run(command, watch=watch)
    if ended.status:
        words = " ".join(command.arguments)
        raise MeasureError(f"`{words[:300]}` ended with status {ended.status}:\n{ended.output[-2000:]}")
    return ended


def sample(commands: Sequence[Command], files: Callable[[], Sequence[Path]]) -> tuple[Sample, list[str]]:
    """Run commands one after the other and return what they took, and what each printed.

    Args:
        commands: The method.
        files: Tells, afterwards, which files it has left, to have them on the disk in all cases.
    """
    start = time.perf_counter()
    ended = [succeed(command) for command in commands]
    seconds = time.perf_counter() - start
    synced = None
    if left := [str(path) for path in files()]:
        succeed(Command(("sync", *left), {"PATH": os.environ.get("PATH", os.defpath)}))
        synced = time.perf_counter() - start
    return (
        Sample(
            seconds=seconds,
            synced=synced,
            user=sum(one.user for one in ended),
            system=sum(one.system for one in ended),
            peak=max(one.peak for one in ended),
        ),
        [one.output for one in ended],
    )
