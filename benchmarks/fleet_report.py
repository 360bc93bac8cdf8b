"""Tells what was measured of the fleet: as a table for people, as JSON for whatever comes later."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

from fleet_scenarios import BARE, CELERY, ONE, OURS, SUBSCRIPTIONS, THREE
from report import machine

from ollama_ext import __version__

if TYPE_CHECKING:
    from fleet_scenarios import Raced, Resident, Sizes, Trips

MEBIBYTE: Final = 2**20

#: Seconds that the fleet may add to a call; seconds until all of many queues are served.
ADDED, START = 0.003, 5.0
#: Bytes per message that may be added: less than anything that could be kept of each, and more than by how
#: much the peaks of an allocator differ.
GROWTH = 16.0

_PACKAGES: Final = ("pika", "celery", "kombu", "amqp", "msgspec")


@dataclass(frozen=True)
class Target:
    """How many times as fast as another method one should at least be."""

    subject: str
    other: str
    at_least: float

    def ratios(self, raced: Raced) -> tuple[float, float, float]:
        """Return lower quartile, median and upper quartile of the ratio, taken round by round."""
        return ratios(raced, self.subject, self.other)

    def reached(self, raced: Raced) -> bool:
        """Tell whether it is."""
        return self.ratios(raced)[1] >= self.at_least


TARGETS: Final = {
    "throughput": (Target(OURS, CELERY, 2.5), Target(OURS, BARE, 0.85)),
    "queues": (Target(THREE, ONE, 0.5),),
}
#: What ratios in the table are taken to.
BASELINES: Final = {"throughput": CELERY, "queues": ONE}


@dataclass
class Results:
    """All that a run has measured; what it has not is None."""

    sizes: Sizes
    broker: str
    throughput: Raced | None = None
    queues: Raced | None = None
    trips: Trips | None = None
    starts: list[float] | None = None
    memory: Resident | None = None

    @property
    def raced(self) -> list[Raced]:
        """The scenarios about throughput."""
        return [raced for raced in (self.throughput, self.queues) if raced is not None]


def ratios(raced: Raced, subject: str, other: str) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile of the ratio of two rates, taken round by round."""
    pairs = zip(raced.samples[subject], raced.samples[other], strict=True)
    return _quartiles([one.rate / base.rate for one, base in pairs])


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    lower, middle, upper = quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def table(results: Results) -> str:
    """Return the results as tables in Markdown, which are readable as they are."""
    parts = [_compared(raced) for raced in results.raced]
    lines: list[str] = []
    if results.trips:
        lines.append(_trips(results.trips))
    if results.starts:
        lower, middle, upper = _quartiles(results.starts)
        lines.append(
            f"* Start of a worker with {SUBSCRIPTIONS} subscriptions to new queues, until all are served: "
            f"{middle:.2f} s ({lower:.2f} to {upper:.2f}; target < {START:g} s): "
            f"{verdict(reached=middle < START)}"
        )
    if results.memory:
        lines.append(_memory(results.memory))
    if lines:
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _compared(raced: Raced) -> str:
    baseline = BASELINES[raced.name]
    lines = [
        f"| {raced.name} | messages/s (quartiles) | x (quartiles) | worker CPU, µs per message |",
        "|---|---:|---:|---:|",
    ]
    for method, samples in raced.samples.items():
        lower, middle, upper = _quartiles([one.rate for one in samples])
        times = "1"
        if method != baseline:
            low, mid, high = ratios(raced, method, baseline)
            times = f"{mid:.2f} ({low:.2f} to {high:.2f})"
        lines.append(
            f"| {method} | {middle:,.0f} ({lower:,.0f} to {upper:,.0f}) | {times} | "
            f"{median(one.cpu for one in samples):.0f} |"
        )
    lines.append("")
    for target in TARGETS[raced.name]:
        low, mid, high = target.ratios(raced)
        lines.append(
            f"* {target.subject}: {mid:.2f} ({low:.2f} to {high:.2f}) x {target.other} "
            f"(target >= {target.at_least:g}): {verdict(reached=target.reached(raced))}"
        )
    return "\n".join(lines)


def added(trips: Trips) -> list[float]:
    """Return the seconds that the fleet added, round by round."""
    return [fleet - direct for fleet, direct in zip(trips.fleet, trips.direct, strict=True)]


def _trips(trips: Trips) -> str:
    lower, middle, upper = (seconds * 1000 for seconds in _quartiles(added(trips)))
    return (
        f"* Round trip: {median(trips.direct) * 1000:.2f} ms directly, {median(trips.fleet) * 1000:.2f} ms "
        f"through the fleet, which adds {middle:.2f} ms ({lower:.2f} to {upper:.2f}; target <= "
        f"{ADDED * 1000:g} ms): {verdict(reached=middle <= ADDED * 1000)}"
    )


def _memory(memory: Resident) -> str:
    half = [
        size
        for has, size in zip(memory.answered, memory.resident, strict=True)
        if has * 2 >= memory.answered[-1]
    ]
    return (
        f"* Memory of a worker over {memory.answered[-1]:,} messages: {min(half) / MEBIBYTE:.1f} to "
        f"{max(half) / MEBIBYTE:.1f} MiB in the second half, growing by {memory.growth:.1f} bytes per "
        f"message (target <= {GROWTH:g}): {verdict(reached=memory.growth <= GROWTH)}"
    )


def verdict(*, reached: bool) -> str:
    """Return the word for a target."""
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
        "versions": {
            "python": platform.python_version(),
            "rabbitmq": results.broker,
            "ollama-ext": __version__,
            **{name: version(name) for name in _PACKAGES},
        },
        "sizes": asdict(results.sizes),
        "scenarios": [_scenario(raced) for raced in results.raced],
        "round_trip": results.trips
        and {
            "unit": "seconds",
            **asdict(results.trips),
            "added": (median_added := median(added(results.trips))),
            "target": ADDED,
            "reached": median_added <= ADDED,
        },
        "start": results.starts
        and {
            "unit": "seconds",
            "subscriptions": SUBSCRIPTIONS,
            "samples": results.starts,
            "target": START,
            "reached": median(results.starts) < START,
        },
        "memory": results.memory
        and {
            "unit": "bytes",
            "growth_per_message": results.memory.growth,
            "target": GROWTH,
            "reached": results.memory.growth <= GROWTH,
            **asdict(results.memory),
        },
    }


def _scenario(raced: Raced) -> dict[str, Any]:
    return {
        "unit": {"rate": "messages per second", "cpu": "microseconds of the worker per message"},
        **asdict(raced),
        "targets": [
            {**asdict(target), "ratio": target.ratios(raced)[1], "reached": target.reached(raced)}
            for target in TARGETS[raced.name]
        ],
    }
