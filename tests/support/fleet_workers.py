"""A whole fleet for a test: workers, each with an Ollama of its own that answers when the test lets it.

    with Fleet(vhost, workers=2) as fleet:
        fleet.hold()                              # every run waits from now on
        calls = fleet.ask(["one", "two"])         # by a FleetClient, in threads
        fleet.wait_for_runs(2)
        ...                                       # the fault
        fleet.release()
        assert fleet.answers(calls) == ["one", "two"]
        assert fleet.runs("one") == 1
        fleet.finish()                            # workers end well, and nothing is left in a queue

A request is known by its text, which is its prompt, and its answer: so an answer at the wrong caller, and a
request that ran twice, are seen.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pika
from rabbitmq_admin import Admin

from ollama_ext.fleet import FleetClient, FleetWorker
from ollama_ext.fleet.topology import DEAD_QUEUE, DEFAULT_EXCHANGE, queue_name
from ollama_ext.settings import Settings
from ollama_ext.testing import FakeOllama, Json, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from virtual_hosts import VirtualHost

    from ollama_ext.testing import RecordedRequest, Response

PATIENCE = 45.0  # seconds; against a hang only
LOOK_AGAIN = 0.005  # seconds between two looks at something that tells nobody

#: What every `FakeOllama` has.
MODEL, EMBEDDER = "smollm2:135m", "all-minilm:l6-v2"
CHAT: Mapping[str, Any] = {"type": "chat", "model": MODEL}
GENERATE: Mapping[str, Any] = {"type": "generate", "model": MODEL}
EMBED: Mapping[str, Any] = {"type": "embed", "model": EMBEDDER}


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE, what: str = "") -> None:
    """Wait until something is so for which there is nothing to wait for."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it never came about: {what or condition}"
        time.sleep(LOOK_AGAIN)


class Fleet:
    """Workers that run from the beginning of a ``with`` block to its end.

    Attributes:
        ollamas: The Ollama of each worker.
        workers: The workers, in the same order.
        admin: Looks into the virtual host; for the thread of the test only.
    """

    def __init__(
        self,
        vhost: VirtualHost,
        *,
        workers: int = 1,
        subscriptions: Sequence[Mapping[str, Any]] = (CHAT,),
        url: str | None = None,
        settings: Mapping[str, Any] | None = None,
        processes: bool = False,
    ) -> None:
        """Say what is to run.

        Args:
            vhost: Where.
            workers: How many.
            subscriptions: Of each worker, as the settings have them.
            url: By which the workers reach the broker, such as one through a proxy.
            settings: More settings of each worker, by their paths, such as ``worker.slots``.
            processes: Whether they are processes of their own, which can be killed, and not threads.
        """
        self.ollamas: list[EchoOllama] = []
        self.workers: list[WorkerThread | WorkerProcess] = []
        self.admin = Admin(vhost.url)
        self._vhost, self._count, self._processes = vhost, workers, processes
        self._mapping = {"subscriptions": [dict(each) for each in subscriptions]}
        self._overrides = {"amqp.url": url or vhost.url, **(settings or {})}
        self.queues = [
            queue_name(each["type"], each["model"], each.get("exchange", DEFAULT_EXCHANGE))
            for each in subscriptions
            if "*" not in (each["type"], each["model"])
        ]
        self._log = _Log()
        self._stack = ExitStack()
        self._client: FleetClient | None = None
        self._replies: str | None = None

    def __enter__(self) -> Self:
        """Start the workers, and wait until each takes requests."""
        with self._stack:
            self.admin.declare(DEAD_QUEUE)
            self._stack.callback(self.admin.close)
            for _ in range(self._count):
                self.add()
            if self._count:
                self.wait_ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        """End everything at once."""
        self.release()
        for worker in self.workers:
            worker.stop(now=True)
        self._stack.close()

    def add(self, **settings: Any) -> WorkerThread | WorkerProcess:
        """Start one more worker, with an Ollama of its own; does not wait for it.

        Args:
            settings: Such as ``{"worker.slots": 2}``, of this worker only.
        """
        ollama = self._stack.enter_context(self.make_ollama())
        self.ollamas.append(ollama)
        name = f"worker-{len(self.workers)}"
        overrides = {
            "worker.name": name,
            "ollama.host": self.reach(ollama),
            **self._overrides,
            **settings,
        }
        kind = WorkerProcess if self._processes else WorkerThread
        worker = kind(name, self._mapping, overrides)
        self._stack.callback(worker.end)
        self.workers.append(worker)
        worker.start()
        return worker

    def make_ollama(self) -> EchoOllama:
        """Return an Ollama for the next worker; for fleets that want another one."""
        return EchoOllama(self._log)

    def reach(self, ollama: EchoOllama) -> str:
        """Return where a worker finds its Ollama; for fleets that put something between."""
        return ollama.url

    def wait_ready(self, workers: int | None = None) -> None:
        """Wait until this many workers, by default all, consume from each queue."""
        count = len(self.workers) if workers is None else workers
        for queue in self.queues:
            wait_until(partial(self._ready, queue, count), what=f"{count} workers of {queue}")

    def _taken(self, queue: str) -> bool:
        return not self.admin.exists(queue) or self.admin.count(queue) == 0

    def _ready(self, queue: str, count: int) -> bool:
        for worker in self.workers:
            assert worker.failure is None, f"{worker.name} has ended: {worker.failure}"
        return self.admin.exists(queue) and self.admin.consumers(queue) == count

    # -- what the Ollamas do

    def hold(self) -> None:
        """Let every run wait that begins from now on."""
        self._log.held = True

    def release(self) -> None:
        """Let every run be answered."""
        self._log.release()

    def runs(self, text: str) -> int:
        """Return how often a request was run, on all Ollamas together."""
        return self._log.runs[text]

    @property
    def all_runs(self) -> dict[str, int]:
        """How often each request was run."""
        return dict(self._log.runs)

    def wait_for_runs(self, count: int) -> None:
        """Wait until this many runs have begun since the start, of whatever requests."""
        self._log.wait_for(count)

    # -- requests

    def client(self, url: str | None = None, **arguments: Any) -> FleetClient:
        """Return a caller of its own, which is closed at the end."""
        return self._stack.enter_context(FleetClient(url or self._vhost.url, **arguments))

    def ask(self, texts: Iterable[str], client: FleetClient | None = None) -> list[Future[str]]:
        """Ask for a chat about each text, at the same time; each future has the answer."""
        wanted = list(texts)
        if client is None:
            client = self._client = self._client or self.client()
        chat = client.chat
        threads = self._stack.enter_context(ThreadPoolExecutor(max(1, len(wanted))))
        self._stack.callback(client.close)  # before the end of these threads is waited for
        return [threads.submit(_text_of, chat, text) for text in wanted]

    @staticmethod
    def answers(calls: Iterable[Future[str]]) -> list[str]:
        """Wait for the answers."""
        wanted = list(calls)
        wait(wanted, PATIENCE, FIRST_EXCEPTION)
        return [call.result(0) for call in wanted]

    def publish(self, text: str, *, request_type: str = "chat", **properties: Any) -> None:
        """Publish a request as any program may; the reply is for `wait_for_replies`.

        Args:
            text: What is asked, and its ``message_id`` and ``correlation_id``.
            request_type: One of chat, generate, embed.
            properties: Of AMQP, beside those.
        """
        model = EMBEDDER if request_type == "embed" else MODEL
        body: dict[str, Any] = {"model": model, "request_type": request_type}
        match request_type:
            case "chat":
                body["messages"] = [{"role": "user", "content": text}]
            case "generate":
                body["prompt"] = text
            case _:
                body["input"] = text
        told: dict[str, Any] = {"message_id": text, "correlation_id": text, "reply_to": self.replies}
        told |= {"delivery_mode": 2, **properties}
        self.admin.publish(
            queue_name(request_type, model),
            json.dumps(body).encode(),
            pika.BasicProperties(**told),
            exchange=DEFAULT_EXCHANGE,
        )

    @property
    def replies(self) -> str:
        """The queue for replies to what was published here."""
        if self._replies is None:
            self._replies = self.admin.reply_queue()
        return self._replies

    def wait_for_replies(self, count: int) -> dict[str, dict[str, Any]]:
        """Wait for this many replies, and return their bodies by what was asked; none may come twice."""
        found = [json.loads(message.body) for message in self.admin.wait_for(self.replies, count)]
        by_text = {str(body["correlation_id"]): body for body in found}
        assert len(by_text) == len(found), f"a reply came twice: {[body['correlation_id'] for body in found]}"
        return by_text

    # -- the end

    def finish(self, *, dead: int = 0) -> None:
        """See that all workers live and take what waits; end them; see that nothing is left, how many died.

        What waits may be requests that were answered, and came back before they were acknowledged. When a
        worker's connection is closed the broker has back what was not acknowledged even then: so a request
        that is still somebody's would be found.
        """
        for worker in self.workers:
            assert worker.alive, f"{worker.name} has ended: {worker.failure}"
        for queue in self.queues:
            wait_until(partial(self._taken, queue), what=f"{queue} is taken from until it is empty")
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.wait()
            assert worker.failure is None, worker.failure
        assert {queue: self.admin.get_all(queue) for queue in self.queues if self.admin.exists(queue)} == {
            queue: [] for queue in self.queues
        }
        assert len(self.admin.get_all(DEAD_QUEUE)) == dead
        if self._replies is not None:
            assert self.admin.get_all(self._replies) == [], "a reply came twice"


class EchoOllama(FakeOllama):
    """A `FakeOllama` that answers every inference with what it was asked, and may be held.

    What a test scripts by `on` or `scripted` is answered instead; both are held and counted, too.

    Attributes:
        scripted: Answers by what is asked.
    """

    def __init__(self, log: _Log) -> None:
        """Share a log with the Ollamas of the same fleet."""
        super().__init__()
        self.scripted: dict[str, Response] = {}
        self.runs: Counter[str] = Counter()
        self._log = log

    def stop(self) -> None:
        """Let go of what is held, and stop."""
        self._log.release()
        super().stop()

    def _response(self, request: RecordedRequest) -> Response:
        body: Any = request.json() if request.body else None
        asked = _asked(request.path, body)
        if asked is None:
            return super()._response(request)
        for text in asked:
            self.runs[text] += 1
        self._log.begun(asked)
        for text in asked:
            if text in self.scripted:
                return self.scripted[text]
        return self._script.take(request.method, request.path) or _echo(request.path, body, asked)


class _Log:
    """Which requests were run how often, and whether runs are held."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.held = False
        self._changed = threading.Condition()
        self._began = 0

    def begun(self, texts: Iterable[str]) -> None:
        with self._changed:
            self.runs.update(texts)
            self._began += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self.held, PATIENCE * 2), "never released"

    def release(self) -> None:
        with self._changed:
            self.held = False
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            enough = self._changed.wait_for(lambda: self._began >= count, PATIENCE)
            assert enough, f"{self._began} runs of {count}: {dict(self.runs)}"


class WorkerThread:
    """A `FleetWorker` in a thread.

    Attributes:
        name: Of the worker.
        failure: What `FleetWorker.run` raised.
        worker: The worker itself.
    """

    def __init__(self, name: str, mapping: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        """Prepare."""
        self.name = name
        self.failure: BaseException | None = None
        self.worker = FleetWorker(Settings.from_mapping(mapping, overrides=overrides, environ={}))
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def stop(self, *, now: bool = False) -> None:
        """Have it finish what runs, or give that back ``now``."""
        self.worker.stop(now=now)

    def wait(self) -> None:
        """Wait for its end."""
        self._thread.join(PATIENCE)
        assert not self.alive, f"{self.name} does not end"

    end = wait

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:  # noqa: BLE001 - for the test to look at
            self.failure = error


class WorkerProcess:
    """``python -m ollama_ext.fleet worker``.

    Attributes:
        name: Of the worker.
        process: The process, for signals.
    """

    def __init__(self, name: str, mapping: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        """Write its settings down."""
        self.name = name
        self.process: subprocess.Popen[bytes]
        self._directory = tempfile.TemporaryDirectory(prefix="fleet-worker-")
        self._config = Path(self._directory.name, "fleet.yaml")
        self._config.write_text(json.dumps(mapping), "utf-8")  # JSON is YAML
        self._log = Path(self._directory.name, "log")
        self._command = [sys.executable, "-m", "ollama_ext.fleet", "worker", "--config", str(self._config)]
        for key, value in overrides.items():
            text = value if isinstance(value, str) else json.dumps(value)
            self._command += ["--set", f"{key}={text}"]

    def start(self) -> None:
        """Start."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)  # noqa: S603 - ours

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    @property
    def failure(self) -> str | None:
        """What it said, if it ended with another status than 0."""
        return f"status {self.process.returncode}: {self.log}" if self.process.poll() else None

    @property
    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def stop(self, *, now: bool = False) -> None:
        """Have it finish what runs, by SIGTERM; ``now`` kills it."""
        if self.alive:
            self.process.send_signal(signal.SIGKILL if now else signal.SIGTERM)

    def wait(self) -> None:
        """Wait for its end."""
        self.process.wait(PATIENCE)

    def end(self) -> None:
        """Kill it, and remove its files."""
        self.process.kill()  # also one that is frozen
        self.process.wait(PATIENCE)
        self._directory.cleanup()


def _asked(path: str, body: Any) -> list[str] | None:
    """Return what a request to Ollama asks, or None if it is no inference."""
    if not isinstance(body, dict):
        return None
    match path:
        case "/api/chat" if body.get("messages"):
            return [str(body["messages"][-1].get("content"))]
        case "/api/generate" if body.get("prompt"):
            return [str(body["prompt"])]
        case "/api/embed" if body.get("input"):
            texts = body["input"]
            return [str(each) for each in (texts if isinstance(texts, list) else [texts])]
        case _:
            return None


def _text_of(chat: Callable[..., Any], text: str) -> str:
    """Chat, and return the answer."""
    return str(chat(MODEL, text).text)


def vector(text: str) -> list[float]:
    """Return the vector that an `EchoOllama` has for a text."""
    return [float(len(text)), float(sum(text.encode()) % 1000), float(text) if text.isdigit() else 0.5]


def _echo(path: str, body: Mapping[str, Any], asked: Sequence[str]) -> Response:
    told = {"model": body["model"], "created_at": "2026-11-25T12:00:00Z"}
    counts = {"total_duration": 3000, "load_duration": 1000, "prompt_eval_count": len(asked)}
    end = {"done": True, "done_reason": "stop", **counts}
    end |= {"prompt_eval_duration": 1000, "eval_count": 2, "eval_duration": 1000}
    match path:
        case "/api/embed":
            return Json(told | counts | {"embeddings": [vector(text) for text in asked]})
        case "/api/generate":
            pieces = [told | {"response": asked[0], "done": False}, told | {"response": "", **end}]
        case _:
            message = {"role": "assistant", "content": asked[0]}
            pieces = [
                told | {"message": message, "done": False},
                told | {"message": message | {"content": ""}, **end},
            ]
    return Lines(*pieces)
