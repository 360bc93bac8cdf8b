"""Which model store is meant when nobody says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ollama_ext.hosts import GO_WHITE_SPACE

from .errors import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where the service that Ollama's installer sets up keeps its models.
SERVICE_STORE: Final = Path("/usr/share/ollama/.ollama/models")


def default_store(
    environment: Mapping[str, str] | None = None, *, service: Path = SERVICE_STORE, root: bool | None = None
) -> Path:
    """Return the model directory that an Ollama started by this user would use.

    That is ``$OLLAMA_MODELS``, else ``~/.ollama/models``. Source: ``envconfig.Models`` of Ollama.

    Args:
        environment: The environment; that of the process if left out.
        service: The model directory of the service.
        root: Whether to decide for root; left out, whether this process is root's.

    Raises:
        StoreRefused: This is root, who has no models of its own, and the service has some: either may be
            meant. Or there is no home directory.
    """
    environment = os.environ if environment is None else environment
    # Ollama's envconfig takes white space off first, then quotes of both kinds.
    if named := environment.get("OLLAMA_MODELS", "").strip(GO_WHITE_SPACE).strip("\"'"):
        return Path(named)
    home = environment.get("HOME", "")
    if not home and sys.platform != "win32":
        raise StoreRefused(
            "there is neither $OLLAMA_MODELS nor $HOME: say which model directory with store= (--store)"
        )
    own = (Path(home) if home else Path.home()) / ".ollama" / "models"
    is_root = os.geteuid() == 0 if root is None else root
    if is_root and service.is_dir() and not own.is_dir():
        raise StoreRefused(
            f"two model directories may be meant: {service} of the Ollama service, and {own} of root, which "
            f"is not there yet. Say which with store= (--store) or OLLAMA_MODELS, as in "
            f"OLLAMA_MODELS={service}"
        )
    return own
