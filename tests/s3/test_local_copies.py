"""Models from directory to directory: exact, verified, and never left half changed."""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

import pytest
from model_stores import (
    STAGING,
    blob_at,
    config_of,
    digest_of,
    layer_of,
    make_model,
    manifest_at,
    manifest_of,
    tree,
)

from ollama_ext import CancelToken
from ollama_ext.s3 import (
    BlobMissing,
    DigestMismatch,
    LocalStore,
    ManifestRefused,
    MirrorError,
    ModelMissing,
    NameRefused,
    NoSpace,
    RemoteModelRefused,
    SettingRefused,
    TransferInterrupted,
    TransferProgress,
    TransferSettings,
)

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS, LICENSE, OTHER = b"weights" * 1000, b"license", b"other weights" * 1000
ROOMY = TransferSettings(reserve=0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with two models that share a blob."""
    path = tmp_path / "source"
    make_model(path, "one", [WEIGHTS, LICENSE])
    make_model(path, "me/two:1b", [OTHER, LICENSE])
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def import_into(target: Path, source: Path, *models: str, **more: Any) -> Any:
    """Import models; return the results."""
    told: dict[str, Any] = {"settings": ROOMY}
    return LocalStore(target).import_models(models, source=source, **(told | more))


def staged(store: Path) -> list[str]:
    """Return the names of what is staged."""
    return [entry.name for entry in (store / STAGING).iterdir()]


# -- copying


def test_a_model_is_copied_byte_for_byte(source: Path, target: Path) -> None:
    told: list[TransferProgress] = []
    (result,) = import_into(target, source, "one", on_progress=told.append)
    manifest = LocalStore(source).manifest("one")
    assert tree(target).keys() == {
        "blobs",
        *(f"blobs/{digest.replace(':', '-')}" for digest in manifest.blobs),
        "manifests",
        "manifests/registry.ollama.ai",
        "manifests/registry.ollama.ai/library",
        "manifests/registry.ollama.ai/library/one",
        "manifests/registry.ollama.ai/library/one/latest",
    }
    assert tree(source).items() >= tree(target).items()
    assert (result.ok, result.changed, result.way) == (True, True, "directory to store")
    assert (result.model, result.digest) == ("one:latest", manifest.digest)
    assert (result.blobs_fetched, result.blobs_skipped, result.blobs_sent) == (3, 0, 0)
    assert (result.bytes_fetched, result.bytes_reused) == (manifest.size, 0)
    assert result.seconds > 0
    assert (told[-1].state, told[-1].model, told[-1].overall.fraction) == ("done", "one:latest", 1.0)
    assert told[-1].overall.completed == manifest.size


def test_all_models_go_out_and_come_back(source: Path, tmp_path: Path) -> None:
    disk, back = tmp_path / "disk", tmp_path / "back"
    names = [entry.name for entry in LocalStore(source).list_models()]
    exported = LocalStore(source).export_models(names, disk, settings=ROOMY)
    imported = import_into(back, disk, *names)
    assert [each.way for each in exported] == ["store to directory"] * 2
    assert all(each.ok for each in (*exported, *imported))
    assert tree(source) == tree(disk) == tree(back)


def test_a_second_import_changes_nothing(source: Path, target: Path) -> None:
    import_into(target, source, "one")
    before = tree(target)
    (result,) = import_into(target, source, "one")
    size = LocalStore(source).manifest("one").size
    assert (result.ok, result.changed) == (True, False)
    assert (result.blobs_fetched, result.blobs_skipped) == (0, 3)
    assert (result.bytes_fetched, result.bytes_reused) == (0, size)
    assert tree(target) == before


def test_an_update_fetches_only_what_is_new(source: Path, target: Path) -> None:
    import_into(target, source, "one")
    make_model(source, "one", [OTHER, LICENSE])
    (result,) = import_into(target, source, "one")
    assert (result.changed, result.blobs_fetched, result.blobs_skipped) == (True, 1, 2)
    assert result.bytes_fetched == len(OTHER)
    assert manifest_at(target, "one").read_bytes() == manifest_at(source, "one").read_bytes()
    assert blob_at(target, digest_of(WEIGHTS)).exists()  # for a prune to remove


def test_modes_are_those_of_ollama_and_times_are_now(source: Path, target: Path) -> None:
    for path in (source / "blobs").iterdir():
        path.chmod(0o600)
        os.utime(path, (1, 1))
    before = os.umask(0o077)
    try:
        import_into(target, source, "one")
    finally:
        os.umask(before)
    for path in target.rglob("*"):
        status = path.stat()
        if path.name != STAGING:
            assert stat.S_IMODE(status.st_mode) == (0o755 if path.is_dir() else 0o644)
        assert status.st_mtime > 1_000_000_000


def test_a_blob_that_is_used_again_becomes_young_so_that_no_prune_takes_it(
    source: Path, target: Path
) -> None:
    import_into(target, source, "one")
    shared = blob_at(target, digest_of(LICENSE))
    os.utime(shared, (1, 1))
    import_into(target, source, "me/two:1b")
    assert shared.stat().st_mtime > 1_000_000_000


def test_one_failure_stops_no_other_and_results_come_in_order(source: Path, target: Path) -> None:
    blob_at(source, digest_of(OTHER)).write_bytes(b"Other weights" * 1000)
    manifest_at(source, "broken").parent.mkdir()
    manifest_at(source, "broken").write_bytes(b"{}")
    results = import_into(target, source, "none", "one", "../x", "me/two:1b", "broken", "one")
    assert [result.model for result in results] == [
        "none:latest",
        "one:latest",
        "../x",
        "me/two:1b",
        "broken:latest",
        "one:latest",
    ]
    assert [type(result.error) for result in results] == [
        ModelMissing,
        type(None),
        NameRefused,
        DigestMismatch,
        ManifestRefused,
        type(None),
    ]
    assert results[1] == results[5]
    bad = results[3]
    assert [each.digest for each in bad.errors] == [digest_of(OTHER)]
    assert bad.errors[0].error is bad.error
    assert not bad.changed
    assert [entry.name for entry in LocalStore(target).list_models()] == ["one:latest"]
    assert not blob_at(target, digest_of(OTHER)).exists()


def test_a_model_may_be_named_twice_in_two_ways(source: Path, target: Path) -> None:
    results = import_into(target, source, "one", "one:latest", "library/one")
    assert [(result.ok, result.model) for result in results] == [(True, "one:latest")] * 3


def test_wrong_bytes_leave_the_old_model_whole(source: Path, target: Path) -> None:
    import_into(target, source, "one")
    before = tree(target)
    make_model(source, "one", [OTHER])
    blob_at(source, digest_of(OTHER)).write_bytes(b"Other weights" * 1000)
    (result,) = import_into(target, source, "one")
    assert isinstance(result.error, DigestMismatch)
    assert (result.error.digest, result.error.got) == (digest_of(OTHER), digest_of(b"Other weights" * 1000))
    assert str(blob_at(source, digest_of(OTHER))) in result.error.where
    assert tree(target) == before
    assert LocalStore(target).verify_model("one").ok


def test_a_blob_of_the_store_is_proven_before_it_is_used(source: Path, target: Path) -> None:
    import_into(target, source, "one")
    blob_at(target, digest_of(WEIGHTS)).write_bytes(b"Weights" * 1000)
    (trusting,) = import_into(target, source, "one", settings=TransferSettings(reserve=0, trust_present=True))
    assert (trusting.ok, trusting.blobs_fetched) == (True, 0)
    assert not LocalStore(target).verify_model("one").ok
    (result,) = import_into(target, source, "one")
    assert (result.ok, result.blobs_fetched, result.blobs_skipped) == (True, 1, 2)
    assert LocalStore(target).verify_model("one").ok


def test_a_blob_that_is_missing_in_the_source_is_told(source: Path, target: Path) -> None:
    blob_at(source, digest_of(WEIGHTS)).unlink()
    (result,) = import_into(target, source, "one")
    assert isinstance(result.error, BlobMissing)
    assert result.error.digest == digest_of(WEIGHTS)
    assert result.error.model == "one:latest"
    assert list(LocalStore(target).list_models()) == []


def test_what_an_earlier_import_has_staged_is_not_read_again(source: Path, target: Path) -> None:
    make_model(source, "one", [LICENSE, WEIGHTS])
    blob_at(source, digest_of(WEIGHTS)).rename(source / "away")
    import_into(target, source, "one", settings=TransferSettings(reserve=0, connections=1))  # one by one
    assert f"{digest_of(LICENSE).removeprefix('sha256:')}.whole" in staged(target)
    (source / "away").rename(blob_at(source, digest_of(WEIGHTS)))
    blob_at(source, digest_of(LICENSE)).unlink()
    (result,) = import_into(target, source, "one")
    assert result.ok
    assert staged(target) == []
    assert LocalStore(target).verify_model("one").ok


def test_what_lies_staged_is_hashed_before_it_is_used(source: Path, target: Path) -> None:
    (target / STAGING).mkdir(parents=True)
    (target / STAGING / f"{digest_of(WEIGHTS).removeprefix('sha256:')}.whole").write_bytes(b"evil")
    (result,) = import_into(target, source, "one")
    assert result.ok
    assert LocalStore(target).verify_model("one").ok


# -- large blobs, in parts


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("ollama_ext.s3.limits._SMALL_PART", 1 << 16)
    return 1 << 16


@pytest.mark.parametrize("more", [-1, 0, 1, 5])
def test_a_blob_in_parts_is_copied_byte_for_byte(
    source: Path, target: Path, small_parts: int, more: int
) -> None:
    large = os.urandom(7 * small_parts + more)
    make_model(source, "large", [large, large[:small_parts], large[: small_parts + 1]])
    (result,) = import_into(target, source, "large")
    assert (result.ok, result.blobs_fetched) == (True, 4)
    assert blob_at(target, digest_of(large)).read_bytes() == large
    assert staged(target) == []


def test_a_blob_in_parts_with_wrong_bytes_is_not_taken(source: Path, target: Path, small_parts: int) -> None:
    large = os.urandom(5 * small_parts)
    make_model(source, "large", [large])
    with blob_at(source, digest_of(large)).open("r+b") as file:
        file.seek(3 * small_parts)
        file.write(bytes([large[3 * small_parts] ^ 1]))
    (result,) = import_into(target, source, "large")
    assert isinstance(result.error, DigestMismatch)
    assert list(LocalStore(target).list_models()) == []
    left = staged(target)
    assert all(name.endswith(".whole") for name in left)  # those that were good


# -- only telling


def test_a_dry_run_tells_what_would_be_done_and_changes_nothing(
    source: Path, target: Path, tmp_path: Path
) -> None:
    (would,) = import_into(target, source, "one", dry_run=True)
    assert not target.exists()
    (does,) = import_into(target, source, "one")
    numbers = (
        "model",
        "digest",
        "changed",
        "blobs_fetched",
        "blobs_skipped",
        "bytes_fetched",
        "bytes_reused",
    )
    assert [getattr(would, name) for name in numbers] == [getattr(does, name) for name in numbers]
    assert (would.dry_run, does.dry_run, would.ok) == (True, False, True)

    before = tree(tmp_path)
    make_model(tmp_path / "more", "one", [OTHER, LICENSE])
    (again,) = import_into(target, source, "one", dry_run=True)
    assert (again.changed, again.blobs_fetched, again.blobs_skipped) == (False, 0, 3)
    (update,) = import_into(target, tmp_path / "more", "one", dry_run=True)
    assert (update.changed, update.blobs_fetched, update.bytes_fetched) == (True, 1, len(OTHER))
    (export,) = LocalStore(source).export_models(["one"], tmp_path / "disk", settings=ROOMY, dry_run=True)
    assert (export.dry_run, export.blobs_fetched) == (True, 3)
    shutil.rmtree(tmp_path / "more")
    assert tree(tmp_path) == before


def test_a_dry_run_finds_what_would_go_wrong(source: Path, target: Path) -> None:
    results = import_into(
        target, source, "none", "one", dry_run=True, settings=TransferSettings(reserve=10**18)
    )
    assert [type(result.error) for result in results] == [ModelMissing, NoSpace]
    assert not target.exists()


# -- what is refused


def test_a_disk_without_room_is_told_with_the_numbers_before_a_byte_is_written(
    source: Path, target: Path
) -> None:
    target.mkdir()
    (result,) = import_into(target, source, "one", settings=TransferSettings(reserve=10**18))
    assert isinstance(result.error, NoSpace)
    assert result.error.needed == LocalStore(source).manifest("one").size
    assert result.error.reserve == 10**18
    assert 0 < result.error.free < 10**18
    for number in (result.error.needed, result.error.free, result.error.reserve):
        assert f"{number:,}" in str(result.error)
    assert tree(target) == {}


def test_what_is_there_already_needs_no_room(source: Path, target: Path) -> None:
    import_into(target, source, "one")
    (result,) = import_into(target, source, "one", settings=TransferSettings(reserve=10**18))
    assert result.ok


def test_a_remote_model_is_taken_only_if_that_is_allowed(source: Path, target: Path, tmp_path: Path) -> None:
    make_model(source, "cloud", [], {"remote_host": "https://elsewhere.example", "remote_model": "big"})
    (refused,) = import_into(target, source, "cloud")
    assert isinstance(refused.error, RemoteModelRefused)
    assert "elsewhere.example" in str(refused.error)
    assert list(LocalStore(target).list_models()) == []
    (allowed,) = import_into(target, source, "cloud", allow_remote=True)
    assert allowed.ok
    (exported,) = LocalStore(source).export_models(["cloud"], tmp_path / "disk", settings=ROOMY)
    assert exported.ok


def test_a_config_that_is_not_its_digest_is_not_believed(source: Path, target: Path) -> None:
    config = digest_of(config_of())
    blob_at(source, config).write_bytes(b"x" * len(config_of()))
    (result,) = import_into(target, source, "one")
    assert isinstance(result.error, DigestMismatch)
    assert result.error.digest == config


def test_a_config_too_large_to_look_at_is_refused(source: Path, target: Path) -> None:
    big = config_of(x="x" * (4 << 20))
    blob_at(source, digest_of(big)).write_bytes(big)
    manifest_at(source, "big").parent.mkdir()
    manifest_at(source, "big").write_bytes(manifest_of([WEIGHTS], big))
    (result,) = import_into(target, source, "big")
    assert isinstance(result.error, ManifestRefused)
    assert "more than 4,194,304" in str(result.error)


@pytest.mark.parametrize("other", ["ONE", "one:LATEST", "Library/one", "Registry.ollama.ai/library/one"])
def test_a_name_that_differs_in_case_only_is_refused(source: Path, target: Path, other: str) -> None:
    import_into(target, source, "one")
    before = tree(target)
    make_model(source, other, [OTHER])
    (result,) = import_into(target, source, other)
    assert isinstance(result.error, NameRefused)
    assert "upper and lower case only" in str(result.error)
    assert tree(target) == before


def test_a_list_of_names_is_wanted_and_a_directory_that_is_another(source: Path, tmp_path: Path) -> None:
    store = LocalStore(source)
    with pytest.raises(SettingRefused, match=r"models must be a list of names, such as \['one'\]"):
        store.export_models("one", tmp_path / "disk")
    with pytest.raises(SettingRefused, match="is no directory with models"):
        store.import_models(["one"], source=tmp_path / "none")
    (tmp_path / "link").symlink_to(source)
    for same in (source, tmp_path / "link"):
        with pytest.raises(SettingRefused, match="is the same directory"):
            store.import_models(["one"], source=same)
        with pytest.raises(SettingRefused, match="is the same directory"):
            store.export_models(["one"], same)
    assert store.export_models([], tmp_path / "disk") == []


@pytest.mark.parametrize("name", ["blobs", "manifests", STAGING])
def test_links_in_the_store_lead_nowhere(source: Path, target: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    target.mkdir()
    (target / name).symlink_to(tmp_path / "elsewhere")
    (result,) = import_into(target, source, "one")
    assert isinstance(result.error, MirrorError)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_cancelled_import_shows_nothing(source: Path, target: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(TransferInterrupted, match="goes on where this one stopped"):
        import_into(target, source, "one", cancel=token)
    assert list(LocalStore(target).list_models()) == []


def test_of_two_models_that_differ_on_the_size_of_a_blob_one_is_refused(tmp_path: Path) -> None:
    shared, source = b"shared by both", tmp_path / "source"
    make_model(source, "good", [shared])
    make_model(source, "wrong", [shared])
    path = manifest_at(source, "wrong")
    lie = layer_of(shared) | {"size": len(shared) + 1}
    path.write_bytes(json.dumps(json.loads(path.read_bytes()) | {"layers": [lie]}).encode())
    good, wrong = LocalStore(tmp_path / "store").import_models(
        ["good", "wrong"], source=source, settings=ROOMY
    )
    assert good.ok
    assert isinstance(wrong.error, ManifestRefused)
    assert digest_of(shared) in wrong.error.message
