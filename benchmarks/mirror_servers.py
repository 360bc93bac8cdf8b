"""The servers to copy from and to, on this machine only: nginx, SeaweedFS and moto."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirror_models import BUCKET
from mirror_processes import (
    ACCESS_KEY,
    SECRET_KEY,
    Command,
    MeasureError,
    environment,
    program,
    succeed,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_HOST = "127.0.0.1"
_START = 30.0
_STOP = 10.0
_SHIFT = 10_000  # SeaweedFS listens at each port and at the one that is so much higher

_LINE = re.compile(r"(?P<method>\S+) (?P<path>\S+) (?P<status>\d+) (?P<sent>\d+) (?P<range>\S+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True)
class Request:
    """A request, as the server's log tells it.

    Attributes:
        method: GET, HEAD, ...
        path: Without the query.
        status: Of the answer.
        sent: Bytes of the body that were sent, which is less than asked for where the client went away.
        asked: Bytes that the ``Range`` header asked for; None without one.
    """

    method: str
    path: str
    status: int
    sent: int
    asked: int | None


@dataclass(frozen=True)
class Static:
    """A static server.

    Attributes:
        url: Where it listens.
        ca: The certificate that vouches for it; None without TLS.
        log: Its access log, a line a request, written when the request ends.
    """

    url: str
    ca: Path | None
    log: Path

    def requests(self) -> list[Request]:
        """Return what was asked so far; of a server that was stopped this is everything."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [_parsed(match) for match in map(_LINE.fullmatch, lines) if match]


def _parsed(match: re.Match[str]) -> Request:
    asked = _RANGE.fullmatch(match["range"])
    length = int(asked[2]) - int(asked[1]) + 1 if asked else None
    return Request(match["method"], match["path"], int(match["status"]), int(match["sent"]), length)


_NGINX = """\
{user}
daemon off;
pid nginx.pid;
error_log error.log;
worker_processes {workers};
worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    log_format plain '$request_method $uri $status $body_bytes_sent $asked';
    map $http_range $asked {{ '' -; default $http_range; }}
    access_log access.log plain;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server {{
        listen {host}:{port} reuseport{tls};
        {certificate}
        root {root};
    }}
}}
"""
_CERTIFICATE = "ssl_certificate server.pem; ssl_certificate_key server.key;"


@contextmanager
def nginx(root: Path, *, tls: bool = False) -> Generator[Static]:
    """Serve a folder until the end of the ``with`` block; the buckets are the folders in it.

    Raises:
        MeasureError: It does not start.
    """
    with tempfile.TemporaryDirectory(prefix="nginx-", dir=root.parent) as name:
        folder = Path(name)
        if tls:
            _make_certificate(folder)
        port = _free_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _NGINX.format(
                user="user root root;" if os.geteuid() == 0 else "",  # the folder is ours alone
                workers=os.cpu_count(),
                host=_HOST,
                port=port,
                tls=" ssl" if tls else "",
                certificate=_CERTIFICATE if tls else "",
                root=root,
            ),
            encoding="utf-8",
        )
        command = [
            program("nginx") or "nginx",
            *("-p", str(folder)),
            *("-c", str(configuration)),
            *("-e", str(folder / "error.log")),
        ]
        log = root.parent / f"access-{port}.log"  # outlives the folder: it is read when all has ended
        log.unlink(missing_ok=True)
        (folder / "access.log").symlink_to(log)
        with _server(command, folder, port, stop=signal.SIGQUIT):  # QUIT: ends when the last request has
            yield Static(
                f"http{'s' if tls else ''}://{_HOST}:{port}", folder / "client.pem" if tls else None, log
            )


def _make_certificate(folder: Path) -> None:
    """Make a certificate for this machine, in a process of its own: it would stay in the memory of ours."""
    command = (sys.executable, "-m", "trustme", "--quiet", "--dir", str(folder), "--identities", _HOST)
    succeed(Command((*command, "localhost"), environment(folder)))


@contextmanager
def seaweedfs(folder: Path) -> Generator[str]:
    """Run a fresh SeaweedFS with an empty bucket and yield its URL; it ends with the ``with`` block.

    Raises:
        MeasureError: It does not start.
    """
    with tempfile.TemporaryDirectory(prefix="seaweedfs-", dir=folder) as name:
        data = Path(name)
        master, volume, filer, port = _ports_with_shift(4)
        access = data / "access.json"
        credentials = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "benchmark", "credentials": [credentials], "actions": actions}
        access.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        command = [
            program("weed") or "weed",
            "server",
            f"-dir={data}",
            f"-ip={_HOST}",
            f"-ip.bind={_HOST}",
            f"-master.port={master}",
            f"-volume.port={volume}",
            "-filer",
            f"-filer.port={filer}",
            "-s3",
            f"-s3.port={port}",
            "-s3.port.iceberg=0",
            f"-s3.config={access}",
            "-master.telemetry=false",
            "-volume.max=0",
            "-master.volumeSizeLimitMB=1024",
        ]
        try:
            with _server(command, data, port, stop=signal.SIGKILL):  # what it would save is thrown away
                url = f"http://{_HOST}:{port}"
                make_bucket(url, data)
                yield url
        finally:
            _remove_sockets((master, volume, filer, port))


def _remove_sockets(ports: Sequence[int]) -> None:
    """Remove the sockets that SeaweedFS leaves in a folder that it does not let one choose."""
    for port in (*ports, *(port + _SHIFT for port in ports)):
        for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice
            socket_file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Moto:
    """moto as a server: it answers slowly, but keeps a log of requests."""

    url: str
    log: Path

    def reads(self) -> int:
        """Return how many requests were no PUT."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return len(re.findall(r'"(?:GET|HEAD|POST|DELETE) /', text))


@contextmanager
def moto(folder: Path) -> Generator[Moto]:
    """Run moto with an empty bucket; it ends with the ``with`` block, its log stays.

    Raises:
        MeasureError: It does not start.
    """
    port = _free_port()
    command = [program("moto_server") or "moto_server", "-H", _HOST, "-p", str(port)]
    with _server(command, folder, port):
        url = f"http://{_HOST}:{port}"
        make_bucket(url, folder)
        yield Moto(url, folder / "output.log")


def s5cmd(url: str, home: Path, *arguments: str) -> str:
    """Have s5cmd do something that is not measured, and return what it printed."""
    words = (program("s5cmd") or "s5cmd", "--endpoint-url", url, *arguments)
    return succeed(Command(words, environment(home))).output


def make_bucket(url: str, home: Path) -> None:
    """Make the bucket of the benchmark."""
    s5cmd(url, home, "mb", f"s3://{BUCKET}")


@contextmanager
def _server(command: Sequence[str], folder: Path, port: int, stop: int = signal.SIGTERM) -> Generator[None]:
    """Run a server until the ``with`` block ends; it has started when it accepts connections."""
    output = folder / "output.log"
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - the commands are ours
            command,
            cwd=folder,
            env={**environment(folder), "TMPDIR": str(folder)},  # SeaweedFS writes its log there
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, port, [output, folder / "error.log"])
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, logs: Sequence[Path]) -> None:
    deadline = time.monotonic() + _START
    while True:
        with suppress(OSError), closing(socket.create_connection((_HOST, port), 1)):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            said = "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())
            raise MeasureError(f"{process.args!r} does not listen at port {port}:\n{said}")
        time.sleep(0.05)


def _free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind((_HOST, 0))
        port: int = listening.getsockname()[1]
    return port


def _ports_with_shift(count: int) -> list[int]:
    """Return ports that are free, and so are those `_SHIFT` above."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 30_000)  # noqa: S311 - no secret
        if port not in found and all(map(_is_free, (port, port + _SHIFT))):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as listening:
        try:
            listening.bind((_HOST, port))
        except OSError:
            return False
    return True
