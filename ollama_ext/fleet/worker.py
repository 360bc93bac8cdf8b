"""The worker: requests from queues to this machine's Ollama, and replies back.

`FleetWorker` is what a program has: made from settings, run until it is stopped. The work is done by an
`Engine` on a thread of its own; here is how it begins and ends, signals included.
"""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from ollama_ext.client import Client
from ollama_ext.errors import InvalidArgument

from .engine import Engine
from .topology import check_subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from ollama_ext.settings import Settings

log: logging.Logger = logging.getLogger(__name__)

# Seconds between two looks of the waiting thread: Python runs a signal's handler when that thread wakes up.
_LOOK: Final = 0.5


class FleetWorker:
    """A worker of a fleet: takes requests for its subscriptions, runs them on its Ollama, and replies.

    Inference is at-least-once: a request whose worker or connection dies runs again, here or elsewhere. A
    request is acknowledged when its reply is confirmed, or has nowhere to go.
    """

    def __init__(
        self,
        settings: Settings,
        before_subscribe: Callable[[str], object] | None = None,
        *,
        wait: float | None = None,
    ) -> None:
        """Prepare; nothing is connected before `run`.

        Args:
            settings: What to serve, from which broker, on which Ollama.
            before_subscribe: Called with the name of each model before its subscription begins, in a thread,
                one after the other; it is to see that Ollama has the model. What it raises is logged, the
                model's subscription waits, and it is called again later. Also called with those of
                ``default_models`` that no subscription names, and not with what a wildcard stands for.
            wait: Seconds to wait for the first connection to the broker and to Ollama; None waits for ever, 0
                tries once.

        Raises:
            InvalidArgument: There are no subscriptions, or two of them mean the same queue or model.
        """
        if not settings.subscriptions:
            raise InvalidArgument(
                "a worker without subscriptions has nothing to do: list some under `subscriptions`, such as "
                "{type: chat, model: llama3.2}",
                argument="subscriptions",
            )
        check_subscriptions(settings.subscriptions, settings.amqp.exchange)
        self._settings = settings
        self._before_subscribe = before_subscribe
        self._wait = wait
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._stops = 0
        self._signals = self._heeded = 0  # how many came; the handler only ever counts up

    def run(self) -> None:
        """Work until `stop` is called or, in the main thread, SIGTERM or SIGINT comes.

        The first signal finishes what runs, the second gives it back and ends at once.

        Raises:
            FleetError: There is no broker, or it does not let this worker do its work; the message says what
                to change. Only before the first connection, or where waiting would be in vain.
            OllamaError: There is no Ollama, and `wait` has passed.
        """
        with Client(self._settings.ollama.host) as client, self._signalled():
            engine = Engine(self._settings, client, self._before_subscribe)
            began = monotonic()
            engine.start()
            try:
                with self._lock:
                    self._engine = engine
                    stops = self._stops
                if stops:
                    engine.stop(now=stops > 1)
                while not engine.ended.wait(_LOOK):
                    self._heed_signals()
                    if self._wait is not None and monotonic() - began >= self._wait:
                        engine.give_up_waiting()
            finally:
                with self._lock:
                    self._engine = None
                engine.join()
        if engine.failure is not None:
            raise engine.failure

    def stop(self, *, now: bool = False) -> None:
        """Stop, from any thread; `run` returns when it is done.

        Args:
            now: Whether to give back what runs, instead of finishing it.
        """
        with self._lock:
            self._stops = max(self._stops + 1, 2 if now else 1)
            engine = self._engine
        if engine is not None:
            engine.stop(now=now)

    def _heed_signals(self) -> None:
        """Do what signals asked for: their handlers may run in the middle of anything, so they only count."""
        while self._heeded < self._signals:
            self._heeded += 1
            self.stop(now=self._stops > 0)

    @contextmanager
    def _signalled(self) -> Generator[None]:
        """Count SIGTERM and SIGINT, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def count(_number: int, _frame: FrameType | None) -> None:
            self._signals += 1

        before = {number: signal.signal(number, count) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
