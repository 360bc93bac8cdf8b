"""Transfers at the same time as others, as prunes, and as an Ollama that starts.

Most of these are no races that are run and hoped to happen: a transfer is held at each of its steps in turn,
while something else is done from its beginning to its end.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import ollama_start
import pytest
from independent_reader import models_in_bucket, models_in_store
from model_stores import STAGING, blob_at, digest_of, make_model, manifest_at, put_model, tree
from nursery import PART, TRIES, Nursery, mirror_arguments

from ollama_ext.s3 import LocalStore, Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from nursery import Ended, Job
    from s3_servers import S3Server

_dice = random.Random(6)  # noqa: S311 - bytes to store
LARGE = _dice.randbytes(3 * PART + 1000)
TWO_PARTS = _dice.randbytes(2 * PART)
SHARED = _dice.randbytes(5000)
SMALL = _dice.randbytes(100)
OLD = _dice.randbytes(300)

IMPORT = "import from directory"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a directory with three models, two of which are large and share a blob."""
    source = tmp_path / "source"
    make_model(source, "first", [LARGE, SHARED])
    make_model(source, "second", [LARGE, SMALL])
    make_model(source, "small", [SHARED, SMALL])
    return source


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """Make a store with one model, and a blob that was left behind by another one hours ago."""
    used = tmp_path / "used"
    make_model(used, "old", [OLD])
    blob_at(used, digest_of(SHARED)).write_bytes(SHARED)
    for path in used.glob("blobs/*"):
        os.utime(path, (0, 0))
    return used


def copied(base: Path, store: Path) -> None:
    """Make a store like another one, with its times."""
    if store.exists():
        shutil.rmtree(store)
    shutil.copytree(base, store)


def at_every_step(
    nursery: Nursery,
    reset: Callable[[], None],
    work: str,
    between: Callable[[], Any],
    *,
    begins: str = "",
    **arguments: Any,
) -> Iterator[Ended]:
    """Hold a transfer before each of its steps while something else is done, and yield how it ends.

    What fails in the caller's loop, or in between, does not say at which step; so that is printed.

    Args:
        nursery: Where it is run.
        reset: Puts everything into the state that it begins with.
        work: What it does.
        between: What is done meanwhile.
        begins: How the names of those steps begin before which it is held.
        arguments: Of the work.
    """
    reset()
    told = nursery.run(work, tell=True, **arguments)
    assert told.ok, told
    for step in told.steps:
        if not step.name.startswith(begins):
            continue
        print(f"held before {step.name}")  # noqa: T201 - pytest shows it with a failure
        job = held_before(nursery, reset, work, step.name, arguments)
        with ExitStack() as held:
            held.callback(job.release)
            between()
        yield job.result()


def held_before(
    nursery: Nursery, reset: Callable[[], None], work: str, step: str, arguments: dict[str, Any]
) -> Job:
    """Return a transfer that is held before a step, which not every run has."""
    ended: list[Ended] = []
    for _ in range(TRIES):
        reset()
        job = nursery.start(work, hold_at=step, **arguments)
        if job.step() is not None:
            return job
        ended.append(job.result())
    pytest.fail(f"no run came to {step}: {ended[-1]}")


def clear_errors(ended: Ended) -> list[str]:
    """Return what is wrong, as an error of the mirror's own."""
    return [each["error"] for each in ended.results if each["error"]] + ([ended.error] if ended.error else [])


# Two importers.


def fetched(*ended: Ended) -> int:
    return sum(result["bytes_fetched"] for each in ended for result in each.results)


@pytest.mark.parametrize(
    "other", ["first", "second"], ids=["of one model", "of two models that share a blob"]
)
def test_two_importers_fetch_a_blob_once(nursery: Nursery, source: Path, store: Path, other: str) -> None:
    lock = f"{digest_of(LARGE)[7:15]}.lock"
    one = nursery.start(IMPORT, hold=True, store=store, source=source, models=["first"])
    one.go_until(f"unlink {lock}")  # it has the lock, and all of the blob
    two = nursery.start(IMPORT, hold=True, store=store, source=source, models=[other])
    two.go_until(f"flock {lock}")
    two.release()  # which it does not get
    one.release()
    ended = one.result(), two.result()
    assert all(each.ok for each in ended), ended
    assert len(models_in_store(store)) == len({"first", other})
    small = len(SHARED) + (0 if other == "first" else len(SMALL))
    assert len(LARGE) <= fetched(*ended) < 2 * len(LARGE)
    assert fetched(*ended) <= len(LARGE) + small + len(SHARED) + 4 * 100  # and configs, which are small


def test_an_importer_goes_on_with_what_one_has_left_that_was_killed(
    nursery: Nursery, source: Path, store: Path
) -> None:
    part, lock = (f"{digest_of(LARGE)[7:15]}.{name}" for name in ("part", "lock"))
    one = nursery.start(IMPORT, hold=True, store=store, source=source, models=["first"])
    one.go_until(f"pwrite {part} {2 * PART}")  # two parts are written, and their records
    two = nursery.start(IMPORT, hold=True, store=store, source=source, models=["first"])
    two.go_until(f"flock {lock}")
    two.release()
    assert one.kill().killed
    ended = two.result()
    assert ended.ok, ended
    assert len(LARGE) - 2 * PART <= fetched(ended) <= len(LARGE) - 2 * PART + len(SHARED) + 2 * 100
    assert models_in_store(store)
    assert not list((store / STAGING).iterdir())


# An importer and a prune of the store.


def as_far_as_it_can(job: Job) -> Job:
    """Let a job go on to its end, or until it takes the lock that imports and prunes wait for."""
    while (step := job.step()) is not None:
        if step.name.startswith("flock blobs"):
            job.release()
            break
        job.go()
    return job


def test_an_import_during_which_all_is_pruned_ends_whole_or_with_a_clear_error(
    nursery: Nursery, source: Path, used: Path, store: Path
) -> None:
    prunes: list[Job] = []

    def prune() -> None:
        prunes.append(as_far_as_it_can(nursery.start("prune store", hold=True, store=store, grace=0)))
        models_in_store(store)

    arguments: dict[str, Any] = {"store": store, "source": source, "models": ["small"]}
    for ended in at_every_step(nursery, lambda: copied(used, store), IMPORT, prune, **arguments):
        assert ended.ok or clear_errors(ended)
        assert prunes[-1].result().ok
        assert len(models_in_store(store)) == (2 if ended.ok else 1)


def test_an_import_during_which_what_is_old_is_pruned_ends_whole(
    nursery: Nursery, source: Path, used: Path, store: Path
) -> None:
    prunes: list[Job] = []

    def prune() -> None:
        prunes.append(as_far_as_it_can(nursery.start("prune store", hold=True, store=store, grace=3600)))
        models_in_store(store)

    arguments: dict[str, Any] = {"store": store, "source": source, "models": ["small"]}
    for ended in at_every_step(nursery, lambda: copied(used, store), IMPORT, prune, **arguments):
        assert ended.ok, ended
        assert prunes[-1].result().ok
        assert len(models_in_store(store)) == 2


@pytest.mark.parametrize("grace", [3600, 0])
@pytest.mark.parametrize("model", ["second", "small"], ids=["of new blobs", "of a blob that is pruned"])
def test_a_model_that_is_imported_during_a_prune_is_whole(
    nursery: Nursery, source: Path, used: Path, model: str, grace: float
) -> None:
    store = used.with_name("store")
    imports: list[Job] = []

    def import_it() -> None:
        job = nursery.start(IMPORT, hold=True, store=store, source=source, models=[model])
        imports.append(as_far_as_it_can(job))

    reset, prune = lambda: copied(used, store), "prune store"
    for ended in at_every_step(nursery, reset, prune, import_it, store=store, grace=grace):
        assert ended.ok or clear_errors(ended)
        assert imports[-1].result().ok
        assert len(models_in_store(store)) == 2


def test_a_prune_takes_nothing_from_an_import_that_takes_hours(
    nursery: Nursery, source: Path, store: Path
) -> None:
    importing = nursery.start(IMPORT, hold=True, store=store, source=source, models=["first"])
    while len(list(store.glob(f"{STAGING}/*.whole"))) < 2:
        assert importing.step() is not None, importing.result()
        importing.go()
    assert importing.step() is not None  # and it works on its third blob, or is about to let go of the second
    for path in (store / STAGING).iterdir():
        os.utime(path, (0, 0))
    assert not LocalStore(store).prune().removed
    importing.release()
    ended = importing.result()
    assert ended.ok, ended
    assert fetched(ended) <= len(LARGE) + len(SHARED) + 2 * 100


# An importer and an Ollama that starts.


def test_an_import_while_ollama_starts_ends_whole_and_ollama_does_start(
    nursery: Nursery, source: Path, used: Path, store: Path
) -> None:
    def start() -> None:
        ollama_start.start(store)
        models_in_store(store)

    arguments: dict[str, Any] = {"store": store, "source": source, "models": ["small"]}
    for ended in at_every_step(nursery, lambda: copied(used, store), IMPORT, start, **arguments):
        assert ended.ok, ended
        assert len(models_in_store(store)) == 2


def at_every_call_of_a_start(base: Path, store: Path, between: Callable[[], Any]) -> Iterator[str]:
    """Hold an Ollama before each of its calls while something else is done, and yield the call at its end."""
    copied(base, store)
    for number, _ in enumerate(list(ollama_start.calls_of_start(store))):
        copied(base, store)
        calls = ollama_start.calls_of_start(store)
        call = [next(calls) for _ in range(number + 1)][-1]
        print(f"held before {call}")  # noqa: T201 - pytest shows it with a failure
        between()
        for _ in calls:
            pass
        yield call


def test_a_model_that_is_imported_while_ollama_starts_is_whole(
    nursery: Nursery, source: Path, used: Path, store: Path
) -> None:
    def import_it() -> None:
        assert nursery.run(IMPORT, store=store, source=source, models=["second"]).ok

    for _ in at_every_call_of_a_start(used, store, import_it):
        assert len(models_in_store(store)) == 2


def test_a_blob_that_ollama_had_made_up_its_mind_to_remove_is_there_again_after_the_next_import(
    nursery: Nursery, source: Path, used: Path, store: Path
) -> None:
    # It has looked at ages and manifests, and then removes what it found, without another look. No importer
    # can prevent that, if all of an import falls in between and reuses a blob that was old and had no model.
    def import_it() -> None:
        assert nursery.run(IMPORT, store=store, source=source, models=["small"]).ok

    for call in at_every_call_of_a_start(used, store, import_it):
        if not blob_at(store, digest_of(SHARED)).exists():
            assert "/manifests/" in call or call.startswith("unlink")
            import_it()
        assert len(models_in_store(store)) == 2


def test_ollama_starts_while_an_import_makes_directories(
    nursery: Nursery, source: Path, used: Path, store: Path
) -> None:
    # It removes directories that it has seen empty, and ends if one of them has a file by then.
    starts: list[Generator[str]] = []

    def start_until_a_directory_was_found_empty() -> None:
        starts.append(ollama_start.calls_of_start(store))
        for call in starts[-1]:
            if call.startswith("rmdir"):
                return

    between = start_until_a_directory_was_found_empty
    arguments: dict[str, Any] = {"store": store, "source": source, "models": ["small"]}
    for ended in at_every_step(nursery, lambda: copied(used, store), IMPORT, between, **arguments):
        assert ended.ok, ended
        for _ in starts[-1]:
            pass
        assert len(models_in_store(store)) == 2


# A tag that changes while it is read.


def test_an_export_of_a_tag_that_changes_has_the_old_model_or_the_new_one(
    nursery: Nursery, source: Path, store: Path, tmp_path: Path
) -> None:
    make_model(tmp_path / "before", "small", [OLD])
    old, new = (manifest_at(path, "small").read_bytes() for path in (tmp_path / "before", source))
    directory = tmp_path / "disk"

    def reset() -> None:
        copied(tmp_path / "before", store)
        shutil.rmtree(directory, ignore_errors=True)

    def update() -> None:
        assert nursery.run(IMPORT, store=store, source=source, models=["small"]).ok

    # Before every blob, and before the manifest that was read at the beginning is written.
    arguments: dict[str, Any] = {"store": store, "directory": directory, "models": ["small"]}
    for ended in at_every_step(nursery, reset, "export to directory", update, begins="create", **arguments):
        assert ended.ok, ended
        assert set(models_in_store(directory).values()) <= {old, new}


# Buckets.


@pytest.fixture
def client(moto: S3Server) -> Iterator[Any]:
    """Return a plain client, which knows nothing of mirrors."""
    with closing(moto.client()) as plain:
        yield plain


@pytest.fixture
def mirror(moto: S3Server, bucket: str, store: Path) -> dict[str, Any]:
    """Tell the nursery of a mirror of the bucket; it spares nothing from a prune unless that is changed."""
    keys = [moto.access_key, moto.secret_key]
    return mirror_arguments(moto.endpoint_url, bucket, store, keys, prune_grace=0, allow_short_grace=True)


def emptied(client: Any, bucket: str, *blobs: bytes) -> None:
    """Remove all from a bucket, and put blobs there that nothing names."""
    for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
        client.delete_object(Bucket=bucket, Key=entry["Key"])
    for content in blobs:
        name = digest_of(content).replace(":", "-")
        client.put_object(Bucket=bucket, Key=f"ollama/models/blobs/{name}", Body=content)


def test_an_import_of_a_tag_that_changes_in_the_bucket_has_the_old_model_or_the_new_one(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], store: Path
) -> None:
    new = put_model(client, bucket, "first", [SMALL])
    old = put_model(client, bucket, "first", [TWO_PARTS])

    def reset() -> None:
        shutil.rmtree(store, ignore_errors=True)
        put_model(client, bucket, "first", [TWO_PARTS])

    def update() -> None:
        put_model(client, bucket, "first", [SMALL])

    arguments: dict[str, Any] = {"begins": "GET", "mirror": mirror, "models": ["first"]}
    for ended in at_every_step(nursery, reset, "import", update, **arguments):
        assert ended.ok, ended
        assert set(models_in_store(store).values()) <= {old, new}


def test_a_publication_during_which_all_is_pruned_ends_whole(
    nursery: Nursery, client: Any, mirror: dict[str, Any], store: Path, mirror_of: Callable[..., Mirror]
) -> None:
    bucket = mirror["bucket"]
    make_model(store, "small", [SHARED, SMALL])
    pruning = mirror_of(store, prune_grace=0, allow_short_grace=True)
    arguments: dict[str, Any] = {"mirror": mirror, "model": "small"}
    reset, prune = lambda: emptied(client, bucket, SHARED), pruning.prune_bucket
    for ended in at_every_step(nursery, reset, "publish", prune, **arguments):
        assert ended.ok, ended
        assert len(models_in_bucket(client, bucket)) == 1


def test_a_publication_loses_nothing_to_a_prune_that_has_the_same_grace(
    nursery: Nursery, client: Any, mirror: dict[str, Any], store: Path, mirror_of: Callable[..., Mirror]
) -> None:
    bucket = mirror["bucket"]
    make_model(store, "small", [SHARED, SMALL])
    pruning = mirror_of(store)
    del mirror["prune_grace"], mirror["allow_short_grace"]

    def prune() -> None:
        assert not pruning.prune_bucket().removed
        models_in_bucket(client, bucket)

    arguments: dict[str, Any] = {"mirror": mirror, "model": "small"}
    for ended in at_every_step(
        nursery, lambda: emptied(client, bucket, SHARED), "publish", prune, **arguments
    ):
        assert ended.ok, ended
        assert ended.results[0]["blobs_sent"] == 2  # the third was there
        assert len(models_in_bucket(client, bucket)) == 1


def test_a_model_that_is_published_during_a_prune_is_whole(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], store: Path
) -> None:
    make_model(store, "small", [SHARED, SMALL])

    def publish() -> None:
        assert nursery.run("publish", mirror=mirror, model="small").ok

    for ended in at_every_step(
        nursery, lambda: emptied(client, bucket, OLD), "prune bucket", publish, mirror=mirror
    ):
        assert ended.ok, ended
        assert len(models_in_bucket(client, bucket)) == 1


def test_a_prune_tells_of_a_model_that_was_published_at_the_last_moment_and_lost_a_blob_to_it(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], store: Path
) -> None:
    make_model(store, "small", [SHARED, SMALL])

    def publish() -> None:
        assert nursery.run("publish", mirror=mirror, model="small").ok

    held = at_every_step(
        nursery,
        lambda: emptied(client, bucket, SHARED),
        "prune bucket",
        publish,
        begins="DELETE",
        mirror=mirror,
    )
    for ended in held:
        assert ended.error is not None
        assert digest_of(SHARED) in ended.error
        assert "publish that model again" in ended.error
        publish()
        assert len(models_in_bucket(client, bucket)) == 1


def test_two_publishers_of_one_model_end_whole(
    nursery: Nursery, client: Any, bucket: str, mirror: dict[str, Any], store: Path
) -> None:
    make_model(store, "small", [SHARED, SMALL])
    others: list[Ended] = []
    arguments: dict[str, Any] = {"mirror": mirror, "model": "small"}
    del mirror["prune_grace"], mirror["allow_short_grace"]

    def publish() -> None:
        others.append(nursery.run("publish", **arguments))

    for ended in at_every_step(nursery, lambda: emptied(client, bucket), "publish", publish, **arguments):
        assert ended.ok, ended
        assert others[-1].ok, others[-1]
        sent = ended.results[0]["blobs_sent"], others[-1].results[0]["blobs_sent"]
        assert sum(sent) == 3, sent  # each was sent once
        assert len(models_in_bucket(client, bucket)) == 1


# All of it, at full speed.


def test_importers_prunes_and_starts_at_full_speed_leave_whole_models(
    nursery: Nursery, source: Path, store: Path, tmp_path: Path
) -> None:
    make_model(tmp_path / "newer", "first", [TWO_PARTS, SMALL])
    make_model(tmp_path / "newer", "second", [TWO_PARTS, SHARED])
    copied(source, store)
    done, errors = threading.Event(), list[BaseException]()

    def again_and_again(action: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                action()
        except BaseException as error:  # noqa: BLE001 - for the test's thread
            errors.append(error)

    actions = LocalStore(store).prune, lambda: ollama_start.start(store), lambda: models_in_store(store)
    threads = [threading.Thread(target=again_and_again, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            directory = source if number % 2 else tmp_path / "newer"
            jobs = [
                nursery.start(IMPORT, store=store, source=directory, models=models)
                for models in (["first", "second"], ["second", "first"])
            ]
            ended = [job.result() for job in jobs]
            assert all(each.ok for each in ended), ended
            assert len(models_in_store(store)) == 3
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not errors, errors
    assert tree(store).keys() >= tree(tmp_path / "newer").keys()
