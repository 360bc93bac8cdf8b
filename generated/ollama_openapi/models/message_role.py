"""The values of `MessageRole`."""

from __future__ import annotations

from typing import Literal

MessageRole = Literal["assistant", "system", "tool", "user"] | str
"""Who speaks. `tool` is the result of a call that the model asked for."""
