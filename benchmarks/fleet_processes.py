"""The processes that are measured: started fresh, looked at while they run, ended in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from fleet_broker import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHILD: Final = Path(__file__).with_name("fleet_child.py")
_PATIENCE: Final = 60.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Child:
    """A fresh interpreter that does a job of `fleet_child` until the ``with`` block ends."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        """Start it."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`
        self.started = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, str(_CHILD), json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        # The clock of a process, as Linux makes its number: processor time of all threads, to the nanosecond.
        self._clock = (~self._process.pid << 3) | 2

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def line(self) -> str:
        """Wait for the next line that it prints."""
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            self.check()
            raise BrokerError(f"a process that is measured ended early:\n{self.errors()}")
        return line.decode()

    def check(self) -> None:
        """See that it still runs.

        Raises:
            BrokerError: It does not.
        """
        if self._process.poll() is not None:
            raise BrokerError(f"a process that is measured ended by itself:\n{self.errors()}")

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it took so far."""
        return time.clock_gettime(self._clock)

    @property
    def resident(self) -> int:
        """Bytes that are resident."""
        statm = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii")
        return int(statm.split()[1]) * _PAGE

    def stop(self) -> None:
        """End it by SIGTERM.

        Raises:
            BrokerError: It does not end, or not in order.
        """
        self._process.terminate()
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise BrokerError(f"SIGTERM does not end what is measured:\n{self.errors()}") from None
        if status:
            raise BrokerError(f"what is measured ended with status {status}:\n{self.errors()}")

    def result(self) -> Any:
        """Wait for its end, and return what it printed.

        Raises:
            BrokerError: It failed.
        """
        said = self._process.stdout.read() if self._process.stdout else b""
        if self._process.wait():
            raise BrokerError(f"what is measured failed:\n{self.errors()}")
        return json.loads(said)

    def errors(self) -> str:
        """Return the end of what it wrote to its standard error."""
        self._said.seek(0)
        return self._said.read()[-2000:].decode("utf-8", "replace")
