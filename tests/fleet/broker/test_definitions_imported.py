"""The definitions file at a real broker: it is imported, its policies apply, its commands give rights."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker
from rabbitmq_admin import Admin

from ollama_ext.fleet.definitions import (
    DEAD_POLICY,
    DELIVERY_LIMIT,
    REQUEST_POLICY,
    Role,
    configuration_lines,
    definitions,
    definitions_text,
    permission_lines,
)
from ollama_ext.fleet.topology import DEAD_QUEUE, reply_queue
from ollama_ext.settings import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from pika.adapters.blocking_connection import BlockingChannel
    from rabbitmq import RabbitMQ
    from virtual_hosts import VirtualHost

CHAT = "llm.request.ollama.chat.qwen3.5.27b"
EMBED = "llm.batch.ollama.embed.nomic-embed-text"
SINGLE = "llm.request.ollama.generate.qwen3.5.27b"
NEW = "llm.request.ollama.chat.new"
SUBSCRIPTIONS = [
    Subscription(type="chat", model="qwen3.5:27b"),
    Subscription(type="generate", model="qwen3.5:27b", single_active_consumer=True),
    Subscription(type="embed", model="nomic-embed-text", exchange="llm.batch"),
]
REFUSED = 403
PASSWORD = "pw"  # noqa: S105 - of users of a node that ends with the tests


@pytest.fixture(autouse=True)
def _imported(vhost: VirtualHost) -> None:
    """Import the definitions for the version of the node, twice: the second time changes nothing."""
    rabbit = vhost.rabbit
    version = ".".join(map(str, rabbit.version))
    text = definitions_text(definitions(SUBSCRIPTIONS, vhost=vhost.name, version=version))
    for _ in range(2):
        rabbit.ctl("import_definitions", "--format", "json", stdin=text)


def may(admin: Admin, ask: Callable[[BlockingChannel], Any]) -> bool:
    """Tell whether a user may do something: False if the broker refuses it for want of a right."""
    try:
        ask(admin.channel)
    except ChannelClosedByBroker as closed:
        if closed.reply_code == REFUSED:
            return False
        raise
    return True


def user(vhost: VirtualHost, name: str, role: Role) -> Admin:
    """Make a user with the rights of a role, by the commands that an operator is told to type."""
    name = f"{name}@{vhost.name}"
    vhost.rabbit.add_user(name, PASSWORD)
    for line in permission_lines(name, vhost.name, ["llm.request", "llm.batch"], role):
        vhost.rabbit.ctl(*shlex.split(line)[1:])
    return Admin(vhost.url_for(name, PASSWORD))


def test_every_queue_has_its_policy(vhost: VirtualHost) -> None:
    listed = vhost.rabbit.ctl("list_queues", "-p", vhost.name, "--no-table-headers", "name", "type", "policy")
    assert {tuple(line.split("\t")) for line in listed.splitlines()} == {
        (CHAT, "quorum", REQUEST_POLICY),
        (SINGLE, "quorum", REQUEST_POLICY),
        (EMBED, "quorum", REQUEST_POLICY),
        (DEAD_QUEUE, "quorum", DEAD_POLICY),
    }


def test_what_a_worker_declares_fits_what_was_imported(admin: Admin) -> None:
    admin.declare(CHAT)
    admin.declare(SINGLE, {"x-queue-type": "quorum", "x-single-active-consumer": True})
    admin.channel.exchange_declare("llm.request", "topic", durable=True)


def test_requests_reach_their_queues_by_their_names(admin: Admin) -> None:
    admin.publish(CHAT, b"1", exchange="llm.request")
    admin.publish(EMBED, b"2", exchange="llm.batch")
    assert [message.body for message in admin.wait_for(CHAT) + admin.wait_for(EMBED)] == [b"1", b"2"]


def test_what_expires_or_comes_back_too_often_is_kept_as_a_dead_letter(admin: Admin) -> None:
    admin.publish(CHAT, b"late", pika.BasicProperties(expiration="1"), exchange="llm.request")
    admin.publish(EMBED, b"poison", exchange="llm.batch")
    deliveries = 0
    while deliveries <= DELIVERY_LIMIT:
        method, _properties, _body = admin.channel.basic_get(EMBED)
        if method is not None:
            deliveries += 1
            admin.channel.basic_reject(method.delivery_tag, requeue=True)
    dead = {
        message.body: message.headers["x-death"][0]["reason"] for message in admin.wait_for(DEAD_QUEUE, 2)
    }
    assert dead == {b"late": "expired", b"poison": "delivery_limit"}
    assert admin.count(EMBED) == 0


def test_the_lines_for_the_configuration_are_needed_exactly_where_the_policy_lacks_them(
    rabbit: RabbitMQ, vhost: VirtualHost
) -> None:
    policies = rabbit.ctl("list_policies", "-p", vhost.name)
    lines = configuration_lines(".".join(map(str, rabbit.version)))
    assert ("consumer-timeout" in policies) is (lines == [])


def test_a_worker_may_do_its_work_and_nothing_more(vhost: VirtualHost) -> None:
    quorum: dict[str, Any] = {"x-queue-type": "quorum"}
    with user(vhost, "worker", "worker") as worker:
        assert may(worker, lambda channel: channel.exchange_declare("llm.request", passive=True))
        assert may(worker, lambda channel: channel.queue_declare(NEW, durable=True, arguments=quorum))
        assert may(worker, lambda channel: channel.queue_bind(NEW, "llm.request", NEW))
        assert may(worker, lambda channel: channel.basic_get(NEW))
        assert may(worker, lambda channel: channel.queue_declare(DEAD_QUEUE, passive=True))
        assert may(worker, lambda channel: channel.basic_publish("", DEAD_QUEUE, b"x", mandatory=True))

        assert not may(worker, lambda channel: channel.basic_publish("llm.request", NEW, b"x"))
        assert not may(worker, lambda channel: channel.basic_get(DEAD_QUEUE))
        assert not may(worker, lambda channel: channel.queue_purge(DEAD_QUEUE))
        assert not may(worker, lambda channel: channel.queue_declare("billing", durable=True))
        assert not may(worker, lambda channel: channel.exchange_declare("llm.request", "topic", durable=True))
        assert not may(worker, lambda channel: channel.queue_bind(NEW, "amq.topic", "#"))


def test_a_caller_may_call_and_read_its_own_replies_and_nothing_more(vhost: VirtualHost) -> None:
    mine, others = reply_queue(f"bo@{vhost.name}", "token"), reply_queue(f"eve@{vhost.name}", "token")
    with user(vhost, "bo", "caller") as caller:
        assert may(caller, lambda channel: channel.basic_publish("llm.request", CHAT, b"x", mandatory=True))
        assert may(caller, lambda channel: channel.basic_publish("llm.batch", EMBED, b"x", mandatory=True))
        assert may(caller, lambda channel: channel.queue_declare(mine, durable=True))
        assert may(caller, lambda channel: channel.basic_get(mine))
        assert may(caller, lambda channel: channel.queue_delete(mine))
        assert may(caller, lambda channel: channel.queue_declare("", exclusive=True))

        assert not may(caller, lambda channel: channel.queue_declare(others, durable=True))
        assert not may(caller, lambda channel: channel.basic_publish("", CHAT, b"x"))
        assert not may(caller, lambda channel: channel.basic_get(CHAT))
        assert not may(caller, lambda channel: channel.queue_purge(CHAT))
        assert not may(caller, lambda channel: channel.queue_delete(CHAT))
        assert not may(caller, lambda channel: channel.exchange_delete("llm.request"))
