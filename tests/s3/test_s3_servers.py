"""Servers that differ: a model goes in and comes out, byte for byte, over plain HTTP and over TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from model_stores import blob_at, make_model, manifest_at, tree
from s3_servers import REGION, S3Server, rclone_s3
from s3_wire import wire
from tls_front import TlsFront

from ollama_ext.s3 import BucketForbidden, BucketUnreachable, Credentials, LocalStore, Mirror, ModelMissing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = [b"license", b"x"]


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run ``rclone serve s3``, which does as little as a server can."""
    with rclone_s3(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(params=["seaweed", "rclone", "moto"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the servers, with a bucket ``models-of-tests``."""
    found: S3Server = request.getfixturevalue(request.param)
    client = found.client()
    if "models-of-tests" not in {each.get("Name") for each in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket="models-of-tests")
    client.close()
    return found


def mirror_at(server: S3Server, store: Path, prefix: str, **settings: Any) -> Mirror:
    told: dict[str, Any] = {
        "endpoint_url": server.endpoint_url,
        "region": REGION,
        "credentials": Credentials(server.access_key, server.secret_key),
        "reserve": 0,
    }
    return Mirror("models-of-tests", prefix, store=store, **(told | settings))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let blobs of a few MiB go and come in parts."""
    monkeypatch.setattr("ollama_ext.s3.limits._SMALL_PART", 1 << 20)
    monkeypatch.setattr("ollama_ext.s3.uploads._SINGLE", 1 << 20)
    monkeypatch.setattr("ollama_ext.s3.uploads._PART", 5 << 20)


@pytest.mark.usefixtures("small_parts")
def test_a_model_goes_in_and_comes_out_byte_for_byte(server: S3Server, tmp_path: Path) -> None:
    large = os.urandom((7 << 20) + 5)
    manifest = make_model(tmp_path / "one", "me/model:1b", [large, *SMALL])
    with mirror_at(server, tmp_path / "one", "round/trip") as mirror:
        sent = mirror.publish_model("me/model:1b")
        assert (sent.blobs_sent, sent.bytes_sent, sent.changed) == (4, manifest.size, True)
        (entry,) = mirror.list_models(details=True)
        assert (entry.name, entry.digest, entry.size) == ("me/model:1b", manifest.digest, manifest.size)
        assert mirror.diff("me/model:1b").comparison == "same"
        assert mirror.verify_model("me/model:1b", where="bucket").ok
        again = mirror.publish_model("me/model:1b")
        assert (again.blobs_sent, again.blobs_skipped, again.changed) == (0, 4, False)
        assert mirror.prune_bucket().removed == ()
    with mirror_at(server, tmp_path / "two", "round/trip") as mirror:
        came = mirror.import_model("me/model:1b")
        assert (came.blobs_fetched, came.bytes_fetched) == (4, manifest.size)
        assert mirror.verify_model("me/model:1b").ok
        assert mirror.import_model("me/model:1b").blobs_fetched == 0
        with pytest.raises(ModelMissing):
            mirror.import_model("other")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.usefixtures("small_parts")
def test_a_model_is_updated_and_its_bad_blobs_are_repaired(server: S3Server, tmp_path: Path) -> None:
    first, second = os.urandom(3 << 20), os.urandom(3 << 20)
    old = make_model(tmp_path / "one", "model", [first, *SMALL])
    with (
        mirror_at(server, tmp_path / "one", "updates") as here,
        mirror_at(server, tmp_path / "two", "updates") as there,
    ):
        here.publish_model("model")
        there.import_model("model")
        new = make_model(tmp_path / "one", "model", [second, *SMALL])
        assert here.diff("model").comparison == "different"
        assert here.publish_model("model").blobs_sent == 1
        came = there.import_model("model")
        assert (came.changed, came.blobs_fetched, came.digest) == (True, 1, new.digest)
        assert old.digest != new.digest
        layer = new.layers[0]
        blob_at(tmp_path / "two", layer.digest).write_bytes(bytes(layer.size))
        assert there.verify_model("model", repair=True).blobs_repaired == 1
        client = server.client()
        key = f"updates/blobs/{layer.digest.replace(':', '-')}"
        client.put_object(Bucket="models-of-tests", Key=key, Body=bytes(layer.size))
        client.close()
        assert there.verify_model("model", where="bucket", repair=True).blobs_repaired == 1
        assert there.verify_model("model", where="bucket").ok
    assert manifest_at(tmp_path / "two", "model").read_bytes() == new.content


def test_wrong_keys_are_forbidden(seaweed: S3Server, tmp_path: Path) -> None:
    for keys in (Credentials("AKIANOBODY", "x"), Credentials(seaweed.access_key, "hunter2")):
        with (
            mirror_at(seaweed, tmp_path, "any", credentials=keys) as mirror,
            pytest.raises(BucketForbidden, match=r"check the (access|secret) key") as caught,
        ):
            mirror.list_models()
        assert caught.value.status == 403
        assert "hunter2" not in str(caught.value)


# -- TLS


@dataclass(frozen=True)
class Behind:
    """A server that goes on when its front has ended."""

    port: int

    def stop(self) -> None:
        """Leave it: its connections end with those of the client."""


@pytest.fixture
def secure(seaweed: S3Server) -> Iterator[TlsFront]:
    """TLS in front of SeaweedFS, with a certificate of an authority that nobody knows."""
    client = seaweed.client()
    if "models-of-tests" not in {each.get("Name") for each in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket="models-of-tests")
    client.close()
    with TlsFront(Behind(urlsplit(seaweed.endpoint_url).port or 0)) as front:
        yield front


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("named_by", ["argument", "environment"])
def test_a_server_with_a_private_authority_is_trusted_where_that_is_named(
    seaweed: S3Server, secure: TlsFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    (tmp_path / "ca.pem").write_bytes(secure.authority)
    settings: dict[str, Any] = {"endpoint_url": secure.url}
    if named_by == "argument":
        settings["ca_bundle"] = str(tmp_path / "ca.pem")
    else:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    make_model(tmp_path / "one", "model", [os.urandom(6 << 20), *SMALL])
    with mirror_at(seaweed, tmp_path / "one", f"tls/{named_by}", **settings) as mirror, wire() as sent:
        assert mirror.publish_model("model").blobs_sent == 4
        assert [entry.name for entry in mirror.list_models()] == ["model:latest"]
        (result,) = mirror.export_models(["model"], tmp_path / "two")
        assert result.ok
    assert {each.url.scheme for each in sent} == {"https"}
    assert LocalStore(tmp_path / "two").verify_model("model").ok
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_server_that_nobody_vouches_for_is_not_trusted_and_the_way_out_is_said(
    seaweed: S3Server, secure: TlsFront, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waited.append)
    with (
        mirror_at(seaweed, tmp_path, "tls", endpoint_url=secure.url) as mirror,
        pytest.raises(BucketUnreachable, match=r"certificate .* ca_bundle= \(--ca-bundle\) or AWS_CA_BUNDLE"),
    ):
        mirror.list_models()
