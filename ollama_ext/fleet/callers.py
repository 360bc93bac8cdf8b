"""Whether those who wait for running jobs are still there: nobody need compute what nobody will read.

On the I/O thread. A caller is there as long as its reply queue is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from .declaring import is_gone, look
from .questions import Conversation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .jobs import Job
    from .post import Post
    from .questions import Answer
    from .running import Assignment

log: logging.Logger = logging.getLogger(__name__)

# Seconds between two looks for the caller of the same job.
_EVERY: Final = 30.0


class Callers:
    """Looks for the callers of running jobs, and ends the jobs of those who have gone."""

    def __init__(self, post: Post, running: Mapping[Job, Assignment]) -> None:
        """Take what asks the broker, and the jobs that run at any time."""
        self._post, self._running = post, running

    def look(self, now: float) -> None:
        """Ask whether reply queues are still there: soon after the start of a job, then now and then."""
        for assignment in self._running.values():
            reply_to = assignment.reply_to
            if reply_to is not None and now - assignment.looked >= _EVERY and self._post.link.is_open:
                assignment.looked = now
                self._post.converse(Conversation(look(reply_to), _Look(assignment, self._running)))


class _Look:
    """What to do with the answer to whether a caller is still there."""

    def __init__(self, assignment: Assignment, running: Mapping[Job, Assignment]) -> None:
        self._assignment, self._running = assignment, running

    def __call__(self, answer: Answer) -> None:
        assignment = self._assignment
        if is_gone(answer) and assignment.job in self._running:
            log.info("the caller of a job of %s has gone", assignment.job.delivery.queue)
            assignment.caller_gone = True
            assignment.cancel.cancel()
