"""Tells what was measured: as a table for people, as JSON for whatever comes later."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import memory

if TYPE_CHECKING:
    from cancelling import Cancelling
    from memory import Memory
    from rounds import Comparison
    from upload import Upload

_PACKAGES = ("ollama-ext", "ollama", "httpx", "httptools", "httpcore", "h11", "msgspec", "attrs", "pydantic")
_MEBIBYTE = 2**20


@dataclass
class Results:
    """All that a run has measured; what it has not is None.

    Attributes:
        comparisons: One for each scenario.
        long_stream: Memory over a long stream.
        upload: What a large upload took.
        cancelling: How long cancelled calls took to come back.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    long_stream: Memory | None = None
    upload: Upload | None = None
    cancelling: Cancelling | None = None


def table(results: Results) -> str:
    """Return the results as a table in Markdown, which is readable as it is."""
    lines: list[str] = []
    comparisons, long_stream = results.comparisons, results.long_stream
    if comparisons:
        lines += [
            "| scenario | client | median | unit | ratio (quartiles) | target | |",
            "|---|---|---:|---|---|---|---|",
        ]
    for comparison in comparisons:
        lines += [_row(comparison, subject) for subject in comparison.samples]
    for result in (results.upload, results.cancelling):
        if result is not None:
            lines += ["", result.line()]
    if long_stream is not None:
        lines += ["", _memory_line(long_stream)]
    return "\n".join(lines).strip()


def _row(comparison: Comparison, subject: str) -> str:
    ratio = "1"
    if subject != comparison.baseline:
        lower, middle, upper = comparison.ratios(subject)
        ratio = f"{middle:.2f} ({lower:.2f} to {upper:.2f})"
    target = verdict = ""
    if subject == comparison.subject:
        target, verdict = f"<= {comparison.target:.2f}", _verdict(reached=comparison.reached)
    median = f"{comparison.median(subject):.4g}"
    return (
        f"| {comparison.name} | {subject} | {median} | {comparison.unit} | {ratio} | {target} | {verdict} |"
    )


def _memory_line(long_stream: Memory) -> str:
    beside = long_stream.beside_text[len(long_stream.tokens) // 2 :]
    text = long_stream.text[-1] / _MEBIBYTE
    return (
        f"memory over {long_stream.tokens[-1]:,} tokens, without {text:.1f} MiB of text: "
        f"{min(beside) / _MEBIBYTE:.1f} to {max(beside) / _MEBIBYTE:.1f} MiB in the second half, "
        f"growing by {long_stream.growth:.2f} bytes per token (target <= {memory.TARGET:g}): "
        f"{_verdict(reached=long_stream.reached)}"
    )


def _verdict(*, reached: bool) -> str:
    return "reached" if reached else "MISSED"


def as_json(results: Results, load: tuple[float, float]) -> dict[str, Any]:
    """Return everything that was measured, the single samples too, and on what.

    Args:
        results: Of the run.
        load: Runnable processes, averaged over a minute, before and after.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(load),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "scenarios": [_scenario(comparison) for comparison in results.comparisons],
        "upload": results.upload and results.upload.as_json(),
        "cancelling": results.cancelling and results.cancelling.as_json(),
        "memory": results.long_stream and _memory(results.long_stream),
    }


def machine(load: tuple[float, float]) -> dict[str, Any]:
    """Return on what was measured.

    Args:
        load: Runnable processes, averaged over a minute, before and after.
    """
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": round(load[0], 2),
        "load_after": round(load[1], 2),
    }


def _scenario(comparison: Comparison) -> dict[str, Any]:
    return {
        **asdict(comparison),
        "medians": {subject: comparison.median(subject) for subject in comparison.samples},
        "ratios": {subject: comparison.ratio(subject) for subject in comparison.samples},
        "reached": comparison.reached,
    }


def _memory(long_stream: Memory) -> dict[str, Any]:
    return {
        "unit": "bytes",
        "growth_per_token": long_stream.growth,
        "target": memory.TARGET,
        "reached": long_stream.reached,
        **asdict(long_stream),
    }


def _processor() -> str:
    """Return what the processor calls itself, where that can be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(package: str) -> str:
    if package == "ollama-ext":
        from ollama_ext import __version__  # noqa: PLC0415 - has it also where it runs from a tree

        return __version__
    return version(package)
