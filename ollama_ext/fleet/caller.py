"""The caller's I/O: requests out on one link, replies in on another, and the threads that wait for them.

The reply queue is durable and has a name, so a reply finds it after the broker or the caller's connection was
lost. The broker deletes it when nobody has used it for a while.
"""

from __future__ import annotations

import copy
import logging
import os
import secrets
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from .broker import user_of
from .calls import RIGHTS, Call, Calls, End, Send, Withdraw
from .declaring import NO_RIGHT
from .errors import BrokerRefused, FleetError, ReplyRefused
from .links import Link
from .loop import Loop
from .messages import parse_reply
from .outbox import Letter
from .post import Post
from .questions import Conversation, QueueDeclare, QueueDelete
from .topology import reply_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from ollama_ext.settings import AmqpSettings

    from .broker import Reason
    from .calls import Action
    from .channels import Channel, Message
    from .messages import Properties, Reply
    from .outbox import How
    from .questions import Answer, Question

log: logging.Logger = logging.getLogger(__name__)

# Milliseconds after which the broker deletes a reply queue that nobody uses.
_EXPIRES: Final = 1_800_000
# Classic because it expires and one process reads it; named, or a default of the virtual host would decide.
_ARGUMENTS: Final = {"x-queue-type": "classic", "x-expires": _EXPIRES}
# Seconds between two looks at what has waited too long; and replies that may wait to be read.
_TICK, _PREFETCH = 0.5, 256
# Seconds before a reply queue that was refused is asked for again, and that the end may take.
_REFUSED, _ENDING = 2.0, 6.0


class Waiting:
    """A thread that waits for one call.

    Attributes:
        call: What it waits for.
        ended: Called when it has ended.
        outcome: How it ended.
    """

    __slots__ = ("body", "call", "ended", "expires", "outcome", "properties")

    def __init__(self, call: Call, body: bytes, properties: Properties, expires: float | None) -> None:
        """Keep what is to be sent, and until when (of `time.monotonic`) it may be."""
        self.call: Call = call
        self.body: bytes = body
        self.properties: Properties = properties
        self.expires: float | None = expires
        self.ended: Callable[[], object] = _nothing
        self.outcome: Reply | FleetError | None = None


class Caller:
    """Sends requests and brings their replies. For any number of threads; it has one of its own."""

    def __init__(self, settings: AmqpSettings, name: str) -> None:
        """Prepare; it connects with the first request."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._started = self._closed = False
        self._settings = settings
        self._loop = Loop("fleet-caller")
        self._post = Post(self._loop, f"{name}: requests", settings, {})
        self._post.events = self
        self._link = Link(self._loop, f"{name}: replies", settings, {}, self)
        self._channel: Channel | None = None
        self._sending = self._listened = False  # requests go out; there is, or was, a reply queue
        self._calls = Calls()
        self._waiting: dict[str, Waiting] = {}
        self.reply_to: Final = reply_queue(user_of(settings.urls[0]), secrets.token_hex(8))

    # -- for the threads that call

    def begin(self, waiting: Waiting, ended: Callable[[], object]) -> None:
        """Send a request; ``ended`` is called, on another thread, when its outcome is there.

        Raises:
            FleetError: The caller is closed, or belongs to another process.
        """
        if os.getpid() != self._pid:
            raise FleetError(
                "this FleetClient was made before a fork, and its connections belong to the other process: "
                "make one in each process"
            )
        with self._lock:
            if self._closed:
                raise FleetError("this FleetClient is closed: make a new one")
            if not self._started:
                self._started = True
                self._loop.start()
                self._loop.call(self._open)
            self._loop.call(self._begin, waiting, ended)

    def forget(self, waiting: Waiting) -> None:
        """Nobody waits for it any more."""
        self._loop.call(self._forget, waiting)

    def close(self) -> None:
        """End; who still waits gets an error. In a process that was forked off there is nothing to end."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            started, self._closed = self._started and not self._closed, True
        if not started:
            return
        ended = threading.Event()
        self._loop.call(self._close, ended)
        ended.wait(_ENDING)
        self._loop.stop()
        self._loop.join(_ENDING)

    # -- on the loop's thread

    def _open(self) -> None:
        self._calls.down("no broker has answered yet", monotonic())
        self._link.open()
        self._post.open()
        self._tick()

    def _begin(self, waiting: Waiting, ended: Callable[[], object]) -> None:
        self._waiting[waiting.call.id] = waiting
        waiting.ended = ended
        self._do(self._calls.begin(waiting.call, monotonic()))

    def _forget(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting.call.id, None)
        self._do(self._calls.forget(waiting.call))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Send(call):
                    waiting = self._waiting[call.id]
                    self._post.send(
                        Letter(
                            id=call.id,
                            exchange=self._settings.exchange,
                            routing_key=call.queue,
                            body=waiting.body,
                            properties=waiting.properties,
                            expires=waiting.expires,
                        )
                    )
                case Withdraw(call):
                    self._post.withdraw(call.id)
                case End(call, outcome):
                    self._post.withdraw(call.id)
                    waiting = self._waiting.pop(call.id)
                    # Each thread raises an error of its own.
                    waiting.outcome = copy.copy(outcome) if isinstance(outcome, FleetError) else outcome
                    waiting.ended()

    def _tick(self) -> None:
        self._loop.later(_TICK, self._tick)
        self._do(self._calls.tick(monotonic()))

    def _close(self, ended: threading.Event) -> None:
        for waiting in list(self._waiting.values()):
            waiting.outcome = FleetError("the FleetClient was closed while this call waited for its reply")
            waiting.ended()
        self._waiting.clear()
        left = {"post", "link"}

        def closed(which: str) -> None:
            left.discard(which)
            if not left:
                ended.set()

        def close_both(_answer: object = None) -> None:
            self._post.close(lambda: closed("post"))
            self._link.close(lambda: closed("link"))

        if self._link.is_open:
            self._link.converse(Conversation(_delete(self.reply_to), close_both))
        else:
            close_both()

    # -- the link of the replies

    def link_up(self) -> None:
        """Declare the reply queue, and read it."""
        self._link.converse(Conversation(_declare(self.reply_to), self._declared))

    def _declared(self, declared: tuple[bool, Answer]) -> None:
        new, answer = declared
        if answer.ok:
            self._channel = self._link.channel(lambda channel: self._listen(channel, new), self._deaf)
            return
        self._loop.later(_REFUSED, self._redeclare)
        self._without_replies(answer.code, f"no reply queue: {answer.text}")

    def _listen(self, channel: Channel, new: bool) -> None:
        channel.consume(
            self.reply_to,
            _PREFETCH,
            lambda message: self._received(channel, message),
            lambda: self._listening(new),
            lambda: self._again(channel),
        )

    def _listening(self, new: bool) -> None:
        if new and self._listened:
            log.warning("the queue of the replies was gone: what was not answered is asked again")
        self._listened = True
        self._do(self._calls.ready(lost=new))
        self._up()

    def _deaf(self, channel: Channel, reason: Reason) -> None:
        if channel is self._channel and self._link.is_open:
            log.warning("lost the channel of the replies: %s", reason.text)
            self._again(channel)
            self._without_replies(reason.code, f"the reply queue cannot be read: {reason.text}")

    def _without_replies(self, code: int | None, why: str) -> None:
        """A missing right is an error at once; what else it may be may pass."""
        if code == NO_RIGHT:
            self._do(self._calls.refused(BrokerRefused(f"{why}. {RIGHTS}")))
        elif not self._listened:
            self._calls.down(why, monotonic())

    def _again(self, channel: Channel) -> None:
        """The reply queue is gone, or its channel: begin anew."""
        if channel is self._channel:
            self._channel = None
            channel.close()
            self._loop.later(_TICK, self._redeclare)

    def _redeclare(self) -> None:
        if self._channel is None and self._link.is_open:
            self.link_up()

    def _received(self, channel: Channel, message: Message) -> None:
        channel.ack(message.tag)
        outcome: Reply | FleetError
        try:
            outcome = parse_reply(message.body, message.properties)
        except ReplyRefused as error:
            outcome = error
        self._do(self._calls.replied(message.properties.correlation_id, outcome))

    def link_down(self, reason: Reason) -> None:
        """Replies wait in their queue."""
        log.info("lost the broker; replies wait: %s", reason.text)
        self._channel = None

    def link_failed(self, reason: Reason) -> None:
        """Without a reply queue nothing is sent; if there is one, replies wait in it."""
        if not self._listened:
            self._calls.down(reason.text, monotonic())
        self._refused(reason)

    def link_blocked(self, on: bool) -> None:
        """Nothing is published here."""

    # -- the post of the requests

    def post_settled(self, letter: Letter, how: How, reason: str) -> None:
        """It is known what became of a request on its way to the queue."""
        self._do(self._calls.settled(letter.id, how, reason))

    def post_up(self) -> None:
        """Requests go out."""
        self._sending = True
        self._up()

    def post_down(self, reason: Reason) -> None:
        """Requests wait."""
        self._sending = False
        self._calls.down(reason.text, monotonic())
        self._refused(reason)

    def post_blocked(self, on: bool) -> None:
        """Requests wait, or go out again."""
        self._calls.blocked(on, monotonic())

    def _up(self) -> None:
        if self._sending and self._listened:
            self._calls.up()

    def _refused(self, reason: Reason) -> None:
        if reason.final:
            self._do(self._calls.refused(BrokerRefused(reason.text)))


def _nothing() -> None:
    pass


def _declare(queue: str) -> Generator[Question, Answer, tuple[bool, Answer]]:
    """Return whether the queue was not there, and the answer to its declaration."""
    there = yield QueueDeclare(queue, passive=True)
    answer = yield QueueDeclare(queue, dict(_ARGUMENTS))
    return not there.ok, answer


def _delete(queue: str) -> Generator[Question, Answer, Answer]:
    answer = yield QueueDelete(queue)
    return answer
