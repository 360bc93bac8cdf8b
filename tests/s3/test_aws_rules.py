"""Where requests go and with which keys: by the documented rules of AWS, its environment and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from model_stores import make_model
from s3_wire import Answer, Sent, page, wire

import ollama_ext
from ollama_ext.s3 import BucketForbidden, BucketUnreachable, Credentials, Mirror, SettingRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = Credentials("AKIAEXAMPLE", "hunter2/secret")


def sent_by(store: Path, bucket: str = "models", **settings: Any) -> Sent:
    """List an empty bucket and return the request."""
    with wire(lambda _: page([])) as sent, Mirror(bucket, store=store, **settings) as mirror:
        assert list(mirror.list_models()) == []
    (request,) = sent
    return request


def scope(request: Sent) -> tuple[str, str]:
    """Return the access key and the region that a request is signed with."""
    found = request.headers["authorization"].partition("Credential=")[2].partition(",")[0].split("/")
    return found[0], found[2]


# -- where to


@pytest.mark.parametrize(
    ("bucket", "settings", "url"),
    [
        ("models", {"region": "eu-central-1"}, "https://models.s3.eu-central-1.amazonaws.com/"),
        ("models", {"region": "us-east-1"}, "https://models.s3.amazonaws.com/"),
        ("models", {"region": "cn-north-1"}, "https://models.s3.cn-north-1.amazonaws.com.cn/"),
        ("my.models", {"region": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com/my.models"),
        ("models", {"endpoint_url": "https://s3.internal"}, "https://s3.internal/models"),
        ("models", {"endpoint_url": "http://127.0.0.1:9000/"}, "http://127.0.0.1:9000/models"),
        ("models", {"endpoint_url": "http://[::1]:9000"}, "http://[::1]:9000/models"),
        ("models", {"endpoint_url": "http://localhost:8333"}, "http://localhost:8333/models"),
    ],
)
def test_the_bucket_is_in_the_host_at_aws_and_in_the_path_elsewhere(
    tmp_path: Path, bucket: str, settings: dict[str, Any], url: str
) -> None:
    request = sent_by(tmp_path, bucket, credentials=KEYS, **settings)
    assert request.url._replace(query="").geturl() == url


def test_a_listing_is_of_the_manifests_below_the_prefix_only(tmp_path: Path) -> None:
    for prefix, begins in (("", "manifests/"), ("a/b", "a/b/manifests/"), ("a/b/", "a/b/manifests/")):
        request = sent_by(tmp_path, prefix=prefix, credentials=KEYS, endpoint_url="http://x")
        assert (request.method, request.query["list-type"], request.query["prefix"]) == ("GET", "2", begins)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_environment_names_the_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://s3.internal:9000")
    request = sent_by(tmp_path, credentials=KEYS)
    assert request.url._replace(query="").geturl() == "http://s3.internal:9000/models"
    request = sent_by(tmp_path, credentials=KEYS, endpoint_url="http://other")  # said here, it counts
    assert request.url.netloc == "other"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254", "metadata"),
        ("http://user:hunter2@s3.internal", "must not hold a user or a password"),
        ("nonsense", "nonsense"),
        ("file:///etc/passwd", "file:///etc/passwd"),
    ],
)
def test_an_endpoint_of_the_environment_is_looked_at_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(SettingRefused) as caught:
        Mirror("models", store=tmp_path, credentials=KEYS)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"endpoint_url": "http://169.254.169.254"},
        {"endpoint_url": "http://my_minio:9000"},  # botocore takes no underscore
        {"endpoint_url": "http://a b"},
        {"endpoint_url": 5},
        {"region": "no region!"},
        {"ca_bundle": "/none/ca.pem"},
        {"ca_bundle": "/"},
        {"bucket": "a"},
        {"bucket": "a/b"},
        {"bucket": ""},
        {"bucket": None},
        {"prefix": "/a"},
        {"prefix": "a/../b"},
        {"connections": 0},
        {"limit_rate": 0},
        {"reserve": -1},
        {"stall": 0},
        {"start_jitter": -1},
        {"prune_grace": -1},
        {"prune_grace": 3600},
        {"prune_grace": float("inf"), "allow_short_grace": True},
        {"store": "a\0b"},
    ],
)
def test_a_setting_that_cannot_be_right_is_refused_before_anything_is_sent(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    told: dict[str, Any] = {"bucket": "models", "store": tmp_path, "credentials": KEYS}
    with wire(lambda _: page([])) as sent, pytest.raises(SettingRefused):
        Mirror(**(told | settings))
    assert sent == []


def test_what_may_be_forced_is_taken(tmp_path: Path) -> None:
    with Mirror(
        "models",
        store=tmp_path,
        credentials=KEYS,
        endpoint_url="http://169.254.169.254",
        allow_link_local=True,
        prune_grace=60,
        allow_short_grace=True,
    ) as mirror:
        assert repr(mirror).startswith("<Mirror s3://models/ollama/models ")
        assert str(tmp_path) in repr(mirror)


# -- with which keys


def test_keys_that_are_given_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the environment")
    request = sent_by(tmp_path, credentials=KEYS, region="eu-west-1")
    assert scope(request) == ("AKIAEXAMPLE", "eu-west-1")
    assert "x-amz-security-token" not in request.headers
    request = sent_by(tmp_path, credentials=Credentials("AKIAX", "secret", "token"), region="eu-west-1")
    assert request.headers["x-amz-security-token"] == "token"


def test_the_environment_has_keys_token_and_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the environment")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    request = sent_by(tmp_path)
    assert scope(request) == ("AKIAENVIRONMENT", "ap-south-1")
    assert request.headers["x-amz-security-token"] == "of the environment"
    assert request.url.netloc == "models.s3.ap-south-1.amazonaws.com"
    assert scope(sent_by(tmp_path, region="eu-west-1"))[1] == "eu-west-1"


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files that AWS's own programs have."""
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = x\n"
        "[lab]\naws_access_key_id = AKIALAB\naws_secret_access_key = x\naws_session_token = of the lab\n"
    )
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-1\n[profile lab]\nregion = eu-west-2\nendpoint_url = http://lab.internal:9000\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.mark.usefixtures("profiles")
def test_a_profile_has_keys_region_and_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scope(sent_by(tmp_path)) == ("AKIADEFAULT", "eu-west-1")
    for settings in ({"profile": "lab"}, {}):
        request = sent_by(tmp_path, **settings)
        assert scope(request) == ("AKIALAB", "eu-west-2")
        assert request.headers["x-amz-security-token"] == "of the lab"
        assert request.url._replace(query="").geturl() == "http://lab.internal:9000/models"
        monkeypatch.setenv("AWS_PROFILE", "lab")


@pytest.mark.usefixtures("profiles")
def test_a_profile_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BucketForbidden, match=r"profile \(other\) could not be found; .* name a profile"):
        Mirror("models", store=tmp_path, profile="other")


def test_without_keys_it_is_said_where_they_may_come_from(tmp_path: Path) -> None:
    with wire(lambda _: page([])) as sent, Mirror("models", store=tmp_path, region="eu-west-1") as mirror:
        with pytest.raises(BucketForbidden) as caught:
            mirror.list_models()
        assert sent == []
    for words in ("AWS_ACCESS_KEY_ID", "profile", "credentials=", "anonymous=True"):
        assert words in str(caught.value)


def test_an_anonymous_mirror_signs_nothing_though_there_are_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    request = sent_by(tmp_path, anonymous=True, region="eu-west-1")
    assert not {"authorization", "x-amz-security-token", "x-amz-date"} & request.headers.keys()
    assert "X-Amz" not in request.url.query


def test_no_key_is_shown(tmp_path: Path) -> None:
    with Mirror("models", store=tmp_path, credentials=KEYS, region="eu-west-1") as mirror:
        assert "hunter2" not in f"{mirror!r} {vars(mirror)!r} {KEYS!r}"


# -- with what besides


def test_every_request_says_who_asks_and_none_asks_for_checksums_that_others_do_not_know(
    tmp_path: Path,
) -> None:
    request = sent_by(tmp_path, credentials=KEYS, region="eu-west-1")
    assert f"ollama-ext/{ollama_ext.__version__}" in request.headers["user-agent"]
    assert not [name for name in request.headers if "checksum" in name]


OWNER = "123456789012"  # moto's own


def test_the_owner_that_is_expected_is_in_every_request(
    tmp_path: Path, mirror_of: Callable[..., Mirror], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_ext.s3.uploads._SINGLE", 1 << 20)
    monkeypatch.setattr("ollama_ext.s3.uploads._PART", 5 << 20)
    make_model(tmp_path / "one", "m", [bytes(6 << 20), b"license"])
    here, there = (mirror_of(tmp_path / name, expected_owner=OWNER) for name in ("one", "two"))
    with wire() as sent:
        here.publish_model("m")
        here.publish_model("m", dry_run=True)
        assert len(here.list_models(details=True)) == 1
        assert here.diff("m").comparison == "same"
        assert there.import_model("m").ok
        assert here.verify_model("m", where="bucket").ok
        here.prune_bucket()
    operations = {
        (each.method, *sorted(each.query.keys() & {"uploads", "uploadId", "list-type"})) for each in sent
    }
    assert operations >= {
        ("GET",),
        ("HEAD",),
        ("PUT",),
        ("GET", "list-type"),
        ("GET", "uploads"),
        ("POST", "uploads"),
        ("PUT", "uploadId"),
        ("POST", "uploadId"),
    }
    lacking = [each for each in sent if each.headers.get("x-amz-expected-bucket-owner") != OWNER]
    assert lacking == []


def test_without_an_expected_owner_nothing_is_said_of_it(tmp_path: Path) -> None:
    assert (
        "x-amz-expected-bucket-owner" not in sent_by(tmp_path, credentials=KEYS, region="eu-west-1").headers
    )


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let botocore not wait between its tries."""
    waited: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waited.append)
    return waited


def test_a_busy_server_is_asked_five_times(tmp_path: Path, no_pauses: list[float]) -> None:
    busy = Answer(
        503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    )
    with (
        wire(lambda _: busy) as sent,
        Mirror("models", store=tmp_path, credentials=KEYS, region="eu-west-1") as mirror,
        pytest.raises(BucketUnreachable, match="SlowDown") as caught,
    ):
        mirror.list_models()
    assert len(sent) == 5
    assert len(no_pauses) == 4
    assert caught.value.code == "SlowDown"
