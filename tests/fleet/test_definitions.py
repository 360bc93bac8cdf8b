"""Definitions: the file for the broker, per version, and the commands that give users their rights."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.errors import InvalidArgument
from ollama_ext.fleet.definitions import (
    configuration_lines,
    definitions,
    definitions_text,
    permission_lines,
    request_pattern,
    request_policy,
)
from ollama_ext.fleet.topology import queue_name, reply_queue
from ollama_ext.settings import Subscription

SUBSCRIPTIONS = [
    Subscription(type="chat", model="qwen3.5:27b", single_active_consumer=True),
    Subscription(type="embed", model="nomic-embed-text", exchange="llm.batch"),
    Subscription(type="*", model="*"),
]
VERSIONS = ["3.10.8", "3.11.28", "3.12.0", "3.13", "4.0.5", "4.3.6"]


def policies(version: str) -> dict[str, dict[str, Any]]:
    """Return the definitions of the policies by the pattern they apply to."""
    document = definitions(SUBSCRIPTIONS, version=version)
    return {policy["pattern"]: policy["definition"] for policy in document["policies"]}


def test_the_document_holds_exchanges_queues_bindings_and_policies_but_no_users_and_no_permissions() -> None:
    document = definitions(SUBSCRIPTIONS, vhost="llm", version="3.13")
    assert set(document) == {"vhosts", "exchanges", "queues", "bindings", "policies"}
    assert document["vhosts"] == [{"name": "llm"}]
    assert all(entry["vhost"] == "llm" for name in set(document) - {"vhosts"} for entry in document[name])


def test_exchanges_are_durable_topics_without_arguments() -> None:
    exchanges = definitions(SUBSCRIPTIONS, version="3.13")["exchanges"]
    assert [each["name"] for each in exchanges] == ["llm.request", "llm.batch"]
    for each in exchanges:
        assert (each["type"], each["durable"], each["auto_delete"], each["arguments"]) == (
            *("topic", True, False),
            {},
        )


def test_every_exact_subscription_has_its_quorum_queue_and_a_wildcard_has_none() -> None:
    queues = {
        each["name"]: each["arguments"] for each in definitions(SUBSCRIPTIONS, version="3.13")["queues"]
    }
    assert queues == {
        "llm.dead": {"x-queue-type": "quorum"},
        "llm.request.ollama.chat.qwen3.5.27b": {"x-queue-type": "quorum", "x-single-active-consumer": True},
        "llm.batch.ollama.embed.nomic-embed-text": {"x-queue-type": "quorum"},
    }


def test_every_queue_is_durable_and_stays() -> None:
    for each in definitions(SUBSCRIPTIONS, version="3.13")["queues"]:
        assert (each["durable"], each["auto_delete"]) == (True, False)


def test_queues_are_bound_to_their_exchange_by_their_own_names() -> None:
    bindings = definitions(SUBSCRIPTIONS, version="3.13")["bindings"]
    assert [(each["source"], each["destination"], each["routing_key"]) for each in bindings] == [
        ("llm.request", *["llm.request.ollama.chat.qwen3.5.27b"] * 2),
        ("llm.batch", *["llm.batch.ollama.embed.nomic-embed-text"] * 2),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_requests_have_the_limits_of_the_design_in_every_version(version: str) -> None:
    policy = dict(policies(version)[r"^(llm\.request|llm\.batch)\.ollama\."])
    timeout = policy.pop("consumer-timeout", None)
    assert policy == {
        "delivery-limit": 10,
        "dead-letter-exchange": "",
        "dead-letter-routing-key": "llm.dead",
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
        "max-length-bytes": 4 * 1024**3,
        "message-ttl": 3_600_000,
    }
    by_file = configuration_lines(version)
    if version in {"3.10.8", "3.11.28"}:
        assert (timeout, by_file) == (None, ["consumer_timeout = 7200000"])
    else:
        assert (timeout, by_file) == (7_200_000, [])


@pytest.mark.parametrize("version", VERSIONS)
def test_dead_letters_are_kept_a_day_and_never_counted_out(version: str) -> None:
    policy = dict(policies(version)[r"^llm\.dead$"])
    assert policy.pop("delivery-limit", None) == (-1 if version.startswith("4") else None)
    assert policy == {"message-ttl": 86_400_000, "max-length-bytes": 1024**3, "overflow": "drop-head"}


def test_both_policies_have_priority_10() -> None:
    document = definitions(SUBSCRIPTIONS, version="3.13")
    assert {policy["priority"] for policy in document["policies"]} == {10}
    assert {policy["apply-to"] for policy in document["policies"]} == {"queues"}


@given(
    exchanges=st.lists(st.text("ab.*+[(|\\", min_size=1, max_size=6), min_size=1, max_size=3),
    name=st.text("ab.*+[(|\\", max_size=12),
)
def test_the_pattern_matches_the_queues_of_the_exchanges_and_no_others(
    exchanges: list[str], name: str
) -> None:
    pattern = request_pattern(exchanges)
    for exchange in exchanges:
        assert re.match(pattern, f"{exchange}.ollama.chat.m")
    starts = tuple(f"{exchange}.ollama." for exchange in exchanges)
    for tried in (name, f"{name}.ollama.chat.m"):
        assert bool(re.match(pattern, tried)) is tried.startswith(starts)


def test_the_file_is_the_document_as_json() -> None:
    document = definitions(SUBSCRIPTIONS, version="4.1")
    assert json.loads(definitions_text(document)) == document
    assert definitions_text(document).endswith("}\n")


@pytest.mark.parametrize("version", ["", "new", "v3.13", "3.9.13", "2", "3.08"])
def test_a_version_that_is_none_or_too_old_is_refused_with_the_remedy(version: str) -> None:
    for function in (configuration_lines, request_policy):
        with pytest.raises(InvalidArgument, match=r"such as|or newer"):
            function(version)
    with pytest.raises(InvalidArgument, match=r"such as|or newer"):
        definitions(version=version)


@pytest.mark.parametrize("version", ["4", "4.0.0-rc.1", "3.12+dfsg", "3.13.7-1~bpo12"])
def test_versions_may_be_short_or_have_a_suffix(version: str) -> None:
    assert request_policy(version)["consumer-timeout"] == 7_200_000


# -- permissions


def rights(user: str, role: str, vhost: str = "/") -> tuple[re.Pattern[str], ...]:
    """Return what a user may configure, write and read, out of the command."""
    (line,) = permission_lines(user, vhost, ["llm.request", "llm.batch"], role)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    words = shlex.split(line)
    assert words[:6] == ["rabbitmqctl", "set_permissions", "-p", vhost, "--", user]
    return tuple(re.compile(word) for word in words[6:])


QUEUE = queue_name("chat", "a b's:1b")


def test_a_worker_may_make_and_read_queues_of_requests_and_publish_replies() -> None:
    configure, write, read = rights("worker", "worker")
    for queue in (QUEUE, "llm.batch.ollama.embed.m"):
        assert configure.search(queue)
        assert write.search(queue)  # a queue is bound with this right on it
        assert read.search(queue)
    assert write.search("amq.default")
    assert read.search("llm.request")  # and this one on its exchange


@pytest.mark.parametrize(
    "name", ["llm.dead", "llm.reply.a.b", "billing", "llm.request.other", "x" + QUEUE, ""]
)
def test_a_worker_may_neither_make_nor_read_other_queues(name: str) -> None:
    configure, write, read = rights("worker", "worker")
    assert not configure.search(name)
    assert not write.search(name)
    assert not read.search(name)


def test_a_worker_may_not_publish_requests_or_change_exchanges() -> None:
    configure, write, _read = rights("worker", "worker")
    for exchange in ("llm.request", "llm.batch", "amq.topic"):
        assert not configure.search(exchange)
        assert not write.search(exchange)


def test_a_caller_may_publish_requests_and_have_reply_queues_of_its_own_only() -> None:
    configure, write, read = rights("bo", "caller")
    assert write.search("llm.request")
    assert write.search("llm.batch")
    assert configure.search(reply_queue("bo", "7f3a"))
    assert read.search(reply_queue("bo", "7f3a"))
    assert configure.search("amq.gen-abc")
    for name in (
        "amq.default",
        QUEUE,
        "llm.dead",
        reply_queue("bo.b", "x"),
        reply_queue("b", "x"),
        "llm.reply.bo.",
    ):
        assert not write.search(name)
        assert not read.search(name)
        assert not configure.search(name)


@given(one=st.text(min_size=1, max_size=6), other=st.text(min_size=1, max_size=6))
def test_no_caller_may_read_the_replies_of_another(one: str, other: str) -> None:
    _configure, _write, read = rights(one, "caller")
    assert bool(read.search(reply_queue(other, "token"))) is (one == other)


def test_names_with_spaces_and_quotes_survive_the_shell() -> None:
    assert rights("it's me", "worker", vhost="llm fleet; rm -rf /")


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="use 'worker' or 'caller'"):
        permission_lines("a", "/", ["llm.request"], "admin")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
