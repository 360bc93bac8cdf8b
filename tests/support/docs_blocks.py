"""The code that the README and the pages in docs/ show."""

from __future__ import annotations

import re
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
PAGES = [TREE / "README.md", *sorted((TREE / "docs").rglob("*.md"))]

#: What the models that the docs speak of are to a scripted server.
ALIASES = {"llama3.2": "smol-tools", "qwen3": "smol-think", "all-minilm": "all-minilm:l6-v2"}


def blocks(language: str = "python") -> dict[str, str]:
    """Return the text of every block of a language under the page and line where it starts."""
    fenced = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in fenced.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            found[f"{page.name}:{line}"] = match[1]
    return found


def needs_broker(code: str) -> bool:
    """Whether a block of Python needs a RabbitMQ; tests/fleet/broker runs those that do."""
    return "FleetClient(" in code or "FleetWorker(" in code
