"""Draws the results. `matplotlib` is looked up at run time: type checkers need not have it installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mirror_methods import BOTO3, OURS, RCLONE, S5CMD, VERIFIED
from mirror_models import GIBIBYTE, MEBIBYTE
from mirror_scenarios import PEAK, Target

if TYPE_CHECKING:
    from pathlib import Path

    from mirror_checks import Limited
    from mirror_report import Results
    from mirror_scenarios import Measured

_COLOURS = {OURS: "#1f6fb4", S5CMD: "#333333", RCLONE: "#8a8a8a", BOTO3: "#d9a441"}
_TARGET = "#c0392b"


def save(results: Results, file: Path) -> None:
    """Write a picture of the ratios, and of the memory over time, whichever was measured."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")  # draws into files, needs no display
    pyplot = import_module("matplotlib.pyplot")
    heights = [
        *([0.95 * len(results.measured) + 1.6] if results.measured else []),
        *([3.9] if results.limited else []),
    ]
    figure, panels = pyplot.subplots(
        nrows=len(heights),
        squeeze=False,
        figsize=(9, sum(heights)),
        height_ratios=heights,
        layout="constrained",
    )
    if results.measured:
        _draw_ratios(panels[0, 0], results.measured)
    if results.limited:
        _draw_memory(panels[-1, 0], results.limited)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _draw_ratios(axes: Any, measured: list[Measured]) -> None:
    others = [name for name in _COLOURS if name != S5CMD]
    size = 0.8 / len(others)
    for place, one in enumerate(measured):
        comparison = one.comparison(Target(one.scenario.figure, S5CMD, 1))
        for index, name in enumerate(others):
            ratio = comparison.ratio(name)
            middle = place + (index - (len(others) - 1) / 2) * size
            axes.barh(middle, ratio, size * 0.92, color=_COLOURS[name])
            end = ratio
            if name == OURS:
                # A target beside another method lies where that method's bar says.
                marks = [target.limit * comparison.ratio(target.other) for target in one.scenario.targets]
                for mark in marks:
                    axes.plot([mark] * 2, [middle - size / 2, middle + size / 2], color=_TARGET, linewidth=3)
                end = max(ratio, *marks)
            axes.annotate(
                f"{ratio:.2f}",
                (end, middle),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
            )
    for name in others:
        axes.barh(0, 0, color=_COLOURS[name], label=VERIFIED[name])
    axes.plot([], [], color=_TARGET, linewidth=3, label=f"targets for {OURS}")
    axes.axvline(1, color="black", linewidth=1, label=VERIFIED[S5CMD])
    axes.set_yticks(range(len(measured)), [_caption(one) for one in measured])
    axes.invert_yaxis()
    axes.set_xlabel("as a multiple of what s5cmd takes, whose own figure is on the left; less is better")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)


def _caption(one: Measured) -> str:
    figure, unit = ("wall time", "s") if one.scenario.figure == "seconds" else ("CPU time", "s")
    taken = one.comparison(Target(one.scenario.figure, S5CMD, 1)).median(S5CMD)
    return f"{one.scenario.name}, {one.size / GIBIBYTE:.3g} GiB\n{figure}, {taken:.3g} {unit}"


def _draw_memory(axes: Any, limited: Limited) -> None:
    for name, curve in limited.curves.items():
        label = VERIFIED[name] + (f" ({curve.failed.partition(':')[0]})" if curve.failed else "")
        sizes = [size / MEBIBYTE for size in curve.resident]
        axes.plot(curve.seconds, sizes, label=label, color=_COLOURS[name])
    axes.axhline(PEAK / MEBIBYTE, color=_TARGET, linestyle="--", label=f"target for {OURS}")
    axes.set_ylim(bottom=0)
    where = f"within {limited.limit / MEBIBYTE:.0f} MiB" if limited.limit else "without a limit"
    axes.set_xlabel(f"seconds of an import of {limited.size / GIBIBYTE:.3g} GiB from nginx, {where}")
    axes.set_ylabel("resident, MiB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
