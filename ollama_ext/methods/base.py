"""What the groups of methods have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ollama_ext.calls import Calls


class Methods:
    """A group of methods of `Client`.

    In every method the first argument is the model (or what takes its place) and the second what it is
    asked, both also by name; everything else is keyword-only, named as in Ollama's API, and None means "not
    sent", so that the server's own default holds. All take the keyword arguments of `CallOptions`.
    """

    _calls: Calls
