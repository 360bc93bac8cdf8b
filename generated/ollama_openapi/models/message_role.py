from typing import Literal

MessageRole = Literal["assistant", "system", "tool", "user"] | str
"""Who speaks. `tool` is the result of a call that the model asked for."""
