"""Asking the broker what a worker with these settings would be told, without changing anything.

A right is seen only by using it. So the broker is asked for what it refuses in any case, after it has looked
at the rights: a queue with an argument that no quorum queue has, a consumer with a priority that is no
number, the end of a binding that was never made, a message for a queue that does not exist. The reply code
tells which refusal it was: 403 is the missing right.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from .broker import Reason
from .links import Link
from .loop import Loop
from .questions import (
    Answer,
    Conversation,
    ExchangeDeclare,
    Question,
    QueueDeclare,
    QueueUnbind,
    TryConsume,
    TryPublish,
)
from .topology import DEAD_QUEUE, REPLY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from ollama_ext.settings import AmqpSettings

# Seconds for all questions; one takes less than a millisecond.
_PATIENCE: Final = 60.0

_QUORUM: Final = {"x-queue-type": "quorum"}
_SINGLE: Final = {"x-single-active-consumer": True}
# No quorum queue can be made with it, and brokers do not compare it with a quorum queue that is there.
_IMPOSSIBLE: Final = {"x-max-priority": -1}
_ODD_EXCHANGE: Final = {"alternate-exchange": 1}


class QueuePlan(msgspec.Struct, frozen=True):
    """A queue that a worker would take from.

    Attributes:
        name: Its name.
        exchange: What it is to be bound to.
        single: Whether it is to have a single active consumer.
    """

    name: str
    exchange: str
    single: bool = False


class ExchangeFacts(msgspec.Struct, frozen=True):
    """What the broker said about an exchange.

    Attributes:
        there: To whether it is there.
        made: To making it, as a topic exchange, in a way that is refused with 406 if we may.
    """

    name: str
    there: Answer
    made: Answer


class QueueFacts(msgspec.Struct, frozen=True):
    """What the broker said about a queue.

    Attributes:
        plan: The queue.
        there: To whether it is there.
        made: To declaring it as a worker does; where it is not there, in a way that is refused with 406 if we
            may make it.
        bound: To ending a binding that it does not have: yes if we may bind it.
        read: To consuming in a way that is refused with 406 (404 if it is not there) if we may.
    """

    plan: QueuePlan
    there: Answer
    made: Answer
    bound: Answer
    read: Answer


class BrokerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a broker said.

    Attributes:
        exchanges: About each exchange.
        queues: About each queue.
        dead: To whether there is a queue for dead letters.
        replies: To publishing to the default exchange, as replies are.
    """

    exchanges: tuple[ExchangeFacts, ...]
    queues: tuple[QueueFacts, ...]
    dead: Answer
    replies: Answer


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How asking one broker ended.

    Attributes:
        url: Which.
        refusal: Why there was no connection, or why it ended.
        version: Of the broker; empty if there was no connection.
        facts: What it said; None if it was asked only whether it is there, or did not come to that.
    """

    url: str
    refusal: Reason | None = None
    version: str = ""
    facts: BrokerFacts | None = None


def examine(
    exchanges: Sequence[str], queues: Sequence[QueuePlan], token: str
) -> Generator[Question, Answer, BrokerFacts]:
    """Ask all that a check wants to know.

    Args:
        exchanges: Those of the settings.
        queues: Those that a worker would take from.
        token: A word that is in no name at the broker.
    """
    told: list[ExchangeFacts] = []
    for name in exchanges:
        there = yield ExchangeDeclare(name, passive=True)
        made = yield ExchangeDeclare(name, arguments=_ODD_EXCHANGE)
        told.append(ExchangeFacts(name, there, made))
    found: list[QueueFacts] = []
    for plan in queues:
        there = yield QueueDeclare(plan.name, passive=True)
        arguments = _QUORUM | (_SINGLE if plan.single else {})
        made = yield QueueDeclare(plan.name, arguments | _IMPOSSIBLE)
        if there.ok and "x-max-priority" in made.text:
            made = yield QueueDeclare(plan.name, arguments)  # it is there, so nothing is made
        bound = yield QueueUnbind(plan.name, plan.exchange, f"{plan.name}.check-{token}")
        read = yield TryConsume(plan.name)
        found.append(QueueFacts(plan, there, made, bound, read))
    dead = yield QueueDeclare(DEAD_QUEUE, passive=True)
    replies = yield TryPublish(f"{REPLY_PREFIX}check-{token}")
    return BrokerFacts(exchanges=tuple(told), queues=tuple(found), dead=dead, replies=replies)


def ask_brokers(settings: AmqpSettings, exchanges: Sequence[str], queues: Sequence[QueuePlan]) -> list[Asked]:
    """Connect to each broker of the settings, and ask the first that can be had; nothing is changed there.

    Takes as long as a connection may take, for each.
    """
    asked: list[Asked] = []
    for url in settings.urls:
        wanted = None if any(each.facts is not None for each in asked) else (exchanges, queues)
        asked.append(_Visit(msgspec.structs.replace(settings, urls=(url,)), wanted).result())
    return asked


class _Visit:
    """One connection to one broker."""

    def __init__(
        self, settings: AmqpSettings, wanted: tuple[Sequence[str], Sequence[QueuePlan]] | None
    ) -> None:
        self._url = settings.urls[0]
        self._wanted = wanted
        self._asked: Asked | None = None
        self._over = threading.Event()
        self._loop = Loop("fleet-check")
        self._link = Link(self._loop, "ollama-ext fleet check", settings, {}, self)

    def result(self) -> Asked:
        """Go there, and return how it ended."""
        self._loop.start()
        self._loop.call(self._link.open)
        self._over.wait(_PATIENCE)
        asked = self._asked
        self._loop.stop()
        self._loop.join()
        if asked is None:
            asked = Asked(url=self._url, refusal=Reason(f"no answer within {_PATIENCE:.0f} s"))
        return asked

    def link_up(self) -> None:
        """Ask."""
        if self._wanted is None:
            self._end(Asked(url=self._url, version=self._link.version))
        else:
            exchanges, queues = self._wanted
            steps = examine(exchanges, queues, secrets.token_hex(8))
            self._link.converse(Conversation(steps, self._examined))

    def link_down(self, reason: Reason) -> None:
        """That was not to be."""
        self._end(Asked(url=self._url, refusal=reason))

    def link_failed(self, reason: Reason) -> None:
        """Say why."""
        self._end(Asked(url=self._url, refusal=reason))

    def link_blocked(self, on: bool) -> None:
        """Nothing that matters is published."""

    def _examined(self, facts: BrokerFacts) -> None:
        self._end(Asked(url=self._url, version=self._link.version, facts=facts))

    def _end(self, asked: Asked) -> None:
        if self._asked is None:
            self._asked = asked
            self._link.close(self._over.set)
