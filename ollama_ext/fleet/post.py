"""The publishing side of a worker or a caller: a link and a channel of its own, and the `Outbox` behind them.

A connection of its own because the broker, when its memory or disk runs out, stops reading from connections
that publish: acknowledgements must not wait behind replies.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from .links import Link
from .outbox import Letter, Outbox, Publish, Settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ollama_ext.settings import AmqpSettings

    from .broker import Reason
    from .channels import Channel, Returned
    from .loop import Loop
    from .outbox import Action, How
    from .questions import Conversation

log: logging.Logger = logging.getLogger(__name__)

# Seconds between two looks at what has waited too long, and before a channel that was closed is opened again.
_TICK, _REOPEN = 1.0, 0.1


class PostEvents(Protocol):
    """Who has a post hears this, on the loop's thread."""

    def post_settled(self, letter: Letter, how: How, reason: str) -> None:
        """Take note of what became of a letter; ``reason`` is the broker's, if it gave one."""
        ...

    def post_up(self) -> None:
        """Take note that letters are on their way again."""
        ...

    def post_down(self, reason: Reason) -> None:
        """Take note that letters wait: the link is down, or could not be opened."""
        ...

    def post_blocked(self, on: bool) -> None:
        """Take note that letters wait because the broker takes none, or that they do no more."""
        ...


class Post:
    """Publishes letters and tells what became of each. On the loop's thread, all of it.

    Attributes:
        outbox: What waits and what is under way.
        link: The connection.
        events: Who hears of it.
    """

    def __init__(self, loop: Loop, name: str, settings: AmqpSettings, told: Mapping[str, str]) -> None:
        """Prepare; it connects from `open` on, before which ``events`` must be set."""
        self.events: PostEvents
        self.outbox: Outbox = Outbox()
        self.link: Link = Link(loop, name, settings, told, self)
        self._loop = loop
        self._channel: Channel | None = None
        self._reasons: dict[str, str] = {}
        self._closing = False

    def open(self) -> None:
        """Connect."""
        self.link.open()
        self._tick()

    def close(self, closed: Callable[[], None]) -> None:
        """Close in good order; what is not confirmed by then stays unknown."""
        self._closing = True
        self.link.close(closed)

    def send(self, letter: Letter) -> None:
        """Publish a letter, now or when the link is there."""
        self._do(self.outbox.add(letter, monotonic()))

    def withdraw(self, letter_id: str) -> bool:
        """Take a letter back that has not been published; return whether it was still here."""
        return self.outbox.withdraw(letter_id)

    def converse(self, talk: Conversation) -> None:
        """Ask the broker something, if the link is up."""
        if self.link.is_open:
            self.link.converse(talk)

    @property
    def empty(self) -> bool:
        """Whether nothing waits or is under way."""
        return self.outbox.waiting == 0 and self.outbox.in_flight == 0

    # -- the link

    def link_up(self) -> None:
        """Open the channel."""
        self._channel = self.link.channel(self._opened, self._ended)

    def link_down(self, reason: Reason) -> None:
        """Tell that letters wait."""
        if self._channel is not None:  # pika did not tell its end
            self._ended(self._channel, reason)
        self.events.post_down(reason)

    def link_failed(self, reason: Reason) -> None:
        """Tell that letters wait on."""
        self.events.post_down(reason)

    def link_blocked(self, on: bool) -> None:
        """Stop publishing, or go on."""
        if on:
            self.outbox.blocked()
        else:
            self._do(self.outbox.unblocked(monotonic()))
        self.events.post_blocked(on)

    def _opened(self, channel: Channel) -> None:
        channel.confirm(self._ready, self._confirmed, self._returned)

    def _ready(self) -> None:
        self._do(self.outbox.up(monotonic()))
        self.events.post_up()

    def _ended(self, channel: Channel, reason: Reason) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        self._do(self.outbox.down(reason.code, monotonic()), reason.text)
        if self.link.is_open and not self._closing:
            log.info("a letter closed its channel: %s", reason.text)
            self._loop.later(_REOPEN, self._reopen)

    def _reopen(self) -> None:
        if self._channel is None and self.link.is_open:
            self.link_up()

    def _confirmed(self, number: int, multiple: bool, accepted: bool) -> None:
        self._do(self.outbox.confirmed(number, multiple, accepted, monotonic()))

    def _returned(self, returned: Returned) -> None:
        if returned.message_id is not None and returned.message_id in self.outbox:
            self._reasons[returned.message_id] = (
                f"{returned.text} ({returned.code}) for {returned.routing_key!r}"
            )
            self._do(self.outbox.returned(returned.message_id, returned.code, monotonic()))

    def _tick(self) -> None:
        if not self._closing:
            self._loop.later(_TICK, self._tick)
            self._do(self.outbox.tick(monotonic()))

    def _do(self, actions: Iterable[Action], reason: str = "") -> None:
        for action in actions:
            match action:
                case Publish(letter):
                    self._publish(letter)
                case Settled(letter, how):
                    self.events.post_settled(letter, how, self._reasons.pop(letter.id, reason))

    def _publish(self, letter: Letter) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            channel.publish(letter.exchange, letter.routing_key, letter.body, letter.properties)
        except Exception:
            # Nothing of it was sent, but the outbox has counted it: only a new channel counts from 1 again.
            log.exception("a letter to %r cannot be written in AMQP", letter.routing_key)
            self._reasons[letter.id] = "it cannot be written in AMQP"
            self._do(self.outbox.spoilt(letter.id))
            channel.close()
