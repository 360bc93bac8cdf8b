"""Replies and dead letters: written, sent, and what became of them. On the I/O thread.

A request that no machine could do is first copied to the queue `DEAD_QUEUE`, then answered, then
acknowledged, so that at no moment it is nowhere.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from .messages import dead_properties, refused_body, reply_properties, unique_ids
from .outbox import Letter
from .running import Assignment, Verdict
from .topology import DEAD_QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .broker import Reason
    from .expansion import Model
    from .outbox import How
    from .post import Post

log: logging.Logger = logging.getLogger(__name__)


class _Sent(msgspec.Struct, frozen=True):
    """A letter that is under way.

    Attributes:
        assignment: The job that it is about.
        verdict: How that ended.
        dead: Whether it is the copy for the dead-letter queue; the reply follows.
        lost: Whether there is no such copy, though there should be.
        short: Whether it only says that the broker does not take the reply.
    """

    assignment: Assignment
    verdict: Verdict
    dead: bool = False
    lost: bool = False
    short: bool = False


class Answering:
    """Sends the answers of one worker."""

    def __init__(
        self,
        worker: str,
        post: Post,
        known: Callable[[str], tuple[Model | None, str | None]],
        done: Callable[[Assignment, bool, bool], None],
        ready: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            worker: Name of the worker.
            post: What publishes.
            known: Returns the model of a queue and the version of the Ollama, as far as they are known.
            done: Called when the fate of an answer is known, with whether a copy in the dead-letter queue is
                missing, and whether the answer is in a queue, or none was wanted.
            ready: Called when replies can be sent.
        """
        self._worker, self._post, self._known, self._done = worker, post, known, done
        self._ready = ready
        self._down = False  # said that replies wait
        self._ids = unique_ids()
        self._letters: dict[str, _Sent] = {}

    def __len__(self) -> int:
        """Return how many letters are not settled."""
        return len(self._letters)

    def answer(self, assignment: Assignment, verdict: Verdict, *, dead: bool) -> None:
        """Answer a request, if it says where to; ``dead`` copies it to the dead-letter queue first."""
        sent = _Sent(assignment, verdict, dead)
        if dead:
            self._bury(sent)
        else:
            self._reply(sent)

    def _reply(self, sent: _Sent) -> None:
        verdict, assignment = sent.verdict, sent.assignment
        if verdict.reply_to is None:
            self._done(assignment, sent.lost, True)  # noqa: FBT003 - as the callback takes it
            return
        letter_id = self._ids()
        queue = assignment.job.delivery.queue
        model, version = self._known(queue)
        self._letters[letter_id] = sent
        self._post.send(
            Letter(
                id=letter_id,
                routing_key=verdict.reply_to,
                body=verdict.body,
                properties=reply_properties(
                    correlation_id=verdict.correlation_id,
                    message_id=letter_id,
                    worker=self._worker,
                    run=verdict.run,
                    attempt=assignment.attempt,
                    digest=None if model is None else model.digest,
                    version=version,
                    queue=queue,
                    load_ms=verdict.load_ms,
                    run_ms=verdict.run_ms,
                ),
                expires=None if verdict.patience is None else assignment.arrived + verdict.patience,
            )
        )

    def _bury(self, sent: _Sent) -> None:
        letter_id = self._ids()
        delivery = sent.assignment.job.delivery
        self._letters[letter_id] = sent
        self._post.send(
            Letter(
                id=letter_id,
                routing_key=DEAD_QUEUE,
                body=delivery.body,
                properties=dead_properties(
                    delivery.properties,
                    message_id=letter_id,
                    queue=delivery.queue,
                    code=sent.verdict.code or "",
                    why=sent.verdict.why,
                    worker=self._worker,
                    attempt=sent.assignment.attempt,
                ),
            )
        )

    # -- what the post tells

    def post_settled(self, letter: Letter, how: How, reason: str) -> None:
        """The fate of a reply is known: the request is done. Of a dead letter: its reply follows."""
        sent = self._letters.pop(letter.id)
        what = f"{how}: {reason}" if reason else how
        if sent.dead:
            lost = how != "confirmed"
            if lost:
                log.error(
                    "the queue %s did not take a request (%s): make it with `ollama-ext fleet definitions`. "
                    "The request is rejected instead, which keeps it only if a policy names a dead-letter "
                    "exchange",
                    DEAD_QUEUE,
                    what,
                )
            self._reply(_Sent(sent.assignment, sent.verdict, lost=lost))
            return
        if how == "unconfirmed" and (letter.expires is None or letter.expires > monotonic()):
            log.warning("a reply to %s was not confirmed in time, and is sent again", letter.routing_key)
            self._reply(sent)
            return
        if how != "confirmed":
            log.warning("a reply to %s was not delivered (%s)", letter.routing_key, what)
        if how == "refused" and not sent.short:
            short = msgspec.structs.replace(sent.verdict, body=refused_body(letter.body, reason))
            self._reply(msgspec.structs.replace(sent, verdict=short, short=True))
            return
        self._done(sent.assignment, sent.lost, how == "confirmed")

    def post_up(self) -> None:
        """The outbox goes on by itself."""
        self._down = False
        self._ready()

    def post_down(self, reason: Reason) -> None:
        """Say it, once for each outage; replies wait."""
        if not self._down:
            log.warning("replies wait: %s", reason.text)
        self._down = True

    def post_blocked(self, on: bool) -> None:
        """Say it."""
        log.warning("the broker takes no messages: replies wait" if on else "the broker takes messages again")
