"""Embeddings for any number of texts, made of recorded vectors.

A recorded request gets its recorded bytes. For others, text ``n`` gets the recorded vector turned
by ``n`` places: vectors that differ, have unit length, and are the same in every run. They mean
nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from .responses import Json, Recording, Response

if TYPE_CHECKING:
    from .catalog import Catalog

_Fields = dict[str, Any]


def embed(catalog: Catalog, model: str, fields: _Fields) -> Response:
    """Return the answer of a known model to an embed request."""
    same = catalog.same_request("POST", "/api/embed", fields)
    if same is not None:
        return Recording(same.name, same.version)
    texts = fields.get("input")
    if texts is None or texts == "":
        texts = []
    if isinstance(texts, str):
        texts = [texts]
    listed = cast("list[object]", texts) if isinstance(texts, list) else None
    if listed is None or not all(isinstance(text, str) for text in listed):
        bad = catalog.get_or_newest("embed-bad-input")
        return Recording(bad.name, bad.version)
    recorded = catalog.exchanges["embed-one"].response.json()
    if not listed:
        return Json({"model": model, "embeddings": []})
    size = fields.get("dimensions")
    vector = cast("list[float]", recorded["embeddings"][0])
    if isinstance(size, int) and 0 < size < len(vector) and catalog.version != "v0.9.6":
        vector = _unit(vector[:size])  # 0.9.6 does not know the field
    turned = [_turned(vector, position) for position in range(len(listed))]
    return Json({**recorded, "model": model, "embeddings": turned})


def _turned(vector: list[float], places: int) -> list[float]:
    start = places % len(vector)
    return vector[start:] + vector[:start]


def _unit(vector: list[float]) -> list[float]:
    length = math.hypot(*vector) or 1.0
    return [value / length for value in vector]
