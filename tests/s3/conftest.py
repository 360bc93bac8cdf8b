"""Servers and buckets for the tests of the mirror."""

from __future__ import annotations

import functools
import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import create_loader
from faulty_s3 import FaultyFront
from guarded_stores import GuardedStore
from hostile_buckets import HostileBucket
from s3_servers import REGION, S3Server, seaweedfs

from ollama_ext.s3 import Credentials, Mirror
from ollama_ext.s3.directories import Directory
from ollama_ext.s3.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _no_aws_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from credentials and settings that this machine happens to have."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session", autouse=True)
def _botocore_reads_its_models_once() -> Iterator[None]:
    """Have all sessions share what botocore knows of S3, which takes longer to read than most tests take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", functools.cache(create_loader))
        yield


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run SeaweedFS, a real server."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def bucket(moto: S3Server) -> str:
    """Make a bucket of the test's own in moto."""
    name = f"models-{next(_numbers)}"
    moto.client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def mirror_of(moto: S3Server, bucket: str) -> Iterator[Callable[..., Mirror]]:
    """Return a function that makes mirrors of the bucket, all closed at the end."""
    made: list[Mirror] = []

    def make(store: Path, *, url: str | None = None, **settings: Any) -> Mirror:
        keys = Credentials(moto.access_key, moto.secret_key)
        told: dict[str, Any] = {
            "endpoint_url": url or moto.endpoint_url,
            "region": REGION,
            "credentials": keys,
            "reserve": 0,
        }
        made.append(Mirror(bucket, store=store, **(told | settings)))
        return made[-1]

    yield make
    for mirror in made:
        mirror.close()


@pytest.fixture
def front(moto: S3Server) -> Iterator[FaultyFront]:
    """What stands between the mirror and moto."""
    with FaultyFront(moto.endpoint_url) as running:
        yield running


@pytest.fixture
def guarded(tmp_path: Path) -> GuardedStore:
    """A store that must stay as it is."""
    return GuardedStore(tmp_path)


@pytest.fixture
def hostile(moto: S3Server, bucket: str) -> HostileBucket:
    """The bucket of the mirror."""
    return HostileBucket(moto.client(), bucket)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Staging]:
    """The staging of a store."""
    with Directory.at(tmp_path) as root, Staging(root) as opened:
        yield opened
