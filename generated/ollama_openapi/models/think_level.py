from typing import Literal

ThinkLevel = Literal["high", "low", "max", "medium"] | str
"""How long to think. `max` since 0.21.3."""
