"""Tells what was measured of the mirror: as tables for people, as JSON for whatever comes later."""

from __future__ import annotations

import platform
import re
import resource
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import TYPE_CHECKING, Any

from mirror_checks import LIST_TARGET
from mirror_methods import CONNECTIONS, OURS, S5CMD, VERIFIED
from mirror_models import GIBIBYTE, MEBIBYTE
from mirror_processes import Command, environment, program, run
from mirror_scenarios import PEAK, Target
from report import machine

if TYPE_CHECKING:
    from pathlib import Path

    from mirror_checks import Again, Limited, Listed, Resumed
    from mirror_processes import Sample
    from mirror_scenarios import Measured

_PACKAGES = ("boto3", "botocore", "s3transfer", "urllib3", "moto")
_PROGRAMS = {
    "nginx": "-v",
    "s5cmd": "version",
    "rclone": "version",
    "weed": "version",
    "openssl": "version",
}


@dataclass
class Results:
    """All that a run has measured; what it has not is None.

    Attributes:
        rounds: How many were counted.
        measured: One for each scenario that compares.
        resumed: What was fetched again after a kill.
        again: What a second import took.
        listed: What a list took.
        limited: Memory over time.
    """

    rounds: int
    measured: list[Measured] = field(default_factory=list["Measured"])
    resumed: Resumed | None = None
    again: Again | None = None
    listed: Listed | None = None
    limited: Limited | None = None


def table(results: Results) -> str:
    """Return the results as tables in Markdown, which are readable as they are."""
    parts = [_compared(measured) for measured in results.measured]
    lines = [
        *([_resumed(results.resumed)] if results.resumed else []),
        *([_again(results.again)] if results.again else []),
        *([_listed(results.listed)] if results.listed else []),
    ]
    if lines:
        parts.append("\n".join(lines))
    if results.limited:
        parts.append(_limited(results.limited))
    return "\n\n".join(parts)


def _compared(measured: Measured) -> str:
    size = measured.size / measured.blobs / MEBIBYTE
    lines = [
        f"### {measured.scenario.title} ({measured.blobs} x {size:,.0f} MiB)",
        "",
        "| method | wall s | x (quartiles) | wall with sync s | CPU s/GiB | x (quartiles) | peak MiB |",
        "|---|---:|---|---:|---:|---|---:|",
        *(_row(measured, method) for method in measured.samples),
        "",
        *(_target(measured, target) for target in measured.scenario.targets),
        _peak(measured),
    ]
    return "\n".join(lines)


def _peak(measured: Measured) -> str:
    return (
        f"* peak of {OURS}: {measured.peak / MEBIBYTE:.0f} MiB (target <= {PEAK / MEBIBYTE:.0f}): "
        f"{_verdict(reached=measured.peak <= PEAK)}"
    )


def _row(measured: Measured, method: str) -> str:
    samples = measured.samples[method]

    def times(figure: Any) -> str:
        if method == S5CMD:
            return "1"
        lower, middle, upper = measured.comparison(Target(figure, S5CMD, 1)).ratios(method)
        return f"{middle:.2f} ({lower:.2f} to {upper:.2f})"

    return (
        f"| {measured.label(method)} | {median(one.seconds for one in samples):.2f} | {times('seconds')} | "
        f"{_synced(samples)} | {_cpu(measured, samples):.2f} | {times('cpu')} | "
        f"{max(one.peak for one in samples) / MEBIBYTE:.0f} |"
    )


def _synced(samples: list[Sample]) -> str:
    seconds = [one.synced for one in samples if one.synced is not None]
    return f"{median(seconds):.2f}" if seconds else ""


def _cpu(measured: Measured, samples: list[Sample]) -> float:
    return median(one.cpu for one in samples) / (measured.size / GIBIBYTE)


def _target(measured: Measured, target: Target) -> str:
    comparison = measured.comparison(target)
    what = {"seconds": "wall time", "cpu": "processor time"}[target.figure]
    return (
        f"* {what} of {OURS}: {comparison.ratio(OURS):.2f} x {measured.label(target.other)} "
        f"(target <= {target.limit:.2f}): {_verdict(reached=comparison.reached)}"
    )


def _resumed(resumed: Resumed) -> str:
    killed = median(resumed.killed_at) / resumed.size
    return (
        f"* Resume after SIGKILL at {killed:.0%} of {resumed.size / MEBIBYTE:,.0f} MiB, "
        f"{len(resumed.again)} times: {median(resumed.parts):.1f} parts of {resumed.part / MEBIBYTE:.0f} MiB "
        f"fetched again, at most {max(resumed.parts):.1f} (target <= {resumed.connections}, "
        f"one a connection): {_verdict(reached=resumed.reached)}"
    )


def _again(again: Again) -> str:
    return (
        f"* Second import of the same model: {again.bytes:,} bytes of blobs fetched of "
        f"{again.first_bytes:,} the first time (target 0), {again.requests} requests, "
        f"{again.seconds:.2f} s after {again.first_seconds:.2f} s: {_verdict(reached=again.reached)}"
    )


def _listed(listed: Listed) -> str:
    return (
        f"* List of {listed.models:,} models: {listed.requests} requests (target <= {LIST_TARGET}) in "
        f"{listed.seconds:.2f} s: {_verdict(reached=listed.reached)}"
    )


def _limited(limited: Limited) -> str:
    limit = f"within {limited.limit / MEBIBYTE:.0f} MiB" if limited.limit else "WITHOUT A LIMIT"
    lines = [
        f"### Memory of an import of {limited.size / MEBIBYTE:,.0f} MiB {limit}, page cache included",
        "",
        "| method | wall s | peak MiB | charged MiB | |",
        "|---|---:|---:|---:|---|",
    ]
    for name, curve in limited.curves.items():
        charged = "" if curve.charged is None else f"{curve.charged / MEBIBYTE:.0f}"
        took = "" if curve.failed else f"{curve.took:.2f}"
        outcome = curve.failed or "done"
        lines.append(f"| {VERIFIED[name]} | {took} | {curve.peak / MEBIBYTE:.0f} | {charged} | {outcome} |")
    ours = limited.curves[OURS]
    reached = not ours.failed and ours.peak <= PEAK
    lines += ["", f"* peak of {OURS}: target <= {PEAK / MEBIBYTE:.0f} MiB: {_verdict(reached=reached)}"]
    if not limited.limit:
        lines.append(f"* no limit was set: {limited.reason}")
    return "\n".join(lines)


def _verdict(*, reached: bool) -> str:
    return "reached" if reached else "MISSED"


def as_json(results: Results, load: tuple[float, float], folder: Path) -> dict[str, Any]:
    """Return everything that was measured, the single samples too, and on what.

    Args:
        results: Of the run.
        load: Runnable processes, averaged over a minute, before and after.
        folder: Any folder, for the home of the programs that tell their versions.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(load),
        "versions": {
            "python": platform.python_version(),
            "ollama-ext": _version("ollama-ext"),
            **{name: _version(name) for name in _PACKAGES},
            **{name: _program_version(name, word, folder) for name, word in _PROGRAMS.items()},
        },
        "rounds": results.rounds,
        "connections": CONNECTIONS,
        # The kernel counts the memory of whoever starts a process as that process's: none is below this.
        "lowest_peak_told": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "scenarios": [_scenario(measured) for measured in results.measured],
        "resume": _checked(results.resumed),
        "again": _checked(results.again),
        "list": _checked(results.listed),
        "memory": results.limited and asdict(results.limited),
    }


def _checked(result: Resumed | Again | Listed | None) -> dict[str, Any] | None:
    return None if result is None else {**asdict(result), "reached": result.reached}


def _scenario(measured: Measured) -> dict[str, Any]:
    return {
        "name": measured.scenario.name,
        "title": measured.scenario.title,
        "blobs": measured.blobs,
        "bytes": measured.size,
        "samples": {name: [asdict(one) for one in samples] for name, samples in measured.samples.items()},
        "targets": [
            {
                **asdict(target),
                "ratio": (comparison := measured.comparison(target)).ratio(OURS),
                "reached": comparison.reached,
            }
            for target in measured.scenario.targets
        ],
        "peak": {"target": PEAK, "measured": measured.peak, "reached": measured.peak <= PEAK},
    }


def _version(package: str) -> str | None:
    if package == "ollama-ext":
        from ollama_ext import __version__  # noqa: PLC0415 - has it also where it runs from a tree

        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _program_version(name: str, word: str, folder: Path) -> str | None:
    path = program(name)
    if path is None:
        return None
    said = run(Command((path, word), environment(folder))).output
    found = re.search(r"\d+\.\d+[\w.]*", said)
    return found[0] if found else None
