"""A connection to the broker that comes back by itself.

It connects, and after a loss connects again, for ever, with growing waits. Conversations (`questions`) are
held on a channel of their own, because the broker closes a channel for every "no".

Everything here runs on the thread of a `Loop`. With `loop`, `broker`, `channels` and `connection` this is all
that knows pika.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ollama_ext.settings import redacted

from .broker import Reason, parameters, reason_of, user_of
from .channels import Channel
from .connection import connect
from .questions import NO_CODE, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ollama_ext.settings import AmqpSettings

    from .loop import Loop
    from .questions import Conversation

log: logging.Logger = logging.getLogger(__name__)

# Seconds before the first try to connect again, and the longest wait; each is made up to half longer.
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0
# Seconds that a connection may take to close in good order before it is cut.
_CLOSING = 3.0

_rng: Final = random.Random()  # noqa: S311 - keeps workers apart that lost the same broker; guards nothing


class LinkEvents(Protocol):
    """Who owns a link hears this of it."""

    def link_up(self) -> None:
        """Take note that the connection is open."""
        ...

    def link_down(self, reason: Reason) -> None:
        """Take note that it is gone, with all its channels; it is being connected again."""
        ...

    def link_failed(self, reason: Reason) -> None:
        """Take note that a try to connect failed; another one follows."""
        ...

    def link_blocked(self, on: bool) -> None:
        """Take note that the broker takes no messages (an alarm), or does again."""
        ...


class Link:
    """One connection that comes back by itself.

    Attributes:
        blocked: Whether the broker takes no messages for now.
        losses: How often it was lost, or could not be had.
    """

    def __init__(
        self, loop: Loop, name: str, settings: AmqpSettings, told: Mapping[str, str], events: LinkEvents
    ) -> None:
        """Prepare a link; it connects from `open` on.

        Args:
            loop: Whose thread it lives on.
            name: Of the connection, as the management UI shows it.
            settings: Where the brokers are; tried in turn.
            told: What the broker is told about us.
            events: Who hears of it.
        """
        self.blocked: bool = False
        self.losses: int = 0
        self._loop, self._name, self._settings, self._told, self._events = loop, name, settings, told, events
        self._connection: Any = None  # of pika
        self._timer: Any = None
        self._failures = 0
        self._refusals = 0  # final ones in a row
        self._turn = 0
        self._closed: Callable[[], None] | None = None
        self._talks: list[Conversation] = []
        self._talking = False  # the first of them has been given a channel
        self._asked = False  # and waits for an answer
        self._side: Channel | None = None
        loop.broken.append(self._give_up)

    @property
    def version(self) -> str:
        """The version of the broker, as it told when the connection was opened; else empty."""
        properties = getattr(self._connection, "server_properties", None) or {}
        return str(properties.get("version", ""))

    @property
    def is_open(self) -> bool:
        """Whether channels can be opened."""
        return self._connection is not None and bool(self._connection.is_open)

    def open(self) -> None:
        """Connect; `LinkEvents` tells when it is open."""
        self._timer = None
        if self._closed is not None:
            return
        urls = self._settings.urls
        url = urls[self._turn % len(urls)]

        def opened(connection: Any) -> None:
            self._loop.guarded(self._opened, connection)

        def failed(connection: Any, why: Any) -> None:
            self._loop.guarded(self._failed, connection, why, url)

        def lost(connection: Any, why: Any) -> None:
            self._loop.guarded(self._lost, connection, why, url)

        try:
            tried = parameters(url, self._settings, self._name, self._told)
            self._turn += 1
            self._connection = connect(self._loop, tried, opened, failed, lost)
        except Exception as error:  # noqa: BLE001 - a name that cannot be resolved, a file that is not there
            self._failed(self._connection, error, url)

    def close(self, closed: Callable[[], None]) -> None:
        """Close the connection in good order, and do not come back; ``closed`` is called when it is done."""
        self._closed = closed
        if self._timer is not None:
            self._loop.forget(self._timer)
            self._timer = None
        connection = self._connection
        if connection is None or connection.is_closed:
            self._loop.later(0, closed)
            return
        self._timer = self._loop.later(_CLOSING, connection.cut)  # a silent broker does not say goodbye
        if not connection.is_closing:
            self._loop.end_round()  # acknowledgements go before the goodbye
            connection.close()

    def channel(
        self, opened: Callable[[Channel], None], closed: Callable[[Channel, Reason], None]
    ) -> Channel:
        """Open a channel.

        Args:
            opened: Called when it can be used.
            closed: Called when it was closed by the broker, or its connection is gone.
        """
        if self._connection is None:
            raise RuntimeError("a channel of a link that is down")
        return Channel(self._loop, self._connection, opened, closed)

    def converse(self, talk: Conversation) -> None:
        """Hold a conversation, after those that were begun before. If the connection is lost it just ends."""
        self._talks.append(talk)
        self._talk_on()

    def _opened(self, connection: Any) -> None:
        if connection is not self._connection:
            connection.close()
            return

        def blocked(*_: Any) -> None:
            self._loop.guarded(self._blocks)

        def unblocked(*_: Any) -> None:
            self._loop.guarded(self._unblocks)

        self._failures = self._refusals = 0
        connection.add_on_connection_blocked_callback(blocked)
        connection.add_on_connection_unblocked_callback(unblocked)
        self._events.link_up()

    def _give_up(self) -> None:
        """Something in pika raised: whatever state the connection is in, begin anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._loop.guarded(connection.cut)
            self._gone(Reason("the AMQP client failed; connecting anew"))

    def _blocks(self) -> None:
        self._block(on=True)

    def _unblocks(self) -> None:
        self._block(on=False)

    def _block(self, *, on: bool) -> None:
        if on != self.blocked:
            self.blocked = on
            self._events.link_blocked(on)

    def _failed(self, connection: object, why: BaseException, url: str) -> None:
        if connection is self._connection:
            self._connection = None
            self.losses += 1
            if not self._ended():
                self._come_back()
                self._events.link_failed(self._reason(why, url))

    def _lost(self, connection: object, why: BaseException, url: str) -> None:
        if connection is self._connection:
            self._connection = None
            self._gone(self._reason(why, url))

    def _reason(self, why: BaseException, url: str) -> Reason:
        """Return what pika's exception means. Of several brokers the next may take us: each has to refuse."""
        reason = reason_of(why, redacted(url), user_of(url))
        self._refusals = self._refusals + 1 if reason.final else 0
        final = self._refusals >= len(self._settings.urls)
        return msgspec.structs.replace(reason, final=final)

    def _gone(self, reason: Reason) -> None:
        self.losses += 1
        talks, self._talks = self._talks, []
        self._talking = self._asked = False
        self._side = None
        for talk in talks:
            talk.abandon()
        self._block(on=False)
        if not self._ended():
            self._come_back()
            self._events.link_down(reason)

    def _ended(self) -> bool:
        closed = self._closed
        if closed is None:
            return False
        if self._timer is not None:
            self._loop.forget(self._timer)
            self._timer = None
        closed()
        return True

    def _come_back(self) -> None:
        wait = min(_FIRST_WAIT * 2**self._failures, _LONGEST_WAIT) * (1 + _rng.random() / 2)
        self._failures = min(self._failures + 1, 16)
        self._timer = self._loop.later(wait, self.open)

    # -- conversations

    def _talk_on(self) -> None:
        if self._talking or not self._talks or not self.is_open:
            return
        self._talking = True
        if self._side is not None and self._side.is_open:
            self._ask(self._side)
        else:
            self._side = self.channel(self._ask, self._hung_up)

    def _ask(self, side: Channel) -> None:
        """Ask the next question of the conversation that is on."""
        question = self._talks[0].question
        if question is None:
            self._talks.pop(0)
            self._talking = False
            self._talk_on()
        else:
            self._asked = True
            try:
                side.ask(question, self._answered)
            except Exception as error:
                log.exception("a question cannot be asked in AMQP: %r", question)
                self._hung_up(side, Reason(f"it cannot be asked: {type(error).__name__}"))
                side.close()

    def _answered(self, answer: Answer) -> None:
        self._asked = False
        self._loop.guarded(self._talks[0].answered, answer)
        if self._side is not None and self._side.is_open:
            self._ask(self._side)

    def _hung_up(self, side: Channel, reason: Reason) -> None:
        """The broker has closed the channel: that was the answer."""
        if side is not self._side:
            return
        self._side = None
        if not self.is_open or not self._talking:
            return
        if self._asked:
            self._asked = False
            answer = Answer(code=reason.code or NO_CODE, text=reason.text)
            self._loop.guarded(self._talks[0].answered, answer)
        if self.is_open:  # who got that answer may have closed the link
            self._side = self.channel(self._ask, self._hung_up)
