"""The fleet's part of the demo: workers and a caller over a private RabbitMQ, whose connections are cut."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeVar

from ollama_ext import OllamaError
from ollama_ext.fleet import FleetClient, FleetWorker, ModelNotServed
from ollama_ext.settings import Settings
from ollama_ext.testing import FakeOllama, Recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from rich.console import Console

T = TypeVar("T")

# Where RabbitMQ's own programs are; Debian's in /usr/sbin are wrappers that change to another user.
_PLACES: Final = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin")
_MISSING: Final = (
    "RabbitMQ is not installed: apt-get install --no-install-recommends rabbitmq-server (its programs are "
    "enough; the demo starts a broker of its own)"
)
_PATIENCE: Final = 40.0  # seconds for the broker and the workers to start
_CALLS: Final = 40  # that are under way when the connections are cut
_SLOW: Final = 0.25  # seconds that each of them takes
_MODELS: Final = ("smollm2:135m", "gemma3:270m")  # that the scripted server has
_EMBED: Final = "all-minilm:l6-v2"
_STAND_IN: Final = "real RabbitMQ; stand-in: scripted server"


class FleetDemo:
    """Three workers and a caller; the broker is started for them and ends with them."""

    def __init__(self, console: Console, real: tuple[str, str] | None, stack: ExitStack) -> None:
        """Start a broker, the workers and the caller.

        Args:
            console: Where to tell.
            real: Host and model of a real one, if there is one, for the worker that chats.
            stack: Ends all of it.

        Raises:
            FileNotFoundError: RabbitMQ is not installed.
            OllamaError: It does not start.
        """
        self.console = console
        self._fake = fake = stack.enter_context(FakeOllama())
        self._broker = _Broker(
            Path(stack.enter_context(TemporaryDirectory(prefix="ollama-ext-demo-"))), stack
        )
        console.print(f"A private RabbitMQ listens on port {self._broker.port}.")
        host, self.model = real or (fake.url, _MODELS[0])
        self._scripted = next(model for model in _MODELS if model != self.model)
        self.label = (
            f"real RabbitMQ; {'real Ollama' if real else 'stand-in: recorded exchange'}, {self.model}"
        )
        self._work(stack, host, "chat", self.model)
        self._work(stack, fake.url, "chat", self._scripted)
        self._work(stack, fake.url, "embed", _EMBED)
        self.client = stack.enter_context(FleetClient(self._broker.url, timeout=60))

    def _work(self, stack: ExitStack, host: str, kind: str, model: str) -> None:
        """Run a worker, as `ollama-ext fleet worker` does."""
        worker = FleetWorker(
            Settings.from_mapping(
                {
                    "amqp": {"url": self._broker.url},
                    "ollama": {"host": host},
                    "worker": {"name": f"{kind} {model}", "slots": 4},
                    "subscriptions": [{"type": kind, "model": model}],
                },
                environ={},
            )
        )
        thread = threading.Thread(target=worker.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(worker.stop)

    def call(self) -> tuple[str, str]:
        """Ask something: the question waits in a queue until a worker takes it."""
        question = "Why is the sky blue? One sentence."
        self.console.print(f"> {question}  [dim]({self.label})[/]")
        reply = _when_served(lambda: self.client.chat(self.model, question, options={"num_predict": 60}))
        self.console.print(reply.text, markup=False, highlight=False)
        return f"{reply.usage.input_tokens} tokens in, {reply.usage.output_tokens} out", self.label

    def embed(self) -> tuple[str, str]:
        """Embed a long list: it goes out as several messages, which all workers share."""
        texts = [f"text number {number}" for number in range(300)]
        vectors = _when_served(lambda: self.client.embed(_EMBED, texts)).embeddings
        return f"{len(vectors)} vectors for {len(texts)} texts, from 5 messages", _STAND_IN

    def cut(self) -> tuple[str, str]:
        """Cut all connections while calls are under way: each gets its reply, and gets it once."""
        self._fake.on("POST", "/api/chat", *[Recording("chat-stream").delay(_SLOW)] * (2 * _CALLS))
        with ThreadPoolExecutor(_CALLS) as threads:
            calls = [
                threads.submit(_when_served, lambda: self.client.chat(self._scripted, "hello"))
                for _ in range(_CALLS)
            ]
            time.sleep(_SLOW)
            self._broker.cut_connections()
            self.console.print("Every connection to the broker was cut.")
            answered = sum(bool(call.result().text) for call in calls)
        return f"{answered} of {_CALLS} calls answered, none lost", _STAND_IN


def _when_served(call: Callable[[], T]) -> T:
    """Call, again while the worker is still starting: there is no queue before it has made one."""
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            return call()
        except ModelNotServed:
            if time.monotonic() > patience:
                raise
            time.sleep(0.1)


class _Broker:
    """A RabbitMQ node on this machine only, with its data in a folder.

    Attributes:
        port: Where it listens.
        url: What to connect to.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start it, to be ended by the stack."""
        programs = next((place for place in _PLACES if (Path(place) / "rabbitmq-server").is_file()), None)
        if programs is None:
            raise FileNotFoundError(_MISSING)
        self._programs = Path(programs)
        self.port, epmd, distribution = _free_ports(3)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        for name, text in {
            "rabbitmq.conf": f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndisk_free_limit.absolute = 50MB\n",
            "enabled_plugins": "[].",
            ".erlang.cookie": secrets.token_hex(16),
        }.items():
            (folder / name).write_text(text, encoding="ascii")
        (folder / ".erlang.cookie").chmod(0o400)
        self._environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(folder),
            "RABBITMQ_NODENAME": "demo@localhost",
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
        }
        log = folder / "output"
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - found above
                [str(self._programs / "rabbitmq-server")],
                env=self._environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        stack.callback(self._stop)
        self._wait(log)

    def cut_connections(self) -> None:
        """Close every connection, as an operator can."""
        self._control("close_all_connections", "the demo cuts them")

    def _wait(self, log: Path) -> None:
        """Wait until it takes connections."""
        with FleetClient(self.url, timeout=_PATIENCE, retry=None) as client:
            while True:
                try:
                    client.chat("nobody", "serves this")
                except ModelNotServed:
                    return
                except OllamaError:
                    if self._process.poll() is not None:
                        text = log.read_text(encoding="utf-8", errors="replace")
                        raise OllamaError(f"RabbitMQ ended at its start: {text[-500:]}") from None

    def _control(self, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 - found above
            [str(self._programs / "rabbitmqctl"), *arguments],
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _stop(self) -> None:
        """End the node, and the name service that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        if (epmd := shutil.which("epmd")) is not None:
            subprocess.run(  # noqa: S603 - found above
                [epmd, "-kill"], env=self._environment, check=False, stdout=subprocess.DEVNULL
            )


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
