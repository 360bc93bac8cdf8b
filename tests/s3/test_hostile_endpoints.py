"""Endpoints that are none, credentials that do not fit, and secrets, which are shown nowhere."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from faulty_s3 import FaultyFront
from guarded_stores import OLD, GuardedStore
from s3_faults import Body, Reset, Stall, Status, access_denied, expired_token, moved
from s3_servers import REGION, S3Server, rclone_s3

from ollama_ext.cli import main
from ollama_ext.s3 import (
    BucketForbidden,
    BucketNotFound,
    Credentials,
    LocalStore,
    Mirror,
    MirrorError,
    SettingRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from hostile_buckets import HostileBucket
    from s3_faults import Fault

BUCKET = "secrets"


# -- endpoints

ENDPOINTS = {
    "metadata of AWS": ("http://169.254.169.254", "169.254.169.254"),
    "metadata of a container": ("http://169.254.170.2/", "169.254.170.2"),
    "metadata over IPv6": ("http://[fd00:ec2::254]", "fd00:ec2::254"),
    "metadata as IPv6": ("http://[::ffff:169.254.169.254]:80", "169.254.169.254"),
    "metadata as one number": ("http://2852039166", "2852039166"),
    "a file": ("file:///etc/passwd", "file:///etc/passwd"),
    "ftp": ("ftp://s3.example.com", "ftp://s3.example.com"),
    "no scheme": ("s3.example.com:9000", "s3.example.com:9000"),
    "no host": ("http://", "http://"),
    "a path": ("https://s3.example.com/bucket", "/bucket"),
    "a query": ("https://s3.example.com/?x=y", "?x=y"),
    "a bad port": ("https://s3.example.com:99999", "no URL"),
    "empty": ("", "''"),
}


@pytest.mark.parametrize(("url", "word"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_an_endpoint_that_no_operator_means_is_refused(
    url: str, word: str, mirror_of: Callable[..., Mirror], guarded: GuardedStore
) -> None:
    with guarded.refuses(SettingRefused, "endpoint_url", word):
        mirror_of(guarded.path, endpoint_url=url)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_of_the_environment_is_looked_at_as_well(
    name: str, mirror_of: Callable[..., Mirror], guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://169.254.169.254")
    with guarded.refuses(SettingRefused, "endpoint_url", "169.254.169.254", "--allow-link-local"):
        mirror_of(guarded.path, endpoint_url=None)
    mirror_of(guarded.path, endpoint_url=None, allow_link_local=True)
    for url in ("no url at all", "http://", "ftp://s3.example.com"):
        monkeypatch.setenv(name, url)
        with guarded.refuses(SettingRefused, url):
            mirror_of(guarded.path, endpoint_url=None)


def test_an_endpoint_of_a_profile_is_looked_at_as_well(
    mirror_of: Callable[..., Mirror],
    guarded: GuardedStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text("[profile bad]\nendpoint_url = http://169.254.169.254\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with guarded.refuses(SettingRefused, "169.254.169.254"):
        mirror_of(guarded.path, endpoint_url=None, profile="bad")


@pytest.mark.parametrize("name", ["argument", "AWS_ENDPOINT_URL"])
def test_a_password_in_an_endpoint_is_refused_and_not_shown(
    name: str, mirror_of: Callable[..., Mirror], guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://operator:hunter2@s3.example.com"
    if name != "argument":
        monkeypatch.setenv(name, url)
    with guarded.refuses(SettingRefused, "user or a password", "environment or a profile") as caught:
        mirror_of(guarded.path, endpoint_url=url if name == "argument" else None)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# -- regions, clocks and credentials


def refusal(status: int, code: str, message: str = "No.") -> Status:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Status(status, body.encode(), {"Content-Type": "application/xml"})


REFUSALS: dict[str, tuple[Fault, type[MirrorError], tuple[str, ...]]] = {
    "wrong region": (moved("eu-west-1"), BucketNotFound, ("elsewhere", "region='eu-west-1'")),
    "wrong region in the signature": (
        refusal(
            400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'"
        ),
        BucketNotFound,
        ("expecting 'eu-west-1'", "region"),
    ),
    "expired token": (expired_token(), BucketForbidden, ("ExpiredToken", "get new credentials")),
    "clock skew": (
        refusal(403, "RequestTimeTooSkewed"),
        BucketForbidden,
        ("RequestTimeTooSkewed", "set the clock"),
    ),
    "wrong secret": (
        refusal(403, "SignatureDoesNotMatch"),
        BucketForbidden,
        ("SignatureDoesNotMatch", "check the secret key"),
    ),
    "wrong key": (
        refusal(403, "InvalidAccessKeyId"),
        BucketForbidden,
        ("InvalidAccessKeyId", "check the access key"),
    ),
    "no right": (access_denied(), BucketForbidden, ("AccessDenied", "s3:GetObject")),
    "no such bucket": (
        refusal(404, "NoSuchBucket"),
        BucketNotFound,
        ("NoSuchBucket", "check the name of the bucket"),
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_says_what_to_do_about_it(
    case: tuple[Fault, type[MirrorError], tuple[str, ...]],
    mirror_of: Callable[..., Mirror],
    bucket: str,
    front: FaultyFront,
    guarded: GuardedStore,
) -> None:
    fault, kind, words = case
    for method in ("GET", "PUT"):
        front.fail(fault, method=method, times=None)
    mirror = mirror_of(guarded.path, url=front.url)
    calls: list[Callable[[], object]] = [
        mirror.list_models,
        lambda: mirror.import_model("m"),
        lambda: mirror.publish_model(OLD),
        lambda: mirror.verify_model("m", where="bucket"),
    ]
    for call in calls:
        with guarded.refuses(kind, f"s3://{bucket}", *words) as caught:
            call()
        assert not caught.value.retryable


@pytest.mark.parametrize("status", [301, 401, 403])
def test_a_refusal_without_a_body_is_told_as_well(
    status: int, mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    front.fail(Status(status, headers={"x-amz-bucket-region": "eu-west-1"}), method="HEAD", times=None)
    with guarded.refuses(BucketNotFound if status == 301 else BucketForbidden, str(status)):
        mirror_of(guarded.path, url=front.url).diff(OLD)


@pytest.mark.parametrize("status", [302, 400, 404, 405, 409, 412, 416, 418, 429, 500, 501, 503])
def test_what_answers_but_is_no_s3_server_ends_in_an_error_of_ours(
    status: int,
    mirror_of: Callable[..., Mirror],
    front: FaultyFront,
    guarded: GuardedStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ollama_ext.s3.bucket_client._TRIES", 1)
    page = Status(status, b"<!doctype html><html><body>It works!<br></body></html>")
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        front.fail(page, method=method, times=None)
    mirror = mirror_of(guarded.path, url=front.url)
    calls: list[Callable[[], object]] = [
        mirror.list_models,
        lambda: mirror.import_model(OLD),
        lambda: mirror.publish_model(OLD),
        lambda: mirror.verify_model(OLD, where="bucket"),
        mirror.prune_bucket,
    ]
    for call in calls:
        with pytest.raises(MirrorError, match="s3://"):
            call()
        guarded.assert_untouched()
    if status == 404:  # of a list that can only mean the bucket
        with guarded.refuses(BucketNotFound, "check the name of the bucket and the endpoint"):
            mirror.list_models()


def test_without_any_credentials_it_is_said_how_to_give_some(
    mirror_of: Callable[..., Mirror], front: FaultyFront, guarded: GuardedStore
) -> None:
    mirror = mirror_of(guarded.path, url=front.url, credentials=None)
    with guarded.refuses(BucketForbidden, "AWS_ACCESS_KEY_ID", "credentials=", "anonymous=True"):
        mirror.list_models()
    assert front.requests == []


def test_a_profile_that_is_missing_is_named(mirror_of: Callable[..., Mirror], guarded: GuardedStore) -> None:
    with guarded.refuses(BucketForbidden, "nobody"):
        mirror_of(guarded.path, profile="nobody")


# -- secrets

SECRETS = ("hunter2/secret+key/0123456789abcdefghij0", "session-token-0123456789abcdefghij==")
SIGNS = ("X-Amz-Signature", "x-amz-signature", "Signature=", "X-Amz-Security-Token=")


class Heard(logging.Handler):
    """Keeps all that any logger says, as it would be written and as it was given."""

    def __init__(self) -> None:
        """Listen to everything."""
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.texts += [self.format(record), repr(record.args), repr(vars(record))]


@contextmanager
def everything_logged() -> Generator[list[str]]:
    """Set the root logger to DEBUG, as if nothing had been imported yet, and yield what is said."""
    root, theirs, heard = logging.getLogger(), logging.getLogger("botocore"), Heard()
    levels = root.level, theirs.level
    root.setLevel(logging.DEBUG)
    theirs.setLevel(logging.NOTSET)
    root.addHandler(heard)
    try:
        yield heard.texts
    finally:
        root.removeHandler(heard)
        root.setLevel(levels[0])
        theirs.setLevel(levels[1])


def all_of(error: BaseException) -> list[str]:
    """Return every way in which an error is shown."""
    return [str(error), repr(error), *traceback.format_exception(error), repr(vars(error))]


def assert_no_secret(texts: list[str], *secrets: str) -> None:
    assert texts
    for each in (*SECRETS, *SIGNS, *secrets):
        found = [text for text in texts if each in text]
        assert found == [], each


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Run a server that looks at signatures, with one bucket."""
    with rclone_s3(tmp_path_factory.mktemp("rclone")) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server


FAULTS: dict[str, Fault | None] = {
    "nothing": None,
    "403": access_denied(),
    "expired token": expired_token(),
    "wrong region": moved("eu-west-1"),
    "reset": Reset(None),
    "stall": Stall(None),
    "HTML": Body(b"<html>"),
    "signature echoed": refusal(
        403,
        "SignatureDoesNotMatch",
        f"No.</Message><StringToSign>x-amz-security-token:{SECRETS[1]}</StringToSign>"
        "<SignatureProvided>Signature=abc</SignatureProvided><Message>No.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("right", [True, False], ids=["right keys", "wrong keys"])
def test_secrets_are_in_no_log_and_no_error(
    right: bool,
    fault: Fault | None,
    strict: S3Server,
    guarded: GuardedStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ollama_ext.s3.bucket_client._TRIES", 1)
    monkeypatch.setattr("ollama_ext.s3.carrying._LONGEST_BACKOFF", 0.001)
    keys = Credentials(strict.access_key, strict.secret_key if right else SECRETS[0], SECRETS[1])
    shown = [repr(keys), str(keys)]
    errors: list[MirrorError] = []
    with everything_logged() as heard, FaultyFront(strict.endpoint_url) as front:
        if fault is not None:
            for method in ("GET", "HEAD", "PUT"):
                front.fail(fault, method=method, times=None)
        mirror = Mirror(
            BUCKET,
            endpoint_url=front.url,
            region=REGION,
            credentials=keys,
            store=guarded.path,
            reserve=0,
            stall=0.1 if isinstance(fault, Stall) else 30,
        )
        calls: list[Callable[[], Any]] = [
            lambda: mirror.publish_model(OLD),
            lambda: mirror.list_models(details=True),
            lambda: mirror.import_model(OLD),
            lambda: mirror.verify_model(OLD, where="bucket"),
            lambda: mirror.import_model("missing"),
            lambda: mirror.diff(OLD),
            mirror.prune_bucket,
        ]
        with mirror:
            for call in calls:
                try:
                    result = call()
                    shown += [repr(result), str(list(result) if isinstance(result, list) else result)]
                except MirrorError as error:
                    errors.append(error)
                    shown += all_of(error)
            shown += [repr(mirror), str(vars(mirror))]
    assert heard
    assert_no_secret([*shown, *heard], strict.secret_key)
    if right and fault is None:
        assert [type(error).__name__ for error in errors] == ["ModelMissing"]
    else:
        assert len(errors) == len(calls)
    assert LocalStore(guarded.path).verify_model(OLD).ok


@pytest.fixture(params=[True, False], ids=["right keys", "wrong keys"])
def right_by_environment(
    request: pytest.FixtureRequest, strict: S3Server, guarded: GuardedStore, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Set the environment of the command; return whether its keys are those of the server."""
    right: bool = request.param
    environment = strict.environment() | {"AWS_SESSION_TOKEN": SECRETS[1], "OLLAMA_MODELS": str(guarded.path)}
    if not right:
        environment["AWS_SECRET_ACCESS_KEY"] = SECRETS[0]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return right


@pytest.mark.parametrize("options", [(), ("--json",), ("--verbose",)], ids=["text", "json", "verbose"])
def test_secrets_are_in_no_output_of_the_command(
    options: tuple[str, ...],
    right_by_environment: bool,
    strict: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    codes: list[int] = []
    shown: list[str] = []
    with everything_logged() as heard:
        for verb in (
            ("publish", OLD),
            ("list", "--details"),
            ("import", OLD, "--no-check", "--reserve=0"),
            ("verify", OLD),
            ("diff", OLD),
            ("import", "missing", "--no-check"),
        ):
            monkeypatch.setattr(
                sys, "argv", ["ollama-ext", "mirror", verb[0], f"--bucket={BUCKET}", *verb[1:], *options]
            )
            try:
                main()
            except SystemExit as ended:
                codes.append(int(ended.code or 0))
            except MirrorError as error:  # --verbose shows where it came from
                codes.append(1)
                shown += all_of(error)
    written = capsys.readouterr()
    assert (written.out + written.err).strip()
    assert_no_secret([written.out, written.err, *shown, *heard], strict.secret_key)
    assert codes[:5] == [0] * 5 if right_by_environment else codes.count(0) == 1  # verify looks at the store
    assert codes[5] != 0


def test_the_secret_is_used_all_the_same(
    mirror_of: Callable[..., Mirror], hostile: HostileBucket, front: FaultyFront, guarded: GuardedStore
) -> None:
    # The tests above would find nothing, too, if nothing were signed.
    hostile.put_model("good", [b"good"])
    logger, heard = logging.getLogger("botocore"), Heard()
    level = logger.level
    mirror = mirror_of(guarded.path, url=front.url, credentials=Credentials("key", *SECRETS))
    logger.addHandler(heard)
    logger.setLevel(logging.DEBUG)  # whoever does this wants it
    try:
        assert mirror.import_model("good").ok
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)
    assert any(SECRETS[1] in text for text in heard.texts)


def test_an_error_keeps_no_hold_of_what_the_server_quotes_of_the_request(
    moto: S3Server, mirror_of: Callable[..., Mirror], tmp_path: Path
) -> None:
    quoted = (
        "<Error><Code>SignatureDoesNotMatch</Code><Message>it does not match</Message>"
        f"<CanonicalRequest>x-amz-security-token:{SECRETS[1]}</CanonicalRequest></Error>"
    )
    with FaultyFront(moto.endpoint_url) as front:
        front.fail(Status(403, quoted.encode()), times=None)
        with pytest.raises(BucketForbidden) as caught:
            mirror_of(tmp_path, url=front.url).list_models()
    context = caught.value.__context__
    assert context is not None
    assert SECRETS[1] not in repr(vars(context))
    assert context.__traceback__ is None
