"""Draws the results. `matplotlib` is looked up at run time: type checkers need not have it installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from memory import Memory
    from rounds import Comparison

_MEBIBYTE = 2**20
_COLOURS = ("#1f6fb4", "#a9c9e4")
_TARGET = "#c0392b"


def save(comparisons: Sequence[Comparison], long_stream: Memory | None, file: Path) -> None:
    """Write a picture of the ratios, and of the memory over a long stream, whichever was measured."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")  # draws into files, needs no display
    pyplot = import_module("matplotlib.pyplot")
    wanted = [bool(comparisons), long_stream is not None]
    heights = [0.9 * len(comparisons) + 1.6, 3.0]
    figure, panels = pyplot.subplots(
        nrows=sum(wanted),
        squeeze=False,
        figsize=(9, sum(height for height, is_wanted in zip(heights, wanted, strict=True) if is_wanted)),
        height_ratios=[height for height, is_wanted in zip(heights, wanted, strict=True) if is_wanted],
        layout="constrained",
    )
    if comparisons:
        _draw_ratios(panels[0, 0], comparisons)
    if long_stream is not None:
        _draw_memory(panels[-1, 0], long_stream)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _draw_ratios(axes: Any, comparisons: Sequence[Comparison]) -> None:
    baseline = comparisons[0].baseline
    first = comparisons[0].subject
    subjects = [first, *(name for name in comparisons[0].samples if name not in {first, baseline})]
    size = 0.8 / len(subjects)
    for index, subject in enumerate(subjects):
        places = [place + (index - (len(subjects) - 1) / 2) * size for place in range(len(comparisons))]
        ratios = [comparison.ratio(subject) for comparison in comparisons]
        bars = axes.barh(places, ratios, size * 0.92, color=_COLOURS[index], label=subject)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=9)
        if subject == first:
            for place, comparison in zip(places, comparisons, strict=True):
                ends = [place - size / 2, place + size / 2]
                axes.plot([comparison.target] * 2, ends, color=_TARGET, linewidth=3, zorder=3)
    axes.plot([], [], color=_TARGET, linewidth=3, label=f"target for {first}")
    axes.axvline(1, color="black", linewidth=1, label=baseline)
    axes.set_yticks(
        range(len(comparisons)),
        [f"{one.name}\n{one.median(baseline):.3g} {one.unit}" for one in comparisons],
    )
    axes.invert_yaxis()
    axes.set_xlabel(f"CPU time, as a multiple of what {baseline} takes (named on the left); less is better")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)


def _draw_memory(axes: Any, long_stream: Memory) -> None:
    tokens = [number / 1000 for number in long_stream.tokens]
    curves = {
        "resident": (long_stream.resident, _COLOURS[1]),
        "resident without the text": (long_stream.beside_text, _COLOURS[0]),
    }
    for label, (sizes, colour) in curves.items():
        axes.plot(tokens, [size / _MEBIBYTE for size in sizes], label=label, color=colour)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("thousand tokens of one stream")
    axes.set_ylabel("memory, MiB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
