"""What the broker can be asked beside messages, and conversations made of such questions. Without pika."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

#: Stands for the reply code of a refusal that has none.
NO_CODE: Final = -1


class ExchangeDeclare(msgspec.Struct, frozen=True):
    """Declare a durable topic exchange, or look whether there is one."""

    exchange: str
    passive: bool = False
    arguments: dict[str, Any] | None = None


class QueueDeclare(msgspec.Struct, frozen=True):
    """Declare a durable queue, or look whether there is one."""

    queue: str
    arguments: dict[str, Any] | None = None
    passive: bool = False


class QueueBind(msgspec.Struct, frozen=True):
    """Bind a queue to an exchange."""

    queue: str
    exchange: str
    routing_key: str


class QueueUnbind(msgspec.Struct, frozen=True):
    """End a binding; that there is none is no error."""

    queue: str
    exchange: str
    routing_key: str


class QueueDelete(msgspec.Struct, frozen=True):
    """Delete a queue."""

    queue: str


class TryConsume(msgspec.Struct, frozen=True):
    """Ask for a consumer that the broker cannot give, to see why not: never is anything delivered.

    406 if we may read the queue and it is there, 403 if we may not, 404 if it is not there.
    """

    queue: str


class TryPublish(msgspec.Struct, frozen=True):
    """Publish an empty message to the default exchange, for a queue that is not there. 403 if we may not."""

    routing_key: str


Question = ExchangeDeclare | QueueDeclare | QueueBind | QueueUnbind | QueueDelete | TryConsume | TryPublish


class Answer(msgspec.Struct, frozen=True):
    """What the broker said: code 0 is yes; else its reply code and text.

    Attributes:
        messages: Ready in the queue that was declared.
        consumers: Of that queue.
    """

    code: int = 0
    text: str = ""
    messages: int = 0
    consumers: int = 0

    @property
    def ok(self) -> bool:
        """Whether it was yes."""
        return self.code == 0


class Conversation:
    """Questions that a generator asks one by one, seeing the answers; ``done`` gets what it returns.

    Attributes:
        question: The one that is open, or None at the end.
    """

    def __init__(self, steps: Generator[Question, Answer, Any], done: Callable[[Any], None]) -> None:
        """Begin."""
        self.question: Question | None = None
        self._steps, self._done = steps, done
        self._go(None)

    def answered(self, answer: Answer) -> None:
        """Take the answer to the open question."""
        self._go(answer)

    def abandon(self) -> None:
        """End without a result."""
        self.question = None
        self._steps.close()

    def _go(self, answer: Answer | None) -> None:
        self.question = None
        try:
            self.question = next(self._steps) if answer is None else self._steps.send(answer)
        except StopIteration as end:
            self._done(end.value)
