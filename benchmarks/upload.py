"""What a large upload takes of memory and processor time, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import Any, BinaryIO, cast

#: Bytes above the start that the process may need at its peak.
TARGET = 40 * 2**20

_MEBIBYTE = 2**20
_IO = Path("/proc/self/io")


@dataclass(frozen=True)
class Upload:
    """What one upload took.

    Attributes:
        size: Bytes of the file.
        growth: Bytes of memory at the peak above what the process had before.
        seconds: From the call to its return, hashing included.
        cpu: Seconds of processor time in them.
        hashed: Times that the bytes went through SHA-256.
        read: Times that the file was read.
    """

    size: int
    growth: int
    seconds: float
    cpu: float
    hashed: float
    read: float

    @property
    def reached(self) -> bool:
        """Whether the target was reached, and the file hashed once."""
        return self.growth <= TARGET and round(self.hashed, 2) == 1

    def line(self) -> str:
        """Say it in a line."""
        size = self.size / _MEBIBYTE
        return (
            f"upload of {size:,.0f} MiB: {self.growth / _MEBIBYTE:.1f} MiB of memory above the start "
            f"(target <= {TARGET // _MEBIBYTE}), hashed {self.hashed:.2f} times, read {self.read:.2f} times, "
            f"{self.cpu:.2f} s of processor time in {self.seconds:.2f} s: "
            f"{'reached' if self.reached else 'MISSED'}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures and the verdict."""
        return {**asdict(self), "target": TARGET, "reached": self.reached}


def measure(url: str, size: int) -> Upload:
    """Upload a file of that many bytes in a fresh interpreter."""
    with tempfile.NamedTemporaryFile(prefix="upload-") as file:
        _fill(cast("BinaryIO", file), size)
        command = (sys.executable, str(Path(__file__)), url, file.name)
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - this very file
    figures: dict[str, Any] = json.loads(done.stdout)
    return Upload(**figures)


def _fill(file: BinaryIO, size: int) -> None:
    piece = bytes(range(256)) * 4096
    file.writelines(piece for _ in range(size // len(piece)))
    file.flush()


def _counted_hashing() -> list[int]:
    """Count the bytes that go through SHA-256 from now on; the first item is the sum."""
    import hashlib  # noqa: PLC0415 - what is measured is a fresh interpreter

    total, plain = [0], hashlib.sha256

    class Counted:
        def __init__(self, data: bytes = b"") -> None:
            self._hash = plain()
            self.update(data)

        def update(self, data: bytes) -> None:
            total[0] += len(data)
            self._hash.update(data)

        def hexdigest(self) -> str:
            return self._hash.hexdigest()

    hashlib.sha256 = cast("Any", Counted)
    return total


def _bytes_read() -> int:
    fields = dict(line.split(": ") for line in _IO.read_text(encoding="ascii").splitlines())
    return int(fields["rchar"])


def _forget_peak() -> None:
    """Have the peak of this process start anew; the one that `getrusage` tells began in our parent."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _resident(kind: str) -> int:
    """Return the bytes of memory that are resident now (VmRSS), or were at the peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields[kind].split()[0]) * 1024


def _upload(url: str, path: Path) -> dict[str, float]:
    from ollama_ext import Client  # noqa: PLC0415 - not for the process that starts this one

    hashed, size = _counted_hashing(), path.stat().st_size
    with Client(url) as client:
        client.server_version()
        client.push_blob(None, b"warm up")
        _forget_peak()
        hashed[0], before, read = 0, _resident("VmRSS"), _bytes_read()
        start, cpu = perf_counter(), _cpu()
        client.push_blob(None, path)
        seconds, cpu = perf_counter() - start, _cpu() - cpu
    return {
        "size": size,
        "growth": _resident("VmHWM") - before,
        "seconds": seconds,
        "cpu": cpu,
        "hashed": hashed[0] / size,
        "read": (_bytes_read() - read) / size,
    }


def _cpu() -> float:
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    json.dump(_upload(sys.argv[1], Path(sys.argv[2])), sys.stdout)
