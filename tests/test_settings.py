"""Settings: what is read from where, which source decides, and what is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from settings_reading import DATA, NOBODY, load, of, problems

from ollama_ext.settings import AmqpSettings, Settings, SettingsError, Subscription, WorkerSettings

# What a file says


def test_a_file_is_read_whole() -> None:
    settings = Settings.load(DATA / "fleet.yaml", environ=NOBODY)
    assert settings.ollama.host == "http://gpu1:11434"
    assert (settings.ollama.first_token, settings.ollama.between_tokens) == (600.0, 60.0)
    assert settings.amqp == AmqpSettings(
        urls=("amqps://worker@broker.example.com/",),
        password_file=str(DATA / "broker.password"),
        ca_file="/etc/ssl/broker-ca.pem",
    )
    assert settings.worker == WorkerSettings(name="gpu-07", slots=2, job_limit=1500.0, drain_limit=1530.0)
    assert settings.subscriptions == (
        Subscription(type="embed", model="nomic-embed-text"),
        Subscription(type="chat", model="qwen3.5:27b", options={"num_ctx": 16384}, keep_alive="30m", slots=1),
    )
    assert settings.s3 is not None
    assert (settings.s3.bucket, settings.s3.prefix) == ("models", "ollama/models")
    assert settings.default_models == ("nomic-embed-text", "qwen3.5:27b")


def test_the_layout_of_lex_ollama_says_the_same() -> None:
    settings = Settings.load(DATA / "legion.yaml", environ=NOBODY)
    assert settings.ollama.host == "http://gpu1:11434"
    assert [(each.type, each.model) for each in settings.subscriptions] == [
        ("embed", "nomic-embed-text"),
        ("chat", "qwen3.5:27b"),
    ]
    assert settings.s3 is not None
    assert settings.s3.endpoint_url == "https://s3.example.com"
    assert (settings.s3.region, settings.s3.access_key_id) == ("us-east-2", "AKIAEXAMPLE")
    assert settings.s3.secret_access_key == "a-secret-of-s3"  # noqa: S105 - of an example
    assert settings.default_models == ("nomic-embed-text",)
    assert str(settings.origins["s3.endpoint_url"]) == f"{DATA / 'legion.yaml'}:14"


def test_both_layouts_at_once_are_refused() -> None:
    told = problems({"legion": {"ollama": {"host": "gpu1"}}, "worker": {"slots": 2}})
    assert "legion: and worker: are both there" in told


def test_what_else_lies_below_legion_is_for_others() -> None:
    assert of({"legion": {"transport": {"x": 1}, "ollama": {"worker": {"slots": 3}}}}).worker.slots == 3
    assert of({"legion": None}) == of({})


def test_an_endpoint_in_both_spellings_is_refused() -> None:
    s3 = {"bucket": "b", "endpoint": "https://a.example.com", "endpoint_url": "https://b.example.com"}
    told = problems({"legion": {"ollama": {"s3": s3}}})
    assert "legion.ollama.s3.endpoint and legion.ollama.s3.endpoint_url say the same" in told


def test_the_spellings_of_lex_ollama_are_not_known_outside_its_layout() -> None:
    assert "did you mean endpoint_url?" in problems(
        {"s3": {"bucket": "b", "endpoint": "https://a.example.com"}}
    )
    assert "did you mean ollama.host?" in problems({"host": "gpu1"})


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "worker:\namqp: ~\n", "subscriptions: []\n"])
def test_what_is_left_empty_is_left_out(text: str, tmp_path: Path) -> None:
    settings = load(text, tmp_path)
    assert settings.amqp == AmqpSettings()
    assert settings.subscriptions == ()
    assert settings.s3 is None


def test_no_file_is_no_problem() -> None:
    assert Settings.load(None, environ=NOBODY) == of({})


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("missing.yaml", "cannot read missing.yaml: No such file or directory"),
        (".", "Is a directory"),
        ("\0", "that is no name of a file"),
        (3, "must be a path; not int"),
        (b"fleet.yaml", "must be a path; not bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    path: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as caught:
        Settings.load(path, environ=NOBODY)
    assert told in str(caught.value)


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_bytes(b"worker:\n  name: caf\xe9\n")
    with pytest.raises(SettingsError, match=r"fleet\.yaml:2: is not UTF-8"):
        Settings.load(file, environ=NOBODY)


def test_paths_in_a_file_are_relative_to_it_and_others_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = "amqp: {url: 'amqps://b', ca_file: ca.pem, cert_file: /etc/c.pem, key_file: ~/key.pem}"
    amqp = load(text, tmp_path, overrides={"amqp.password_file": "secret"}).amqp
    assert amqp.ca_file == str(tmp_path / "ca.pem")
    assert (amqp.cert_file, amqp.key_file) == ("/etc/c.pem", "/home/me/key.pem")
    assert amqp.password_file == "secret"  # noqa: S105 - a path


def test_a_home_directory_that_there_is_none_of_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ca_file begins with a ~ for which there is no home"):
        load("amqp: {url: amqps://b, ca_file: ~nobody-of-this-name/ca.pem}", tmp_path)


# Which source decides


def test_a_flag_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    text = "worker:\n  slots: 2\n  dwell: 1m\n  job_limit: 60\n"
    environ = {"OLLAMA_EXT_WORKER__SLOTS": "3", "OLLAMA_EXT_WORKER__DWELL": "2m"}
    settings = load(text, tmp_path, environ=environ, overrides={"worker.slots": 4, "worker.name": None})
    assert (settings.worker.slots, settings.worker.dwell, settings.worker.job_limit) == (4, 120.0, 60.0)
    shown = {path: str(origin) for path, origin in settings.origins.items()}
    assert shown["worker.slots"] == "flag"
    assert shown["worker.dwell"] == "OLLAMA_EXT_WORKER__DWELL"
    assert shown["worker.job_limit"] == f"{tmp_path / 'fleet.yaml'}:4"
    assert shown["worker.name"] == "default"


def test_ollamas_own_variables_go_behind_the_file() -> None:
    environ = {"OLLAMA_HOST": " 'gpu9:1234' ", "OLLAMA_MODELS": "/models"}
    assert of({}, environ=environ).ollama.host == "gpu9:1234"
    assert of({}, environ=environ).s3 is None
    named = of({"ollama": {"host": "gpu1"}, "s3": {"bucket": "b"}}, environ=environ)
    assert named.ollama.host == "gpu1"
    assert named.s3 is not None
    assert named.s3.store == "/models"
    assert str(named.origins["s3.store"]) == "OLLAMA_MODELS"


def test_the_environment_says_lists_and_mappings_as_json() -> None:
    subscriptions = [{"type": "chat", "model": "llama3.2:1b", "options": {"num_ctx": 4096, "stop": ["no"]}}]
    environ = {
        "OLLAMA_EXT_SUBSCRIPTIONS": json.dumps(subscriptions),
        "OLLAMA_EXT_AMQP__URLS": '["amqp://a", "amqp://b"]',
        "OLLAMA_EXT_WORKER__PRELOAD": "true",
        "OLLAMA_EXT_WORKER__NAME": "007",
        "OLLAMA_EXT_WORKER__SLOTS": "",
    }
    settings = of({"worker": {"slots": 2}}, environ=environ)
    assert settings.subscriptions[0].options == {"num_ctx": 4096, "stop": ["no"]}
    assert settings.amqp.urls == ("amqp://a", "amqp://b")
    assert settings.worker.preload is True
    assert (settings.worker.name, settings.worker.slots) == ("007", 2)
    assert str(settings.origins["subscriptions"]) == "OLLAMA_EXT_SUBSCRIPTIONS"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OLLAMA_EXT_WORKER__SLOT", "1", "OLLAMA_EXT_WORKER__SLOT: sets no key .* OLLAMA_EXT_WORKER__SLOTS"),
        ("OLLAMA_EXT_AMQP_URL", "amqp://b", "did you mean OLLAMA_EXT_AMQP__URL"),
        ("OLLAMA_EXT_HTTP__LISTEN", "x", "OLLAMA_EXT_HTTP__LISTEN: sets no key"),
        ("OLLAMA_EXT_WORKER__SLOTS", "two", "OLLAMA_EXT_WORKER__SLOTS: worker.slots must be .*; not 'two'"),
        ("OLLAMA_EXT_SUBSCRIPTIONS", "chat", "OLLAMA_EXT_SUBSCRIPTIONS: .* as JSON"),
        ("OLLAMA_EXT_DEFAULT_MODELS", '{"a": 1, "a": 2}', "without a key twice"),
        ("OLLAMA_EXT_DEFAULT_MODELS", "[NaN]", "as JSON"),
        ("OLLAMA_EXT_SUBSCRIPTIONS", "[" * 100_000, "as JSON"),
        ("OLLAMA_HOST", "gpu1:0", "OLLAMA_HOST: ollama.host .* port 0"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        of({}, environ={name: value})


def test_variables_that_kubernetes_sets_beside_a_service_of_this_name_are_not_ours() -> None:
    environ = {"OLLAMA_EXT_SERVICE_HOST": "10.0.0.1", "OLLAMA_EXT_WORKER_PORT": "tcp://10.0.0.1:80"}
    assert of({}, environ=environ) == of({})


def test_the_variables_of_the_mirror_name_a_bucket() -> None:
    settings = of({}, environ={"OLLAMA_EXT_BUCKET": "b", "OLLAMA_EXT_PREFIX": ""})
    assert settings.s3 is not None
    assert (settings.s3.bucket, settings.s3.prefix) == ("b", "")
    assert str(settings.origins["s3.bucket"]) == "OLLAMA_EXT_BUCKET"
    assert of({}, environ={"OLLAMA_EXT_BUCKET": "", "OLLAMA_EXT_PREFIX": "x"}).s3 is None
    told = problems({}, environ={"OLLAMA_EXT_BUCKET": "a", "OLLAMA_EXT_S3__BUCKET": "b"})
    assert "OLLAMA_EXT_S3__BUCKET: OLLAMA_EXT_BUCKET says the same" in told


def test_a_url_of_a_flag_goes_before_the_urls_of_the_file() -> None:
    settings = of({"amqp": {"urls": ["amqp://a", "amqp://b"]}}, overrides={"amqp.url": "amqp://c"})
    assert settings.amqp.urls == ("amqp://c",)
    assert str(settings.origins["amqp.url"]) == "flag"


def test_a_flag_that_is_not_known_or_wrong_is_told() -> None:
    told = problems({}, overrides={"worker.slotz": 1, "worker.dwell": "soon"})
    assert "flag: worker.slotz is no key that is known: did you mean worker.slots?" in told
    assert "flag: worker.dwell must be a number of seconds" in told
    assert "overrides must be a mapping" in problems({}, overrides=[1])


def test_values_of_python_are_taken() -> None:
    settings = of(
        {"worker": {"job_limit": timedelta(minutes=5)}, "s3": {"bucket": "b", "store": Path("/models")}},
        overrides={"subscriptions": ({"type": "chat", "model": "a"},)},
    )
    assert settings.worker.job_limit == 300.0
    assert settings.s3 is not None
    assert settings.s3.store == "/models"
    assert settings.subscriptions == (Subscription(type="chat", model="a"),)


# What is shown


def test_the_table_shows_every_value_and_where_it_came_from() -> None:
    settings = Settings.load(
        DATA / "fleet.yaml", environ={"OLLAMA_EXT_WORKER__DWELL": "5"}, overrides={"amqp.heartbeat": 30}
    )
    rows = {path: (shown, str(origin)) for path, shown, origin in settings.table()}
    file = DATA / "fleet.yaml"
    assert rows["worker.name"] == ("gpu-07", f"{file}:8")
    assert rows["worker.dwell"] == ("5", "OLLAMA_EXT_WORKER__DWELL")
    assert rows["amqp.heartbeat"] == ("30", "flag")
    assert rows["amqp.url"] == ("amqps://worker@broker.example.com/", f"{file}:4")
    assert rows["worker.drain_limit"] == ("1530", "default")
    assert rows["subscriptions[1].options"] == ('{"num_ctx": 16384}', f"{file}:15")
    assert rows["s3.region"] == ("none", "default")
    assert rows["default_models"] == ('["nomic-embed-text", "qwen3.5:27b"]', f"{file}:21")
    assert "amqp.urls" not in rows
    assert set(rows) == set(settings.origins) - {"subscriptions"}


def test_settings_made_by_a_program_have_a_table_too() -> None:
    settings = Settings(amqp=AmqpSettings(urls=("amqp://a:b@c", "amqp://d")))
    rows = {path: shown for path, shown, _ in settings.table()}
    assert rows["amqp.urls"] == '["amqp://a:***@c", "amqp://d"]'
    assert rows["s3"] == rows["subscriptions"] == "none"


def test_a_secret_is_in_no_representation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import rich  # noqa: PLC0415 - what users print settings with

    text = """\
amqp:
  url: amqp://me:hunter2@broker/
  management_url: http://me:hunter2@broker:15672
s3: {bucket: b, access_key_id: a, secret_access_key: hunter2, session_token: hunter2}
"""
    settings = load(text, tmp_path)
    rich.print(settings, settings.s3, settings.amqp)
    shown = (
        f"{settings!r}{settings!s}{settings.s3!r}{settings.amqp!r}{settings.table()}{capsys.readouterr().out}"
    )
    assert "hunter2" not in shown
    assert shown.count("me:***@broker") >= 4
    assert settings.s3 is not None
    assert settings.s3.secret_access_key == "hunter2"  # noqa: S105 - of an example


# For the mirror


def test_the_bucket_gives_the_arguments_of_the_mirror(tmp_path: Path) -> None:
    from ollama_ext.s3 import Credentials, Mirror  # noqa: PLC0415 - needs boto3

    (tmp_path / "key").write_text("secret\n")
    s3 = {
        "bucket": "models",
        "endpoint_url": "https://s3.example.com",
        "region": "us-east-2",
        "access_key_id": "id",
        "secret_access_key_file": str(tmp_path / "key"),
        "session_token": "token",
        "limit_rate": "50M",
        "connections": 4,
        "store": str(tmp_path / "models"),
    }
    part = of({"s3": s3}).s3
    assert part is not None
    arguments = part.mirror_arguments()
    assert arguments["credentials"] == Credentials("id", "secret", "token")
    assert (arguments["limit_rate"], arguments["connections"]) == (50_000_000, 4)
    with Mirror(**arguments) as mirror:
        assert mirror.store.path == tmp_path / "models"


def test_a_key_in_the_settings_is_the_key_of_the_mirror() -> None:
    part = of({"s3": {"bucket": "b", "access_key_id": "id", "secret_access_key": "secret"}}).s3
    assert part is not None
    assert part.mirror_arguments()["credentials"].secret_access_key == "secret"  # noqa: S105 - of an example


def test_a_bucket_alone_leaves_the_mirror_its_own_defaults() -> None:
    import inspect  # noqa: PLC0415 - of this test alone

    from ollama_ext.s3 import Mirror  # noqa: PLC0415 - not everyone's

    part = of({"s3": {"bucket": "models"}}).s3
    assert part is not None
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(Mirror).parameters.items()
        if name not in {"bucket", "credentials", "connections"}
    }
    assert part.mirror_arguments() == {"bucket": "models", **defaults}


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), (b"\n", "is empty"), (b"\xff", "no UTF-8 text")]
)
def test_a_file_of_a_secret_key_that_cannot_be_read_is_told(
    content: bytes | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    part = of({"s3": {"bucket": "b", "access_key_id": "a", "secret_access_key_file": str(file)}}).s3
    assert part is not None
    with pytest.raises(SettingsError, match=told):
        part.mirror_arguments()


# Which modules are loaded


def test_settings_of_a_mapping_import_none_of_the_extras() -> None:
    code = """
import sys
import ollama_ext
assert "ollama_ext.settings" not in sys.modules
from ollama_ext.settings import Settings
Settings.from_mapping({"worker": {"slots": 2}}, environ={})
print([name for name in ("yaml", "pika", "boto3", "ollama_ext.s3") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert result.stdout.strip() == "[]"


def test_a_file_without_pyyaml_is_refused_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SettingsError, match=r"pip install 'ollama-ext\[fleet\]'"):
        load("worker: {}", tmp_path)


def test_settings_are_values() -> None:
    settings = of({"worker": {"slots": 2}})
    assert settings == of({"worker": {"slots": 2}})
    with pytest.raises(AttributeError):
        settings.worker.slots = 3  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    assert msgspec.structs.replace(settings, subscriptions=()).worker.slots == 2
