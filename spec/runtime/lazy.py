"""Packages whose content is imported when it is first asked for, so that a program pays for what it uses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazy_modules(package: str, names: Iterable[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package that offers these modules of its own."""
    return _lazy(package, names, lambda name: import_module(f".{name}", package))


def lazy_members(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package that offers names out of modules of its own.

    Args:
        package: Its `__name__`.
        homes: Each name, and the module that defines it.
    """
    return _lazy(package, homes, lambda name: getattr(import_module(f".{homes[name]}", package), name))


def _lazy(
    package: str, names: Iterable[str], load: Callable[[str], Any]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    offered = frozenset(names)

    def get(name: str) -> Any:
        if name not in offered:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = load(name)
        setattr(sys.modules[package], name, value)  # from now on it is found without this function
        return value

    def list_names() -> list[str]:
        return sorted(offered.union(vars(sys.modules[package])))

    return get, list_names
