"""Results: values that say what was done, and whether it was all."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ollama_ext.s3 import (
    BlobError,
    BlobMissing,
    Credentials,
    Difference,
    Listing,
    ModelEntry,
    PruneResult,
    Refusal,
    TransferProgress,
    TransferResult,
    TransferSettings,
    TransferTotals,
    VerifyResult,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ONE, TWO = (ModelEntry(name=name, modified=NOW) for name in ("a:latest", "b:latest"))
REFUSED = Refusal(path="manifests/x", reason="it must be host/namespace/model/tag")


def test_a_listing_is_a_sequence_of_models_with_what_was_refused() -> None:
    listing = Listing([ONE, TWO], [REFUSED])
    assert list(listing) == [ONE, TWO]
    assert len(listing) == 2
    assert (listing[0], listing[-1], listing[1:]) == (ONE, TWO, (TWO,))
    assert ONE in listing
    assert listing.index(TWO) == 1
    assert list(reversed(listing)) == [TWO, ONE]
    assert listing.refused == (REFUSED,)
    assert repr(listing) == "<Listing of 2 models, 1 refused>"
    with pytest.raises(IndexError):
        _ = listing[2]


def test_a_listing_of_nothing_is_false_and_has_nothing_refused() -> None:
    assert not Listing([])
    assert Listing([]).refused == ()


def test_a_listing_does_not_change_with_the_list_it_was_made_of() -> None:
    models = [ONE]
    listing = Listing(models)
    models.append(TWO)
    assert list(listing) == [ONE]


def test_a_transfer_is_good_without_an_error() -> None:
    good = TransferResult(model="a:latest", way="bucket to store")
    assert good.ok
    error = BlobMissing("words", digest="sha256:x")
    bad = TransferResult(
        model="a:latest",
        way="store to bucket",
        error=error,
        errors=(BlobError(digest="sha256:x", error=error),),
    )
    assert not bad.ok
    assert bad.errors[0].error is bad.error


def test_a_verification_is_good_without_a_bad_blob() -> None:
    good = VerifyResult(model="a:latest", digest="sha256:m", where="store", blobs_good=2, blobs_repaired=1)
    assert good.ok
    bad = BlobError(digest="sha256:x", error=BlobMissing("words"))
    assert not msgspec.structs.replace(good, errors=(bad,)).ok


VALUES: list[Any] = [
    ONE,
    REFUSED,
    TransferResult(model="a:latest", way="bucket to store", seconds=1.5),
    VerifyResult(model="a:latest", digest="sha256:m", where="bucket"),
    Difference(model="a:latest", comparison="same", missing_in_store=("sha256:x",)),
    PruneResult(removed=("sha256:x",), bytes_freed=5, spared=1),
    TransferProgress("done", "a:latest", "", 1, 1, TransferTotals(1, 1, 1.0)),
    TransferSettings(connections=4),
    Credentials("key", "secret", "token"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_result_is_a_value(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own bytes
    assert msgspec.structs.replace(value) == value
    field = msgspec.structs.fields(value)[0].name
    with pytest.raises(AttributeError):
        setattr(value, field, None)


def test_results_are_told_as_json() -> None:
    text = msgspec.json.encode([ONE, REFUSED, VALUES[4], VALUES[5], VALUES[6]])
    told = msgspec.json.decode(text)
    assert told[0] == {"name": "a:latest", "modified": "2026-11-25T00:00:00Z", "digest": None, "size": None}
    assert told[4]["overall"]["fraction"] == 1.0


def test_credentials_are_not_shown() -> None:
    keys = Credentials("AKIAKEY", "hunter2", "token-of-session")
    for text in (repr(keys), str(keys), f"{keys}", f"{[keys]}"):
        assert text.strip("[]") == "Credentials(...)"
