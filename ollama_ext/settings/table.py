"""The table of all keys, for docs/settings.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from .keys import SECTIONS, SUBSCRIPTION, TOP
from .parts import Subscription

if TYPE_CHECKING:
    from .keys import Key


def table_of_keys() -> str:
    """Return the table of all keys, in Markdown."""
    rows = [
        _row(f"{section}.{key.name}", key, made) for section, (keys, made) in SECTIONS.items() for key in keys
    ]
    rows += [_row(key.name, key, None) for key in TOP]
    rows += [_row(f"subscriptions[].{key.name}", key, Subscription) for key in SUBSCRIPTION]
    return "\n".join(["| key | takes | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _row(path: str, key: Key, made: type[msgspec.Struct] | None) -> str:
    default = key.default
    if default is None and made is not None:
        field = next(field for field in msgspec.structs.fields(made) if field.name == key.name)
        default = "none" if field.default is None else f"`{shown_default(field.default)}`"
    cells = [f"`{path}`", key.kind.wanted, default or "", key.meaning]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def shown_default(value: Any) -> str:
    """Return a value as YAML, in one line."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
