"""Reads settings for tests, of a text or a mapping, without the environment of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ollama_ext.settings import Settings, SettingsError

DATA = Path(__file__).parent.parent / "data" / "settings"
NOBODY: dict[str, str] = {}


def load(text: str, tmp_path: Path, **more: Any) -> Settings:
    """Read a file of this text."""
    file = tmp_path / "fleet.yaml"
    file.write_text(text, encoding="utf-8")
    return Settings.load(file, **{"environ": NOBODY, **more})


def of(mapping: dict[str, Any], **more: Any) -> Settings:
    """Read a mapping."""
    return Settings.from_mapping(mapping, **{"environ": NOBODY, **more})


def problems(mapping: dict[str, Any], **more: Any) -> str:
    """Return all that is wrong with a mapping."""
    with pytest.raises(SettingsError) as caught:
        of(mapping, **more)
    return "\n".join(caught.value.problems)
