"""What a job thread does with one delivery: read it, run it on Ollama, and judge how it ended.

A thread touches no broker and none of the worker's state: it takes an `Assignment` and gives a `Verdict`.
"""

from __future__ import annotations

import logging
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ollama_ext.cancel import CancelToken
from ollama_ext.timeouts import Timeouts

from .dispatch import run_request
from .faults import Fault
from .messages import Envelope, Refusal, error_body, parse_request, reply_body, unique_ids
from .messages.shapes import text_of
from .topology import reply_refused
from .watching import probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollama_ext.client import Client
    from ollama_ext.settings import Settings, Subscription

    from .dispatch import Outcome
    from .jobs import Job
    from .messages import Request

log: logging.Logger = logging.getLogger(__name__)

# Seconds; what a limit of the caller's may be at least, so that a run can end in order.
_LEAST: Final = 0.001
# Seconds that a probe may take at least, however little of the job's time is left.
_LEAST_PROBE: Final = 30.0


class Assignment:
    """One job, on its way to a thread and back.

    Attributes:
        job: What was delivered.
        subscription: What it was taken for.
        attempt: Which delivery of the request this is, counted from 1.
        arrived: When it was started, in seconds of `time.monotonic`.
        cancel: Ends its inference.
        caller_gone: Whether that is because nobody waits for the reply any more.
        reply_to: Where the reply goes to, once its thread has read that; None until then, or for nowhere.
        looked: When somebody last looked whether the caller is still there.
    """

    __slots__ = (
        "arrived",
        "attempt",
        "caller_gone",
        "cancel",
        "job",
        "looked",
        "reply_to",
        "subscription",
    )

    def __init__(self, job: Job, subscription: Subscription, attempt: int, arrived: float) -> None:
        """Keep what belongs together."""
        self.job: Job = job
        self.subscription: Subscription = subscription
        self.attempt: int = attempt
        self.arrived: float = arrived
        self.cancel: CancelToken = CancelToken()
        self.caller_gone: bool = False
        self.reply_to: str | None = None
        self.looked: float = -math.inf


class Fate(Enum):
    """What is to become of a request."""

    REPLY = "reply"
    """It is answered, if it says where to."""

    DEAD = "dead"
    """It is copied to the dead-letter queue, then answered: no machine could do it."""

    REQUEUE = "requeue"
    """It goes back into its queue: this machine could not do it."""

    MISSING = "missing"
    """It goes back into its queue: this machine has not the model."""

    DROP = "drop"
    """It is acknowledged and not answered: nobody waits, or the answer may not go where it should."""

    LEAVE = "leave"
    """Nothing: the worker is stopping, and the broker has it back when the connection closes."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended.

    Attributes:
        fate: What is to become of it.
        reply_to: Where the reply goes to, or None.
        body: Of the reply.
        correlation_id: Its property, or None.
        code: Of the error, or None after a success.
        why: What went wrong, for the log.
        machine: Whether it was the machine's failure; False: it has served. None: it says nothing of it.
        sick: Whether a probe of the machine failed afterwards.
        patience: Seconds from the delivery for which the caller waits, or None.
        run: Identifies the inference.
        load_ms: Milliseconds until the model was ready.
        run_ms: Milliseconds of the run.
    """

    fate: Fate
    reply_to: str | None = None
    body: bytes = b""
    correlation_id: str | None = None
    code: str | None = None
    why: str = ""
    machine: bool | None = None
    sick: bool = False
    patience: float | None = None
    run: str = ""
    load_ms: int = 0
    run_ms: int = 0


class Runner:
    """Does assignments. One for all threads of a worker."""

    def __init__(self, settings: Settings, client: Client, exchanges: Sequence[str]) -> None:
        """Take note of the limits, of the Ollama, and of the exchanges whose queues no reply may go to."""
        self._worker, self._ollama = settings.worker, settings.ollama
        self._client = client.with_options(retry=None)  # the queue is what tries again
        self._exchanges = exchanges
        self._ids = unique_ids()
        self._limits = self._limits_of(settings.worker.job_limit)

    def run(self, assignment: Assignment) -> Verdict:
        """Do one. Never raises: a bug of ours is answered, too."""
        try:
            return self._run(assignment)
        except Exception as error:
            log.exception("a request could not be handled")
            reply_to = text_of(assignment.job.delivery.properties.reply_to)
            if reply_to is not None and self._refused(reply_to) is not None:
                reply_to = None
            refusal = Envelope(reply_to=reply_to).refused(
                "internal", f"the worker failed: {type(error).__name__}"
            )
            return self._answer(refusal, self._error(refusal), code=refusal.code, why=refusal.message)

    def _refused(self, reply_to: str) -> str | None:
        return reply_refused(reply_to, self._worker.reply_to_allow, self._exchanges)

    def _limits_of(self, total: float) -> Timeouts:
        ollama = self._ollama
        return Timeouts(first_byte=ollama.first_token, between=ollama.between_tokens, total=total)

    def _error(self, refusal: Refusal) -> bytes:
        return error_body(refusal, max_bytes=self._worker.max_reply_bytes)

    def _run(self, assignment: Assignment) -> Verdict:
        delivery, worker = assignment.job.delivery, self._worker
        request = parse_request(
            delivery.body, delivery.properties, assignment.subscription, max_bytes=worker.max_request_bytes
        )
        if request.reply_to is not None:
            reason = self._refused(request.reply_to)
            if reason is not None:
                return Verdict(fate=Fate.DROP, code="reply_to", why=f"{reason} (see worker.reply_to_allow)")
        if isinstance(request, Refusal):
            return self._answer(request, self._error(request), code=request.code, why=request.message)
        assignment.reply_to = request.reply_to
        if assignment.attempt > worker.max_deliveries:
            why = "each worker that took it ended, or lost its connection, before it could answer"
            return self._given_up(assignment, request, None, {"why": why})
        return self._judged(assignment, request)

    def _judged(self, assignment: Assignment, request: Request) -> Verdict:
        limit, limits = self._worker.job_limit, self._limits
        if request.run_limit is not None and request.run_limit < limit:
            limit = max(request.run_limit, _LEAST)
            limits = self._limits_of(limit)
        outcome = run_request(
            request.body,
            self._client,
            assignment.subscription,
            cancel=assignment.cancel,
            timeout=limits,
            retry=None,
        )
        fault, sick = outcome.fault, False
        if fault in (Fault.MACHINE, Fault.UNSURE):
            # The job's time, which the broker's patience is made for, bounds the probe, too.
            left = max(limit - outcome.total_ms / 1000, _LEAST_PROBE)
            longest = min(self._ollama.first_token, left)
            failed = probe(self._client, assignment.subscription, longest, assignment.cancel)
            sick = failed is not None
            if fault is Fault.UNSURE:
                fault = Fault.MACHINE if sick else Fault.CALLER
        if fault is not None and assignment.cancel.cancelled:
            fault, sick = Fault.CANCELLED, False
        why = "" if outcome.error is None else str(outcome.error["message"])
        known: dict[str, Any] = {
            "why": why,
            "machine": {None: False, Fault.MACHINE: True}.get(fault),
            "sick": sick,
            "run": self._ids(),
        }
        match fault:
            case Fault.CANCELLED if assignment.caller_gone:
                known["why"] = "its caller has gone"
                return Verdict(fate=Fate.DROP, code="cancelled", **known)
            case Fault.CANCELLED:
                known["why"] = "the worker stops"
                return Verdict(fate=Fate.LEAVE, code="cancelled", **known)
            case Fault.MACHINE | Fault.MODEL_MISSING:
                late = outcome.total_ms >= limit * 1000
                if assignment.attempt < self._worker.max_deliveries and not late:
                    return Verdict(fate=Fate.REQUEUE if fault is Fault.MACHINE else Fate.MISSING, **known)
                return self._given_up(assignment, request, outcome, known, late=late)
            case _:
                return self._answer(
                    request,
                    reply_body(request, outcome, max_bytes=self._worker.max_reply_bytes),
                    code=None if outcome.error is None else outcome.error["code"],
                    load_ms=outcome.load_ms,
                    run_ms=outcome.total_ms,
                    **known,
                )

    def _given_up(
        self,
        assignment: Assignment,
        request: Request,
        outcome: Outcome | None,
        known: dict[str, Any],
        *,
        late: bool = False,
    ) -> Verdict:
        """Answer a request that no machine could do. What Ollama said of it, if anything, goes along."""
        code = "deadline_expired" if late else "delivery_limit"
        runs = assignment.attempt if outcome is not None else assignment.attempt - 1
        times = f"given up after {runs} {'run' if runs == 1 else 'runs'} (worker.max_deliveries)"
        refusal = request.refused(code, f"{times}; the last failure: {known['why']}")
        if outcome is None or outcome.result is None:
            body = self._error(refusal)
        else:
            error = {"code": code, "message": refusal.message, "retryable": False}
            if outcome.fault is Fault.MODEL_MISSING and outcome.error is not None:
                error = outcome.error
            body = reply_body(
                request,
                msgspec.structs.replace(outcome, error=error),
                max_bytes=self._worker.max_reply_bytes,
            )
        return self._answer(request, body, fate=Fate.DEAD, code=code, **known)

    def _answer(
        self, request: Request | Refusal, body: bytes, *, fate: Fate = Fate.REPLY, **known: Any
    ) -> Verdict:
        return Verdict(
            fate=fate,
            reply_to=request.reply_to,
            body=body,
            correlation_id=request.correlation_property,
            patience=request.patience,
            **known,
        )
