"""Samples taken in turn, and what they add up to. Knows nothing of what is measured."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Sample = TypeVar("_Sample")


def take_turns(subjects: Mapping[str, Callable[[], _Sample]], rounds: int) -> dict[str, list[_Sample]]:
    """Call every subject once per round and return what each returned, round by round.

    Whatever else the machine does then falls on all of them alike. Each round starts with another
    subject, so that none always has the cache that the same neighbour left. One round before the
    first is not kept: it opens connections, fills caches and compiles bytecode.
    """
    names = list(subjects)
    samples: dict[str, list[_Sample]] = {name: [] for name in names}
    for number in range(rounds + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            gc.collect()  # nobody pays for another one's garbage
            value = subjects[name]()
            if number:
                samples[name].append(value)
    return samples


@dataclass(frozen=True)
class Comparison:
    """The samples of one scenario, and what they should show.

    Attributes:
        name: The scenario.
        unit: The unit of the samples; less is better.
        baseline: The subject that ratios are taken to.
        subject: The subject that the target is for.
        target: The ratio that should not be exceeded.
        samples: For each subject one sample per round.
    """

    name: str
    unit: str
    baseline: str
    subject: str
    target: float
    samples: Mapping[str, list[float]]

    def median(self, subject: str) -> float:
        """Return the median of a subject's samples."""
        return median(self.samples[subject])

    def ratios(self, subject: str) -> tuple[float, float, float]:
        """Return lower quartile, median and upper quartile of the ratio to the baseline.

        The ratio is taken round by round, between samples that lie a moment apart: what slows the
        machine down for a while slows both.
        """
        pairs = zip(self.samples[subject], self.samples[self.baseline], strict=True)
        lower, middle, upper = quantiles([sample / base for sample, base in pairs], n=4, method="inclusive")
        return lower, middle, upper

    def ratio(self, subject: str) -> float:
        """Return the median ratio of a subject to the baseline."""
        return self.ratios(subject)[1]

    @property
    def reached(self) -> bool:
        """Whether the target was reached."""
        return self.ratio(self.subject) <= self.target
