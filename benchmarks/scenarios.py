"""What is measured: for each scenario the work of one sample, its unit and the target.

A sample is CPU time of the measuring process, user and system: what the client costs, not how long the
server lets it wait.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import partial
from time import process_time
from typing import TYPE_CHECKING

from rounds import Comparison, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stacks import Stack

BASELINE = "ollama"
SUBJECT = "ollama_ext"
UNLIMITED = "ollama_ext without"

_MICRO = 1e6
_MILLI = 1e3


@dataclass(frozen=True)
class Scenario:
    """One thing to measure.

    Attributes:
        name: For ``--only``.
        title: For tables and plots.
        unit: Of the samples.
        target: How much of the baseline's cost is allowed.
        rounds: Samples per client.
        quick_rounds: The same for ``--quick``.
        sample: Takes one sample of a client.
        others: What is measured as well, for orientation.
        baseline: The client that others are compared with.
        clients: Which clients are measured.
    """

    name: str
    title: str
    unit: str
    target: float
    rounds: int
    quick_rounds: int
    sample: Callable[[Stack], float]
    others: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    baseline: str = BASELINE
    clients: tuple[str, ...] = (BASELINE, SUBJECT, "ollama_openapi")

    def run(self, stacks: Mapping[str, Stack], *, quick: bool) -> Comparison:
        """Measure every client, in turns."""
        clients = {name: partial(self.sample, stacks[name]) for name in self.clients}
        samples = take_turns(clients | dict(self.others), self.quick_rounds if quick else self.rounds)
        return Comparison(self.title, self.unit, self.baseline, SUBJECT, self.target, samples)


def _stream_time(model: str, tokens: int, stack: Stack) -> float:
    """Return the cost per token: a stream without tokens is subtracted, which leaves out the request."""
    start = process_time()
    stack.stream(model, 0)
    between = process_time()
    text = stack.stream(model, tokens)
    end = process_time()
    if not text:
        raise RuntimeError(f"{stack.name} read no text")
    return (end - between - (between - start)) / tokens * _MICRO


def _call_time(calls: int, stack: Stack) -> float:
    start = process_time()
    for _ in range(calls):
        stack.chat()
    return (process_time() - start) / calls * _MICRO


def _embed_time(calls: int, stack: Stack) -> float:
    start = process_time()
    for _ in range(calls):
        stack.embed()
    return (process_time() - start) / calls * _MILLI


def _import_time(stack: Stack) -> float:
    return _cpu_time_of(stack.import_statement)


def _cpu_time_of(code: str) -> float:
    """Run code in a fresh interpreter and return its CPU time from start to exit."""
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{code!r} failed in a fresh interpreter")
    return (usage.ru_utime + usage.ru_stime) * _MILLI


SCENARIOS = (
    # Short samples and many of them: the pauses between tokens let everything else on the machine in.
    Scenario("paced", "paced stream", "µs per token", 0.35, 61, 9, partial(_stream_time, "paced:150", 800)),
    Scenario("burst", "burst stream", "µs per token", 0.15, 31, 7, partial(_stream_time, "burst", 8000)),
    Scenario("call", "small call", "µs per call", 0.50, 31, 9, partial(_call_time, 150)),
    Scenario(
        "limits",
        "call with limits and retries",
        "µs per call",
        1.10,
        61,
        15,
        partial(_call_time, 400),
        baseline=UNLIMITED,
        clients=(UNLIMITED, SUBJECT),
    ),
    Scenario("embed", "embed 512 x 1024", "ms per call", 0.45, 25, 7, partial(_embed_time, 2)),
    Scenario(
        "import",
        "import",
        "ms",
        0.55,
        31,
        7,
        _import_time,
        {"bare interpreter": partial(_cpu_time_of, "pass")},
    ),
)
