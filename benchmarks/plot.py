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
_COLOURS = {"ollama_ext": "#1f6fb4", "ollama_openapi": "#a9c9e4"}
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
    size = 0.8 / len(_COLOURS)
    for place, comparison in enumerate(comparisons):
        others = [name for name in comparison.samples if name in _COLOURS and name != comparison.baseline]
        for index, name in enumerate(others):
            ratio = comparison.ratio(name)
            middle = place + (index - (len(others) - 1) / 2) * size
            axes.barh(middle, ratio, size * 0.92, color=_COLOURS[name])
            end = ratio
            if name == comparison.subject:
                ends = [middle - size / 2, middle + size / 2]
                axes.plot([comparison.target] * 2, ends, color=_TARGET, linewidth=3, zorder=3)
                end = max(ratio, comparison.target)
            axes.annotate(
                f"{ratio:.2f}", (end, middle), (5, 0), textcoords="offset points", va="center", fontsize=9
            )
    for name, colour in _COLOURS.items():
        axes.barh(0, 0, color=colour, label=name)
    axes.plot([], [], color=_TARGET, linewidth=3, label=f"target for {comparisons[0].subject}")
    axes.axvline(1, color="black", linewidth=1, label=baseline)
    axes.set_yticks(
        range(len(comparisons)),
        [
            f"{one.name}\n{one.median(one.baseline):.3g} {one.unit}"
            + ("" if one.baseline == baseline else f" ({one.baseline})")
            for one in comparisons
        ],
    )
    axes.invert_yaxis()
    axes.set_xlabel("CPU time, as a multiple of what the name on the left gives for it; less is better")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)


def _draw_memory(axes: Any, long_stream: Memory) -> None:
    tokens = [number / 1000 for number in long_stream.tokens]
    curves = {
        "resident": (long_stream.resident, _COLOURS["ollama_openapi"]),
        "resident without the text": (long_stream.beside_text, _COLOURS["ollama_ext"]),
    }
    for label, (sizes, colour) in curves.items():
        axes.plot(tokens, [size / _MEBIBYTE for size in sizes], label=label, color=colour)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("thousand tokens of one stream")
    axes.set_ylabel("memory, MiB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
