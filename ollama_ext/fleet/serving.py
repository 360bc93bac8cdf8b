"""What a worker serves at the moment: which queues are taken from, and whether any. On the I/O thread.

A queue is taken from when nothing speaks against it: it is declared, its model is there, and provided and
loaded as the settings want it. And none is while the machine is sick (`readiness`) or too many replies wait.
"""

from __future__ import annotations

import logging
import random
import uuid
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .declaring import NO_RIGHT, may_reply
from .intake import Wanted
from .questions import Conversation
from .readiness import Go, Halt, Look, Pause, Probe, Readiness, Resume
from .running import Fate
from .taking import Source
from .threads import Threads
from .topology import ANY, configured_exchanges, is_wild, queue_name, same_model
from .watching import Watcher, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ollama_ext.client import Client
    from ollama_ext.errors import OllamaError
    from ollama_ext.settings import Settings, Subscription

    from .declaring import Declared
    from .expansion import Model
    from .loop import Loop
    from .post import Post
    from .questions import Answer
    from .readiness import Action as Measure
    from .running import Verdict
    from .taking import Action, Taking
    from .watching import Inventory

log: logging.Logger = logging.getLogger(__name__)

#: Why nothing is taken from a queue: it is not declared, or its model is not there, not provided, not loaded.
UNDECLARED, ABSENT, UNPROVIDED, UNLOADED = "undeclared", "absent", "unprovided", "unloaded"
#: Why nothing is taken at all.
SICK, FULL, UNSENT = "sick", "full", "unsent"
# Seconds between two looks at whether we may publish replies by now.
_RIGHTS: Final = 30.0


class Serving:
    """Keeps a `Taking` to what can be served.

    Attributes:
        inventory: What the Ollama has, once it has answered.
        trouble: Why it has not.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        loop: Loop,
        taking: Taking[Any],
        *,
        do: Callable[[Iterable[Action[Any]]], None],
        want: Callable[[Iterable[Wanted]], None],
        before_subscribe: Callable[[str], object] | None,
    ) -> None:
        """Prepare.

        Args:
            settings: What is to be served.
            client: Of the Ollama.
            loop: Whose thread this lives on.
            taking: What is kept.
            do: Does what taking says.
            want: Is told which queues to have.
            before_subscribe: Provides a model.
        """
        self.inventory: Inventory | None = None
        self.trouble: OllamaError | None = None
        self._settings, self._client, self._loop = settings, client, loop
        self._taking, self._do, self._want = taking, do, want
        self._exchange = settings.amqp.exchange
        self._readiness = Readiness(jitter=random.random)  # keeps machines apart; guards nothing
        self._provide: Final = provided_models(settings) if before_subscribe is not None else ()
        self._watcher = Watcher(
            client,
            settings.subscriptions,
            self._exchange,
            _Posted(loop, self),
            before_subscribe=before_subscribe,
            provided=self._provide,
        )
        self._prober = Threads(1, "fleet-probe")
        self._provided: set[str] = set()
        self._preload = settings.worker.preload
        exchanges = configured_exchanges(settings.subscriptions, self._exchange)
        self._lanes: Final = {exchange: lane for lane, exchange in enumerate(exchanges)}
        self._known: dict[str, Subscription] = {}  # by queue; those that were are kept, for their jobs
        self._models: dict[str, Model] = {}  # what there is of them
        self._sources: dict[str, Source] = {}
        self._pauses: dict[str, set[str]] = {}
        self._halts: set[str] = set()
        self._said: dict[str, str] = {}  # about what, and what
        self._probing: Subscription | None = None

    def begin(self) -> None:
        """Begin with what the settings name; wildcards follow when the Ollama has answered."""
        self._serve([each for each in self._settings.subscriptions if not is_wild(each)])
        self._watcher.start()

    def stop(self) -> None:
        """Look no more."""
        self._watcher.stop()

    def end(self) -> None:
        """Let the threads end."""
        self._watcher.stop()
        self._prober.end()

    def tick(self, now: float) -> None:
        """Do what is due."""
        for due in self._readiness.due(now):
            match due:
                case Probe():
                    self._prober.submit(self._probe)
                case Look():
                    self._watcher.poke()

    def subscription(self, queue: str) -> Subscription:
        """Return what a queue was taken for."""
        return self._known[queue]

    def serves(self, queue: str) -> bool:
        """Tell whether a queue is among those to be taken from, now or when nothing is against it."""
        return queue in self._sources

    def model(self, queue: str) -> Model | None:
        """Return what the Ollama has under the name of a queue's model."""
        return self._models.get(queue)

    def halt(self, why: str) -> None:
        """Take nothing until this is over."""
        if not self._halts:
            self._do(self._taking.halt(monotonic()))
        self._halts.add(why)

    def go(self, why: str) -> None:
        """This is over."""
        if why in self._halts:
            self._halts.discard(why)
            if not self._halts:
                self._do(self._taking.go(monotonic()))

    def see_whether_we_may_reply(self, post: Post, rights: str) -> None:
        """Take requests if replies can be published: without that right every answer would be lost.

        Args:
            post: What publishes, which is up.
            rights: The command that gives a worker what it needs.
        """

        def answered(answer: Answer) -> None:
            if answer.code != NO_RIGHT:
                self.unsay(UNSENT)
                self.go(UNSENT)
                return
            self.halt(UNSENT)
            self.say_once(
                UNSENT,
                f"taking no requests: we may not publish replies ({answer.text}). What gives a worker its "
                f"rights: {rights}",
            )
            self._loop.later(_RIGHTS, self.see_whether_we_may_reply, post, rights)

        post.converse(Conversation(may_reply(uuid.uuid4().hex), answered))

    # -- what the broker says of queues

    def undeclared(self, queue: str) -> None:
        """It has to be declared anew."""
        self._pause(queue, UNDECLARED)

    def all_undeclared(self) -> None:
        """The connection is gone."""
        for queue in self._pauses:
            self._pause(queue, UNDECLARED)

    def declared(self, declared: Declared) -> None:
        """It can be taken from."""
        source = self._sources.get(declared.name)
        if source is None:
            return
        if source.exclusive != declared.exclusive:
            self._sources[declared.name] = msgspec.structs.replace(source, exclusive=declared.exclusive)
            self._do(self._taking.set_sources(list(self._sources.values()), monotonic()))
        self._resume(declared.name, UNDECLARED)

    # -- what jobs say of the machine

    def starts(self, subscription: Subscription) -> None:
        """Take note of what is loaded: a probe loads it."""
        self._probing = subscription

    def judge(self, queue: str, verdict: Verdict, now: float) -> None:
        """Take note of how a job ended. The caller's failures say nothing of the machine."""
        if verdict.machine is False:
            self._measure(self._readiness.succeeded())
        elif verdict.sick:
            self._measure(self._readiness.probe_failed(now, verdict.why))
        elif verdict.machine:
            self._measure(self._readiness.machine_failed(now, verdict.why))
        elif verdict.fate is Fate.MISSING:
            self._measure(self._readiness.missing(queue, now))

    def _probe(self) -> None:
        """Probe the machine; on the prober's thread."""
        failed = probe(self._client, self._probing, self._settings.ollama.first_token)
        self._loop.call(self._probed, failed)

    def _probed(self, failed: OllamaError | None) -> None:
        now = monotonic()
        if failed is None:
            self._measure(self._readiness.probe_passed(now))
            for queue in self._pauses:
                self._resume(queue, UNLOADED)
        else:
            log.warning("a probe failed: %s", failed.message)
            self._measure(self._readiness.probe_failed(now, failed.message))

    # -- what the watcher says

    def seen(self, inventory: Inventory) -> None:
        """Serve the models that are there; wildcards mean what there is now."""
        if self.trouble is not None:
            log.info("Ollama %s answers", inventory.version)
            self.trouble = None
        self.inventory = inventory
        for note in inventory.notes:
            self.say_once(note, note)
        if list(inventory.subscriptions) != [self._known[queue] for queue in self._sources]:
            self._serve(inventory.subscriptions)
        now = monotonic()
        for queue, pauses in self._pauses.items():
            model = self._known[queue].model
            found = inventory.find(model)
            if found is not None:
                self._models[queue] = found
                self._measure(self._readiness.found(queue))
                self._resume(queue, ABSENT)
                if self._preload and UNPROVIDED not in pauses:  # once; where it fails, more probes follow
                    self._preload = False
                    self.starts(self._known[queue])
                    self._prober.submit(self._probe)
            else:
                if queue not in self._readiness.paused and UNPROVIDED not in pauses:
                    log.warning("%s waits: Ollama has no %s (ollama pull %s)", queue, model, model)
                self._measure(self._readiness.missing(queue, now))

    def away(self, error: OllamaError) -> None:
        """Take nothing while the Ollama does not answer."""
        if self.trouble is None:
            log.warning("Ollama does not answer: %s", error.message)
        self.trouble = error
        if self.inventory is not None:
            self._measure(self._readiness.probe_failed(monotonic(), error.message))

    def provided(self, model: str) -> None:
        """Subscribe to a model that was provided."""
        self._provided.add(model)
        for queue in self._pauses:
            if self._known[queue].model == model:
                self._resume(queue, UNPROVIDED)

    def not_provided(self, model: str, error: Exception) -> None:
        """Say it; it is tried again."""
        log.error("%s could not be provided, and waits: %s", model, error)

    # -- how it does that

    def _serve(self, subscriptions: Iterable[Subscription]) -> None:
        """Serve these, and no others."""
        served = {
            queue_name(each.type, each.model, each.exchange or self._exchange): each for each in subscriptions
        }
        self._known |= served
        for queue, each in served.items():
            if queue not in self._pauses:
                self._pauses[queue] = {UNDECLARED, ABSENT}
                if each.model in self._provide and each.model not in self._provided:
                    self._pauses[queue].add(UNPROVIDED)
                if self._preload:
                    self._pauses[queue].add(UNLOADED)
                self._do(self._taking.pause(queue, monotonic()))
        for queue in self._pauses.keys() - served.keys():
            del self._pauses[queue]
            self._readiness.found(queue)
        self._sources = {queue: self._source(queue, each) for queue, each in served.items()}
        self._do(self._taking.set_sources(list(self._sources.values()), monotonic()))
        self._want(
            Wanted(queue, each.exchange or self._exchange, each.single_active_consumer)
            for queue, each in served.items()
        )

    def _source(self, queue: str, subscription: Subscription) -> Source:
        known = self._sources.get(queue)
        return Source(
            queue=queue,
            model=subscription.model,
            lane=self._lanes.get(subscription.exchange or self._exchange, 0),
            slots=subscription.slots,
            exclusive=subscription.single_active_consumer if known is None else known.exclusive,
        )

    def _pause(self, queue: str, why: str) -> None:
        pauses = self._pauses.get(queue)
        if pauses is not None and why not in pauses:
            pauses.add(why)
            self._do(self._taking.pause(queue, monotonic()))

    def _resume(self, queue: str, why: str) -> None:
        pauses = self._pauses.get(queue)
        if pauses is not None and why in pauses:
            pauses.discard(why)
            if not pauses:
                log.info("serving %s", queue)
                self._do(self._taking.resume(queue, monotonic()))

    def _measure(self, measures: Iterable[Measure]) -> None:
        for measure in measures:
            match measure:
                case Halt():
                    log.error("taking no more requests: %s", self._readiness.reason)
                    self.halt(SICK)
                case Go():
                    log.info("taking requests again")
                    self.go(SICK)
                case Pause(queue):
                    self._pause(queue, ABSENT)
                case Resume(queue):
                    self._resume(queue, ABSENT)

    def say_once(self, about: str, text: str) -> None:
        """Log something that would else be said again and again, until something else is said about that."""
        if self._said.get(about) != text:
            self._said[about] = text
            log.warning("%s", text)

    def unsay(self, about: str) -> None:
        """It is over; if it comes again, it is said again."""
        self._said.pop(about, None)


def provided_models(settings: Settings) -> tuple[str, ...]:
    """Return the models that are provided: those that subscriptions name, and other ``default_models``."""
    named = list(dict.fromkeys(each.model for each in settings.subscriptions if each.model != ANY))
    others = [each for each in settings.default_models if not any(same_model(each, known) for known in named)]
    return (*named, *others)


class _Posted:
    """Carries what the watcher tells to the I/O thread."""

    def __init__(self, loop: Loop, serving: Serving) -> None:
        self._loop, self._serving = loop, serving

    def seen(self, inventory: Inventory) -> None:
        self._loop.call(self._serving.seen, inventory)

    def away(self, error: OllamaError) -> None:
        self._loop.call(self._serving.away, error)

    def provided(self, model: str) -> None:
        self._loop.call(self._serving.provided, model)

    def not_provided(self, model: str, error: Exception) -> None:
        self._loop.call(self._serving.not_provided, model, error)
