"""Draws the results. `matplotlib` is looked up at run time: type checkers need not have it installed."""

from __future__ import annotations

from importlib import import_module
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from fleet_report import BASELINES, MEBIBYTE, TARGETS, ratios
from fleet_scenarios import BARE, CELERY, ONE, OURS, SOCKET, THREE

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_report import Results
    from fleet_scenarios import Raced, Resident

_COLOURS: Final = {
    OURS: "#1f6fb4",
    SOCKET: "#a9c9e4",
    BARE: "#333333",
    CELERY: "#d9a441",
    ONE: "#a9c9e4",
    THREE: "#1f6fb4",
}
_TARGET: Final = "#c0392b"


def save(results: Results, file: Path) -> None:
    """Write a picture of the throughput, and of the memory over many messages, whichever was measured."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")  # draws into files, needs no display
    pyplot = import_module("matplotlib.pyplot")
    heights = [
        *(0.5 * len(raced.samples) + 1.1 for raced in results.raced),
        *([3.0] if results.memory else []),
    ]
    figure, panels = pyplot.subplots(
        nrows=len(heights),
        squeeze=False,
        figsize=(9, sum(heights)),
        height_ratios=heights,
        layout="constrained",
    )
    for place, raced in enumerate(results.raced):
        _draw_rates(panels[place, 0], raced)
    if results.memory:
        _draw_memory(panels[-1, 0], results.memory)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _draw_rates(axes: Any, raced: Raced) -> None:
    baseline = BASELINES[raced.name]
    places = {method: place for place, method in enumerate(raced.samples)}
    for method, place in places.items():
        low, ratio, high = (1.0, 1.0, 1.0) if method == baseline else ratios(raced, method, baseline)
        axes.barh(place, ratio, 0.75, color=_COLOURS[method])
        axes.plot([low, high], [place, place], color="#888888", linewidth=2)
        rate = median(one.rate for one in raced.samples[method])
        axes.annotate(
            f"{ratio:.2f} ({rate:,.0f} messages/s)",
            (high, place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
        )
    for target in TARGETS[raced.name]:
        # A target beside another method lies where that method's bar says.
        other = 1.0 if target.other == baseline else ratios(raced, target.other, baseline)[1]
        place = places[target.subject]
        axes.plot([target.at_least * other] * 2, [place - 0.4, place + 0.4], color=_TARGET, linewidth=3)
    axes.set_yticks(range(len(places)), list(places))
    axes.invert_yaxis()
    axes.set_xlabel(f"{raced.name}: messages/s, as a multiple of {baseline}; red: targets; more is better")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.25)


def _draw_memory(axes: Any, memory: Resident) -> None:
    axes.plot(
        [has / 1000 for has in memory.answered],
        [size / MEBIBYTE for size in memory.resident],
        color=_COLOURS[OURS],
    )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("thousand messages of one worker")
    axes.set_ylabel("resident, MiB")
    axes.spines[["top", "right"]].set_visible(False)
