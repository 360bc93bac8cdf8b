"""The mirror looks at both copies of a model: how they differ, what is bad, and how it becomes good again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from faulty_s3 import FaultyFront
from model_stores import blob_at, digest_of, make_model, manifest_at, tree
from s3_faults import Before

from ollama_ext import CancelToken
from ollama_ext.s3 import (
    BlobMissing,
    Difference,
    DigestMismatch,
    LocalStore,
    ManifestRefused,
    Mirror,
    ModelMissing,
    NameRefused,
    SettingRefused,
    TransferInterrupted,
    TransferProgress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from s3_servers import S3Server

WEIGHTS, LICENSE, OTHER = b"weights" * 1000, b"license", b"other weights" * 1000
BAD = b"Weights" * 1000  # of the same size


@pytest.fixture
def s3(moto: S3Server) -> Iterator[Any]:
    client = moto.client()
    yield client
    client.close()


@pytest.fixture
def mirror(tmp_path: Path, mirror_of: Callable[..., Mirror]) -> Mirror:
    """A mirror whose store and bucket have the same model."""
    make_model(tmp_path / "store", "one", [WEIGHTS, LICENSE])
    made = mirror_of(tmp_path / "store")
    made.publish_model("one")
    return made


def key_of(content: bytes) -> str:
    return f"ollama/models/blobs/{digest_of(content).replace(':', '-')}"


def here(mirror: Mirror, content: bytes) -> Path:
    return blob_at(mirror.store.path, digest_of(content))


# -- differences


def test_two_copies_that_are_the_same(mirror: Mirror) -> None:
    digest = mirror.store.manifest("one").digest
    assert mirror.diff("one") == Difference(
        model="one:latest", comparison="same", bucket_digest=digest, store_digest=digest
    )


def test_a_model_that_is_nowhere(mirror: Mirror) -> None:
    assert mirror.diff("none") == Difference(model="none:latest", comparison="in neither")
    with pytest.raises(NameRefused):
        mirror.diff("../none")


def test_a_model_that_only_the_bucket_has(
    mirror: Mirror, tmp_path: Path, mirror_of: Callable[..., Mirror]
) -> None:
    manifest = mirror.store.manifest("one")
    assert mirror_of(tmp_path / "empty").diff("one") == Difference(
        model="one:latest",
        comparison="only in bucket",
        bucket_digest=manifest.digest,
        to_fetch=manifest.size,
    )
    make_model(tmp_path / "some", "other", [LICENSE])
    some = mirror_of(tmp_path / "some").diff("one")
    assert some.to_fetch == len(WEIGHTS)  # it has the others


def test_a_model_that_only_the_store_has(mirror: Mirror) -> None:
    manifest = make_model(mirror.store.path, "two", [OTHER, LICENSE])
    assert mirror.diff("two") == Difference(
        model="two:latest",
        comparison="only in store",
        store_digest=manifest.digest,
        to_send=len(OTHER),
    )


def test_copies_that_differ(mirror: Mirror) -> None:
    old = mirror.store.manifest("one")
    new = make_model(mirror.store.path, "one", [OTHER, LICENSE])
    here(mirror, WEIGHTS).unlink()
    assert mirror.diff("one") == Difference(
        model="one:latest",
        comparison="different",
        bucket_digest=old.digest,
        store_digest=new.digest,
        to_fetch=len(WEIGHTS),
        to_send=len(OTHER),
    )


def test_copies_that_lack_blobs(mirror: Mirror, s3: Any, bucket: str) -> None:
    here(mirror, WEIGHTS).write_bytes(b"short")
    s3.delete_object(Bucket=bucket, Key=key_of(LICENSE))
    found = mirror.diff("one")
    assert found.comparison == "same"
    assert found.missing_in_store == (digest_of(WEIGHTS),)
    assert found.missing_in_bucket == (digest_of(LICENSE),)
    assert (found.to_fetch, found.to_send) == (len(WEIGHTS), len(LICENSE))


@pytest.mark.parametrize("broken", ["store", "bucket"])
def test_a_copy_that_is_not_to_be_trusted_is_refused(
    mirror: Mirror, s3: Any, bucket: str, broken: str
) -> None:
    if broken == "store":
        manifest_at(mirror.store.path, "one").write_bytes(b"{}")
    else:
        key = "ollama/models/manifests/registry.ollama.ai/library/one/latest"
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    with pytest.raises(ManifestRefused):
        mirror.diff("one")


# -- verification


@pytest.mark.parametrize("where", ["store", "bucket"])
def test_a_whole_copy_is_verified(mirror: Mirror, where: Literal["store", "bucket"]) -> None:
    steps: list[TransferProgress] = []
    result = mirror.verify_model("one", where=where, on_progress=steps.append)
    manifest = mirror.store.manifest("one")
    assert (result.ok, result.where, result.model, result.digest) == (
        True,
        where,
        "one:latest",
        manifest.digest,
    )
    assert (result.blobs_good, result.blobs_repaired, result.bytes_read) == (3, 0, manifest.size)
    assert (steps[-1].state, steps[-1].overall.fraction) == ("done", 1.0)


@pytest.mark.parametrize("where", ["store", "bucket"])
def test_bad_and_missing_blobs_are_told_and_stay(
    mirror: Mirror, s3: Any, bucket: str, where: Literal["store", "bucket"]
) -> None:
    if where == "store":
        here(mirror, WEIGHTS).write_bytes(BAD)
        here(mirror, LICENSE).unlink()
    else:
        s3.put_object(Bucket=bucket, Key=key_of(WEIGHTS), Body=BAD)
        s3.delete_object(Bucket=bucket, Key=key_of(LICENSE))
    before = tree(mirror.store.path)
    result = mirror.verify_model("one", where=where)
    assert (result.ok, result.blobs_good, result.blobs_repaired) == (False, 1, 0)
    errors = {each.digest: each.error for each in result.errors}
    mismatch = errors[digest_of(WEIGHTS)]
    assert isinstance(mismatch, DigestMismatch)
    assert (mismatch.digest, mismatch.got) == (digest_of(WEIGHTS), digest_of(BAD))
    assert isinstance(errors[digest_of(LICENSE)], BlobMissing)
    assert tree(mirror.store.path) == before


def test_a_copy_that_is_not_there_is_missing(
    mirror: Mirror, tmp_path: Path, mirror_of: Callable[..., Mirror]
) -> None:
    with pytest.raises(ModelMissing):
        mirror.verify_model("none", where="bucket")
    with pytest.raises(ModelMissing):
        mirror_of(tmp_path / "empty").verify_model("one")
    with pytest.raises(NameRefused):
        mirror.verify_model("../one")
    nonsense: Any = "cellar"
    with pytest.raises(SettingRefused, match="where must be 'store' or 'bucket'; not 'cellar'"):
        mirror.verify_model("one", where=nonsense)


# -- repair


@pytest.mark.parametrize("where", ["store", "bucket"])
def test_bad_and_missing_blobs_are_replaced_from_the_other_side(
    mirror: Mirror, s3: Any, bucket: str, where: Literal["store", "bucket"]
) -> None:
    before = tree(mirror.store.path)
    if where == "store":
        here(mirror, WEIGHTS).write_bytes(BAD)
        here(mirror, LICENSE).unlink()
    else:
        s3.put_object(Bucket=bucket, Key=key_of(WEIGHTS), Body=BAD)
        s3.delete_object(Bucket=bucket, Key=key_of(LICENSE))
    steps: list[TransferProgress] = []
    result = mirror.verify_model("one", where=where, repair=True, on_progress=steps.append)
    assert (result.ok, result.blobs_good, result.blobs_repaired, result.errors) == (True, 1, 2, ())
    assert mirror.verify_model("one", where="store").ok
    assert mirror.verify_model("one", where="bucket").ok
    assert tree(mirror.store.path) == before
    last = {(step.model, step.digest): step.state for step in steps}
    assert set(last.values()) == {"done"}
    assert steps[-1].overall.fraction == 1.0


@pytest.mark.parametrize("where", ["store", "bucket"])
def test_nothing_is_repaired_where_nothing_is_bad(mirror: Mirror, where: Literal["store", "bucket"]) -> None:
    result = mirror.verify_model("one", where=where, repair=True)
    assert (result.ok, result.blobs_good, result.blobs_repaired) == (True, 3, 0)


@pytest.mark.parametrize("where", ["store", "bucket"])
def test_what_the_other_side_has_not_either_cannot_be_repaired(
    mirror: Mirror, s3: Any, bucket: str, where: Literal["store", "bucket"]
) -> None:
    here(mirror, WEIGHTS).write_bytes(BAD)
    s3.put_object(Bucket=bucket, Key=key_of(WEIGHTS), Body=BAD)
    if where == "store":
        here(mirror, LICENSE).unlink()
    else:
        s3.delete_object(Bucket=bucket, Key=key_of(LICENSE))
    result = mirror.verify_model("one", where=where, repair=True)
    assert (result.ok, result.blobs_good, result.blobs_repaired) == (False, 1, 1)
    (bad,) = result.errors
    assert bad.digest == digest_of(WEIGHTS)
    assert isinstance(bad.error, DigestMismatch)
    left = mirror.verify_model("one", where=where)
    assert [each.digest for each in left.errors] == [digest_of(WEIGHTS)]


def test_a_repair_of_the_store_needs_no_manifest_in_the_bucket(mirror: Mirror, s3: Any, bucket: str) -> None:
    s3.delete_object(Bucket=bucket, Key="ollama/models/manifests/registry.ollama.ai/library/one/latest")
    here(mirror, WEIGHTS).unlink()
    assert mirror.verify_model("one", repair=True).ok


def test_a_repair_of_the_bucket_ends_when_it_is_cancelled(
    mirror: Mirror, mirror_of: Callable[..., Mirror], moto: S3Server, s3: Any, bucket: str
) -> None:
    token = CancelToken()
    s3.delete_object(Bucket=bucket, Key=key_of(WEIGHTS))
    with FaultyFront(moto.endpoint_url) as front:
        front.fail(Before(token.cancel), method="PUT")
        through = mirror_of(mirror.store.path, url=front.url)
        with pytest.raises(TransferInterrupted, match="cancelled"):
            through.verify_model("one", where="bucket", repair=True, cancel=token)
        through.close()
    assert mirror.verify_model("one", where="bucket", repair=True).ok


def test_two_models_are_repaired_by_their_shared_blob(mirror: Mirror) -> None:
    make_model(mirror.store.path, "two", [OTHER, LICENSE])
    mirror.publish_model("two")
    here(mirror, LICENSE).write_bytes(b"licence")
    assert mirror.verify_model("one", repair=True).blobs_repaired == 1
    assert LocalStore(mirror.store.path).verify_model("two").ok
