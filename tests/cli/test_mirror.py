"""``ollama-ext mirror``: what each verb does to bucket, store and directory, and how it says so."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_stores import blob_at, make_model, manifest_at, put_manifest, put_model, tree

from ollama_ext.cli.mirror_options import amount
from ollama_ext.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Command
    from types_boto3_s3 import S3Client

SMALL, OTHER = b"weights " * 1000, b"other weights " * 1000
HOSTILE = "registry.ollama.ai/library/x/too/deep"


def put(s3: S3Client, bucket: str, name: str, *layers: bytes, **changed: Any) -> None:
    """Write a model into the bucket as somebody else would."""
    put_model(s3, bucket, name, layers or (SMALL,), **changed)


def keys(s3: S3Client, bucket: str) -> list[str]:
    """Return all keys of the bucket."""
    listed: Any = s3.list_objects_v2(Bucket=bucket)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def results(out: str) -> list[Any]:
    """Return the results, which are the last lines of a transfer's JSON."""
    lines = [json.loads(line) for line in out.splitlines()]
    first = next(number for number, line in enumerate(lines) if "result" in line)
    assert all(list(line) == ["result"] for line in lines[first:])
    return [line["result"] for line in lines[first:]]


# -- list


def test_list_is_a_line_for_each_model_of_the_bucket(s3: S3Client, bucket: str, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    put(s3, bucket, "hf.co/user/model:Q4_K_M")
    done = mirror("list")
    names = [line.split("\t")[0] for line in done.out.splitlines()]
    assert names == ["NAME", "hf.co/user/model:Q4_K_M", "mistral:latest"]
    assert (done.code, done.err) == (0, "")


def test_details_are_digest_and_size(s3: S3Client, bucket: str, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    head, row = (line.split("\t") for line in mirror("list", "--details").out.splitlines())
    assert head == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert len(row[1]) == 12
    assert row[2] == "8.0 KB"


def test_what_is_no_model_is_a_note_and_the_rest_is_listed(
    s3: S3Client, bucket: str, mirror: Command
) -> None:
    put(s3, bucket, "mistral")
    put_manifest(s3, bucket, HOSTILE, b"{}")
    done = mirror("ls")
    assert "mistral:latest" in done.out
    assert HOSTILE in done.err
    assert HOSTILE not in done.out


def test_list_as_json_has_models_and_what_was_refused(s3: S3Client, bucket: str, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    put_manifest(s3, bucket, HOSTILE, b"{}")
    told = json.loads(mirror("list", "--details", "--json").out)
    assert [entry["name"] for entry in told["models"]] == ["mistral:latest"]
    assert told["models"][0]["digest"].startswith("sha256:")
    assert told["refused"][0]["path"].endswith(HOSTILE)


def test_the_store_is_listed_without_a_bucket(store: Path, mirror: Command) -> None:
    manifest = make_model(store, "mine", [SMALL])
    row = mirror("list", "--store-only").out.splitlines()[1].split("\t")
    assert row[:2] == ["mine:latest", manifest.digest.removeprefix("sha256:")[:12]]


def test_a_prefix_is_an_option_or_in_the_environment(
    s3: S3Client, bucket: str, mirror: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, bucket, "mistral", prefix="")
    assert "mistral" not in mirror("list").out
    assert "mistral" in mirror("list", "--prefix", "").out
    monkeypatch.setenv("OLLAMA_EXT_PREFIX", "")
    assert "mistral" in mirror("list").out


def test_a_bucket_is_listed_where_nobody_knows_which_store_is_meant(
    s3: S3Client, bucket: str, mirror: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, bucket, "mistral")
    for name in ("OLLAMA_MODELS", "HOME"):
        monkeypatch.delenv(name)
    assert mirror("list").code == 0
    refused = mirror("import", "mistral")
    assert refused.code == 1
    assert "--store" in refused.err


# -- import


def test_import_brings_models_into_the_store(s3: S3Client, bucket: str, store: Path, mirror: Command) -> None:
    put(s3, bucket, "mistral", SMALL, OTHER)
    done = mirror("import", "mistral", "--reserve", "0")
    assert (done.code, done.err) == (0, "")
    first, last = done.out.splitlines()
    assert first == "mistral:latest: imported, 3 blobs fetched (22 KB), 0 blobs there already"
    assert "22 KB transferred, 0 B there already, 3 of 3 blobs verified" in last
    assert manifest_at(store, "mistral").is_file()


def test_a_second_import_has_nothing_to_do(s3: S3Client, bucket: str, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    mirror("import", "mistral", "--reserve", "0")
    done = mirror("import", "mistral", "--reserve", "0")
    assert "mistral:latest: nothing to do, 2 blobs there" in done.out
    assert "0 B transferred, 8.0 KB there already, 2 of 2 blobs verified" in done.out


def test_blobs_that_are_trusted_do_not_count_as_verified(s3: S3Client, bucket: str, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    mirror("import", "mistral", "--reserve", "0")
    done = mirror("import", "mistral", "--reserve", "0", "--trust-present")
    assert "0 of 2 blobs verified" in done.out


def test_all_are_imported_that_the_bucket_has(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    put(s3, bucket, "one")
    put(s3, bucket, "two", OTHER)
    assert mirror("import", "--all", "--reserve", "0").code == 0
    assert manifest_at(store, "one").is_file()
    assert manifest_at(store, "two").is_file()


def test_to_import_all_of_nothing_is_a_mistake(bucket: str, mirror: Command) -> None:
    done = mirror("import", "--all")
    assert done.code == 4
    assert f"s3://{bucket}" in done.err


def test_a_model_that_fails_stops_no_other_and_every_one_is_told(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    put(s3, bucket, "good")
    done = mirror("import", "missing", "good", "../../x", "--reserve", "0")
    assert "good:latest: imported" in done.out
    assert "error: missing:latest: " in done.err
    assert "error: ../../x: " in done.err
    assert manifest_at(store, "good").is_file()
    assert done.code == 2, "of a bad name (2) and a missing model (4) the first is the worse"


def test_a_model_that_is_missing_alone_is_exit_code_four(bucket: str, mirror: Command) -> None:
    del bucket
    assert mirror("import", "missing").code == 4


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    put(s3, bucket, "mistral")
    done = mirror("import", "mistral", "--dry-run", "--reserve", "0")
    assert done.out == "mistral:latest: would import, 2 blobs fetched (8.0 KB), 0 blobs there already\n"
    assert not store.exists()
    (told,) = results(mirror("import", "mistral", "--dry-run", "--json", "--reserve", "0").out)
    assert (told["dry_run"], told["blobs_fetched"]) == (True, 2)


def test_import_as_json_is_a_line_for_each_step_and_then_the_results(
    s3: S3Client, bucket: str, mirror: Command
) -> None:
    put(s3, bucket, "mistral")
    done = mirror("import", "mistral", "missing", "--json", "--reserve", "0")
    steps = [line for line in map(json.loads, done.out.splitlines()) if "result" not in line]
    assert steps[-1]["overall"]["completed"] == steps[-1]["overall"]["total"] > 0
    assert {"planned", "done"} <= {step["state"] for step in steps}
    good, bad = results(done.out)
    assert (good["model"], good["ok"], good["blobs_fetched"], good["error"]) == (
        "mistral:latest",
        True,
        2,
        None,
    )
    assert (bad["ok"], bad["error"]["error"]) == (False, "ModelMissing")


def test_wrong_bytes_in_the_bucket_are_told_by_blob(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    manifest = make_model(store, "mistral", [SMALL])
    put(s3, bucket, "mistral")
    blob = blob_at(store, manifest.layers[0].digest).name
    s3.put_object(Bucket=bucket, Key=f"ollama/models/blobs/{blob}", Body=SMALL[::-1])
    blob_at(store, manifest.layers[0].digest).unlink()
    done = mirror("import", "mistral", "--json", "--reserve", "0")
    assert done.code == 1
    assert manifest.layers[0].digest in done.err
    assert results(done.out)[0]["errors"][0]["digest"] == manifest.layers[0].digest


def test_a_directory_is_imported_without_a_bucket(tmp_path: Path, store: Path, mirror: Command) -> None:
    make_model(tmp_path / "usb", "mistral", [SMALL])
    done = mirror("import", "--all", "--directory", str(tmp_path / "usb"), "--reserve", "0")
    assert (done.code, done.err) == (0, "")
    assert tree(store) == tree(tmp_path / "usb")


# -- export


def test_the_store_is_exported_where_no_bucket_is_named(tmp_path: Path, store: Path, mirror: Command) -> None:
    make_model(store, "mistral", [SMALL])
    done = mirror("export", "mistral", "--directory", str(tmp_path / "usb"), "--reserve", "0")
    assert done.code == 0
    assert tree(tmp_path / "usb") == tree(store)


def test_the_bucket_is_exported_where_one_is_named(
    s3: S3Client, bucket: str, tmp_path: Path, store: Path, mirror: Command
) -> None:
    put(s3, bucket, "mistral")
    assert mirror("export", "mistral", "--directory", str(tmp_path / "usb"), "--reserve", "0").code == 0
    assert manifest_at(tmp_path / "usb", "mistral").is_file()
    assert not store.exists()
    missing = mirror("export", "mistral", "--directory", str(tmp_path / "usb"), "--from", "store")
    assert missing.code == 2
    assert str(store) in missing.err


# -- publish


def test_publish_brings_models_into_the_bucket(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    make_model(store, "mistral", [SMALL])
    done = mirror("publish", "mistral")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("mistral:latest: published, 2 blobs sent (8.0 KB), 0 blobs there already\n")
    assert "ollama/models/manifests/registry.ollama.ai/library/mistral/latest" in keys(s3, bucket)
    assert "nothing to do, 2 blobs there" in mirror("publish", "mistral").out


def test_a_dry_run_publishes_nothing(s3: S3Client, bucket: str, store: Path, mirror: Command) -> None:
    make_model(store, "mistral", [SMALL])
    done = mirror("publish", "mistral", "--dry-run")
    assert done.out.startswith("mistral:latest: would publish, 2 blobs")
    assert keys(s3, bucket) == []


def test_a_publication_that_fails_stops_no_other(bucket: str, store: Path, mirror: Command) -> None:
    del bucket
    make_model(store, "good", [SMALL])
    broken = make_model(store, "broken", [OTHER])
    blob_at(store, broken.layers[0].digest).unlink()
    done = mirror("publish", "broken", "good", "--json")
    assert done.code == 1
    assert [told["ok"] for told in results(done.out)] == [False, True]
    assert blob_at(store, broken.layers[0].digest).name in done.err


def test_a_model_that_sends_prompts_elsewhere_must_be_allowed(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    make_model(store, "cloudy", [SMALL], {"remote_host": "https://example.com", "remote_model": "x"})
    done = mirror("publish", "cloudy")
    assert done.code == 1
    assert "--allow-remote" in done.err
    assert keys(s3, bucket) == []
    assert mirror("publish", "cloudy", "--allow-remote").code == 0
    manifest_at(store, "cloudy").unlink()
    assert mirror("import", "cloudy", "--reserve", "0").code == 1
    assert mirror("import", "cloudy", "--reserve", "0", "--allow-remote").code == 0


# -- verify


def test_verify_says_what_is_good_and_what_is_not(store: Path, mirror: Command) -> None:
    make_model(store, "good", [SMALL])
    bad = make_model(store, "bad", [OTHER]).layers[0].digest
    blob_at(store, bad).write_bytes(OTHER[::-1])
    done = mirror("verify", "good", "bad", "missing")
    assert done.out.startswith("good:latest: verified, 2 blobs good, 8.0 KB read in ")
    assert bad in done.err
    assert "error: missing: " in done.err
    assert done.code == 1


def test_repair_replaces_what_is_bad(s3: S3Client, bucket: str, store: Path, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    mirror("import", "mistral", "--reserve", "0")
    (whole,) = [entry for entry in tree(store / "blobs").items() if entry[1] == SMALL]
    (store / "blobs" / whole[0]).write_bytes(SMALL[::-1])
    assert mirror("verify", "mistral").code == 1
    done = mirror("verify", "mistral", "--repair")
    assert done.code == 0
    assert "1 blob good, 1 blob repaired" in done.out
    assert (store / "blobs" / whole[0]).read_bytes() == SMALL


def test_the_copy_in_the_bucket_is_verified_if_asked(s3: S3Client, bucket: str, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    done = mirror("verify", "mistral", "--where", "bucket", "--json", "--limit-rate", "1G")
    assert done.code == 0
    (told,) = results(done.out)
    assert (told["where"], told["blobs_good"], told["ok"]) == ("bucket", 2, True)


def test_a_directory_is_verified_and_repaired_like_a_store(
    s3: S3Client, bucket: str, tmp_path: Path, mirror: Command
) -> None:
    usb = tmp_path / "usb"
    digest = make_model(usb, "mistral", [SMALL]).layers[0].digest
    put(s3, bucket, "mistral")
    assert mirror("verify", "mistral", "--directory", str(usb)).code == 0
    blob_at(usb, digest).unlink()
    assert mirror("verify", "mistral", "--directory", str(usb)).code == 1
    assert mirror("verify", "mistral", "--directory", str(usb), "--repair").code == 0
    assert blob_at(usb, digest).read_bytes() == SMALL


# -- diff


def test_diff_compares_what_is_named_or_everything(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    put(s3, bucket, "both")
    mirror("import", "both", "--reserve", "0")
    put(s3, bucket, "there", OTHER)
    make_model(store, "here", [b"here"])
    rows = [line.split("\t") for line in mirror("diff").out.splitlines()]
    assert rows[0] == ["NAME", "COMPARISON", "TO FETCH", "TO SEND", "BROKEN IN"]
    assert [row[:4] for row in rows[1:]] == [
        ["both:latest", "same", "0 B", "0 B"],
        ["here:latest", "only in store", "0 B", "4 B"],
        ["there:latest", "only in bucket", "14 KB", "0 B"],
    ]
    (told,) = json.loads(mirror("diff", "here", "--json").out)
    assert (told["comparison"], told["to_send"]) == ("only in store", 4)


def test_diff_tells_which_side_is_broken_and_goes_on_after_a_bad_name(
    s3: S3Client, bucket: str, store: Path, mirror: Command
) -> None:
    put(s3, bucket, "both")
    mirror("import", "both", "--reserve", "0")
    for blob in (store / "blobs").iterdir():
        blob.unlink()
    done = mirror("diff", "../x", "both")
    assert done.out.splitlines()[1].split("\t") == ["both:latest", "same", "8.0 KB", "0 B", "store"]
    assert (done.code, "error: ../x: " in done.err) == (2, True)


# -- prune


def test_prune_removes_from_the_store_what_no_model_names(store: Path, mirror: Command) -> None:
    make_model(store, "mine", [SMALL])
    kept = tree(store)
    lost = make_model(store, "gone", [OTHER]).layers[0].digest
    manifest_at(store, "gone").unlink()
    manifest_at(store, "gone").parent.rmdir()
    assert "1 spared" in mirror("prune").out
    dry = mirror("prune", "--grace", "0", "--dry-run")
    assert dry.out.splitlines()[0] == f"{lost} would be removed"
    told = json.loads(mirror("prune", "--grace", "0", "--json").out)
    assert told["removed"] == [lost]
    assert tree(store) == kept


def test_what_is_young_in_a_bucket_is_spared(s3: S3Client, bucket: str, mirror: Command) -> None:
    put(s3, bucket, "mistral")
    s3.put_object(Bucket=bucket, Key=f"ollama/models/blobs/sha256-{'a' * 64}", Body=b"x")
    done = mirror("prune", "--where", "bucket")
    assert done.out == "0 removed, 0 B; 1 spared as too young\n"


# -- what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import",), "--all"),
        (("import", "m", "--all"), "--all"),
        (("import", "m", "--bucket", "b", "--directory", "d"), "--directory"),
        (("import", "m", "--directory", "/no/such/directory"), "/no/such/directory"),
        (("import", "m", "--limit-rate", "fast"), "'fast'"),
        (("import", "m", "--limit-rate", "0"), "limit_rate"),
        (("import", "m", "--reserve", "-1G"), "'-1G'"),
        (("import", "m", "--connections", "0"), "connections"),
        (("import", "m", "--start-jitter", "-1"), "start_jitter"),
        (("import", "m", "--host", "ftp://x"), "ftp"),
        (("list", "--prefix", "../x"), "../x"),
        (("list", "--endpoint-url", "file:///etc"), "file:///etc"),
        (("list", "--endpoint-url", "http://169.254.169.254"), "--allow-link-local"),
        (("list", "--bucket", "../b"), "../b"),
        (("verify", "m", "--directory", "d", "--where", "bucket"), "--directory"),
        (("verify", "m", "--directory", "/no/such/directory"), "/no/such/directory"),
        (("verify", "m", "--limit-rate", "1M"), "--limit-rate"),
        (("verify", "m", "--where", "moon"), "moon"),
        (("prune",), "--where"),
        (("prune", "--where", "bucket", "--grace", "5"), "--grace"),
        (("prune", "--where", "store", "--grace", "-5"), "grace"),
        (("export", "m"), "--directory"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_two(
    bucket: str, mirror: Command, arguments: tuple[str, ...], words: str
) -> None:
    del bucket
    done = mirror(*arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("arguments", [("list",), ("publish", "m"), ("diff",), ("verify", "m", "--repair")])
def test_a_bucket_must_be_named(mirror: Command, arguments: tuple[str, ...]) -> None:
    done = mirror(*arguments)
    assert done.code == 2
    assert "--bucket" in done.err
    assert "OLLAMA_EXT_BUCKET" in done.err


def test_no_such_bucket_is_exit_code_one_and_nobody_there_is_three(
    bucket: str, mirror: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    del bucket
    done = mirror("list", "--bucket", "no-such-bucket")
    assert (done.code, "no-such-bucket" in done.err) == (1, True)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert mirror("list", "--endpoint-url", "http://127.0.0.1:1").code == 3


def test_without_the_extra_one_sentence_says_what_to_type(
    mirror: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in {"boto3", "botocore"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    done = mirror("list", "--bucket", "models")
    assert (done.code, done.out) == (1, "")
    assert "pip install 'ollama-ext[s3]'" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("500000", 500_000),
        ("50M", 50_000_000),
        ("1.5G", 1_500_000_000),
        ("1.5 GB", 1_500_000_000),
        ("64MiB", 64 << 20),
        ("10k/s", 10_000),
        ("10MB/s", 10_000_000),
        ("2TiB", 2 << 40),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, count: float) -> None:
    assert amount(text, "--limit-rate") == count


@pytest.mark.parametrize("text", ["", "M", "-1", "1e9", "5i", "nan", "0x10", "1 0", "٣M", "9" * 5000])
def test_what_is_no_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--limit-rate must be"):
        amount(text, "--limit-rate")


@given(st.text())
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    with suppress(InvalidArgument):
        assert amount(text, "--reserve") >= 0
