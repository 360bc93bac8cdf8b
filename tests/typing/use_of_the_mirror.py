"""The mirror as a user types it: checked by mypy and pyright, never run.

Each function is a program somebody writes; `assert_type` says what the checkers must make of it.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, assert_never, assert_type

from ollama_ext import Cancelled, CancelToken, OllamaError  # noqa: TC001 - as a user imports them
from ollama_ext.s3 import (
    BlobError,
    BlobMissing,
    BucketAnswerRefused,
    BucketError,
    BucketForbidden,
    BucketNotFound,
    BucketUnreachable,
    Credentials,
    Difference,
    DigestMismatch,
    ExtraMissing,
    Layer,
    Listing,
    LocalStore,
    Manifest,
    ManifestRefused,
    Mirror,
    MirrorError,
    ModelEntry,
    ModelMissing,
    NameRefused,
    NoSpace,
    ObjectChanged,
    PruneResult,
    Refusal,
    RemoteModelRefused,
    SettingRefused,
    StoreRefused,
    TransferInterrupted,
    TransferProgress,
    TransferResult,
    TransferSettings,
    TransferTotals,
    VerifyResult,
    default_store,
    parse_manifest,
)


def listings(mirror: Mirror) -> list[str]:
    listing = mirror.list_models(details=True)
    assert_type(listing, Listing)
    assert_type(listing[0], ModelEntry)
    assert_type(listing[:2], Sequence[ModelEntry])
    assert_type(len(listing), int)
    assert_type(listing.refused, tuple[Refusal, ...])
    for refusal in listing.refused:
        assert_type(refusal.path + refusal.reason, str)
    for entry in listing:
        assert_type(entry.modified, datetime)
        assert_type(entry.digest, str | None)
        assert_type(entry.size, int | None)
    as_sequence: Sequence[ModelEntry] = listing
    return [entry.name for entry in as_sequence]


def transfers(mirror: Mirror, directory: Path, token: CancelToken) -> bool:
    result = mirror.import_model("llama3.2:1b", dry_run=True, on_progress=print, cancel=token)
    assert_type(result, TransferResult)
    assert_type(result.ok, bool)
    assert_type(result.digest, str | None)
    assert_type(result.bytes_fetched, int)
    assert_type(result.seconds, float)
    assert_type(result.errors, tuple[BlobError, ...])
    assert_type(result.error, MirrorError | None)
    for each in result.errors:
        assert_type(each.error, MirrorError)

    assert_type(mirror.publish_model("llama3.2:1b", on_progress=told), TransferResult)
    assert_type(mirror.import_models(["llama3.2:1b", "nomic-embed-text"]), list[TransferResult])
    assert_type(mirror.export_models(("llama3.2:1b",), directory), list[TransferResult])
    mirror.export_models([], LocalStore(directory))
    mirror.export_models([], "directory")

    # What is wrong is wrong for a type checker too.
    mirror.import_model(["llama3.2"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    mirror.import_model("llama3.2", True)  # type: ignore[call-arg]  # noqa: FBT003  # pyright: ignore[reportCallIssue]
    mirror.import_models([5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    mirror.publish_model("llama3.2", cancel=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return result.ok


def told(step: TransferProgress) -> float:
    assert_type(step.model, str)
    assert_type(step.digest, str)
    assert_type(step.completed, int)
    assert_type(step.overall, TransferTotals)
    assert_type(step.overall.remaining, float | None)
    match step.state:
        case "planned" | "present" | "resuming" | "downloading" | "uploading":
            return step.overall.fraction
        case "verifying" | "publishing" | "done" | "failed":
            return step.overall.rate
        case _:
            assert_never(step.state)


def a_look_at_both_sides(mirror: Mirror) -> tuple[str, ...]:
    verified = mirror.verify_model("llama3.2", where="bucket", repair=True)
    assert_type(verified, VerifyResult)
    assert_type(verified.where, Literal["store", "bucket"])
    assert_type(verified.ok, bool)
    difference = mirror.diff("llama3.2")
    assert_type(difference, Difference)
    assert_type(
        difference.comparison, Literal["same", "different", "only in bucket", "only in store", "in neither"]
    )
    assert_type(difference.to_fetch + difference.to_send, int)
    pruned = mirror.prune_bucket(dry_run=True)
    assert_type(pruned, PruneResult)
    assert_type(pruned.removed, tuple[str, ...])

    mirror.verify_model("llama3.2", where="cellar")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return difference.missing_in_store


def settings() -> None:
    with Mirror("models") as mirror:
        assert_type(mirror, Mirror)
        assert_type(mirror.store, LocalStore)
    keys = Credentials("key", "secret", session_token=None)
    Mirror(
        "models", "", endpoint_url="https://s3.internal", region="x", credentials=keys, store="/models"
    ).close()
    Mirror("models", store=Path("/models"), profile="lab", anonymous=True, ca_bundle="/ca.pem").close()
    Mirror("models", store=LocalStore(), connections=8, limit_rate=1e6, start_jitter=30, reserve=0).close()
    Mirror("models", prune_grace=3600, allow_short_grace=True, trust_present=True, allow_remote=True).close()
    Mirror("models", expected_owner="123456789012", allow_link_local=True, stall=5).close()

    Mirror()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Mirror("models", endpoint="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Mirror("models", connections="8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    keys.secret_access_key = "x"  # type: ignore[misc]  # noqa: S105  # pyright: ignore[reportAttributeAccessIssue]


def directories(disk: Path) -> Manifest:
    store = LocalStore()
    assert_type(store.path, Path)
    assert_type(default_store(), Path)
    assert_type(store.list_models(), Listing)
    assert_type(store.verify_model("llama3.2"), VerifyResult)
    assert_type(store.prune(grace=3600), PruneResult)
    limits = TransferSettings(connections=4, limit_rate=1e6, attempts=3)
    assert_type(store.export_models(["llama3.2"], disk, settings=limits), list[TransferResult])
    assert_type(
        store.import_models(["llama3.2"], source=disk, allow_remote=True, dry_run=True), list[TransferResult]
    )

    store.import_models(["llama3.2"], disk)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    manifest = store.manifest("llama3.2")
    assert_type(manifest.config, Layer)
    assert_type(manifest.layers, tuple[Layer, ...])
    assert_type(manifest.blobs, dict[str, int])
    assert_type(manifest.digest, str)
    return parse_manifest(manifest.content, where="here")


def failures(mirror: Mirror) -> object:  # noqa: PLR0911 - one for each kind of failure
    try:
        mirror.import_model("llama3.2")
    except DigestMismatch as error:
        assert_type((error.digest, error.got, error.where), tuple[str, str, str])
        return error.digest
    except NoSpace as error:
        assert_type(error.needed, int | None)
        return error.free - error.reserve
    except BlobMissing as error:
        assert_type(error.digest + error.where, str)
        return error.digest
    except (NameRefused, SettingRefused) as error:
        assert_type(error.argument, str | None)
        as_value_error: ValueError = error
        return as_value_error
    except RemoteModelRefused as error:
        as_manifest_refused: ManifestRefused = error
        return as_manifest_refused
    except TransferInterrupted as error:
        as_cancelled: Cancelled = error
        return as_cancelled
    except (BucketUnreachable, BucketForbidden, BucketNotFound, BucketAnswerRefused, ObjectChanged) as error:
        as_bucket_error: BucketError = error
        assert_type(error.code, str)
        return as_bucket_error
    except (ModelMissing, StoreRefused, ExtraMissing) as error:
        assert_type(error.model, str | None)
        return error.message
    except MirrorError as error:
        as_error: OllamaError = error
        assert_type(as_error.retryable, bool)
        return pickle.dumps(error)
    return None
