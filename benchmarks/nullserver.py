"""Builds the null server from its C source and runs it, outside the measured process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_SOURCE = Path(__file__).with_name("nullserver.c")


class BuildError(Exception):
    """The null server could not be compiled or started; the message says what went wrong."""


def _build(folder: Path) -> Path:
    program = folder / "nullserver"
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(folder), "ZIG_LOCAL_CACHE_DIR": str(folder)}
    command = (sys.executable, "-m", "ziglang", "cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread")
    done = subprocess.run(  # noqa: S603 - our own source, by the interpreter that runs us
        [*command, "-o", str(program), str(_SOURCE)],
        env={**os.environ, **caches},  # nothing is left in the home folder
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"compiling {_SOURCE.name} failed (it needs the package ziglang):\n{done.stdout}")
    return program


@contextmanager
def null_server() -> Generator[str]:
    """Run a freshly built null server and yield its URL; it ends with the ``with`` block.

    Raises:
        BuildError: There is no compiler, or it refuses the source.
    """
    with tempfile.TemporaryDirectory(prefix="nullserver-") as folder:
        program = _build(Path(folder))
        with subprocess.Popen(  # noqa: S603 - the program that we have just built
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            port = process.stdout.readline().strip() if process.stdout else ""
            if not port:
                raise BuildError("the null server ended before it listened")
            yield f"http://127.0.0.1:{port}"
            # Leaving this block closes its stdin, upon which it ends.
