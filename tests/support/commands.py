"""How a command is run, and how it ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    import subprocess


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """Runs the command with arguments and returns how it ended."""

    def __call__(self, *arguments: str, stdin: str = "") -> Ran:
        """Run it."""
        ...


@dataclass
class Terminal:
    """The command in a process of its own, on a terminal that we hold the other end of."""

    process: subprocess.Popen[bytes]
    screen: int
    seen: str = ""

    def type(self, text: str) -> None:
        """Type on its keyboard; U+0003 is Ctrl-C, U+0004 Ctrl-D."""
        os.write(self.screen, text.encode())

    def wait_for(self, words: str) -> str:
        """Read the screen until these words are on it."""
        while words not in self.seen:
            if not self._read():
                pytest.fail(f"{words!r} never came; the screen shows {self.seen!r}")
        return self.seen

    def end(self) -> int:
        """Read the screen to the end of the process; return its exit code."""
        while self._read():
            pass
        return self.process.wait()

    def _read(self) -> bool:
        try:
            data = os.read(self.screen, 65536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


class OnTerminal(Protocol):
    """Starts the command on a terminal."""

    def __call__(self, *arguments: str) -> Terminal:
        """Start it."""
        ...
