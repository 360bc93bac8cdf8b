"""Processes that end with the test run, however it ends.

They form one process group, out of reach of Ctrl-C. A small shell process holds one end of a pipe whose other
end is ours. When the pipe closes, it kills the group and removes the directory: by `KeptProcesses.end`, or
because this process is gone, by SIGKILL too.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATIENCE = 60.0  # seconds; against a hang only

#: Runs until its input ends; then ends the process group $1 and removes the directory $2.
_KEEPER = """
cat >/dev/null
kill -s KILL -- "-$1" 2>/dev/null
tries=200
while [ "$tries" -gt 0 ] && kill -s 0 -- "-$1" 2>/dev/null; do sleep 0.05; tries=$((tries - 1)); done
rm -rf -- "$2"
"""


class KeptProcesses:
    """A process that leads, others beside it, and a directory for their files.

    Attributes:
        directory: A temporary one, for this user only.
    """

    def __init__(self, command: Sequence[str], prefix: str) -> None:
        """Start the one that leads, which must live as long as any of the others is to be started.

        Args:
            command: Its program and arguments.
            prefix: How the directory's name begins.
        """
        self.directory = Path(tempfile.mkdtemp(prefix=prefix))
        self._started: list[subprocess.Popen[bytes]] = []
        leader: subprocess.Popen[bytes] | None = None
        try:
            leader = self._popen(command, group=0, output=subprocess.DEVNULL)
            self.leader = leader
            self._keeper = subprocess.Popen(  # noqa: S603 - the script above
                ["/bin/sh", "-c", _KEEPER, "keeper", str(leader.pid), str(self.directory)],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        except BaseException:
            if leader is not None:
                leader.kill()
                leader.wait(PATIENCE)
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], output: Path
    ) -> subprocess.Popen[bytes]:
        """Start a process whose whole output goes into a file; it may be signalled, waited for, ended."""
        with output.open("wb") as file:
            return self._popen(command, group=self.leader.pid, output=file.fileno(), environment=environment)

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, whatever its status is."""
        return subprocess.run(  # noqa: S603 - a program that the test names
            command,
            cwd=self.directory,
            env=dict(environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            process_group=self.leader.pid,
        )

    @property
    def pids(self) -> list[int]:
        """Those that have not ended, the one that ends the others included."""
        return [each.pid for each in (*self._started, self._keeper) if each.poll() is None]

    def end(self) -> None:
        """Kill all that have not ended, and remove the directory."""
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        for each in (*self._started, self._keeper):
            each.wait(PATIENCE)

    def _popen(
        self,
        command: Sequence[str],
        *,
        group: int,
        output: int,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        started = subprocess.Popen(  # noqa: S603 - a program that the test names
            command,
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=group,
        )
        self._started.append(started)
        return started
