"""A private RabbitMQ node on the loopback interface, which a test may kill, freeze, or fill.

It needs no root, no systemd, and nothing of a broker that the machine runs: the node has its own data, its
own ports, and its own epmd (the name service without which no Erlang node starts), all in one temporary
directory. Only loopback is listened on: 127.0.0.1, by epmd also ::1, which it cannot be told to leave out.

Nothing is left behind, however a run of the tests ends: see `kept_processes`.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote

import pika
from kept_processes import KeptProcesses
from pika.exceptions import AMQPError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PATIENCE = 60.0  # seconds; against a hang only
LOOK_AGAIN = 0.05  # seconds between two looks at a node that starts
ATTEMPTS = 3  # at finding ports that nobody else takes at the same moment

#: Below 32768, where Linux begins to hand out ports for outgoing connections: a node that was killed must
#: find its port free when it starts again. And above the ports of `s3_servers`.
PORTS = range(22_000, 32_000)

USER = PASSWORD = "guest"  # noqa: S105 - what every new node has, for connections from this machine only
NODE = "tests@localhost"

#: Debian's own programs in /usr/sbin are wrappers that change to the user rabbitmq; these are RabbitMQ's.
DEBIAN = Path("/usr/lib/rabbitmq/bin")

MISSING = (
    "{} is missing, and the tests with a broker need it: type\n"
    "    apt-get install --no-install-recommends rabbitmq-server\n"
    "or `tox -e rabbitmq`, which types that for you and keeps Debian from starting a broker with it. Only "
    "the programs are needed; the tests start a node of their own."
)


class RabbitMQMissing(RuntimeError):
    """The programs of RabbitMQ are not on this machine; the message says what to type."""


class NodeEnded(RuntimeError):
    """The node was gone before it could be used; the message holds the end of its log."""


class ControlFailed(RuntimeError):
    """``rabbitmqctl`` said no; the message holds what it was asked and what it said."""


class Counts(NamedTuple):
    """What is in a queue, as the node counts it (at most a quarter of a second old), and who consumes."""

    ready: int
    unacked: int
    consumers: int


class RabbitMQ:
    """A node that runs from `start` (or ``with``) to `close`, with stops and kills in between.

    Args:
        management: Enable the management plugin, at `management_url`. Starting takes a second longer.
        plugins: More of them to enable, by name.
        consumer_timeout: Seconds that a consumer may hold a message; looked at every second, which costs a
            little, where it is given. None leaves RabbitMQ's 30 minutes.
        config: More lines for rabbitmq.conf, by key.
    """

    def __init__(
        self,
        *,
        management: bool = False,
        plugins: Iterable[str] = (),
        consumer_timeout: float | None = None,
        config: Mapping[str, object] | None = None,
    ) -> None:
        """Take the settings; nothing is started, and no port is taken yet."""
        self._management = management
        self._plugins = [*(["rabbitmq_management"] if management else []), *plugins]
        self._consumer_timeout = consumer_timeout
        self._config = dict(config or {})
        self._ports: list[int] = []
        self._kept: KeptProcesses | None = None  # epmd, which leads, and the nodes
        self._node: subprocess.Popen[bytes] | None = None
        self._log_ended = 0  # where the log of the last start ends

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    # -- starting and ending

    def start(self) -> None:
        """Start the node and wait until an AMQP connection can be opened; its data is that of the last run.

        Raises:
            RabbitMQMissing: Its programs are not on this machine.
            NodeEnded: It ended instead.
        """
        if self._kept is not None:
            self._start_node()
            return
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._prepare()
                self._start_node()
            except NodeEnded as error:
                self.close()
                if "eaddrinuse" not in str(error) or attempt == ATTEMPTS:
                    raise
            except BaseException:
                self.close()
                raise
            else:
                return

    def stop(self) -> None:
        """End the node as an operator does, and wait for its end; what is persistent stays."""
        self._signal(signal.SIGTERM)
        self._ended()

    def kill(self, *, settled: bool = True) -> None:
        """End the node by SIGKILL, as an accident does.

        Args:
            settled: First let it write out which queues there are, which takes half a second. RabbitMQ itself
                does so now and then: a quorum queue that was declared less than about a second before the
                accident is there afterwards and can never be used again (seen with 3.10.8).
        """
        if settled:
            self.ctl("eval", "[dets:sync(Table) || Table <- dets:all()].")
        self._signal(signal.SIGKILL)
        self._ended()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the node by SIGSTOP: connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen node go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End everything that was started, at once, and remove the directory."""
        kept, self._kept, self._node = self._kept, None, None
        if kept is not None:
            kept.end()

    @property
    def running(self) -> bool:
        """Whether the node has been started and has not ended; a frozen one runs."""
        return self._node is not None and self._node.poll() is None

    @property
    def pids(self) -> list[int]:
        """The processes that were started and not ended: epmd, the node, the one that ends the others."""
        return [] if self._kept is None else self._kept.pids

    @property
    def directory(self) -> Path:
        """Where everything of it is."""
        return self._running().directory

    # -- reaching it

    @property
    def port(self) -> int:
        """Where it listens for AMQP, or will once it is started again."""
        return self._ports[0]

    @property
    def management_url(self) -> str:
        """The address of the management API; needs ``management=True``."""
        assert self._management, "RabbitMQ(management=True) has a management API"
        return f"http://127.0.0.1:{self._ports[3]}"

    def url(self, user: str = USER, password: str = PASSWORD, vhost: str = "/") -> str:
        """Return an address for clients; what needs to be percent-encoded is."""
        name, secret, host = (quote(part, safe="") for part in (user, password, vhost))
        return f"amqp://{name}:{secret}@127.0.0.1:{self.port}/{host}"

    @cached_property
    def version(self) -> tuple[int, ...]:
        """The version of RabbitMQ, as (3, 10, 8)."""
        return tuple(int(part) for part in re.findall(r"\d+", self.ctl("version"))[:3])

    def log(self) -> str:
        """Return what the node wrote into its log since it was started last."""
        with suppress(FileNotFoundError):
            return (self.directory / "node.log").read_text("utf-8", "replace")[self._log_ended :]
        return ""

    # -- asking and changing it

    def ctl(self, *arguments: str, stdin: str = "") -> str:
        """Run ``rabbitmqctl --silent`` with these arguments; takes about half a second of a processor.

        Raises:
            ControlFailed: It said no.
        """
        command = [str(_programs() / "rabbitmqctl"), "--silent", *arguments]
        done = self._running().run(command, self._environment(), stdin)
        if done.returncode:
            raise ControlFailed(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def add_vhosts(
        self, names: Iterable[str], user: str = USER, *, policies: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Make virtual hosts in which the user may do all, at the price of one call for any number.

        Args:
            names: Of the virtual hosts.
            user: Who may do all.
            policies: Of each, as a definitions file has them; without a virtual host.
        """
        hosts, shared = list(names), list(policies)
        everything = {"user": user, "configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "vhosts": [{"name": name} for name in hosts],
            "permissions": [{**everything, "vhost": name} for name in hosts],
            "policies": [{**policy, "vhost": name} for name in hosts for policy in shared],
        }
        self.ctl("import_definitions", "--format", "json", stdin=json.dumps(definitions))

    def delete_vhosts(self, names: Iterable[str]) -> None:
        """Delete virtual hosts with all that is in them; their connections are closed."""
        listed = ", ".join(f'<<"{name}">>' for name in names)
        self.ctl("eval", f'[rabbit_vhost:delete(Name, <<"tests">>) || Name <- [{listed}]].')

    def add_user(self, name: str, password: str) -> None:
        """Make a user, who may do nothing yet."""
        self.ctl("add_user", "--", name, password)

    def change_password(self, name: str, password: str) -> None:
        """Change a password; connections that are open stay so."""
        self.ctl("change_password", "--", name, password)

    def set_permissions(
        self, user: str, vhost: str = "/", *, configure: str = "", write: str = "", read: str = ""
    ) -> None:
        """Say, by three regular expressions over names, what a user may do in a virtual host."""
        rights = (expression or "^$" for expression in (configure, write, read))
        self.ctl("set_permissions", "-p", vhost, user, *rights)

    def set_policy(
        self,
        name: str,
        pattern: str,
        definition: Mapping[str, Any],
        *,
        vhost: str = "/",
        priority: int = 0,
        apply_to: str = "queues",
    ) -> None:
        """Make or change a policy for the queues (or what `apply_to` says) whose name matches."""
        options = ("-p", vhost, "--priority", str(priority), "--apply-to", apply_to)
        self.ctl("set_policy", *options, name, pattern, json.dumps(dict(definition)))

    def clear_policy(self, name: str, *, vhost: str = "/") -> None:
        """Remove a policy."""
        self.ctl("clear_policy", "-p", vhost, name)

    def close_all_connections(self, *, vhost: str | None = None, reason: str = "the test says so") -> None:
        """Close every client's connection as an operator does, or those of one virtual host."""
        self.ctl("close_all_connections", *(() if vhost is None else ("-p", vhost)), reason)

    def alarm(self, on: bool) -> None:
        """Raise the memory alarm, which blocks every connection that publishes, or end it."""
        self.ctl("set_vm_memory_high_watermark", "absolute", "1MB" if on else "2GB")

    def queue(self, name: str, vhost: str = "/") -> Counts | None:
        """Return what is in a queue, with what is delivered and not acked; None if there is no such queue."""
        return self.queues(vhost).get(name)

    def queues(self, vhost: str = "/") -> dict[str, Counts]:
        """Return what is in each queue of a virtual host."""
        columns = ("name", "messages_ready", "messages_unacknowledged", "consumers")
        rows = json.loads(self.ctl("list_queues", "-p", vhost, "--formatter", "json", *columns))
        return {row["name"]: Counts(*(int(row[column] or 0) for column in columns[1:])) for row in rows}

    # -- inside

    def _prepare(self) -> None:
        _programs()
        if (epmd := shutil.which("epmd")) is None:
            raise RabbitMQMissing(MISSING.format("epmd, a program of Erlang,"))
        self._ports = free_ports(4)
        command = [epmd, "-address", "127.0.0.1", "-port", str(self._ports[1])]
        self._kept = KeptProcesses(command, "rabbitmq-tests-")
        self._configure()
        _when(_listens, self._ports[1], self._kept.leader, lambda: "epmd: eaddrinuse, perhaps")

    def _configure(self) -> None:
        (self.directory / "home").mkdir()
        cookie = self.directory / "home" / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(), encoding="ascii")
        cookie.chmod(0o400)
        plugins = f"[{', '.join(self._plugins)}].\n"
        (self.directory / "enabled_plugins").write_text(plugins, encoding="ascii")
        settings: dict[str, object] = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "disk_free_limit.absolute": "50MB",
            "vm_memory_high_watermark.absolute": "2GB",
        }
        if self._management:
            settings |= {"management.tcp.ip": "127.0.0.1", "management.tcp.port": self._ports[3]}
        lines = [f"{key} = {value}\n" for key, value in (settings | self._config).items()]
        (self.directory / "rabbitmq.conf").write_text("".join(lines), encoding="utf-8")
        advanced = ["{quorum_tick_interval, 250}"]  # ms: how old the counts of a quorum queue may be
        if self._consumer_timeout is not None:
            advanced += [
                "{channel_tick_interval, 1000}",  # ms: how often it looks; it is a minute by default
                f"{{consumer_timeout, {round(self._consumer_timeout * 1000)}}}",
            ]
        text = f"[{{rabbit, [{', '.join(advanced)}]}}].\n"
        (self.directory / "advanced.config").write_text(text, encoding="ascii")

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))
        }
        where = self.directory
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return kept | {
            "HOME": str(where / "home"),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._ports[1]),
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_DIST_PORT": str(self._ports[2]),
            "RABBITMQ_BASE": str(where),
            "RABBITMQ_MNESIA_BASE": str(where / "data"),
            "RABBITMQ_LOG_BASE": str(where),
            "RABBITMQ_LOGS": str(where / "node.log"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,  # nothing of /etc/rabbitmq
            "RABBITMQ_CONFIG_FILE": str(where / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(where / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(where / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(where / "generated"),
            "RABBITMQ_PID_FILE": str(where / "node.pid"),
            # epmd is ours; and no schedulers that spin while they have nothing to do
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{loopback} -start_epmd false +S 2:2 +sbwt none",
            "RABBITMQ_CTL_ERL_ARGS": f"{loopback} -start_epmd false +S 1:1",
            # Makes the script replace itself by the node, whose process is then the one that we started.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _running(self) -> KeptProcesses:
        assert self._kept is not None, "the node was never started, or is closed"
        return self._kept

    def _start_node(self) -> None:
        assert not self.running, "it runs already"
        self._log_ended = 0
        self._log_ended = len(self.log())
        command = [str(_programs() / "rabbitmq-server")]
        self._node = self._running().start(command, self._environment(), self.directory / "output.log")
        _when(_can_be_opened, self.port, self._node, self._said)

    def _said(self) -> str:
        output = (self.directory / "output.log").read_text("utf-8", "replace")
        return "\n".join([output, *self.log().splitlines()[-20:]])

    def _signal(self, number: signal.Signals) -> None:
        assert self._node is not None, "it was never started, or is closed"
        self._node.send_signal(number)

    def _ended(self) -> None:
        assert self._node is not None
        self._node.wait(PATIENCE)


def _when(
    answers: Callable[[int], bool], port: int, process: subprocess.Popen[bytes], said: Callable[[], str]
) -> None:
    """Wait until a process answers.

    Raises:
        NodeEnded: It has ended.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answers(port):
            return
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(LOOK_AGAIN)
            raise NodeEnded(f"it ended with status {status} at its start: {said()}")
    raise TimeoutError(f"no answer after {PATIENCE:.0f} s: {said()}")


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free, and that no outgoing connection is given."""
    found: list[int] = []
    with ExitStack() as held:  # until all are found, so that none is found twice
        for port in random.sample(PORTS, len(PORTS)):
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} free ports in {PORTS}")


def _programs() -> Path:
    """Return the folder of RabbitMQ's programs.

    Raises:
        RabbitMQMissing: There is none.
    """
    folders = [DEBIAN]
    if (found := shutil.which("rabbitmq-server")) is not None:
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if (folder / "rabbitmq-env").exists():  # which wrappers do not have beside them
            return folder
    raise RabbitMQMissing(MISSING.format("RabbitMQ"))


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE):
        return True
    return False


def _can_be_opened(port: int) -> bool:
    """Tell whether a connection can be opened: a node listens before it has virtual hosts."""
    if not _listens(port):  # asked first, because pika logs every failure
        return False
    try:
        pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)).close()
    except AMQPError:
        return False
    return True
