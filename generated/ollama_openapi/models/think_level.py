"""The values of `ThinkLevel`."""

from __future__ import annotations

from typing import Literal

ThinkLevel = Literal["high", "low", "max", "medium"] | str
"""How long to think. `max` since 0.21.3."""
