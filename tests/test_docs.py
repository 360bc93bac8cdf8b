"""Every Python block of the README and of the pages in docs/ runs as it stands.

Ollama is played by the scripted server; the address that a block spells out is replaced by that of
the server, nothing else is.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ollama_ext.testing import FakeOllama

TREE = Path(__file__).resolve().parent.parent
PAGES = [TREE / "README.md", *sorted((TREE / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ALIASES = {"llama3.2": "smol-tools", "qwen3": "smol-think", "all-minilm": "all-minilm:l6-v2"}


def blocks() -> dict[str, str]:
    """Return the code of every block under the page and line where it starts."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            found[f"{page.name}:{line}"] = match[1]
    return found


def test_the_readme_shows_code() -> None:
    assert sum(place.startswith("README") for place in blocks()) >= 8


@pytest.mark.parametrize("code", blocks().values(), ids=blocks())
def test_a_block_of_the_docs_runs(code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with FakeOllama(aliases=ALIASES) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.chdir(tmp_path)
        code = code.replace("http://127.0.0.1:11434", server.url)

        exec(compile(code, "block", "exec"), {"__name__": "__block__"})  # noqa: S102 - our own docs


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
