"""Blobs that are not what the manifest says, and answers that are not what was asked for, are refused."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any

import pytest
from byte_server import ByteServer, Play
from model_stores import (
    STAGING,
    blob_at,
    config_of,
    digest_of,
    manifest_at,
    manifest_of,
)
from s3_faults import (
    Before,
    Body,
    Close,
    Headers,
    Reset,
    Stall,
    Status,
    WholeBody,
    access_denied,
    slow_down,
)

from ollama_ext.s3 import (
    BlobMissing,
    BucketAnswerRefused,
    BucketForbidden,
    BucketUnreachable,
    DigestMismatch,
    Mirror,
    MirrorError,
    ObjectChanged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faulty_s3 import FaultyFront
    from guarded_stores import GuardedStore
    from hostile_buckets import HostileBucket
    from s3_faults import Fault

PART = 16 << 10
SMALL = b"a small layer" * 100  # fetched whole
LARGE = bytes(range(256)) * 320  # fetched in parts, of which it has five
PATH = "registry.ollama.ai/library/bad/latest"


@pytest.fixture(autouse=True)
def _small_parts_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut blobs into small parts, and wait for nothing between two attempts."""
    monkeypatch.setattr("ollama_ext.s3.limits._SMALL_PART", PART)
    monkeypatch.setattr("ollama_ext.s3.carrying._LONGEST_BACKOFF", 0.001)
    monkeypatch.setattr("ollama_ext.s3.bucket_client._TRIES", 1)


@pytest.fixture
def mirror(mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore) -> Mirror:
    """A mirror of the bucket, through the front."""
    return mirror_of(guarded.path, url=front.url, stall=0.2)


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "in parts"])
def layer(request: pytest.FixtureRequest, hostile: HostileBucket) -> bytes:
    """The layer of the model ``bad`` in the bucket."""
    content: bytes = request.param
    hostile.put_model("bad", [content])
    return content


def key_of(content: bytes) -> str:
    return f"ollama/models/blobs/{hex_of(content)}"


def hex_of(content: bytes) -> str:
    return digest_of(content).replace(":", "-")


def told_size(content: bytes, size: int) -> bytes:
    """Return a manifest that says another size of a layer."""
    manifest = json.loads(manifest_of([content], config_of()))
    manifest["layers"][0]["size"] = size
    return json.dumps(manifest).encode()


def staged(guarded: GuardedStore) -> list[str]:
    return [path.name for path in (guarded.path / STAGING).iterdir()]


# -- sizes


@pytest.mark.parametrize("more", [-len(SMALL) + 1, -1, 1, PART, 4 * PART])
def test_an_object_of_another_size_than_its_manifest_says_is_refused(
    more: int, layer: bytes, mirror: Mirror, hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put_manifest(PATH, told_size(layer, len(layer) + more))
    said = f"its manifest says {len(layer) + more:,}: publish it anew"
    with guarded.refuses(BucketAnswerRefused, hex_of(layer), said):
        mirror.import_model("bad")


def test_an_object_that_ends_before_the_part_that_is_asked_for_is_refused_as_too_short(
    mirror: Mirror, hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    hostile.put_model("bad", [LARGE])
    told, beyond = len(LARGE) + 2 * PART, len(LARGE) + PART
    hostile.put_manifest(PATH, told_size(LARGE, told))

    def wait() -> None:
        front.wait_until(
            lambda requests: [each for each in requests if each.range_starts == beyond and each.over]
        )

    for start in range(0, beyond, PART):
        front.fail(Before(wait), path_ends=hex_of(LARGE), range_starts=start)
    said = f"has no byte {beyond:,}, and its manifest says {told:,}: publish it anew"
    with guarded.refuses(BucketAnswerRefused, hex_of(LARGE), said):
        mirror.import_model("bad")


def test_an_empty_object_is_refused(
    layer: bytes, mirror: Mirror, hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.put(key_of(layer), b"")
    with guarded.refuses(BucketAnswerRefused, hex_of(layer), f"{len(layer):,}"):
        mirror.import_model("bad")


# -- bytes


def test_an_object_of_the_right_size_with_wrong_bytes_is_refused_and_not_kept(
    layer: bytes, mirror: Mirror, hostile: HostileBucket, guarded: GuardedStore
) -> None:
    wrong = layer[:-1] + b"!"
    hostile.put(key_of(layer), wrong)
    with guarded.refuses(DigestMismatch, digest_of(wrong), digest_of(layer), "publish it anew") as caught:
        mirror.import_model("bad")
    assert isinstance(caught.value, DigestMismatch)
    assert (caught.value.digest, caught.value.got) == (digest_of(layer), digest_of(wrong))
    assert caught.value.where == f"s3://{hostile.name}/{key_of(layer)}"
    assert not [name for name in staged(guarded) if digest_of(layer)[7:] in name]


def test_wrong_bytes_are_asked_for_once_more_in_case_it_was_the_way(
    layer: bytes, mirror: Mirror, front: FaultyFront, guarded: GuardedStore
) -> None:
    front.fail(Body(b"?" * min(PART, len(layer))), path_ends=hex_of(layer), range_starts=0)
    result = mirror.import_model("bad")
    assert result.ok
    assert mirror.verify_model("bad").ok
    assert (
        len([each for each in front.requests if each.range_starts == 0 and each.path.endswith(hex_of(layer))])
        == 2
    )
    assert blob_at(guarded.path, digest_of(layer)).read_bytes() == layer


def test_blobs_that_are_swapped_are_refused(
    mirror: Mirror, hostile: HostileBucket, guarded: GuardedStore
) -> None:
    one, two = b"1" * 1000, b"2" * 1000
    hostile.put_model("bad", [one, two])
    hostile.put(key_of(one), two)
    hostile.put(key_of(two), one)
    with guarded.refuses(DigestMismatch):
        mirror.import_model("bad")


def test_an_error_page_with_status_200_is_no_blob(
    layer: bytes, mirror: Mirror, front: FaultyFront, guarded: GuardedStore
) -> None:
    page = Headers({"Content-Range": None, "Content-Length": None})
    front.fail(Body(b"<html>Bad gateway</html>"), path_ends=hex_of(layer), times=None)
    with guarded.refuses(BucketAnswerRefused, hex_of(layer), "24"):
        mirror.import_model("bad")
    front.heal()
    front.fail(page, path_ends=hex_of(layer), times=None)
    with guarded.refuses(BucketAnswerRefused, hex_of(layer)):
        mirror.import_model("bad")


# -- answers that are not what was asked for

ANSWERS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "range of other bytes": (Headers({"Content-Range": "bytes 1-9/10"}), ("10 bytes",)),
    "range of another place": (
        Headers({"Content-Range": f"bytes 5-{PART + 4}/{len(LARGE)}"}),
        ("asked for bytes",),
    ),
    "range without a size": (Headers({"Content-Range": f"bytes 0-{PART - 1}/*"}), ("asked for bytes", "/*")),
    "range in words": (Headers({"Content-Range": "all of it"}), ("asked for bytes", "'all of it'")),
    "range of wide digits": (Headers({"Content-Range": "bytes \xb2-9/10"}), ("asked for bytes",)),
    "all of it": (WholeBody(), ("asked for bytes", "all of it")),
    "no range": (Headers({"Content-Range": None}), ("asked for bytes", "all of it")),
    "body shorter than asked": (Body(LARGE[: PART - 1]), (f"{PART:,} bytes", str(PART - 1))),
    "body longer than asked": (Body(LARGE[: PART + 1]), (f"{PART:,} bytes", str(PART + 1))),
    "no length": (Headers({"Content-Length": None}), (f"{PART:,} bytes", "no length")),
    "longer than it announces": (Headers({"Content-Length": "10"}), (f"{PART:,} bytes", "10")),
    "gzip": (Headers({"Content-Encoding": "gzip"}), ("'gzip'", "store it as it is")),
    "deflate after identity": (Headers({"Content-Encoding": "identity, deflate"}), ("deflate",)),
}


@pytest.mark.parametrize("case", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_not_the_range_that_was_asked_for_is_refused(
    case: tuple[Fault, tuple[str, ...]],
    mirror: Mirror,
    hostile: HostileBucket,
    front: FaultyFront,
    guarded: GuardedStore,
) -> None:
    fault, words = case
    hostile.put_model("bad", [LARGE])
    front.fail(fault, path_ends=hex_of(LARGE), range_starts=0, times=None)
    with guarded.refuses(BucketAnswerRefused, hex_of(LARGE), *words):
        mirror.import_model("bad")


# botocore forgets such an answer and leaves its connection to the collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("changes", [{"Content-Length": "many"}, {"Last-Modified": "yesterday"}], ids=str)
def test_a_header_that_cannot_be_read_is_refused(
    changes: dict[str, str], layer: bytes, mirror: Mirror, front: FaultyFront, guarded: GuardedStore
) -> None:
    front.fail(Headers(changes), path_ends=hex_of(layer), range_starts=0, times=None)
    with guarded.refuses(BucketAnswerRefused, hex_of(layer), "not S3's", *changes.values()):
        mirror.import_model("bad")
    gc.collect()


def test_more_bytes_than_were_announced_are_written_nowhere(
    mirror_of: Callable[..., Mirror], bucket: str, guarded: GuardedStore
) -> None:
    config, layer = config_of(), LARGE[: PART + 100]
    with ByteServer(Play.of(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")) as server:

        def answer(content: bytes, start: int, end: int, size: int) -> Play:
            # A body in chunks ends where it says, whatever the Content-Length says.
            head = (
                f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{end - 1}/{size}\r\n"
                f"Content-Length: {end - start}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            return Play.of(head.encode() + f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n")

        mirror = mirror_of(guarded.path, url=server.url, connections=1)
        manifest = manifest_of([layer], config)
        at = f"/{bucket}/ollama/models"
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(manifest)}\r\n\r\n".encode()
        server.on(f"{at}/manifests/{PATH}", Play.of(head + manifest))
        server.on(f"{at}/blobs/{hex_of(config)}", answer(config, 0, len(config), len(config)))
        server.on(
            f"{at}/blobs/{hex_of(layer)}",
            answer(layer[:PART], 0, PART, len(layer)),
            answer(layer[PART:] + b"and more", PART, len(layer), len(layer)),
        )
        with guarded.refuses(BucketAnswerRefused, "more than the 100 bytes"):
            mirror.import_model("bad")
    sizes = [path.stat().st_size for path in (guarded.path / STAGING).glob("*.part")]
    assert sizes == [len(layer)]


# -- connections that never bring it

BROKEN: dict[str, tuple[Fault, str]] = {
    "no body": (Close(0), "sent 0 of"),
    "no answer": (Close(None), "connection was closed"),
    "reset before the body": (Reset(0), "connection"),
    "reset before the answer": (Reset(None), "connection was closed"),
    "stalled body": (Stall(0), "timed out"),
    "stalled before the answer": (Stall(None), "timeout"),
    "503 SlowDown": (slow_down(), "slowdown"),
    "500 without a word": (Status(500), "500"),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_a_blob_that_never_comes_is_given_up_in_the_end(
    case: tuple[Fault, str], layer: bytes, mirror: Mirror, front: FaultyFront, guarded: GuardedStore
) -> None:
    fault, word = case
    front.fail(fault, path_ends=hex_of(layer), range_starts=0, times=None)
    with guarded.refuses(BucketUnreachable, "s3://") as caught:
        mirror.import_model("bad")
    assert word in str(caught.value).lower()
    assert caught.value.retryable
    assert len([each for each in front.requests if each.fault == fault]) == 6


# -- objects that change, and those that are not there


def change(hostile: HostileBucket, key: str, contents: Iterator[bytes]) -> Before:
    """Return what puts the next content into a key before it is asked for."""
    return Before(lambda: hostile.put(key, next(contents)))


def test_an_object_that_changes_between_its_parts_again_and_again_is_refused(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    hostile.put_model("bad", [LARGE])
    contents = (bytes([number]) * len(LARGE) for number in range(100))
    front.fail(change(hostile, key_of(LARGE), contents), path_ends=hex_of(LARGE), times=None)
    with guarded.refuses(ObjectChanged, hex_of(LARGE), "changed while it was read"):
        mirror_of(guarded.path, url=front.url, connections=1).import_model("bad")
    assert not [name for name in staged(guarded) if digest_of(LARGE)[7:] in name]


def test_a_config_that_changes_between_planning_and_reading_is_refused(
    mirror: Mirror, hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    config, other = config_of(remote_host=""), config_of(remote_host="https://evil.example")
    padded = config + b" " * (len(other) - len(config))
    hostile.put_model("bad", [SMALL])
    hostile.put_manifest(PATH, manifest_of([SMALL], padded))
    contents = iter([padded, *[other] * 10])
    front.fail(change(hostile, key_of(padded), contents), path_ends=hex_of(padded), times=None)
    with guarded.refuses(DigestMismatch, digest_of(padded), digest_of(other)):
        mirror.import_model("bad")


def test_a_manifest_is_read_once_and_what_was_read_is_published(
    mirror: Mirror, hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    content = hostile.put_model("bad", [SMALL])
    front.fail(Before(lambda: hostile.put_manifest(PATH, told_size(SMALL, 1))), path_ends=hex_of(SMALL))
    mirror.import_model("bad")
    assert manifest_at(guarded.path, "bad").read_bytes() == content
    assert len([each for each in front.requests if each.path.endswith(PATH)]) == 1


def test_a_blob_that_is_missing_is_named(
    layer: bytes, mirror: Mirror, hostile: HostileBucket, guarded: GuardedStore
) -> None:
    hostile.delete(key_of(layer))
    with guarded.refuses(BlobMissing, key_of(layer), "is missing", "publish the model anew") as caught:
        mirror.import_model("bad")
    assert isinstance(caught.value, BlobMissing)
    assert (caught.value.digest, caught.value.model) == (digest_of(layer), "bad:latest")
    assert caught.value.where == f"s3://{hostile.name}/{key_of(layer)}"


def test_a_blob_that_may_not_be_read_is_named(
    layer: bytes, mirror: Mirror, front: FaultyFront, guarded: GuardedStore
) -> None:
    front.fail(access_denied(), path_ends=hex_of(layer), times=None)
    with guarded.refuses(BucketForbidden, key_of(layer), "AccessDenied", "s3:GetObject") as caught:
        mirror.import_model("bad")
    assert (caught.value.status, caught.value.model) == (403, "bad:latest")


@pytest.mark.parametrize("kind", [BlobMissing, DigestMismatch], ids=["missing", "wrong"])
def test_many_bad_blobs_of_one_model_stop_no_other_model(
    kind: type[MirrorError], mirror: Mirror, hostile: HostileBucket, front: FaultyFront
) -> None:
    bad = [bytes([number]) * 1000 for number in range(8)]
    hostile.put_model("bad", [*bad, LARGE])
    hostile.put_model("good", [LARGE])
    for content in bad:
        hostile.delete(key_of(content))
        if kind is DigestMismatch:
            hostile.put(key_of(content), b"?" * 1000)
    keys = tuple(hex_of(content) for content in bad)

    def wait() -> None:  # so that two of them have failed while the good model is still on its way
        front.wait_until(
            lambda requests: sum(each.over and each.path.endswith(keys) for each in requests) >= 2
        )

    front.fail(Before(wait), path_ends=hex_of(LARGE), range_starts=4 * PART)
    results = mirror.import_models(["bad", "good"])
    assert [type(result.error) for result in results] == [kind, type(None)]
    assert results[0].errors[0].error is results[0].error
    assert mirror.verify_model("good").ok


@pytest.mark.usefixtures("layer")
def test_an_error_that_nobody_thought_of_ends_the_import_and_not_the_patience(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, guarded: GuardedStore
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr("ollama_ext.s3.staging.StagedBlob.write", fail)
    with guarded.refuses(MirrorError, "nobody thought of this") as caught:
        mirror.import_model("bad")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.model == "bad:latest"
