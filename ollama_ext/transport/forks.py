"""What a child process does with the connections of its parent: it closes its copies, and nothing else.

After a fork both processes hold the same sockets. What the child would read, the parent would miss; what it
shuts down ends for both; and as long as it holds a copy, the server does not see the parent close.
"""

from __future__ import annotations

import os
import weakref
from functools import cache
from typing import Protocol

from ollama_ext.errors import OllamaError


class Forkable(Protocol):
    """Something with connections."""

    def disown(self) -> None:
        """Leave them to the parent: this is the child."""
        ...


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(owner: Forkable) -> None:
    """Have `disown` called in every child that is forked while the owner is alive."""
    _watched.add(owner)
    _register()


def forked() -> OllamaError:
    """Return the error of those who use in a child what its parent made."""
    return OllamaError(
        "this client was made before a fork, in another process, to which its connections belong: make a "
        "Client in each process"
    )


@cache  # Python offers no way back
def _register() -> None:
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=_disown)


def _disown() -> None:
    for owner in list(_watched):
        owner.disown()
