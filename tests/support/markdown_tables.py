"""Tables of a Markdown page, row by row, with the heading that each stands under."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        heading: The nearest heading above it.
        cells: Its cells, as they are written.
        line: Its line, from 1.
    """

    heading: str
    cells: tuple[str, ...]
    line: int

    def code(self, column: int) -> list[str]:
        """Return what a cell has in code."""
        return _CODE.findall(self.cells[column])


def rows_of(page: Path) -> list[Row]:
    """Return the rows of all tables of a page, without their heads."""
    rows: list[Row] = []
    heading, inside, fenced = "", False, False
    for line, text in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if text.startswith("```"):
            fenced = not fenced
        elif not fenced and text.startswith("#"):
            heading = text.lstrip("# ")
        if fenced or not text.startswith("|"):
            inside = False
            continue
        cells = tuple(cell.strip() for cell in text.strip("|").split("|"))
        if set("".join(cells)) <= set("-: ") and not inside:
            inside = True  # what stands above this line is the head
        elif inside:
            rows.append(Row(heading, cells, line))
    return rows
