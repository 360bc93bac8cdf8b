"""`fleet check` and the management API of a real broker: which policy applies, and how long it waits."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from rabbitmq import RabbitMQ, free_ports
from rabbitmq_admin import Admin
from virtual_hosts import VirtualHosts

from ollama_ext.fleet.check import check
from ollama_ext.fleet.definitions import REQUEST_POLICY, definitions, definitions_text
from ollama_ext.settings import Settings
from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from collections.abc import Iterator

    from virtual_hosts import VirtualHost

    from ollama_ext.fleet.check import Finding

QUEUE = "llm.request.ollama.chat.smollm2.135m"
CHAT = {"type": "chat", "model": "smollm2:135m"}
PASSWORD = "pw"  # noqa: S105 - of users of a node that ends with the tests


@pytest.fixture(scope="module")
def managed() -> Iterator[RabbitMQ]:
    """Run a node with a management API."""
    with RabbitMQ(management=True) as running:
        yield running


@pytest.fixture(scope="module")
def _managed_hosts(managed: RabbitMQ) -> VirtualHosts:
    return VirtualHosts(managed)


@pytest.fixture
def vhost(_managed_hosts: VirtualHosts) -> VirtualHost:
    """Take a virtual host of that node, prepared as `fleet definitions` says."""
    taken = _managed_hosts.take()
    subscriptions = Settings.from_mapping({"subscriptions": [CHAT]}, environ={}).subscriptions
    version = ".".join(map(str, taken.rabbit.version))
    document = definitions(subscriptions, vhost=taken.name, version=version)
    taken.rabbit.ctl("import_definitions", "--format", "json", stdin=definitions_text(document))
    return taken


@pytest.fixture(scope="module")
def ollama() -> Iterator[FakeOllama]:
    """Run an Ollama that has the model."""
    with FakeOllama() as running:
        yield running


def found(
    about: str, ollama: FakeOllama, vhost: VirtualHost, url: str | None = None, **sections: Any
) -> list[Finding]:
    """Check, and return what was found about something."""
    told: dict[str, Any] = {
        "ollama": {"host": ollama.url},
        "amqp": {
            "url": url or vhost.url,
            "management_url": vhost.rabbit.management_url,
            **sections.pop("amqp", {}),
        },
        "subscriptions": [CHAT],
        **sections,
    }
    findings = check(Settings.from_mapping(told, environ={}), "fleet.yaml").findings
    return [finding for finding in findings if finding.about == about]


def test_the_policy_that_applies_is_told(ollama: FakeOllama, vhost: VirtualHost) -> None:
    (told,) = found("policy", ollama, vhost)
    assert (told.state, told.text) == ("ok", f"{REQUEST_POLICY} applies to {QUEUE}")


def test_another_policy_that_wins_is_told_with_the_command_that_has_it_lose(
    ollama: FakeOllama, vhost: VirtualHost
) -> None:
    definition = {"max-length": 50, "dead-letter-exchange": ""}
    vhost.rabbit.set_policy("all of ours", "^llm", definition, vhost=vhost.name, priority=20)
    (told,) = found("policy", ollama, vhost)
    assert told.state == "problem"
    assert told.text.startswith(
        f"'all of ours' (priority 20) applies to {QUEUE} in place of {REQUEST_POLICY!r}"
    )

    program, *words = shlex.split(told.fix)
    assert program == "rabbitmqctl"
    assert json.loads(words[-1]) == definition
    vhost.rabbit.ctl(*words)
    (told,) = found("policy", ollama, vhost)
    assert told.state == "ok"


def test_no_policy_is_told_with_what_makes_it(ollama: FakeOllama, vhost: VirtualHost) -> None:
    vhost.rabbit.clear_policy(REQUEST_POLICY, vhost=vhost.name)
    (told,) = found("policy", ollama, vhost)
    assert (told.state, "none applies" in told.text) == ("note", True)
    assert told.fix.endswith("rabbitmqctl import_definitions fleet.json")


def test_a_policy_of_the_operators_own_is_no_problem(ollama: FakeOllama, vhost: VirtualHost) -> None:
    vhost.rabbit.clear_policy(REQUEST_POLICY, vhost=vhost.name)
    vhost.rabbit.set_policy("own", "^llm", {"max-length": 5}, vhost=vhost.name)
    which, dropped = found("policy", ollama, vhost)
    assert (which.state, which.text) == ("note", f"own, not {REQUEST_POLICY}, applies to {QUEUE}")
    assert "has no dead-letter exchange" in dropped.text


def test_a_user_without_a_right_to_look_is_told_with_the_command_that_gives_it(
    ollama: FakeOllama, vhost: VirtualHost
) -> None:
    user = f"{vhost.name}-looker"
    vhost.rabbit.add_user(user, PASSWORD)
    vhost.rabbit.set_permissions(user, vhost.name, configure=".*", write=".*", read=".*")
    url = vhost.url_for(user, PASSWORD)
    (told,) = found("policy", ollama, vhost, url)
    assert (told.state, f"does not let {user!r} in" in told.text) == ("note", True)
    first, look = told.fix.splitlines()
    assert look == f"rabbitmqctl list_queues -p {vhost.name} name policy effective_policy_definition"

    vhost.rabbit.ctl(*shlex.split(first.partition("   (")[0])[1:])
    (told,) = found("policy", ollama, vhost, url)
    assert told.state == "ok"


def test_the_management_api_may_have_a_user_of_its_own(ollama: FakeOllama, vhost: VirtualHost) -> None:
    url = vhost.rabbit.management_url.replace("//", "//guest:guest@")
    worker = f"{vhost.name}-worker"
    vhost.rabbit.add_user(worker, PASSWORD)
    vhost.rabbit.set_permissions(worker, vhost.name, configure=".*", write=".*", read=".*")
    (told,) = found("policy", ollama, vhost, vhost.url_for(worker, PASSWORD), amqp={"management_url": url})
    assert told.state == "ok"


@pytest.mark.parametrize("place", ["nobody", "an Ollama"])
def test_a_management_api_that_does_not_answer_leaves_a_note(
    ollama: FakeOllama, vhost: VirtualHost, place: str
) -> None:
    url = ollama.url if place == "an Ollama" else f"http://127.0.0.1:{free_ports(1)[0]}"
    (told,) = found("policy", ollama, vhost, amqp={"management_url": url})
    assert (told.state, "does not answer as a management API does" in told.text) == ("note", True)
    assert "rabbitmqctl list_queues" in told.fix


def test_a_queue_without_a_binding_is_told(ollama: FakeOllama, vhost: VirtualHost) -> None:
    with Admin(vhost.url) as admin:
        admin.channel.queue_unbind(QUEUE, "llm.request", QUEUE)
    (told,) = [each for each in found("queue", ollama, vhost) if each.state == "note"]
    assert told.text.startswith(f"{QUEUE} is not bound to its exchange")


def test_a_broker_that_takes_requests_back_before_the_job_limit_is_a_problem(
    ollama: FakeOllama, vhost: VirtualHost
) -> None:
    with Admin(vhost.url) as admin:
        admin.delete(QUEUE)
        admin.declare(QUEUE, {"x-queue-type": "quorum", "x-consumer-timeout": 600_000})
    (told,) = found("time-out", ollama, vhost)
    assert told.state == "problem"
    assert "back after 600 s, and worker.job_limit is 1500 s" in told.text
    (told,) = found("time-out", ollama, vhost, worker={"job_limit": 300})
    assert told.state == "ok"


def test_a_job_limit_beyond_what_is_known_of_the_broker_is_a_note(
    ollama: FakeOllama, vhost: VirtualHost
) -> None:
    (told,) = found("time-out", ollama, vhost, worker={"job_limit": 3600})
    if vhost.rabbit.version >= (3, 12):  # the policy says two hours
        assert told.state == "ok"
    else:
        assert told.state == "note"
        assert "rabbitmq.conf: consumer_timeout = 7200000" in told.fix
