"""A store with a good model in it, which nothing that is refused may change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from model_stores import STAGING, make_model, tree

from ollama_ext.s3 import LocalStore, MirrorError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

OLD = "old"  # the model


class GuardedStore:
    """A store that holds one model, beside a directory that is nobody's business.

    Attributes:
        path: The store.
        outside: The directory beside it, with a file in it.
        model: What the store holds.
    """

    def __init__(self, directory: Path) -> None:
        """Make both below a directory, and remember what they look like."""
        self._directory = directory
        self.path = directory / "store"
        self.outside = directory / "outside"
        self.outside.mkdir()
        (self.outside / "canary").write_bytes(b"it sings")
        self.model = make_model(self.path, OLD, [b"an old layer", b"another old layer"])
        self.remember()

    def remember(self) -> None:
        """Take what there is now for what must stay."""
        self._before = self._look()

    def _look(self) -> dict[str, bytes | str]:
        staging = f"{self.path.name}/{STAGING}"
        return {name: what for name, what in tree(self._directory).items() if not name.startswith(staging)}

    def assert_untouched(self) -> None:
        """See that nothing but the staging directory differs, and that the model is whole."""
        assert self._look() == self._before
        assert LocalStore(self.path).verify_model(OLD).ok

    @contextmanager
    def refuses(self, kind: type[MirrorError], *words: str) -> Generator[pytest.ExceptionInfo[MirrorError]]:
        """See that the block raises exactly this, with these words, and that nothing was touched."""
        with pytest.raises(MirrorError) as caught:
            yield caught
        assert type(caught.value) is kind, repr(caught.value)
        for each in words:
            assert each in str(caught.value)
        self.assert_untouched()
