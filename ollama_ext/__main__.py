"""``python -m ollama_ext`` is the command ``ollama-ext``."""

from __future__ import annotations

from .cli import main

main()
