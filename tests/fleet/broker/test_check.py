"""`fleet check` at a real broker: what can be wrong is made wrong, found, and told with its remedy."""

from __future__ import annotations

import re
import shlex
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from rabbitmq import free_ports
from tls_front import TlsFront

from ollama_ext.fleet.check import check
from ollama_ext.fleet.definitions import definitions, definitions_text
from ollama_ext.settings import Settings, SettingsError
from ollama_ext.testing import FakeOllama

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rabbitmq import RabbitMQ
    from rabbitmq_admin import Admin
    from virtual_hosts import VirtualHost

    from ollama_ext.fleet.check import Finding, Report

MODEL = "smollm2:135m"
QUEUE = "llm.request.ollama.chat.smollm2.135m"
CHAT = {"type": "chat", "model": MODEL, "options": {"num_ctx": 4096}}
PASSWORD = "p@ss/w#rd"  # noqa: S105 - of users of a node that ends with the tests


@pytest.fixture(scope="module")
def ollama() -> Iterator[FakeOllama]:
    """Run an Ollama that has the model."""
    with FakeOllama() as running:
        yield running


@pytest.fixture
def checked(ollama: FakeOllama, vhost: VirtualHost) -> Checked:
    """Check settings that are good, but for what the test says."""
    return Checked(ollama, vhost)


class Checked:
    """Checks settings at a virtual host, as a user who may do all there unless told."""

    def __init__(self, ollama: FakeOllama, vhost: VirtualHost) -> None:
        """Take an Ollama and a virtual host."""
        self._ollama, self._vhost = ollama, vhost

    def __call__(
        self, url: str | None = None, *, subscription: dict[str, Any] | None = None, **sections: Any
    ) -> Report:
        """Check."""
        told: dict[str, Any] = {
            "ollama": {"host": self._ollama.url},
            "amqp": sections.pop("amqp", {}),
            "subscriptions": [{**CHAT, **(subscription or {})}],
            **sections,
        }
        if "urls" not in told["amqp"]:
            told["amqp"]["url"] = url or self._vhost.url
        return check(Settings.from_mapping(told, environ={}), "fleet.yaml")

    def prepare(self) -> None:
        """Give the virtual host what `fleet definitions` prints."""
        rabbit = self._vhost.rabbit
        document = definitions(
            Settings.from_mapping({"subscriptions": [CHAT]}, environ={}).subscriptions,
            vhost=self._vhost.name,
            version=".".join(map(str, rabbit.version)),
        )
        rabbit.ctl("import_definitions", "--format", "json", stdin=definitions_text(document))


def the_problem(report: Report) -> Finding:
    """Return the only problem of a report."""
    (found,) = [finding for finding in report.findings if finding.state == "problem"]
    assert not report.ok
    return found


def run_line(rabbit: RabbitMQ, line: str) -> None:
    """Type a line of a remedy, without what is said behind it."""
    program, *words = shlex.split(line.partition("   (")[0])
    assert program == "rabbitmqctl"
    rabbit.ctl(*words)


def everything(rabbit: RabbitMQ, vhost: str) -> str:
    """Return all that is in a virtual host."""
    return "\n".join(
        rabbit.ctl(what, "-p", vhost, *columns)
        for what, columns in {
            "list_queues": ("name", "arguments", "messages", "consumers", "policy"),
            "list_exchanges": ("name", "type", "arguments"),
            "list_bindings": (),
        }.items()
    )


# -- nothing is wrong, and nothing is changed


def test_nothing_is_wrong_where_the_definitions_were_imported(checked: Checked) -> None:
    checked.prepare()
    report = checked()
    assert report.ok
    assert {finding.about: finding.state for finding in report.findings} == {
        "broker": "ok",
        "exchange": "ok",
        "queue": "ok",
        "rights": "ok",
        "dead letters": "ok",
        "policy": "note",  # there is no management API to ask
        "time-out": "ok",
        "ollama": "ok",
        "model": "ok",
        "slots": "ok",
    }


@pytest.mark.parametrize("prepared", [True, False])
def test_a_check_changes_nothing(checked: Checked, vhost: VirtualHost, admin: Admin, prepared: bool) -> None:
    if prepared:
        checked.prepare()
        admin.publish(QUEUE, b"{}")
    before = everything(vhost.rabbit, vhost.name)
    checked()
    assert everything(vhost.rabbit, vhost.name) == before
    if prepared:
        (waiting,) = admin.get_all(QUEUE)
        assert not waiting.redelivered
        assert not waiting.headers.get("x-delivery-count")


# -- getting in


def test_a_wrong_password_is_told_with_the_commands_that_show_and_change_it(
    checked: Checked, vhost: VirtualHost
) -> None:
    vhost.rabbit.add_user("wrong-password", PASSWORD)
    found = the_problem(checked(vhost.url_for("wrong-password", "no")))
    assert "refuses user 'wrong-password': wrong password" in found.text
    assert "rabbitmqctl change_password wrong-password" in found.fix


def test_a_password_with_special_characters_is_taken_escaped_and_refused_as_it_is(
    checked: Checked, vhost: VirtualHost, tmp_path: Path
) -> None:
    vhost.rabbit.add_user("special", PASSWORD)
    vhost.rabbit.set_permissions("special", vhost.name, configure=".*", write=".*", read=".*")
    checked.prepare()
    assert checked(vhost.url_for("special", PASSWORD)).ok

    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    url = f"amqp://special@127.0.0.1:{vhost.rabbit.port}/{vhost.name}"
    assert checked(url, amqp={"password_file": str(tmp_path / "password")}).ok

    with pytest.raises(SettingsError, match="write @ as %40") as refused:
        checked(f"amqp://special:{PASSWORD}@127.0.0.1:{vhost.rabbit.port}/{vhost.name}")
    assert PASSWORD not in str(refused.value)


def test_a_missing_virtual_host_is_told_with_the_commands_that_make_it(
    checked: Checked, vhost: VirtualHost
) -> None:
    rabbit = vhost.rabbit
    rabbit.add_user("homeless", PASSWORD)
    url = rabbit.url("homeless", PASSWORD, "made-by-the-remedy")
    found = the_problem(checked(url))
    assert "virtual host" in found.text
    for line in found.fix.splitlines():
        run_line(rabbit, line)
    report = checked(url)
    assert [finding.about for finding in report.findings if finding.state == "problem"] == [
        "exchange",  # which workers have no right to make
        "dead letters",
    ]
    rabbit.delete_vhosts(["made-by-the-remedy"])


def test_a_broker_that_is_not_there_is_told_with_where_to_look(checked: Checked) -> None:
    (port,) = free_ports(1)
    found = the_problem(checked(f"amqp://127.0.0.1:{port}"))
    assert f"127.0.0.1:{port} cannot be reached: Connection refused" in found.text
    assert "rabbitmq-diagnostics listeners" in found.fix


def test_one_broker_of_a_cluster_may_be_away(checked: Checked, vhost: VirtualHost) -> None:
    checked.prepare()
    (port,) = free_ports(1)
    report = checked(amqp={"urls": [f"amqp://127.0.0.1:{port}", vhost.url]})
    assert report.ok
    assert [finding.state for finding in report.findings if finding.about == "broker"] == ["note", "ok"]


def test_guest_from_another_machine_is_told_to_be_somebody_else(
    checked: Checked, vhost: VirtualHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From here every machine is this one, so it is the name that is another's. A broker says no more to a
    # guest from elsewhere than to one with a wrong password.
    resolve = socket.getaddrinfo

    def elsewhere(host: Any, *arguments: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host == "broker.example.com" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    url = vhost.url_for("guest", "no").replace("127.0.0.1", "broker.example.com")
    found = the_problem(checked(url))
    assert "refuses user 'guest'" in found.text
    user, rights, setting = found.fix.splitlines()
    assert user.startswith("rabbitmqctl add_user fleet ")
    assert rights.startswith(f"rabbitmqctl set_permissions -p {vhost.name} -- fleet ")
    assert setting.startswith(f"amqp.url: amqp://fleet@broker.example.com:{vhost.rabbit.port}/{vhost.name},")


# -- TLS


@dataclass
class Behind:
    """The node behind a port with TLS, which lives on when that is closed."""

    port: int

    def stop(self) -> None:
        """Do nothing."""


@pytest.fixture
def tls(rabbit: RabbitMQ) -> Iterator[TlsFront]:
    """Run a port of the node that speaks TLS."""
    with TlsFront(Behind(rabbit.port)) as front:
        yield front


def tls_url(front: TlsFront, vhost: VirtualHost, scheme: str = "amqps") -> str:
    """Return the address of the port with TLS."""
    return f"{scheme}://guest:guest@{front.url.removeprefix('https://')}/{vhost.name}"


def test_amqp_at_a_port_with_tls_is_told_to_be_amqps(
    checked: Checked, vhost: VirtualHost, tls: TlsFront
) -> None:
    found = the_problem(checked(tls_url(tls, vhost, "amqp")))
    assert f"amqp.url: amqps://guest:***@localhost:{tls.url.rpartition(':')[2]}" in found.fix


def test_amqps_at_a_port_without_tls_is_told_to_be_amqp(checked: Checked, vhost: VirtualHost) -> None:
    found = the_problem(checked(vhost.url.replace("amqp:", "amqps:")))
    assert f"amqp.url: amqp://guest:***@127.0.0.1:{vhost.rabbit.port}/{vhost.name}" in found.fix


def test_a_certificate_that_nobody_vouches_for_is_told_to_need_its_authority(
    checked: Checked, vhost: VirtualHost, tls: TlsFront, tmp_path: Path
) -> None:
    checked.prepare()
    url = tls_url(tls, vhost)
    found = the_problem(checked(url))
    assert "is not trusted" in found.text
    assert found.fix.startswith("amqp.ca_file: ")

    (tmp_path / "ca.pem").write_bytes(tls.authority)
    assert checked(url, amqp={"ca_file": str(tmp_path / "ca.pem")}).ok


def test_a_certificate_for_another_name_is_told(
    checked: Checked, vhost: VirtualHost, tls: TlsFront, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(tls.authority)
    url = tls_url(tls, vhost).replace("localhost", "127.0.0.1")
    found = the_problem(checked(url, amqp={"ca_file": str(tmp_path / "ca.pem")}))
    assert "IP address mismatch" in found.text


# -- rights


@pytest.mark.parametrize(
    ("lacks", "right"),
    [
        ("configure", f"configure on {QUEUE}"),
        ("write", f"write on {QUEUE}, amq.default"),
        ("read", f"read on llm.request, {QUEUE}"),
        ("write on amq.default", "write on amq.default"),
        ("read on llm.request", "read on llm.request"),
    ],
)
def test_a_missing_right_is_told_with_the_command_that_gives_it(
    checked: Checked, vhost: VirtualHost, admin: Admin, lacks: str, right: str
) -> None:
    rabbit = vhost.rabbit
    admin.declare_exchange("llm.request")
    admin.declare("llm.dead")
    user = f"{vhost.name}-worker"
    rabbit.add_user(user, PASSWORD)
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    kind, _, name = lacks.partition(" on ")
    rights[kind] = f"^(?!{re.escape(name)}$)" if name else "^$"
    rabbit.set_permissions(user, vhost.name, **rights)

    report = checked(vhost.url_for(user, PASSWORD))
    (found,) = [finding for finding in report.findings if finding.about == "rights"]
    assert found.state == "problem"
    assert found.text == f"{user!r} lacks {right}"

    run_line(rabbit, found.fix)
    assert checked(vhost.url_for(user, PASSWORD)).ok


# -- exchange and queues


def test_an_exchange_of_another_type_is_told(checked: Checked, admin: Admin) -> None:
    admin.declare("llm.dead")
    admin.declare_exchange("llm.request", "direct")
    found = the_problem(checked())
    assert "'llm.request' is no topic exchange" in found.text
    assert "current is 'direct'" in found.text


def test_an_exchange_that_does_not_last_is_told(checked: Checked, admin: Admin) -> None:
    admin.declare_exchange("llm.request", durable=False)
    (found,) = [finding for finding in checked().findings if finding.about == "exchange"]
    assert (found.state, "inequivalent arg 'durable'" in found.text) == ("note", True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"x-queue-type": "quorum", "x-delivery-limit": 3}, "x-delivery-limit"),
        ({}, "x-queue-type"),
        ({"x-max-priority": 5}, "x-max-priority"),
    ],
)
def test_a_queue_with_other_arguments_is_told_and_is_no_problem(
    checked: Checked, admin: Admin, arguments: dict[str, Any], named: str
) -> None:
    admin.declare("llm.dead")
    admin.declare(QUEUE, arguments)
    report = checked()
    assert report.ok
    (found,) = [finding for finding in report.findings if finding.about == "queue"]
    assert found.state == "note"
    assert f"used as it is, though inequivalent arg '{named}'" in found.text


def test_single_active_consumer_on_a_queue_that_exists_is_told_to_have_no_effect(
    checked: Checked, admin: Admin
) -> None:
    admin.declare(QUEUE)
    report = checked(subscription={"single_active_consumer": True})
    (found,) = [finding for finding in report.findings if finding.about == "queue"]
    assert "single_active_consumer has no effect" in found.text
    assert found.fix.startswith("rabbitmqctl delete_queue ")


def test_it_is_told_how_much_waits_and_how_many_workers_there_are(checked: Checked, admin: Admin) -> None:
    admin.declare(QUEUE)
    admin.publish(QUEUE, b"{}")
    (found,) = [finding for finding in checked().findings if finding.about == "queue"]
    assert found.text == f"{QUEUE} is there, 1 waiting, 0 consumers"


def test_a_missing_queue_for_dead_letters_is_told_with_what_makes_it(
    checked: Checked, vhost: VirtualHost
) -> None:
    found = the_problem(checked())
    assert "there is no queue llm.dead" in found.text
    printing, importing = found.fix.splitlines()
    assert printing.startswith(f"ollama-ext fleet definitions --config fleet.yaml --vhost {vhost.name} ")
    assert importing == "rabbitmqctl import_definitions fleet.json"


def test_dead_letters_that_wait_are_counted(checked: Checked, admin: Admin) -> None:
    admin.declare("llm.dead")
    admin.publish("llm.dead", b"{}")
    (found,) = [finding for finding in checked().findings if finding.about == "dead letters"]
    assert (found.state, "1 dead letters" in found.text) == ("ok", True)
