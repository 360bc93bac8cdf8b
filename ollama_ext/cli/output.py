"""What is shown, where it goes to, and in which form.

A terminal gets tables, bars and escaped control characters; a pipe gets plain lines, and text as it came;
``--json`` gets JSON and nothing else. Messages and errors go to the standard error.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from ollama_openapi.types import plain
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

#: Characters by which a text could reorder what stands around it on a terminal.
_REORDERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNITS = ("B", "KB", "MB", "GB", "TB")
_AGES = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (4.35, "week"), (12, "month"))


class Output:
    """The standard output and error of one command.

    Attributes:
        json: Whether JSON is wanted.
        terminal: Whether the output is a terminal that should be drawn on.
    """

    def __init__(self, *, json: bool) -> None:
        """Look at where the output goes."""
        self.json = json
        self.terminal: bool = sys.stdout.isatty() and not json
        self.console: Console = Console(highlight=False, markup=False, emoji=False)
        self._errors_on_terminal = sys.stderr.isatty()

    def data(self, value: Any) -> None:
        """Write a value as one line of JSON: models as the server sent them."""
        sys.stdout.write(msgspec.json.encode(plain(value)).decode() + "\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Write a line for people, unless JSON is wanted."""
        if not self.json:
            self.text(text + "\n")

    def text(self, text: str, *, dim: bool = False) -> None:
        """Write text as it is in a pipe, and harmless on a terminal."""
        if self.terminal:
            self.console.print(Text(printable(text), style="dim" if dim else ""), end="", soft_wrap=True)
        else:
            sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Write a line to the standard error."""
        write_error(text, sys.stderr, terminal=self._errors_on_terminal)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a table: drawn on a terminal, in columns parted by tabs in a pipe."""
        if not self.terminal:
            for row in (columns, *rows):
                sys.stdout.write("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row) + "\n")
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self.console.print(table)


def write_error(text: str, stream: TextIO, *, terminal: bool) -> None:
    """Write a line that may hold the words of a server."""
    stream.write((printable(text) if terminal else text) + "\n")
    stream.flush()


def printable(text: str) -> str:
    """Return text in which nothing can steer a terminal; lines and tabs stay."""
    return "".join(
        character if character in "\n\t" or not _is_control(character) else ascii(character)[1:-1]
        for character in text
    )


def _is_control(character: str) -> bool:
    code = ord(character)
    return code < 32 or 127 <= code < 160 or character in _REORDERING  # noqa: PLR2004 - C0, DEL and C1


def size(count: int) -> str:
    """Return a number of bytes as Ollama prints it: ``815 MB``."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - decimal units
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if 0 < value < 10 and unit else f"{value:.0f} {_UNITS[unit]}"  # noqa: PLR2004


def moment(text: str) -> str:
    """Return a time of the server as a distance from now: ``3 days ago``; as it is if it is none."""
    try:
        seconds = (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return text
    value, name = abs(seconds), "year"
    for most, unit in _AGES:
        if value < most:
            name = unit
            break
        value /= most
    count = f"{value:.0f} {name}{'' if round(value) == 1 else 's'}"
    if name == "year" and value > 100:  # noqa: PLR2004 - how Ollama tells "for ever"
        return "Forever" if seconds > 0 else "Never"
    return f"{count} from now" if seconds > 0 else f"{count} ago"
