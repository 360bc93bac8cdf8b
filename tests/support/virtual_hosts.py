"""Virtual hosts of one RabbitMQ node: many tests share the node, and none sees what another one did."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rabbitmq import PASSWORD, USER

from ollama_ext.fleet.definitions import definitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rabbitmq import RabbitMQ

AT_ONCE = 20  # virtual hosts; making them takes half a second, for one or for twenty


@dataclass(frozen=True)
class VirtualHost:
    """A virtual host that is empty when the test begins, but for the policies that operators are given."""

    rabbit: RabbitMQ
    name: str

    @property
    def url(self) -> str:
        """Its address, for a user who may do everything in it."""
        return self.url_for()

    def url_for(self, user: str = USER, password: str = PASSWORD) -> str:
        """Its address for a user."""
        return self.rabbit.url(user, password, self.name)


@dataclass
class VirtualHosts:
    """A stock of virtual hosts. There may be several of one node."""

    rabbit: RabbitMQ
    fresh: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    stock: str = field(default_factory=lambda: f"test-{secrets.token_hex(3)}")

    def take(self) -> VirtualHost:
        """Return one that nobody had yet. What was taken before may be deleted: see `several`."""
        return self.several(1)[0]

    def several(self, count: int) -> list[VirtualHost]:
        """Return some that nobody had yet, for one test; at most as many as are made at once."""
        if len(self.fresh) < count:
            if self.used:
                self.rabbit.delete_vhosts(self.used)  # their queues cost the node memory and time
                self.used.clear()
            self.fresh += [f"{self.stock}-{next(self.numbers)}" for _ in range(AT_ONCE)]
            version = ".".join(map(str, self.rabbit.version))
            self.rabbit.add_vhosts(self.fresh, policies=definitions(version=version)["policies"])
        taken, self.fresh = self.fresh[:count], self.fresh[count:]
        self.used += taken
        return [VirtualHost(self.rabbit, name) for name in taken]
