"""What a check of a fleet's settings says: findings, each with what to type where something is wrong."""

from __future__ import annotations

import shlex
from typing import Any, Final, Literal

import msgspec

#: What stands in a command for a name that is not known.
UNKNOWN_USER: Final = "USER"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        state: ``problem`` if requests would not be served or would be lost; ``note`` if somebody should know.
        about: What it is about, in a word or two.
        text: What is so.
        fix: What to type, or to write into the settings; several lines where it is several commands; empty if
            there is nothing to do.
    """

    state: Literal["ok", "note", "problem"]
    about: str
    text: str
    fix: str = ""


class Row(msgspec.Struct, frozen=True):
    """A setting: its key, its value as YAML writes it, without secrets, and where that came from."""

    key: str
    value: str
    origin: str


class Report(msgspec.Struct, frozen=True):
    """What a worker with these settings would find.

    Attributes:
        settings: Each with its value and origin.
        findings: In the order in which a worker would meet them.
    """

    settings: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not any(finding.state == "problem" for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"ok": self.ok, **msgspec.to_builtins(self)}


def ok(about: str, text: str) -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding("ok", about, text)


def note(about: str, text: str, fix: str = "") -> Finding:
    """Return a finding that somebody should know."""
    return Finding("note", about, text, fix)


def problem(about: str, text: str, fix: str = "") -> Finding:
    """Return a finding that something is wrong."""
    return Finding("problem", about, text, fix)


def command(*words: str) -> str:
    """Return a command as it is typed."""
    return shlex.join(words)


def counted(names: list[str] | tuple[str, ...], most: int = 3) -> str:
    """Return names for a sentence, the first few of many: ``a, b, c and 4 more``."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
