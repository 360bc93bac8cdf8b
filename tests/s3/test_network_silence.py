"""A transfer is cancelled at once, however silent the server is, and what it leaves behind does no harm."""

from __future__ import annotations

import gc
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from background import background
from faulty_s3 import FaultyFront
from model_stores import config_of, digest_of, make_model, put_model, tree
from s3_faults import Before, Reset, Stall
from sockets import nothing_left_behind

from ollama_ext import CancelToken
from ollama_ext.s3 import LocalStore, Mirror, TransferInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_faults import Request
    from s3_servers import S3Server

PART = 16 << 10
PARTS = 32
LARGE = random.Random(5).randbytes(PARTS * PART - 100)  # noqa: S311 - any bytes that differ from part to part
SMALL = b"a small layer" * 1000
HEX = digest_of(LARGE).replace(":", "-")
SMALL_HEX = digest_of(SMALL).replace(":", "-")
FOREVER = 600.0  # seconds; a stall that no test waits for


@pytest.fixture(autouse=True)
def _small_parts_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut blobs into small parts, and leave threads behind sooner that a silent server holds."""
    monkeypatch.setattr("ollama_ext.s3.limits._SMALL_PART", PART)
    for module in ("crew", "engine"):
        monkeypatch.setattr(f"ollama_ext.s3.{module}._JOIN", 0.05)


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


def of_large(requests: list[Request]) -> list[Request]:
    return [each for each in requests if each.path.endswith(HEX)]


def sent(requests: list[Request]) -> int:
    return sum(each.sent for each in requests)


def assert_nothing_shown(mirror: Mirror) -> None:
    assert list(mirror.store.list_models()) == []


def wait_for_threads() -> None:
    """Wait until those have ended whose server has said something after all, or has gone."""
    for thread in threading.enumerate():
        if thread.name.startswith("mirror-"):
            thread.join(60)
            assert not thread.is_alive()


def settle() -> None:
    """Have all end that tests before have left: threads, and clients with their connections."""
    wait_for_threads()
    gc.collect()


@pytest.mark.parametrize(
    ("path_ends", "after"),
    [
        ("m/latest", None),
        ("m/latest", 10),
        (digest_of(config_of())[7:], None),
        (digest_of(config_of())[7:], 10),
        (HEX, None),
        (HEX, 0),
        (HEX, 1000),
        (SMALL_HEX, None),
        (SMALL_HEX, 1000),
    ],
    ids=lambda value: {HEX: "large blob", SMALL_HEX: "small blob", "m/latest": "manifest"}.get(
        value, "config" if isinstance(value, str) else f"after {value}"
    ),
)
def test_an_import_is_cancelled_at_once_while_the_server_is_silent(
    path_ends: str, after: int | None, mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    token, stall = CancelToken(), Stall(after)
    front.fail(stall, path_ends=path_ends, times=None)
    with (
        mirrored(stall=FOREVER, connections=4) as mirror,
        background(lambda: mirror.import_model("m", cancel=token)) as running,
    ):
        front.wait_until(lambda requests: [each for each in requests if each.fault == stall])
        token.cancel()
        error = running.exception(60)
        assert isinstance(error, TransferInterrupted)
        assert "goes on where this one stopped" in str(error)
    assert_nothing_shown(mirror)


def test_a_cancelled_import_is_gone_on_with(mirrored: Callable[..., Mirror], front: FaultyFront) -> None:
    token, start = CancelToken(), 16 * PART
    front.fail(Stall(1000), path_ends=HEX, range_starts=start)
    front.fail(Stall(None), path_ends=HEX, range_starts=start + PART)
    with (
        mirrored(stall=FOREVER, connections=2) as mirror,
        background(lambda: mirror.import_model("m", cancel=token)) as running,
    ):
        front.wait_until(
            lambda requests: len([each for each in requests if isinstance(each.fault, Stall)]) == 2
        )
        token.cancel()
        assert isinstance(running.exception(60), TransferInterrupted)
    assert_nothing_shown(mirror)
    before = len(front.requests)
    again = mirrored()
    result = again.import_model("m")
    assert sent(of_large(front.requests[before:])) == len(LARGE) - start
    assert result.bytes_fetched < len(LARGE)
    assert LocalStore(again.store.path).verify_model("m").ok


def test_what_a_cancelled_import_leaves_behind_can_write_nothing(
    moto: S3Server, bucket: str, mirror_of: Callable[..., Mirror], store: Path
) -> None:
    put_model(moto.client(), bucket, "m", [LARGE, SMALL])
    settle()
    with nothing_left_behind(), FaultyFront(moto.endpoint_url) as front:
        held, token = threading.Event(), CancelToken()
        front.fail(Before(lambda: held.wait(60)), path_ends=HEX, times=None)
        mirror = mirror_of(store, url=front.url, stall=FOREVER, connections=4)
        with background(lambda: mirror.import_model("m", cancel=token)) as running:
            front.wait_until(lambda requests: len(of_large(requests)) >= 3)
            token.cancel()
            assert isinstance(running.exception(60), TransferInterrupted)
        left = tree(store)
        before = sent(of_large(front.requests))
        held.set()  # now the answers come for which nobody waits any more
        front.wait_until(lambda requests: all(each.over for each in requests))
        assert before == 0 < sent(of_large(front.requests))
        wait_for_threads()
        assert tree(store) == left
        mirror.close()


@pytest.mark.parametrize("after", [None, 0, 1000])
def test_a_verification_of_the_bucket_is_cancelled_at_once_while_the_server_is_silent(
    after: int | None, mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    token, stall = CancelToken(), Stall(after)
    front.fail(stall, path_ends=HEX, times=None)
    with (
        mirrored(stall=FOREVER, connections=4) as mirror,
        background(lambda: mirror.verify_model("m", where="bucket", cancel=token)) as running,
    ):
        front.wait_until(lambda requests: [each for each in requests if each.fault == stall])
        token.cancel()
        assert isinstance(running.exception(60), TransferInterrupted)


SILENT = {
    "manifest that was there": ("GET", "mine/latest"),
    "look at a blob": ("HEAD", SMALL_HEX),
    "small blob": ("PUT", SMALL_HEX),
    "large blob": ("PUT", HEX),
    "manifest": ("PUT", "mine/latest"),
}


@pytest.mark.parametrize(("method", "path_ends"), SILENT.values(), ids=SILENT)
def test_a_publication_is_cancelled_at_once_while_the_server_is_silent(
    method: str, path_ends: str, mirror_of: Callable[..., Mirror], front: FaultyFront, store: Path
) -> None:
    make_model(store, "mine", [LARGE, SMALL])
    token, stall = CancelToken(), Stall(None)
    front.fail(stall, method=method, path_ends=path_ends, times=None)
    with (
        mirror_of(store, url=front.url, stall=FOREVER, connections=4) as mirror,
        background(lambda: mirror.publish_model("mine", cancel=token)) as running,
    ):
        front.wait_until(lambda requests: [each for each in requests if each.fault == stall])
        token.cancel()
        assert isinstance(running.exception(60), TransferInterrupted)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_dry_run_of_a_publication_is_cancelled_at_once_while_the_server_is_silent(
    method: str, mirror_of: Callable[..., Mirror], front: FaultyFront, store: Path
) -> None:
    make_model(store, "mine", [LARGE, SMALL])
    token, stall = CancelToken(), Stall(None)
    front.fail(stall, method=method, times=None)
    with (
        mirror_of(store, url=front.url, stall=FOREVER) as mirror,
        background(lambda: mirror.publish_model("mine", cancel=token, dry_run=True)) as running,
    ):
        front.wait_until(lambda requests: [each for each in requests if each.fault == stall])
        token.cancel()
        assert isinstance(running.exception(60), TransferInterrupted)


def test_a_token_that_is_used_up_sends_nothing_of_a_blob(
    mirrored: Callable[..., Mirror], front: FaultyFront
) -> None:
    token = CancelToken()
    token.cancel()
    mirror = mirrored()
    with pytest.raises(TransferInterrupted):
        mirror.import_model("m", cancel=token)
    assert of_large(front.requests) == []
    assert_nothing_shown(mirror)


def test_an_import_leaves_no_thread_and_no_file_open(mirrored: Callable[..., Mirror], moto: S3Server) -> None:
    settle()
    with nothing_left_behind(), FaultyFront(moto.endpoint_url) as front:
        front.fail_at_random(Reset(PART // 2), 0.1, seed=2)
        with mirrored(endpoint_url=front.url) as mirror:
            assert mirror.import_model("m").ok
        gc.collect()  # urllib3 closes the connections of a pool when that is collected
    assert mirror.store.verify_model("m").ok
