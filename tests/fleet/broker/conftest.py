"""A broker for the tests of the fleet that need a real one.

One node serves all tests that leave it alive; each of them has a virtual host of its own. A test that kills,
freezes, blocks or fills a node starts one that is its own: `own_rabbit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from amqp_proxy import AmqpProxy
from rabbitmq import RabbitMQ
from rabbitmq_admin import Admin
from virtual_hosts import VirtualHost, VirtualHosts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitMQ]:
    """Run a node for all tests that leave it alive."""
    with RabbitMQ() as running:
        yield running


@pytest.fixture(scope="session")
def _virtual_hosts(rabbit: RabbitMQ) -> VirtualHosts:
    return VirtualHosts(rabbit)


@pytest.fixture
def vhost(_virtual_hosts: VirtualHosts) -> VirtualHost:
    """Take a virtual host that no other test has."""
    return _virtual_hosts.take()


@pytest.fixture
def admin(vhost: VirtualHost) -> Iterator[Admin]:
    """Look into the test's virtual host, and change it."""
    with Admin(vhost.url) as connected:
        yield connected


@pytest.fixture
def amqp_proxy(rabbit: RabbitMQ) -> Iterator[AmqpProxy]:
    """Put a proxy before the node of all tests: ``amqp_proxy.through(vhost.url)``."""
    with AmqpProxy(rabbit.port) as running:
        yield running


@pytest.fixture
def own_rabbit() -> Iterator[RabbitMQ]:
    """Run a node that the test may kill; takes some seconds."""
    with RabbitMQ() as running:
        yield running


@pytest.fixture
def own_admin(own_rabbit: RabbitMQ) -> Iterator[Admin]:
    """Look into the test's own node, and change it."""
    with Admin(own_rabbit.url()) as connected:
        yield connected


@pytest.fixture
def own_vhost(own_rabbit: RabbitMQ) -> VirtualHost:
    """Make a virtual host on the test's own node."""
    return VirtualHosts(own_rabbit).take()
