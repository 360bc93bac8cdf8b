"""``python -m ollama_ext.settings`` prints the table of all keys that stands in docs/settings.md."""

from __future__ import annotations

import sys

from .table import table_of_keys

sys.stdout.write(table_of_keys())
