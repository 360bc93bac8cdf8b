"""A RabbitMQ of the benchmark's own, on this machine only, and what its driver asks of it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from ollama_ext.fleet.messages import Properties

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

# Where RabbitMQ's own programs are; Debian's in /usr/sbin are wrappers that change to another user.
_PLACES: Final = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/homebrew/sbin")
_PATIENCE: Final = 60.0
_LOOK_AGAIN: Final = 0.1

MISSING: Final = "RabbitMQ is not installed: apt-get install --no-install-recommends rabbitmq-server"


class BrokerError(Exception):
    """The broker is not there, or does not do what it should; the message says what to do."""


def programs() -> Path | None:
    """Return the folder of RabbitMQ's programs, or None where it is not installed."""
    return next((Path(place) for place in _PLACES if Path(place, "rabbitmq-server").is_file()), None)


@contextmanager
def broker() -> Generator[str]:
    """Run a fresh node and yield its URL; it ends, and its data is removed, with the ``with`` block.

    Raises:
        BrokerError: It does not start.
    """
    found = programs()
    if found is None:
        raise BrokerError(MISSING)
    with tempfile.TemporaryDirectory(prefix="rabbitmq-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port, epmd, distribution = _free_ports(3)
        variables = _prepare(folder, port, epmd, distribution)
        log = folder / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - found above
                [str(found / "rabbitmq-server")],
                env=variables,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        try:
            _wait(url, port, process, log)
            yield url
        finally:
            _stop(process, variables)


def _prepare(folder: Path, port: int, epmd: int, distribution: int) -> dict[str, str]:
    """Write the files of a node, and return the variables that make it use these and nothing else."""
    for name, text in {
        "rabbitmq.conf": f"listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 50MB\n",
        "enabled_plugins": "[].",
        ".erlang.cookie": secrets.token_hex(16),
    }.items():
        (folder / name).write_text(text, encoding="ascii")
    (folder / ".erlang.cookie").chmod(0o400)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
        "RABBITMQ_NODENAME": "benchmark@localhost",
        "RABBITMQ_BASE": str(folder),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_DIST_PORT": str(distribution),
        # No schedulers that spin while they have nothing to do: the processors belong to both sides.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd),
    }


def _wait(url: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a connection can be opened: a node listens before it has its virtual host."""
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, AMQPError):
            socket.create_connection(("127.0.0.1", port), 1).close()  # asked first: pika logs every failure
            pika.BlockingConnection(pika.URLParameters(url)).close()
            return
        time.sleep(_LOOK_AGAIN)
    said = log.read_text(encoding="utf-8", errors="replace")[-1000:]
    raise BrokerError(f"RabbitMQ does not start:\n{said}")


def _stop(process: subprocess.Popen[bytes], variables: Mapping[str, str]) -> None:
    """End the node, and the name service that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it would save is thrown away
    process.wait()
    if (epmd := shutil.which("epmd")) is not None:
        subprocess.run(  # noqa: S603 - found above
            [epmd, "-kill"], env=dict(variables), check=False, stdout=subprocess.DEVNULL
        )


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Driver:
    """Fills queues and counts what is in them. Its own work is the same for all methods.

    Attributes:
        url: Of the broker.
        version: Of it.
    """

    def __init__(self, url: str) -> None:
        """Connect."""
        self.url = url
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 0  # it has no thread that would send them
        self._connection = pika.BlockingConnection(parameters)
        self._channel: Any = self._connection.channel()
        properties: Any = getattr(self._connection, "_impl", None)
        told: dict[str, Any] = getattr(properties, "server_properties", None) or {}
        self.version = str(told.get("version", ""))

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def request_queue(self, name: str) -> None:
        """Make a queue of requests, as a worker makes it."""
        self._channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})

    def reply_queue(self, name: str) -> None:
        """Make a queue of replies, as a caller makes it."""
        self._channel.queue_declare(name, durable=True, arguments={"x-expires": 3_600_000})

    def fill(self, queue: str, messages: Iterable[tuple[bytes, Properties]]) -> None:
        """Publish messages to a queue, and wait until it has them all.

        Raises:
            BrokerError: It has not.
        """
        expected = self.count(queue)
        for body, told in messages:
            properties = pika.BasicProperties(
                **{name: getattr(told, name) for name in Properties.__struct_fields__}
            )
            self._channel.basic_publish("", queue, body, properties)
            expected += 1
        self.until(queue, expected)

    def count(self, queue: str) -> int:
        """Return how many messages of a queue are ready."""
        return int(self._channel.queue_declare(queue, passive=True).method.message_count)

    def until(self, queue: str, count: int, patience: float = _PATIENCE) -> None:
        """Wait until a queue has so many messages.

        Raises:
            BrokerError: It has not.
        """
        deadline = time.monotonic() + patience
        while (has := self.count(queue)) != count:
            if time.monotonic() > deadline:
                raise BrokerError(f"{queue} has {has} messages, and should have {count}")
            time.sleep(_LOOK_AGAIN)

    def remove(self, *queues: str, exchange: str | None = None) -> None:
        """Delete queues, and an exchange."""
        for queue in queues:
            self._channel.queue_delete(queue)
        if exchange is not None:
            self._channel.exchange_delete(exchange)

    def exists(self, queue: str) -> bool:
        """Tell whether there is a queue."""
        channel: Any = self._connection.channel()
        try:
            channel.queue_declare(queue, passive=True)
        except ChannelClosedByBroker:
            return False
        channel.close()
        return True
