"""Wrong settings: what is told, where, with which remedy; and that no secret is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from settings_reading import load, of, problems

from ollama_ext.errors import InvalidArgument, OllamaError
from ollama_ext.settings import SettingsError, WorkerSettings

if TYPE_CHECKING:
    from pathlib import Path


def test_an_error_names_file_line_and_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load("worker:\n  name: a\n\n  slots: two\n", tmp_path)
    where = tmp_path / "fleet.yaml"
    told = f"{where}:4: worker.slots must be a whole number from 1 to 65535; not 'two'"
    assert str(caught.value) == told
    assert caught.value.problems == (told,)


def test_all_errors_of_a_file_are_told_together_in_its_order(tmp_path: Path) -> None:
    text = """\
amqp:
  heartbeat: 9999
worker: {slots: 0, bogus: 1}
subscriptions:
  - {type: chat, model: a, slots: 1.5}
  - {type: talk, model: 3}
  - {model: a}
nonsense: 1
"""
    with pytest.raises(SettingsError) as caught:
        load(text, tmp_path)
    lines = [int(problem.split(":")[1]) for problem in caught.value.problems]
    assert lines == [2, 3, 3, 5, 6, 6, 7, 8]
    assert str(caught.value).startswith("8 settings cannot be right:")


def test_of_very_many_errors_the_message_has_the_first() -> None:
    with pytest.raises(SettingsError) as caught:
        of({"subscriptions": ["x"] * 60})
    assert len(caught.value.problems) == 60
    assert str(caught.value).endswith("\n  and 10 more")


def test_an_error_is_one_of_this_library_and_of_values() -> None:
    with pytest.raises(SettingsError) as caught:
        of({"worker": {"slots": 0}})
    assert isinstance(caught.value, OllamaError)
    assert isinstance(caught.value, InvalidArgument)
    assert SettingsError("x").problems == ("x",)


@pytest.mark.parametrize("key", ["http", "streaming"])
def test_keys_that_come_later_are_not_known_yet(key: str) -> None:
    assert f"{key} is no key that is known" in problems({key: {"listen": "127.0.0.1:9469"}})
    assert "is no key that is known" in problems({"worker": {"streaming": False}})


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"worker": {"slot": 1}}, "worker.slot is no key that is known: did you mean slots?"),
        ({"wroker": {}}, "wroker is no key that is known: did you mean worker?"),
        ({"slots": 1}, "slots is no key that is known: did you mean worker.slots?"),
        ({"worker": {"zzz": "a"}}, "worker.zzz is no key that is known: known here: name, slots, dwell"),
        (
            {"worker": {"exchange": "a"}},
            "worker.exchange is no key that is known: did you mean amqp.exchange?",
        ),
        ({"worker": []}, "worker must be a mapping of keys"),
        ({"worker": {"slots": True}}, "not True"),
        ({"worker": {"slots": "2"}}, "not '2' (text; leave out the quotes)"),
        ({"worker": {"slots": 10**5000}}, "not a number of 16610 bits"),
        ({"worker": {"slots": object()}}, "not an object of type object"),
        ({"worker": {"dwell": -1}}, "worker.dwell must be a number of seconds from 0 on"),
        ({"worker": {"dwell": "5 minutes"}}, "text such as '25m'; not '5 minutes'"),
        ({"worker": {"dwell": float("nan")}}, "not nan"),
        ({"worker": {"dwell": 10**400}}, "worker.dwell must be a number of seconds"),
        ({"worker": {"job_limit": 0.5}}, "worker.job_limit must be a number of seconds from 1 on"),
        ({"worker": {"job_limit": "9000h"}}, "more than a year"),
        ({"worker": {"max_reply_bytes": 10**400}}, "worker.max_reply_bytes must be a number of bytes"),
        ({"worker": {"max_reply_bytes": 1}}, "a number of bytes from 1024 to 536870912"),
        ({"worker": {"max_request_bytes": "1TB"}}, "a number of bytes from 1024"),
        ({"worker": {"name": ""}}, "worker.name is empty"),
        ({"worker": {"name": "x" * 5000}}, "worker.name has 5,000 characters; at most 4,096"),
        ({"worker": {"reply_to_allow": ["x" * 256]}}, "worker.reply_to_allow[0] has 256 bytes"),
        (
            {"subscriptions": [{"type": "chat", "model": "a", "options": {"x": 2**70}}]},
            "subscriptions[0].options.x cannot be 1180591620717411303424",
        ),
        (
            {"subscriptions": [{"type": "chat", "model": "a", "options": {"x": "\ud800"}}]},
            "subscriptions[0].options.x has half of a surrogate pair",
        ),
        ({"legion": {}, "nonsense": 1}, "nonsense is no key that is known"),
        ({"worker": {"name": "a\nb"}}, "worker.name has a line break"),
        ({"worker": {"name": "x" * 200}}, "worker.name has 200 characters"),
        ({"worker": {"reply_to_allow": "llm.reply."}}, "a list of what names of reply queues begin with"),
        ({"worker": {"reply_to_allow": []}}, "worker.reply_to_allow is empty"),
        ({"worker": {"preload": 1}}, "worker.preload must be true or false; not 1"),
        ({"ollama": {"host": "http://gpu1:0"}}, "port 0"),
        ({"ollama": {"first_token": 0}}, "ollama.first_token must be a number of seconds above 0"),
        ({"amqp": {"heartbeat": 3601}}, "a whole number from 0 to 3600; not 3601"),
        ({"amqp": {"exchange": "amq.topic"}}, "begins with amq."),
        ({"amqp": {"exchange": "a b"}}, "amqp.exchange must be 1 to 127 ASCII letters"),
        ({"amqp": {"urls": "amqp://a"}}, "amqp.urls must be a list of URLs"),
        ({"amqp": {"urls": []}}, "amqp.urls is empty"),
        ({"subscriptions": {}}, "subscriptions must be a list of subscriptions"),
        ({"subscriptions": ["a"]}, "subscriptions[0] must be a mapping with type and model; not 'a'"),
        ({"subscriptions": [{"type": "chat"}]}, "subscriptions[0] has no model"),
        ({"subscriptions": [{"type": "Chat", "model": "a"}]}, "must be chat, generate, embed or"),
        ({"subscriptions": [{"type": "chat", "model": "a b"}]}, "subscriptions[0].model 'a b' has ' '"),
        ({"subscriptions": [{"type": "chat", "model": "a", "modle": 1}]}, "did you mean model?"),
        ({"subscriptions": [{"type": "chat", "model": "a", "options": [1]}]}, "not a list"),
        ({"subscriptions": [{"type": "chat", "model": "a", "options": {"x": {1: 2}}}]}, "a key must be text"),
        ({"subscriptions": [{"type": "chat", "model": "a", "options": {"x": float("inf")}}]}, "finite"),
        ({"subscriptions": [{"type": "chat", "model": "a", "keep_alive": "30"}]}, "has no unit"),
        ({"subscriptions": [{"type": "chat", "model": "a", "keep_alive": True}]}, "-1 is for ever; not True"),
        ({"default_models": ["a b"], "s3": {"bucket": "b"}}, "default_models[0] 'a b'"),
        ({"default_models": "a", "s3": {"bucket": "b"}}, "must be a list of names of models; not 'a'"),
        ({"s3": {"bucket": "s3://models/x"}}, "the name of a bucket alone"),
        ({"s3": {"bucket": "b", "prefix": "/x"}}, "s3.prefix '/x' is not one"),
        (
            {"s3": {"bucket": "b", "endpoint_url": "s3.example.com"}},
            "s3.endpoint_url 's3.example.com' is not",
        ),
        ({"s3": {"bucket": "b", "connections": 257}}, "a whole number from 1 to 256"),
        ({"s3": {"bucket": "b", "stall": 0}}, "s3.stall must be a number of seconds above 0"),
    ],
)
def test_a_wrong_value_is_told_with_the_remedy(mapping: dict[str, Any], told: str) -> None:
    assert told in problems(mapping)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        (
            {"worker": {"slots": 2}, "subscriptions": [{"type": "chat", "model": "a", "slots": 3}]},
            "subscriptions[0].slots is 3, more than all of the worker's (worker.slots is 2)",
        ),
        ({"worker": {"reply_to_allow": ["llm."]}}, "worker.reply_to_allow must not hold 'llm.'"),
        ({"worker": {"reply_to_allow": ["llm.request.ollama"]}}, "replies into queues of requests"),
        ({"amqp": {"exchange": "llm.reply"}}, "worker.reply_to_allow must not hold 'llm.reply.'"),
        (
            {"subscriptions": [{"type": "chat", "model": "a", "exchange": "llm.reply"}]},
            "replies into queues of requests (llm.reply....)",
        ),
        (
            {
                "worker": {"preload": True},
                "subscriptions": [{"type": "chat", "model": "a"}, {"type": "chat", "model": "b"}],
            },
            "worker.preload is for a worker with one subscription",
        ),
        ({"amqp": {"url": "amqp://a", "urls": ["amqp://a"]}}, "amqp.url and amqp.urls exclude each other"),
        (
            {"amqp": {"url": "amqp://a:b@c", "password_file": "f"}},
            "has a password, and amqp.password_file is",
        ),
        ({"amqp": {"ca_file": "f"}}, "amqp.ca_file is for TLS, but no URL begins with amqps://"),
        ({"amqp": {"url": "amqps://a", "key_file": "f"}}, "set amqp.cert_file too"),
        ({"default_models": ["a"]}, "default_models names models, but there is no bucket"),
        ({"s3": {"region": "eu-1"}}, "s3.region is set, but no s3.bucket"),
        ({"s3": {"bucket": "b", "access_key_id": "a"}}, "set s3.secret_access_key_file too"),
        ({"s3": {"bucket": "b", "secret_access_key_file": "a"}}, "set s3.access_key_id too"),
        ({"s3": {"bucket": "b", "session_token": "a"}}, "s3.session_token is part of a key"),
        ({"s3": {"bucket": "b", "anonymous": True, "profile": "a"}}, "s3.anonymous is true"),
        (
            {"s3": {"bucket": "b", "profile": "p", "access_key_id": "a", "secret_access_key": "c"}},
            "s3.profile says who asks, and s3.access_key_id does too",
        ),
        ({"s3": {"bucket": "b", "prune_grace": "1h"}}, "less than a day"),
        ({"s3": {"bucket": "b", "endpoint_url": "http://169.254.169.254"}}, "s3.allow_link_local"),
    ],
)
def test_what_does_not_fit_together_is_told(mapping: dict[str, Any], told: str) -> None:
    assert told in problems(mapping)


def test_a_slot_too_many_is_told_with_the_line_of_its_subscription(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"fleet\.yaml:3: subscriptions\[0\]\.slots is 2"):
        load("subscriptions:\n- model: a\n  slots: 2\n  type: chat\n", tmp_path)


def test_the_drain_limit_follows_the_job_limit_unless_it_is_set() -> None:
    assert of({"worker": {"job_limit": "10m"}}).worker.drain_limit == 630.0
    assert of({"worker": {"job_limit": "10m", "drain_limit": 0}}).worker.drain_limit == 0.0
    assert WorkerSettings(name="a", job_limit=1.0).drain_limit == 31.0


@pytest.mark.parametrize("model", ["*", "llama3.2:1b", "hf.co/u/m:Q4", "gpt-oss:20b-cloud", "a:b:cloud"])
def test_a_subscription_takes_every_name_of_a_model(model: str) -> None:
    assert of({"subscriptions": [{"type": "*", "model": model}]}).subscriptions[0].model == model


# Secrets

SECRET = "hunter2-hunter2"  # noqa: S105 - of an example


@pytest.mark.parametrize(
    "text",
    [
        f"amqp: {{url: 'amqp://me:{SECRET}@x@broker'}}",
        f"amqp: {{url: 'amqp://me:{SECRET}/@broker'}}",
        f"amqp: {{url: 'amqp://me:{SECRET}'}}",
        f"amqp: {{url: 'amqp://me:{SECRET}@broker?heartbeat=5&x={SECRET}'}}",
        f"amqp: {{url: 'http://me:{SECRET}@broker'}}",
        f"amqp: {{url: 'amqp://me:{SECRET}@broker', password_file: x}}",
        f"amqp: {{urls: 'amqp://me:{SECRET}@broker'}}",
        f"amqp: {{heartbeat: 'amqp://me:{SECRET}@broker'}}",
        f"amqp: amqp://me:{SECRET}@broker",
        f"amqp: {{amqp://me:{SECRET}@broker}}",
        f"amqp: {{amqp://me:{SECRET}@broker: 1, amqp://me:{SECRET}@broker: 2}}",
        f"amqp: {{password: {SECRET}}}",
        f"amqp: {{url: [amqp://me:{SECRET}@broker]}}",
        f"worker: {{slots: 'amqp://me:{SECRET}@broker'}}",
        f"ollama: {{host: 'http://me:{SECRET}@gpu1'}}",
        f"s3: {{bucket: b, endpoint_url: 'https://me:{SECRET}@s3.example.com'}}",
        f"s3: {{bucket: b, endpoint_url: 'https://me:{SECRET}/x@s3.example.com'}}",
        f"s3: {{bucket: b, secret_access_key: [{SECRET}]}}",
        f"s3: {{bucket: b, secret_access_key: {SECRET}}}",
        f"s3: {{bucket: b, secret_access_key: !{SECRET}}}",
        f"s3: {{bucket: b, secret_access_key: !{SECRET}!x y}}",
        f"s3: {{bucket: b, secret_access_key: *{SECRET}}}",
        f"s3: {{bucket: b, secret_access_key: %{SECRET}}}",
        f's3: {{bucket: b, secret_access_key: "{SECRET}\\n{SECRET}"}}',
        f"s3:\n  secret_access_key: {SECRET}: {SECRET}",
        f"- {SECRET}",
        f"amqp: {{management_url: 'http://me:{SECRET}#@broker'}}",
    ],
)
def test_a_secret_is_in_no_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text, tmp_path)
    assert "hunter2" not in f"{caught.value}{caught.value.problems}{caught.value!r}{caught.value.__dict__}"


def test_a_secret_of_the_environment_is_in_no_error() -> None:
    environ = {
        "OLLAMA_EXT_AMQP__URL": f"amqp://me:{SECRET}@x@y",
        "OLLAMA_EXT_AMQP__URLS": f"amqp://me:{SECRET}@x@y",
        "OLLAMA_EXT_SUBSCRIPTIONS": SECRET,
        "OLLAMA_EXT_S3__SECRET_ACCESS_KEY": f"{SECRET}\n",
    }
    assert "hunter2" not in problems({}, environ=environ)
