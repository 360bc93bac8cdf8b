"""What a worker asks its Ollama beside requests: is it there, what has it, is it well? On its own threads."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ollama_ext.errors import InvalidResponse, OllamaError, ResponseError
from ollama_ext.names import parse_name
from ollama_ext.settings import Subscription
from ollama_ext.timeouts import Timeouts

from .expansion import Model, expanded
from .topology import ANY, is_wild

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ollama_ext.client import Client

log: logging.Logger = logging.getLogger(__name__)

# Seconds between two looks that nobody asked for, between two while the server does not answer, and before a
# model that could not be provided is tried again (doubling up to the first of these).
_EVERY, _AWAY, _AGAIN = 60.0, 2.0, 2.0
_QUICK = Timeouts(connect=5.0, first_byte=10.0, between=10.0, total=20.0)


class Inventory(msgspec.Struct, frozen=True):
    """What an Ollama has.

    Attributes:
        version: Of the server.
        models: Its models.
        subscriptions: Those of the settings, with wildcards expanded.
        notes: What an operator should know about the expansion.
    """

    version: str
    models: tuple[Model, ...]
    subscriptions: tuple[Subscription, ...]
    notes: tuple[str, ...] = ()

    def find(self, model: str) -> Model | None:
        """Return a model by any spelling of its name, or None."""
        for each in self.models:
            if each.name == model:  # which is so nearly always, and much faster
                return each
        wanted = parse_name(model)
        return next((each for each in self.models if parse_name(each.name).same_as(wanted)), None)


class WatchEvents(Protocol):
    """Who has a watcher hears this, on the watcher's threads."""

    def seen(self, inventory: Inventory) -> None:
        """Take what the server has."""
        ...

    def away(self, error: OllamaError) -> None:
        """Take note that it does not answer."""
        ...

    def provided(self, model: str) -> None:
        """Take note that a model was provided."""
        ...

    def not_provided(self, model: str, error: Exception) -> None:
        """Take note that a model could not be provided; it is tried again."""
        ...


class Watcher:
    """Looks at an Ollama from time to time, and provides models before they are subscribed to."""

    def __init__(
        self,
        client: Client,
        subscriptions: Sequence[Subscription],
        exchange: str,
        events: WatchEvents,
        *,
        before_subscribe: Callable[[str], object] | None = None,
        provided: Sequence[str] = (),
    ) -> None:
        """Prepare; the threads run from `start` on.

        Args:
            client: Of the server; its own policy of retries does not matter, every look is made once.
            subscriptions: Those of the settings.
            exchange: That of subscriptions which name none.
            events: Who hears of it.
            before_subscribe: Called with each model to be provided, one after the other; what it raises
                leaves the model out until another call succeeds.
            provided: Those models.
        """
        self._client = client.with_options(retry=None)
        self._subscriptions, self._exchange = subscriptions, exchange
        self._events = events
        self._before_subscribe, self._provided = before_subscribe, provided
        self._stop = threading.Event()
        self._poked = threading.Event()
        self._capable: dict[str, Sequence[str] | None] = {}  # digest -> capabilities
        self._guesses: list[str] = []

    def start(self) -> None:
        """Start looking, and providing."""
        self._thread(self._watch, "fleet-watch")
        if self._before_subscribe is not None:
            self._thread(self._provide, "fleet-provide")

    def stop(self) -> None:
        """End; a model that is being provided is left where it is."""
        self._stop.set()
        self._poked.set()

    def poke(self) -> None:
        """Look now; from any thread."""
        self._poked.set()

    def _thread(self, target: Callable[[], None], name: str) -> None:
        threading.Thread(target=target, name=name, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._poked.clear()
            if self._stop.is_set():  # looked at after the clearing, or a stop could be slept through
                return
            try:
                inventory = self.look()
            except OllamaError as error:
                self._events.away(error)
                wait = _AWAY
            except Exception as error:  # the thread must go on: without it a worker takes nothing any more
                log.exception("what Ollama has could not be read")
                self._events.away(OllamaError(f"what it has cannot be read: {type(error).__name__}"))
                wait = _AWAY
            else:
                self._events.seen(inventory)
                wait = _EVERY
            self._poked.wait(wait)

    def look(self) -> Inventory:
        """Ask the server what it has, now and on this thread.

        Raises:
            OllamaError: It does not answer.
        """
        version = self._client.server_version(timeout=_QUICK)
        models = tuple(_model(entry) for entry in self._client.list_models(timeout=_QUICK))
        if not any(map(is_wild, self._subscriptions)):
            return Inventory(version, models, tuple(self._subscriptions))
        self._guesses.clear()
        found, notes = expanded(self._subscriptions, models, self._capabilities, self._exchange)
        return Inventory(version, models, tuple(found), (*notes, *self._guesses))

    def _capabilities(self, model: Model) -> Sequence[str] | None:
        """Ask what a model can do, once for each digest."""
        if model.digest not in self._capable:
            try:
                shown: Any = self._client.show_model(model.name, timeout=_QUICK)
            except (ResponseError, InvalidResponse) as error:  # one broken model keeps no other from serving
                self._guesses.append(f"what {model.name} can do is guessed by its family: {error.message}")
                return None
            told = shown.capabilities
            self._capable[model.digest] = [str(each) for each in told] if told else None
        return self._capable[model.digest]

    def _provide(self) -> None:
        """Provide each model, and those again that failed, with growing waits."""
        provide = self._before_subscribe
        if provide is None:
            return
        wanted = list(self._provided)
        wait = _AGAIN
        while wanted and not self._stop.is_set():
            failed: list[str] = []
            for model in wanted:
                if self._stop.is_set():
                    return
                began = monotonic()
                try:
                    provide(model)
                except Exception as error:  # noqa: BLE001 - it is somebody else's function
                    failed.append(model)
                    self._events.not_provided(model, error)
                else:
                    log.info("%s is provided, after %.1f s", model, monotonic() - began)
                    self._events.provided(model)
                    self.poke()
            wanted = failed
            if wanted:
                self._stop.wait(wait)
                wait = min(wait * 2, _EVERY)


def probe(
    client: Client, subscription: Subscription | None, first_token: float, cancel: Any = None
) -> OllamaError | None:
    """Ask whether an Ollama is well: its version, its models, and a model to load. Return what failed.

    Args:
        client: Of the server.
        subscription: What to load, with its options, so that the model that serves is the one that is loaded;
            None loads nothing.
        first_token: Seconds that loading may take.
        cancel: A token that ends it.
    """
    quick = client.with_options(retry=None, timeout=_QUICK)
    try:
        quick.server_version(cancel=cancel)
        quick.list_models(cancel=cancel)
        if subscription is not None and subscription.model != ANY:
            load = Timeouts(connect=5.0, first_byte=first_token, total=first_token)
            served: Any = {"options": subscription.options, "keep_alive": subscription.keep_alive}
            if subscription.type == "embed":
                quick.embed(subscription.model, None, **served, timeout=load, cancel=cancel)
            else:
                quick.generate(subscription.model, **served, timeout=load, cancel=cancel)
    except OllamaError as error:
        return error
    except Exception as error:
        log.exception("a probe failed here, not at Ollama")
        return OllamaError(f"the probe failed: {type(error).__name__}")
    return None


def _model(entry: Any) -> Model:
    details = entry.details or None
    families = getattr(details, "families", None) or ()
    family = getattr(details, "family", "") or ""
    return Model(
        name=entry.name,
        digest=entry.digest or "",
        families=tuple(str(each) for each in (*families, family) if each),
        remote=bool(getattr(entry, "remote_host", "") or getattr(entry, "remote_model", "")),
    )
