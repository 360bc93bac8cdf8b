"""What a worker does on its I/O thread: the state machines joined to the broker, the jobs and Ollama.

`taking` says what to take and `jobs` what a delivery is and when it is settled; `serving` keeps that to what
can be served, and `answering` sends replies. `intake` and `post` talk to the broker, `running` does the jobs
and `watching` looks at Ollama, on threads of their own, which post here what they have to say. So nothing
here needs a lock.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from .answering import Answering
from .broker import user_of, vhost_of
from .callers import Callers
from .definitions import permission_lines
from .errors import BrokerRefused
from .intake import Intake
from .jobs import Delivery, Finished, Job, Jobs, State
from .jobs import Run as NewJob
from .jobs import Settle as Settlement
from .loop import Loop
from .post import Post
from .running import Assignment, Fate, Runner, Verdict
from .serving import FULL, UNSENT, Serving
from .taking import Cancel, Consume, Get, Run, Settle, Taking
from .threads import Threads
from .topology import configured_exchanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ollama_ext.client import Client
    from ollama_ext.errors import OllamaError
    from ollama_ext.settings import Settings

    from .broker import Reason
    from .channels import Message
    from .declaring import Declared
    from .expansion import Model
    from .taking import Action

log: logging.Logger = logging.getLogger(__name__)

# Seconds between two looks at what is due.
_TICK: Final = 1.0
_COUNT: Final = "x-delivery-count"
# What is said of the connection, as `Serving.say_once` has it.
_BROKER: Final = "broker"


class Engine:
    """A running worker. Its public methods may be called from any thread; the events come on the I/O thread.

    Attributes:
        ended: Set when it has stopped.
        failure: Why it had to stop by itself, or None.
    """

    def __init__(
        self, settings: Settings, client: Client, before_subscribe: Callable[[str], object] | None
    ) -> None:
        """Prepare; it runs from `start` on."""
        worker, amqp = settings.worker, settings.amqp
        self.ended: threading.Event = threading.Event()
        self.failure: OllamaError | None = None
        self._drain_limit = worker.drain_limit
        self._loop = Loop("fleet-io")
        told = {
            "worker": worker.name,
            "subscriptions": ", ".join(f"{each.type} {each.model}" for each in settings.subscriptions),
        }
        self._intake = Intake(self._loop, f"{worker.name}: requests", amqp, told, self)
        self._taking: Taking[Any] = Taking(worker.slots, worker.dwell)
        self._jobs = Jobs()
        self._serving = Serving(
            settings,
            client,
            self._loop,
            self._taking,
            do=self._do,
            want=self._intake.want,
            before_subscribe=before_subscribe,
        )
        self._post = Post(self._loop, f"{worker.name}: replies", amqp, told)
        self._answering = Answering(worker.name, self._post, self._known, self._answered, self._post_ready)
        self._post.events = self._answering
        exchanges = configured_exchanges(settings.subscriptions, amqp.exchange)
        self._runner = Runner(settings, client, exchanges)
        url = amqp.urls[0]
        (self._rights,) = permission_lines(user_of(url), vhost_of(url), exchanges, "worker")
        self._threads = Threads(worker.slots, "fleet-job")
        self._asked: str | None = None  # the queue that has not answered
        self._cancelling: set[str] = set()
        self._assignments: dict[Job, Assignment] = {}
        self._callers = Callers(self._post, self._assignments)
        self._connected = self._served = False  # whether ever
        self._trouble: OllamaError | None = None  # why there is no connection yet
        self._stopping = self._closing = False

    # -- from any thread

    def start(self) -> None:
        """Connect, look at Ollama, and serve."""
        self._loop.start()
        self._loop.call(self._begin)

    def stop(self, *, now: bool) -> None:
        """Stop: finish what runs, or give it back ``now``."""
        self._loop.call(lambda: self._stop(now=now))

    def give_up_waiting(self) -> None:
        """End with a failure if there has been no broker or no Ollama yet."""
        self._loop.call(self._give_up_waiting)

    def join(self) -> None:
        """End at once if it has not ended, and wait until all has ended that must."""
        self._loop.call(self._close)
        self.ended.wait()
        self._serving.end()
        self._threads.end()
        self._loop.stop()
        self._loop.join()

    # -- life

    def _begin(self) -> None:
        self._serving.halt(UNSENT)
        self._serving.begin()
        self._intake.open()
        self._post.open()
        self._tick()

    def _tick(self) -> None:
        if self._closing:
            return
        self._loop.later(_TICK, self._tick)
        now = monotonic()
        self._serving.tick(now)
        self._callers.look(now)
        self._heed_outbox()

    def _stop(self, *, now: bool) -> None:
        if self._closing:
            return
        if not self._stopping:
            self._stopping = True
            log.info("stopping; jobs that run: %d", len(self._assignments))
            self._serving.stop()
            self._loop.later(self._drain_limit, lambda: self._stop(now=True))
            self._do(self._taking.drain(monotonic()))
        if now:
            if self._assignments or self._answering:
                log.warning(
                    "stopping now; jobs given back: %d, replies not confirmed: %d",
                    len(self._assignments),
                    len(self._answering),
                )
            for assignment in self._assignments.values():
                assignment.cancel.cancel()
            self._close()
        else:
            self._check_end()

    def _check_end(self) -> None:
        if self._stopping and self._taking.idle and not self._assignments and not self._answering:
            self._close()

    def _close(self) -> None:
        if self._closing:
            return
        self._closing = self._stopping = True
        open_ones = {"intake", "post"}

        def closed(which: str) -> None:
            open_ones.discard(which)
            if not open_ones:
                self.ended.set()

        self._intake.close(lambda: closed("intake"))
        self._post.close(lambda: closed("post"))

    def _fail(self, error: OllamaError) -> None:
        if self.failure is None and not self._stopping:
            self.failure = error
            self._close()

    def _give_up_waiting(self) -> None:
        if not self._connected:
            if self._trouble is not None:  # else the first try still goes on, and ends by itself
                self._fail(self._trouble)
        elif self._serving.inventory is None and self._serving.trouble is not None:
            self._fail(self._serving.trouble)

    # -- what the intake tells

    def intake_up(self) -> None:
        """Begin to take; each queue follows when it is declared."""
        self._connected = True
        self._serving.unsay(_BROKER)
        log.info("connected to the broker")
        self._do(self._taking.opened(monotonic()))

    def intake_down(self, reason: Reason) -> None:
        """What was delivered is the broker's again; what runs goes on."""
        log.warning("lost the broker; jobs that go on: %d; %s", len(self._assignments), reason.text)
        self._taking.lost()
        self._asked = None
        self._cancelling.clear()
        self._serving.all_undeclared()
        self._check_end()

    def intake_failed(self, reason: Reason) -> None:
        """Say why there is no connection; before the first one it may be the end."""
        self._serving.say_once(_BROKER, f"no connection to the broker: {reason.text}")
        self._trouble = reason.error()
        if reason.final and not self._connected:
            self._fail(self._trouble)

    def exchange_refused(self, declared: Declared) -> None:
        """Without its exchange a worker gets nothing: say what to do. Later on it is declared again."""
        remedy = (
            "let an operator make it (`ollama-ext fleet definitions` prints what `rabbitmqctl "
            "import_definitions` takes)"
            if declared.right
            else "name another one as amqp.exchange"
        )
        if self._served:
            self._serving.say_once(declared.name, f"{declared.problem}: {remedy}")
        else:
            self._fail(BrokerRefused(f"{declared.problem}: {remedy}"))

    def queue_ready(self, declared: Declared) -> None:
        """Take from it, if its model is there."""
        self._served = True
        self._serving.unsay(declared.name)
        self._serving.declared(declared)

    def queue_refused(self, declared: Declared) -> None:
        """Say what to do; the other queues are served."""
        remedy = f". What gives a worker its rights: {self._rights}" if declared.right else ""
        self._serving.say_once(declared.name, f"{declared.name} waits: {declared.problem}{remedy}")

    def queue_lost(self, queue: str, epoch: int, reason: str) -> None:
        """Forget what came on its channel and was not started; what runs goes on."""
        self._jobs.lost(epoch)
        if not self._intake.link.is_open:
            return  # everything is lost; `intake_down` follows
        log.warning("lost the channel of %s: %s", queue, reason)
        now = monotonic()
        # First that there is no consumer: what else is told could begin or cancel one on the lost channel.
        if self._serving.serves(queue):  # of another one there is none, and perhaps no trace
            self._do(self._taking.consumer_gone(queue, now))
        if self._asked == queue:
            self._asked = None
            self._do(self._taking.empty(queue, now))
        if queue in self._cancelling:
            self._cancelling.discard(queue)
            self._do(self._taking.cancelled(queue, now))
        self._serving.undeclared(queue)

    def consumer_gone(self, queue: str) -> None:
        """It is declared anew."""
        log.warning("the broker has ended our consumer of %s: deleted, moved, or we took too long", queue)
        self._do(self._taking.consumer_gone(queue, monotonic()))
        self._serving.undeclared(queue)

    def cancelled(self, queue: str) -> None:
        """Pass it on."""
        self._cancelling.discard(queue)
        self._do(self._taking.cancelled(queue, monotonic()))

    def empty(self, queue: str) -> None:
        """Pass it on."""
        self._asked = None
        self._do(self._taking.empty(queue, monotonic()))

    def arrived(self, queue: str, epoch: int, message: Message) -> None:
        """Find out what it is, and run it when it is its turn."""
        if self._asked == queue:
            self._asked = None
        delivery = Delivery(
            queue=queue,
            tag=message.tag,
            epoch=epoch,
            redelivered=message.redelivered,
            properties=message.properties,
            body=message.body,
            count=_count(message.properties.headers),
        )
        now = monotonic()
        decision = self._jobs.delivered(delivery)
        match decision:
            case NewJob(job):
                self._do(self._taking.arrived(queue, job, now))
            case Finished():
                log.info("a request that was answered came back to %s; it is not run again", queue)
                self._do(self._taking.arrived(queue, None, now, absorbed=True))
                self._do(self._taking.settle(decision.settle))
            case _:
                log.info("a request that runs here came back to %s; it goes on", queue)
                self._do(self._taking.arrived(queue, None, now, absorbed=True))

    def _do(self, actions: Iterable[Action[Any]]) -> None:
        """Do what taking says."""
        for action in actions:
            match action:
                case Run(item):
                    self._run(item)
                case Settle(item):
                    self._intake.settle(item)
                case Get(queue):
                    self._asked = queue
                    self._intake.get(queue)
                case Consume(queue, prefetch):
                    self._intake.consume(queue, prefetch)
                case Cancel(queue):
                    self._cancelling.add(queue)
                    self._intake.cancel(queue)
        self._check_end()

    # -- jobs

    def _run(self, job: Job) -> None:
        queue = job.delivery.queue
        if job.state is not State.HELD:  # its channel was lost while it was held
            self._loop.later(0, self._freed, queue)
            return
        now = monotonic()
        self._jobs.started(job, now)
        subscription = self._serving.subscription(queue)
        self._serving.starts(subscription)
        assignment = Assignment(job, subscription, self._jobs.attempt(job), now)
        self._assignments[job] = assignment
        self._threads.submit(lambda: self._loop.call(self._worked, assignment, self._runner.run(assignment)))

    def _freed(self, queue: str) -> None:
        self._do(self._taking.freed(queue, monotonic()))

    def _worked(self, assignment: Assignment, verdict: Verdict) -> None:
        """Take the verdict on a job: whether this machine may go on, then what becomes of the request."""
        job = assignment.job
        queue = job.delivery.queue
        del self._assignments[job]
        try:
            self._serving.judge(queue, verdict, monotonic())
            self._conclude(assignment, verdict)
        finally:
            self._freed(queue)

    def _conclude(self, assignment: Assignment, verdict: Verdict) -> None:
        job = assignment.job
        queue = job.delivery.queue
        if verdict.why:
            level = logging.INFO if verdict.fate is Fate.REPLY else logging.WARNING
            log.log(
                level,
                "%s: delivery %d: %.300s (%s)",
                queue,
                assignment.attempt,
                verdict.why,
                verdict.fate.value,
            )
        match verdict.fate:
            case Fate.REQUEUE | Fate.MISSING:
                self._settle_all(self._jobs.requeue(job))
            case Fate.DROP:
                self._jobs.finished(job)
                self._settle_all(self._jobs.replied(job))
            case Fate.REPLY | Fate.DEAD:
                self._jobs.finished(job)
                self._answering.answer(assignment, verdict, dead=verdict.fate is Fate.DEAD)
                self._jobs.unburden(job)
                self._heed_outbox()
            case Fate.LEAVE:  # the connection is being closed, and what is not settled goes back
                pass

    def _answered(self, assignment: Assignment, lost: bool, arrived: bool) -> None:
        """The fate of the answer is known."""
        job = assignment.job
        jobs = self._jobs
        self._settle_all(jobs.reject_dead(job) if lost else jobs.replied(job, arrived=arrived))
        self._check_end()

    def _post_ready(self) -> None:
        self._serving.see_whether_we_may_reply(self._post, self._rights)

    def _settle_all(self, settlements: Iterable[Settlement]) -> None:
        for settlement in settlements:
            self._do(self._taking.settle(settlement))

    def _heed_outbox(self) -> None:
        """Take nothing while too many replies wait."""
        if self._post.outbox.full:
            self._serving.say_once(FULL, "taking no more requests while so many replies wait to be sent")
            self._serving.halt(FULL)
        else:
            self._serving.unsay(FULL)
            self._serving.go(FULL)

    def _known(self, queue: str) -> tuple[Model | None, str | None]:
        inventory = self._serving.inventory
        return self._serving.model(queue), None if inventory is None else inventory.version


def _count(headers: Any) -> int:
    """Return how many deliveries of a message have failed, as the broker counts them."""
    count = headers.get(_COUNT, 0) if isinstance(headers, dict) else 0
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0
