"""Whatever the network does, a transfer ends right or with the right error, and can be gone on with."""

from __future__ import annotations

import hashlib
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from faulty_s3 import DRIPS_PER_SECOND, FaultyFront
from model_stores import STAGING, blob_at, config_of, digest_of, put_model
from s3_faults import (
    Before,
    Close,
    Headers,
    Reset,
    Stall,
    Status,
    Throttle,
    WholeBody,
    access_denied,
    expired_token,
    moved,
    slow_down,
)

from ollama_ext.s3 import (
    BlobMissing,
    BucketAnswerRefused,
    BucketForbidden,
    BucketNotFound,
    BucketUnreachable,
    DigestMismatch,
    LocalStore,
    Mirror,
    MirrorError,
    ObjectChanged,
)
from ollama_ext.s3.limits import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_faults import Fault, Request
    from s3_servers import S3Server

PART = 16 << 10
PARTS = 32
LARGE = random.Random(5).randbytes(PARTS * PART - 100)  # noqa: S311 - any bytes that differ from part to part
SMALL = b"a small layer" * 1000
HEX = digest_of(LARGE).replace(":", "-")
SMALL_HEX = digest_of(SMALL).replace(":", "-")


def no_time(*_: object) -> float:
    return 0.0


@pytest.fixture(autouse=True)
def _small_parts_and_no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut blobs into small parts, and wait for nothing between two attempts."""
    monkeypatch.setattr("ollama_ext.s3.limits._SMALL_PART", PART)
    monkeypatch.setattr("ollama_ext.s3.carrying._LONGEST_BACKOFF", 0.001)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", no_time)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where an empty store will be."""
    return tmp_path / "store"


@pytest.fixture
def mirrored(
    mirror_of: Callable[..., Mirror], moto: S3Server, bucket: str, front: FaultyFront, store: Path
) -> Callable[..., Mirror]:
    """Return what makes a mirror through the front, of a bucket with the model ``m``."""
    put_model(moto.client(), bucket, "m", [LARGE, SMALL])

    def make(**settings: Any) -> Mirror:
        return mirror_of(store, url=front.url, **settings)

    return make


def of_blobs(requests: list[Request]) -> list[Request]:
    return [each for each in requests if "/blobs/" in each.path and each.method == "GET"]


def of_large(requests: list[Request]) -> list[Request]:
    return [each for each in requests if each.path.endswith(HEX)]


def sent(requests: list[Request]) -> int:
    return sum(each.sent for each in requests)


def assert_whole(mirror: Mirror, name: str = "m") -> None:
    """See that a model is in the store, byte for byte."""
    verified = LocalStore(mirror.store.path).verify_model(name)
    assert (verified.ok, verified.errors) == (True, ())
    assert hashlib.sha256(blob_at(mirror.store.path, digest_of(LARGE)).read_bytes()).hexdigest() == HEX[7:]


def assert_nothing_shown(mirror: Mirror) -> None:
    assert list(mirror.store.list_models()) == []


def test_one_connection_fetches_one_part_after_the_other(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    mirror = mirrored(connections=1)
    mirror.import_model("m")
    assert_whole(mirror)
    assert len(of_large(front.requests)) == PARTS
    assert front.connections == 1


# -- faults that pass

PASSING: dict[str, Fault] = {
    "500": Status(500),
    "503 SlowDown": slow_down(),
    "reset before the answer": Reset(None),
    "reset before the body": Reset(0),
    "reset in the middle": Reset(PART // 2),
    "end before the answer": Close(None),
    "end in the middle": Close(PART // 2),
    "end one byte early": Close(PART - 1),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_faults_now_and_then_cost_time_only(
    fault: Fault, mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    front.fail_at_random(fault, 0.1, seed=3)
    mirror = mirrored(connections=4)
    result = mirror.import_model("m")
    assert [each for each in front.requests if each.fault is not None]
    assert (result.ok, result.errors, result.blobs_fetched) == (True, (), 3)
    assert_whole(mirror)


def test_two_percent_of_all_faults_at_once_cost_time_only(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    for seed, fault in enumerate(PASSING.values()):
        front.fail_at_random(fault, 0.02, seed)
    mirror = mirrored()
    assert mirror.import_model("m").ok
    assert len({repr(each.fault) for each in front.requests}) > 3
    assert_whole(mirror)
    assert mirror.verify_model("m", where="bucket").ok


@pytest.mark.parametrize("fault", [Reset(100), Close(100), Stall(100), Reset(0)], ids=repr)
def test_a_manifest_that_breaks_off_is_read_again(
    fault: Fault, mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    front.fail(fault, path_ends="m/latest", times=2)
    mirror = mirrored(stall=0.2)
    assert mirror.import_model("m").ok
    assert_whole(mirror)


@pytest.mark.parametrize("reached", [0, 1, 10_000, PART - 1])
def test_a_broken_part_goes_on_at_the_byte_it_reached(
    reached: int, mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    start = 3 * PART
    front.fail(Close(reached), path_ends=HEX, range_starts=start)
    mirror = mirrored()
    mirror.import_model("m")
    ranges = [
        each.range for each in of_large(front.requests) if start <= (each.range_starts or 0) < start + PART
    ]
    assert ranges == [f"bytes={start}-{start + PART - 1}", f"bytes={start + reached}-{start + PART - 1}"]
    assert sent(of_large(front.requests)) == len(LARGE)
    assert_whole(mirror)


def test_a_small_blob_goes_on_at_the_byte_it_reached(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    front.fail(Close(1000), path_ends=SMALL_HEX)
    front.fail(Close(500), path_ends=SMALL_HEX)
    mirror = mirrored()
    mirror.import_model("m")
    last = len(SMALL) - 1
    ranges = [each.range for each in front.requests if each.path.endswith(SMALL_HEX)]
    assert ranges == [f"bytes={first}-{last}" for first in (0, 1000, 1500)]
    assert_whole(mirror)


@pytest.mark.parametrize("after", [None, 0, 10_000], ids=["no answer", "no body", "in the middle"])
def test_a_stalled_connection_is_replaced(
    after: int | None, mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    front.fail(Stall(after), path_ends=HEX, range_starts=5 * PART)
    mirror = mirrored(stall=0.3)
    assert mirror.import_model("m").ok
    begun = [each.range_starts for each in of_large(front.requests)]
    assert 5 * PART + (after or 0) in begun
    assert sent(of_large(front.requests)) == len(LARGE)
    assert_whole(mirror)


def test_a_connection_that_is_far_slower_than_others_is_replaced(
    mirrored: Callable[..., Mirror], front: FaultyFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_ext.s3.carrying._SLOW_AFTER", 0.1)
    start = 20 * PART
    front.fail(Throttle(1000), path_ends=HEX, range_starts=start)
    mirror = mirrored(connections=4)
    assert mirror.import_model("m").ok
    asked = [each for each in of_large(front.requests) if start <= (each.range_starts or 0) < start + PART]
    assert len(asked) == 2
    assert asked[0].range_starts == start < (asked[1].range_starts or 0)
    assert_whole(mirror)


def test_a_part_that_is_slow_on_every_connection_is_waited_for(
    mirrored: Callable[..., Mirror], front: FaultyFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_ext.s3.carrying._SLOW_AFTER", 0.02)
    start = 20 * PART
    drips = range(start, start + PART, 40_000 // DRIPS_PER_SECOND)  # where a connection can be given up
    for first in drips:
        front.fail(Throttle(40_000), path_ends=HEX, range_starts=first)
    mirror = mirrored(connections=4)
    assert mirror.import_model("m").ok
    asked = [each for each in of_large(front.requests) if each.range_starts in drips]
    assert 1 < len(asked) <= 4
    assert_whole(mirror)


# -- objects that change


def upload_anew(moto: S3Server, bucket: str, content: bytes) -> Callable[[], None]:
    """Return what writes the large blob as an upload in parts, which gives it another entity tag."""

    def write() -> None:
        client = moto.client()
        key = f"ollama/models/blobs/{HEX}"
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        tag = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=content)["ETag"]
        client.complete_multipart_upload(
            Bucket=bucket,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]},
        )

    return write


def test_an_object_that_is_written_anew_between_two_parts_is_read_from_the_start(
    mirrored: Callable[..., Mirror], moto: S3Server, bucket: str, front: FaultyFront
) -> None:
    front.fail(Before(upload_anew(moto, bucket, LARGE)), path_ends=HEX, range_starts=9 * PART)
    mirror = mirrored(connections=2)
    assert mirror.import_model("m").ok
    begun = [each.range_starts for each in of_large(front.requests)]
    assert begun.count(0) == 2
    assert 412 in {each.status for each in of_large(front.requests)}
    assert_whole(mirror)


def test_an_object_that_gets_other_bytes_between_two_parts_is_refused(
    mirrored: Callable[..., Mirror], moto: S3Server, bucket: str, front: FaultyFront
) -> None:
    write = upload_anew(moto, bucket, LARGE[::-1])
    front.fail(Before(write), path_ends=HEX, range_starts=9 * PART)
    mirror = mirrored(connections=2)
    with pytest.raises(DigestMismatch, match=HEX[7:]):
        mirror.import_model("m")
    assert_nothing_shown(mirror)
    assert not list((mirror.store.path / STAGING).glob(f"{HEX[7:]}*"))


def test_two_servers_that_disagree_on_an_object_are_not_mixed(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    front.fail(Headers({"ETag": '"another"'}), path_ends=HEX, range_starts=9 * PART, times=None)
    mirror = mirrored(connections=2)
    with pytest.raises(ObjectChanged, match=HEX[7:]) as caught:
        mirror.import_model("m")
    assert caught.value.retryable
    assert_nothing_shown(mirror)


def test_a_server_without_entity_tags_is_read_as_well(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    front.fail(Headers({"ETag": None}), times=None)
    mirror = mirrored()
    assert mirror.import_model("m").ok
    assert_whole(mirror)


# -- faults that do not pass

LASTING: dict[str, tuple[Fault, type[MirrorError]]] = {
    "404": (Status(404), BlobMissing),
    "403": (access_denied(), BucketForbidden),
    "expired token": (expired_token(), BucketForbidden),
    "wrong region": (moved("eu-west-1"), BucketNotFound),
    "500": (Status(500), BucketUnreachable),
    "503 SlowDown": (slow_down(), BucketUnreachable),
    "reset": (Reset(0), BucketUnreachable),
    "another range": (Headers({"Content-Range": "bytes 0-9/10"}), BucketAnswerRefused),
    "all of it": (WholeBody(), BucketAnswerRefused),
    "gzip": (Headers({"Content-Encoding": "gzip"}), BucketAnswerRefused),
}


@pytest.mark.parametrize(("fault", "kind"), LASTING.values(), ids=LASTING)
def test_after_a_fault_in_the_middle_the_next_import_fetches_the_rest_only(
    fault: Fault, kind: type[MirrorError], mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    start = 16 * PART
    front.fail(fault, path_ends=HEX, range_starts=start, times=None)
    mirror = mirrored(connections=2)
    with pytest.raises(MirrorError) as caught:
        mirror.import_model("m")
    assert type(caught.value) is kind
    assert HEX in str(caught.value)
    assert caught.value.model == "m:latest"
    assert_nothing_shown(mirror)
    front.heal()
    before = len(front.requests)
    result = mirror.import_model("m")
    assert sent(of_large(front.requests[before:])) <= len(LARGE) - 14 * PART
    assert 0 < result.bytes_fetched < len(LARGE) + len(SMALL)
    assert result.bytes_fetched + result.bytes_reused == len(LARGE) + len(SMALL) + len(config_of())
    assert_whole(mirror)


def test_the_rest_is_fetched_with_new_credentials(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    front.fail(expired_token(), path_ends=HEX, range_starts=16 * PART, times=None)
    with pytest.raises(BucketForbidden, match="get new credentials"):
        mirrored(connections=2).import_model("m")
    front.heal()
    mirror = mirrored()
    assert mirror.import_model("m").bytes_fetched <= len(LARGE) - 14 * PART + len(SMALL)
    assert_whole(mirror)


# -- how often the bucket is asked


@pytest.mark.parametrize("connections", [1, 4, 16])
def test_connections_are_kept_and_never_more_than_were_allowed(
    connections: int, mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    mirror = mirrored(connections=connections)
    assert mirror.import_model("m").ok
    assert len(of_large(front.requests)) == PARTS
    assert front.connections <= connections + 1  # one for planning, which may be idle still


def test_connections_are_kept_by_many_small_blobs(
    mirror_of: Callable[..., Mirror], moto: S3Server, bucket: str, front: FaultyFront, store: Path
) -> None:
    layers = [bytes([number]) * 1000 for number in range(30)]
    put_model(moto.client(), bucket, "many", layers)
    mirror = mirror_of(store, url=front.url, connections=4)
    assert mirror.import_model("many").blobs_fetched == 31
    assert front.connections <= 5
    assert len(of_blobs(front.requests)) == 32  # the config is looked at first


def test_a_second_import_asks_for_no_byte_of_a_blob(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    mirror = mirrored()
    mirror.import_model("m")
    before = len(front.requests)
    result = mirror.import_model("m")
    assert [each.path.rpartition("/manifests/")[2] for each in front.requests[before:]] == [
        "registry.ollama.ai/library/m/latest"
    ]
    assert (result.changed, result.blobs_fetched, result.bytes_fetched) == (False, 0, 0)


def test_a_blob_of_two_models_is_fetched_once(
    mirrored: Callable[..., Mirror], moto: S3Server, bucket: str, front: FaultyFront
) -> None:
    mirror = mirrored()
    put_model(moto.client(), bucket, "n", [LARGE, b"and one of its own"])
    results = mirror.import_models(["m", "n", "m"])
    assert all(result.ok for result in results)
    assert [result.model for result in results] == ["m:latest", "n:latest", "m:latest"]
    assert sent(of_large(front.requests)) == len(LARGE)
    assert_whole(mirror, "m")
    assert_whole(mirror, "n")


# -- limits


def test_every_byte_of_a_blob_is_counted_against_the_limit_on_the_rate(
    mirrored: Callable[..., Mirror], front: FaultyFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    lock = threading.Lock()

    def spend(_: RateLimit, count: int, wait: Callable[[float], object]) -> float:
        assert callable(wait)
        with lock:
            counted.append(count)
        return 0.0

    monkeypatch.setattr(RateLimit, "spend", spend)
    front.fail_at_random(Close(PART // 2), 0.1, seed=1)
    mirror = mirrored(limit_rate=1.0)
    assert mirror.import_model("m").ok
    assert sum(counted) >= len(LARGE) + len(SMALL) + len(config_of())
    assert sum(counted) == sent(of_blobs(front.requests))


def test_a_limit_on_the_rate_holds_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("ollama_ext.s3.limits.monotonic", lambda: now)

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    limit, spent = RateLimit(1000), 0
    dice = random.Random(7)  # noqa: S311 - any sizes
    for _ in range(1000):
        count = dice.randrange(1, 300)
        limit.spend(count, wait)
        spent += count
        now += dice.choice([0, 0, 0.001, 0.5])  # what the network takes
        assert spent <= 1000 * (now - 1000.0) + 1000 * 0.1 + 1e-6
