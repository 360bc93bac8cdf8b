"""How much memory the methods take over time, within a limit that the kernel enforces where it can."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from mirror_models import MEBIBYTE
from mirror_processes import Command, run

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

#: What a method may use, page cache included: as much as a small container has.
LIMIT = 256 * MEBIBYTE

_GROUPS = Path("/sys/fs/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Curve:
    """The memory of one method.

    Attributes:
        seconds: When it was looked at.
        resident: Bytes resident in all its processes then.
        peak: Bytes resident at the highest in the largest process, as the kernel tells at its end.
        charged: Bytes that counted against the limit at the highest, page cache included; None without one.
        took: Seconds from its start to its end.
        failed: How it failed; None where it did not.
    """

    seconds: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    peak: int = 0
    charged: int | None = None
    took: float = 0.0
    failed: str | None = None


@dataclass(frozen=True)
class Group:
    """A memory cgroup with a limit.

    Attributes:
        folder: Its directory.
        peak: The file that tells its highest use.
        kills: The file that counts processes killed for want of memory.
    """

    folder: Path
    peak: Path
    kills: Path

    def wrapped(self, command: Command) -> Command:
        """Return a command that enters the group, then becomes the one given."""
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        return Command(("/bin/sh", "-c", enter, str(self.folder), *command.arguments), command.variables)

    def charged(self) -> int | None:
        """Return the bytes used at the highest; None where this kernel does not tell."""
        try:
            return int(self.peak.read_text(encoding="ascii"))
        except OSError:
            return None

    def killed(self) -> bool:
        """Return whether a process was killed for want of memory."""
        words = self.kills.read_text(encoding="ascii").split()
        return any(key == "oom_kill" and int(value) for key, value in pairwise(words))


@contextmanager
def limited(size: int = LIMIT) -> Generator[Group]:
    """Make a memory cgroup for the ``with`` block, in version 1 or 2, whichever this machine has.

    Raises:
        OSError: This is not possible here; mostly, we are not root.
    """
    old = (_GROUPS / "memory" / "memory.limit_in_bytes").exists()
    folder = (_GROUPS / "memory" if old else _GROUPS) / f"ollama-ext-bench-{os.getpid()}"
    if old:
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", str(size))
        group = Group(folder, folder / "memory.max_usage_in_bytes", folder / "memory.oom_control")
    else:
        names = ("memory.max", "memory.swap.max", "0")
        group = Group(folder, folder / "memory.peak", folder / "memory.events")
        with suppress(OSError):  # it may be on already
            (_GROUPS / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    limit, swap, swapped = names
    folder.mkdir()
    try:
        (folder / limit).write_text(str(size), encoding="ascii")
        if (folder / swap).exists():  # otherwise what does not fit would go to the swap instead
            (folder / swap).write_text(swapped, encoding="ascii")
        yield group
    finally:
        folder.rmdir()


def watched(commands: Sequence[Command], group: Group | None) -> tuple[Curve, list[str]]:
    """Run commands one after the other, look at their memory meanwhile, and stop at the first that fails.

    Returns:
        What was seen, and what each command printed.
    """
    printed: list[str] = []
    curve = Curve()
    start = time.perf_counter()

    def look(pid: int) -> None:
        curve.seconds.append(round(time.perf_counter() - start, 3))
        curve.resident.append(_resident(pid))

    for command in commands:
        ended = run(group.wrapped(command) if group else command, watch=look)
        printed.append(ended.output)
        curve.peak = max(curve.peak, ended.peak)
        if ended.status:
            killed = group is not None and group.killed()
            curve.failed = (
                "killed: out of memory" if killed else f"status {ended.status}: {ended.output[-300:]}"
            )
            break
    curve.took = time.perf_counter() - start
    curve.charged = group.charged() if group else None
    return curve, printed


def _resident(pid: int) -> int:
    """Return the bytes resident in a process and its descendants; 0 when it has ended."""
    process = Path("/proc", str(pid))
    try:
        total = int((process / "statm").read_text(encoding="ascii").split()[1]) * _PAGE
        lists = [tasks.read_text(encoding="ascii") for tasks in process.glob("task/*/children")]
    except (OSError, IndexError):
        return 0
    return total + sum(_resident(int(child)) for children in lists for child in children.split())
