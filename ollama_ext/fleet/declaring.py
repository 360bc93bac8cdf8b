"""How exchanges and queues come to be: what is asked of the broker, and what its answers mean.

Generators of questions, so that every path can be walked without a broker; `links.Link.converse` holds them
with a real one. Nothing is ever deleted, and what exists with other arguments is used as it is: the operator
wanted it so. Each refusal closes the channel that it came on, which is why these have one of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from .questions import Answer, ExchangeDeclare, Question, QueueBind, QueueDeclare, TryPublish
from .topology import REPLY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Generator

#: AMQP's reply code where a right is missing.
NO_RIGHT: Final = 403
_NOT_FOUND, _OTHER = 404, 406
_QUORUM: Final = {"x-queue-type": "quorum"}
_SINGLE: Final = "x-single-active-consumer"


class Declared(msgspec.Struct, frozen=True):
    """What became of an exchange or a queue.

    Attributes:
        name: Of the exchange or queue.
        problem: Why it cannot be used, or None.
        right: Whether the problem is that we lack a right.
        notes: What an operator should know though it can be used.
        exclusive: Whether the queue has a single active consumer.
    """

    name: str
    problem: str | None = None
    right: bool = False
    notes: tuple[str, ...] = ()
    exclusive: bool = False


def declare_exchange(exchange: str) -> Generator[Question, Answer, Declared]:
    """See that there is a topic exchange."""
    there = yield ExchangeDeclare(exchange, passive=True)
    answer = yield ExchangeDeclare(exchange)
    if answer.ok:
        return Declared(exchange)
    if answer.code == NO_RIGHT:
        if there.ok:
            return Declared(exchange)
        return Declared(exchange, f"exchange {exchange!r} is missing, and we may not make it", right=True)
    if answer.code == _OTHER and there.ok:
        if "'type'" in answer.text:
            return Declared(
                exchange, f"exchange {exchange!r} exists, but is no topic exchange: {answer.text}"
            )
        return Declared(exchange, notes=(f"exchange {exchange!r} is used as it is: {answer.text}",))
    return Declared(exchange, f"exchange {exchange!r}: {answer.text}")


def declare_queue(
    queue: str, exchange: str, *, exclusive: bool = False
) -> Generator[Question, Answer, Declared]:
    """See that there is a queue, bound to the exchange by its own name.

    Args:
        queue: Its name, which is its routing key.
        exchange: The exchange.
        exclusive: Whether a queue that does not exist yet gets a single active consumer.
    """
    notes: list[str] = []
    arguments = _QUORUM | ({_SINGLE: True} if exclusive else {})
    answer = yield QueueDeclare(queue, arguments)
    single = exclusive and answer.ok
    if not answer.ok:
        there = yield QueueDeclare(queue, passive=True)
        match answer.code:
            case 403 if not there.ok:
                return Declared(queue, f"queue {queue!r} is missing, and we may not make it", right=True)
            case 405:
                return Declared(queue, f"queue {queue!r} belongs to another connection: {answer.text}")
            case 403:
                single = exclusive  # nobody tells; a permanent consumer suits both kinds
            case 406 if there.ok:
                # Our declaration differs from what there is: in this argument or, with it, in others.
                single = (_SINGLE in answer.text) != exclusive
                notes.append(f"queue {queue!r} exists and is used as it is: {answer.text}")
            case _:
                return Declared(queue, f"queue {queue!r}: {answer.text}")
    bound = yield QueueBind(queue, exchange, queue)
    if bound.code == _NOT_FOUND:
        return Declared(queue, f"queue {queue!r} cannot be bound: {bound.text}")
    if not bound.ok:
        notes.append(
            f"we may not bind queue {queue!r} to {exchange!r}, and without a binding nothing reaches it: "
            f"{bound.text}"
        )
    return Declared(queue, notes=tuple(notes), exclusive=single)


def look(queue: str) -> Generator[Question, Answer, Answer]:
    """Look whether a queue is there; nothing is changed."""
    answer = yield QueueDeclare(queue, passive=True)
    return answer


def is_gone(answer: Answer) -> bool:
    """Whether a look says that nobody will read this queue again.

    A queue that belongs to another connection is refused with 405: its owner lives. And a 404 may also say
    that the node of the queue is down, from which it comes back.
    """
    return answer.code == _NOT_FOUND and "no queue" in answer.text


def may_reply(token: str) -> Generator[Question, Answer, Answer]:
    """Try to publish to the default exchange, as replies are, for a queue that nobody has."""
    answer = yield TryPublish(f"{REPLY_PREFIX}{token}")
    return answer
