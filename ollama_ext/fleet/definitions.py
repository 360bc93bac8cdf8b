"""What an operator gives the broker once: exchanges, queues and policies as a definitions file. Pure.

Workers make exchanges and queues themselves where they may, but only a policy can limit and rescue: how long
a request waits, how many there may be, what becomes of one that kills its workers. Policies can be changed at
any time, where arguments of a queue cannot. Users and permissions are not in the file: importing those would
overwrite what there is; `permission_lines` has commands for them.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ollama_ext.errors import InvalidArgument

from .topology import (
    DEAD_QUEUE,
    DEFAULT_EXCHANGE,
    PROVIDER,
    REPLY_PREFIX,
    configured_exchanges,
    is_wild,
    queue_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ollama_ext.settings import Subscription

#: Who permissions are for.
Role = Literal["worker", "caller"]

#: Names of the two policies.
REQUEST_POLICY: Final = "ollama-ext-requests"
DEAD_POLICY: Final = "ollama-ext-dead"
#: Of both. One policy applies to a queue: that with the highest priority.
POLICY_PRIORITY: Final = 10
#: Deliveries of a request that may fail before the broker takes it out of its queue.
DELIVERY_LIMIT: Final = 10
#: Milliseconds for which the broker waits for a worker that has a request; RabbitMQ's default is 30 minutes.
CONSUMER_TIMEOUT_MS: Final = 2 * 3600 * 1000

_OLDEST: Final = (3, 10)  # the first in which quorum queues let messages expire and keep what dies
_TIMEOUT_BY_POLICY: Final = (3, 12)
_LIMITED_BY_DEFAULT: Final = (4, 0)  # a delivery limit of 20, beyond which a message is dropped

_REQUESTS: Final[dict[str, Any]] = {
    "delivery-limit": DELIVERY_LIMIT,
    "dead-letter-exchange": "",
    "dead-letter-routing-key": DEAD_QUEUE,
    "dead-letter-strategy": "at-least-once",
    "overflow": "reject-publish",  # which that strategy needs; and a caller hears that the queue is full
    "max-length-bytes": 4 << 30,
    "message-ttl": 3600 * 1000,
}
_DEAD: Final[dict[str, Any]] = {
    "message-ttl": 24 * 3600 * 1000,
    "max-length-bytes": 1 << 30,
    "overflow": "drop-head",
}
_QUORUM: Final = {"x-queue-type": "quorum"}


def definitions(
    subscriptions: Iterable[Subscription] = (),
    *,
    exchange: str = DEFAULT_EXCHANGE,
    vhost: str = "/",
    version: str,
) -> dict[str, Any]:
    """Return a definitions document for ``rabbitmqctl import_definitions``.

    Importing it again changes nothing, and it deletes nothing. Subscriptions to ``*`` have no queues in it:
    which ones they stand for depends on each machine, and workers make those.

    Args:
        subscriptions: Those of the settings.
        exchange: That of subscriptions which name none.
        vhost: The virtual host, which is made if it is not there.
        version: The broker's, such as ``"3.13.7"``: older ones refuse what newer ones need.

    Raises:
        InvalidArgument: The version is none, or too old; or a subscription can have no queue.
    """
    broker = _version(version)
    listed = list(subscriptions)
    exchanges = configured_exchanges(listed, exchange)
    queues: dict[str, dict[str, Any]] = {DEAD_QUEUE: _QUORUM}
    bindings: list[dict[str, Any]] = []
    for each in listed:
        if is_wild(each):
            continue
        source = each.exchange or exchange
        name = queue_name(each.type, each.model, source)
        single = {"x-single-active-consumer": True} if each.single_active_consumer else {}
        queues[name] = _QUORUM | single
        bindings.append(
            {
                "source": source,
                "vhost": vhost,
                "destination": name,
                "destination_type": "queue",
                "routing_key": name,
                "arguments": {},
            }
        )
    return {
        "vhosts": [{"name": vhost}],
        "exchanges": [
            {
                "name": name,
                "vhost": vhost,
                "type": "topic",
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for name in exchanges
        ],
        "queues": [
            {"name": name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": arguments}
            for name, arguments in queues.items()
        ],
        "bindings": bindings,
        "policies": [
            _policy(REQUEST_POLICY, request_pattern(exchanges), request_policy(version), vhost),
            _policy(
                DEAD_POLICY,
                f"^{re.escape(DEAD_QUEUE)}$",
                _DEAD | ({"delivery-limit": -1} if broker >= _LIMITED_BY_DEFAULT else {}),
                vhost,
            ),
        ],
    }


def request_policy(version: str) -> dict[str, Any]:
    """Return what the policy for queues of requests says, for a version of the broker."""
    by_policy = _version(version) >= _TIMEOUT_BY_POLICY
    return _REQUESTS | ({"consumer-timeout": CONSUMER_TIMEOUT_MS} if by_policy else {})


def request_pattern(exchanges: Sequence[str]) -> str:
    """Return the regular expression that matches the names of the queues of these exchanges."""
    return f"^{_one_of(exchanges)}\\.{PROVIDER}\\."


def definitions_text(document: dict[str, Any]) -> str:
    """Return a document as the text of its file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def configuration_lines(version: str) -> list[str]:
    """Return the lines that ``rabbitmq.conf`` needs besides; none from RabbitMQ 3.12 on.

    Older ones take the time that a worker may keep a request from there only, for all queues of the node,
    after a restart of it.
    """
    if _version(version) >= _TIMEOUT_BY_POLICY:
        return []
    return [f"consumer_timeout = {CONSUMER_TIMEOUT_MS}"]


def permission_lines(user: str, vhost: str, exchanges: Sequence[str], role: Role) -> list[str]:
    """Return the commands that give a user what a role needs, and no more.

    A worker may make, bind and read queues of requests, and publish to any queue of the virtual host, because
    the broker has no right for a single queue: give the fleet a virtual host of its own. It may not publish
    through the exchanges. A caller may publish requests there, and make and read reply queues of its own.

    Args:
        user: Its name at the broker.
        vhost: The virtual host.
        exchanges: Those of the settings (`topology.configured_exchanges`).
        role: Of the user; one that is both needs the union, which no command gives: make two users.

    Raises:
        InvalidArgument: There is no such role.
    """
    if role == "worker":
        queues = f"{_one_of(exchanges)}\\.{PROVIDER}\\..+"
        configure = f"^{queues}$"
        write = f"^({queues}|amq\\.default)$"
        read = f"^({queues}|{_one_of(exchanges)})$"
    elif role == "caller":
        configure = read = f"^({re.escape(REPLY_PREFIX + user)}\\.[^.]+|amq\\.gen-.+)$"
        write = f"^{_one_of(exchanges)}$"
    else:
        raise InvalidArgument(f"There is no role {role!r}: use 'worker' or 'caller'.", argument="role")
    return [shlex.join(["rabbitmqctl", "set_permissions", "-p", vhost, "--", user, configure, write, read])]


def _policy(name: str, pattern: str, definition: dict[str, Any], vhost: str) -> dict[str, Any]:
    return {
        "name": name,
        "vhost": vhost,
        "pattern": pattern,
        "apply-to": "queues",
        "priority": POLICY_PRIORITY,
        "definition": definition,
    }


def _one_of(names: Sequence[str]) -> str:
    escaped = [re.escape(name) for name in names]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _version(text: str) -> tuple[int, int]:
    match = re.match(r"(\d{1,3})(?:\.(\d{1,3}))?(?!\d)", text, re.ASCII)
    if match is None:
        raise InvalidArgument(
            f"{text!r:.60} is no version of RabbitMQ: write one such as '3.13' or '4.1.2' "
            "(`rabbitmqctl version` tells it).",
            argument="version",
        )
    version = int(match[1]), int(match[2] or 0)
    if version < _OLDEST:
        raise InvalidArgument(
            f"RabbitMQ {text:.60} is too old: its quorum queues cannot keep what dies. Use 3.10 or newer.",
            argument="version",
        )
    return version
