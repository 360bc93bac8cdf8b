"""Connections with TLS: a private authority, and certificates that log their owner in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from background import wait_until
from linked_brokers import linked
from rabbitmq import RabbitMQ, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator


class SecureBroker:
    """A node with a port for TLS, where everybody must show a certificate of its authority.

    Attributes:
        node: The node.
        files: Settings that are right.
        stranger: A file with the certificate of another authority.
    """

    def __init__(self, directory: Path) -> None:
        """Make the certificates."""
        authority, other = trustme.CA(), trustme.CA()
        server = authority.issue_cert("127.0.0.1")
        ours = authority.issue_cert("gpu-07@fleet.example", common_name="gpu-07")
        names = {name: directory / f"{name}.pem" for name in ("ca", "other", "server", "ours")}
        authority.cert_pem.write_to_path(names["ca"])
        other.cert_pem.write_to_path(names["other"])
        server.private_key_and_cert_chain_pem.write_to_path(names["server"])
        ours.private_key_and_cert_chain_pem.write_to_path(names["ours"])
        self.port = free_ports(1)[0]
        self.files: dict[str, Any] = {"ca_file": str(names["ca"]), "cert_file": str(names["ours"])}
        self.stranger = str(names["other"])
        self.node = RabbitMQ(
            plugins=["rabbitmq_auth_mechanism_ssl"],
            config={
                "listeners.ssl.1": f"127.0.0.1:{self.port}",
                "ssl_options.cacertfile": names["ca"],
                "ssl_options.certfile": names["server"],
                "ssl_options.keyfile": names["server"],
                "ssl_options.verify": "verify_peer",
                "ssl_options.fail_if_no_peer_cert": "true",
                "ssl_cert_login_from": "common_name",
                "auth_mechanisms.1": "PLAIN",
                "auth_mechanisms.2": "EXTERNAL",
            },
        )

    def url(self, user: str = "guest:guest@", scheme: str = "amqps", host: str = "127.0.0.1") -> str:
        """Return its address."""
        return f"{scheme}://{user}{host}:{self.port}/"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """Run a node that is reached by TLS, and knows the user gpu-07, who has no password."""
    broker = SecureBroker(tmp_path_factory.mktemp("certificates"))
    with broker.node as node:
        node.add_user("gpu-07", "unused")
        node.ctl("clear_password", "gpu-07")
        node.set_permissions("gpu-07", configure=".*", write=".*", read=".*")
        yield broker


def failure(url: str, **settings: Any) -> Any:
    """Return why a link could not be opened."""
    with linked(url, **settings) as link:
        wait_until(lambda: link.told)
        assert link.told[0] == "failed"
        return link.reasons[0]


def test_a_broker_of_a_private_authority_is_reached_with_a_password(secure: SecureBroker) -> None:
    with linked(secure.url(), **secure.files) as link:
        link.wait("up")


def test_a_certificate_logs_in_whom_it_names(secure: SecureBroker) -> None:
    with linked(secure.url(user=""), **secure.files) as link:
        link.wait("up")
        wait_until(lambda: "gpu-07" in secure.node.ctl("list_connections", "user", "ssl"))


def test_an_authority_that_is_not_ours_is_not_trusted(secure: SecureBroker) -> None:
    reason = failure(secure.url(), **secure.files | {"ca_file": secure.stranger})
    assert reason.final
    assert "not trusted" in reason.text
    assert "amqp.ca_file" in reason.text


def test_a_name_that_is_not_in_the_certificate_is_not_trusted(secure: SecureBroker) -> None:
    reason = failure(secure.url(host="localhost"), **secure.files)
    assert reason.final
    assert "the host as it stands in the certificate" in reason.text


def test_a_broker_that_wants_a_certificate_says_so_to_one_without(secure: SecureBroker) -> None:
    reason = failure(secure.url(), ca_file=secure.files["ca_file"])
    assert "amqp.cert_file" in reason.text


def test_amqp_to_a_port_with_tls_names_the_right_scheme(secure: SecureBroker) -> None:
    reason = failure(secure.url(scheme="amqp"))
    assert "amqps://" in reason.text


def test_amqps_to_a_port_without_tls_names_the_right_scheme(secure: SecureBroker) -> None:
    reason = failure(f"amqps://127.0.0.1:{secure.node.port}/", **secure.files)
    assert "amqp://" in reason.text


def test_a_certificate_file_that_is_missing_is_named_and_read_again(
    secure: SecureBroker, tmp_path: Path
) -> None:
    late = tmp_path / "late.pem"
    with linked(secure.url(), ca_file=str(late), cert_file=secure.files["cert_file"]) as link:
        wait_until(lambda: link.told)
        assert str(late) in link.reasons[0].text
        assert not link.reasons[0].final
        late.write_bytes(Path(secure.files["ca_file"]).read_bytes())
        wait_until(lambda: link.told[-1] == "up")
