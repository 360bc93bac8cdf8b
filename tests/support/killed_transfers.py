"""Transfers in processes of their own, held or killed at any step that changes something.

A step is a call that changes a file, a directory or a lock, and every request that is sent to a bucket. Steps are
taken one at a time, whichever thread takes them, and each has a name that is the same in every run, such as
``rename 3f2a9c01.part 3f2a9c01.whole #1``. So a test can have one run tell the names of its steps, and then run
it once for each of them and have it killed there: between two steps nothing changes, so that is every state that a
kill can leave, but for steps that were half done, and those can be asked for.

Run as a program this is the nursery: it has imported everything, and forks for every transfer, which takes
milliseconds. `Nursery` is what a test has of it.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from unittest import mock
from urllib.parse import urlsplit

from botocore.httpsession import URLLib3Session

from ollama_ext.s3 import Credentials, LocalStore, Mirror, MirrorError, TransferSettings, staging

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE = 60.0  # seconds; against a hang only

PART = 32 << 10  # bytes of a part that is fetched, and of one write
UPLOAD_PART = 5 << 20  # bytes of a part that is sent: no server takes smaller ones

_SIZES = {
    "ollama_ext.s3.limits._SMALL_PART": PART,
    "ollama_ext.s3.uploads._SINGLE": UPLOAD_PART,
    "ollama_ext.s3.uploads._PART": UPLOAD_PART,
}

# -- what a test has


class Step(NamedTuple):
    """A step of a transfer: its name, and whether it can be half done."""

    name: str
    divisible: bool


@dataclass
class Ended:
    """How a transfer ended."""

    killed: bool
    steps: list[Step]
    results: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every model is where it was to go."""
        return not self.killed and self.error is None and all(each["ok"] for each in self.results)


class Job:
    """A transfer that runs in a process of its own."""

    def __init__(self, nursery: Nursery, pid: int, channel: socket.socket) -> None:
        """Take the process, and the connection to it."""
        self.pid = pid
        self._nursery = nursery
        self._channel = channel
        self._lines = channel.makefile("rb")
        self._steps: list[Step] = []
        self._end: dict[str, Any] | None = None

    def step(self) -> Step | None:
        """Wait until it is about to take a step, and return that; None when it has ended.

        If it is held there, it waits for `go` or `release` then.
        """
        line = self._lines.readline()
        told = json.loads(line) if line.endswith(b"\n") else {}
        if "step" not in told:
            self._end = told
            return None
        self._steps.append(Step(*told["step"]))
        return self._steps[-1]

    def go(self) -> None:
        """Let it take the step that it waits for."""
        self._channel.sendall(b"g")

    def go_until(self, begins: str) -> Step:
        """Let it go on until it is about to take a step whose name begins so, and return that."""
        while (step := self.step()) is not None:
            if step.name.startswith(begins):
                return step
            self.go()
        raise AssertionError(f"it ended without a step {begins!r}: {self.result()}")

    def release(self) -> None:
        """Let it take this step and all others. It still tells them if it did so before."""
        self._channel.sendall(b"r")

    def kill(self) -> Ended:
        """Kill it, and return when it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        return self.result()

    def result(self) -> Ended:
        """Wait for its end, and return what came of it."""
        while self._end is None:
            self.step()
        self._lines.close()
        self._channel.close()
        status = self._nursery.ask(wait=self.pid)
        assert "trace" not in self._end, self._end["trace"]
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return Ended(True, self._steps)
        return Ended(False, self._steps, self._end["results"], self._end["error"])


class Nursery:
    """Where transfers are started; a context manager that ends it."""

    def __enter__(self) -> Self:
        """Start the program."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        command = [sys.executable, __file__, str(self._listener.getsockname()[1])]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(  # noqa: S603 - this file
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        return self

    def __exit__(self, *exception: object) -> None:
        """End it. Every transfer has ended."""
        self._process.communicate()
        self._listener.close()

    def start(
        self,
        work: str,
        *,
        hold: bool = False,
        hold_at: str | None = None,
        tell: bool = False,
        kill_at: str | None = None,
        torn: bool = False,
        **arguments: Any,
    ) -> Job:
        """Start a transfer.

        Args:
            work: One of the names in `WORK`.
            hold: Whether it waits before every step.
            hold_at: The step before which it waits, and tells that; afterwards it is as if it were released.
            tell: Whether it tells its steps and does not wait.
            kill_at: The step before which it kills itself.
            torn: Whether it does half of that step first.
            arguments: What the work takes; ``mirror`` is what `mirror_arguments` returns.
        """
        stops = {"hold": hold, "hold_at": hold_at, "tell": tell or hold, "kill_at": kill_at, "torn": torn}
        pid = self.ask(work=work, arguments=arguments, stops=stops)
        channel, _ = self._listener.accept()
        channel.settimeout(PATIENCE)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Job(self, pid, channel)

    def run(self, work: str, **arguments: Any) -> Ended:
        """Start a transfer as `start` does, and wait for its end."""
        return self.start(work, **arguments).result()

    def ask(self, **request: Any) -> int:
        """Have the program do something, and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


_WRITES = os.O_CREAT | os.O_TRUNC
_CHANGES = {
    *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"),
    *("os.truncate", "os.utime", "fcntl.flock", "fcntl.lockf", "shutil.rmtree", "shutil.move"),
}

# -- what is done in the process of a transfer


class Steps:
    """Takes the steps of this process, one at a time."""

    def __init__(
        self,
        channel: socket.socket,
        *,
        hold: bool,
        hold_at: str | None,
        tell: bool,
        kill_at: str | None,
        torn: bool,
    ) -> None:
        """Take whom to tell, and where to stop."""
        self._channel = channel
        self._hold = hold
        self._hold_at = hold_at
        self._tell = tell
        self._kill_at = kill_at
        self._torn = torn
        self._lock = threading.RLock()
        self._taken: Counter[str] = Counter()
        self._names: dict[int, str] = {}
        self._inside = _Inside()
        self.missed: list[str] = []

    def take(self, what: str, do: Callable[[], Any], half: Callable[[], object] | None = None) -> Any:
        """Take a step."""
        with self._lock:
            self._taken[what] += 1
            name = f"{what} #{self._taken[what]}"
            if self._tell or name == self._hold_at:
                _say(self._channel, step=Step(name, half is not None))
            if self._hold or name == self._hold_at:
                self._hold = self._channel.recv(1) == b"g"
            if name == self._kill_at:
                if self._torn and half is not None:
                    half()
                die()
            before, self._inside.step = self._inside.step, True
            try:
                return do()
            finally:
                self._inside.step = before

    def begin(self) -> None:
        """From now on, take every step that is one."""
        for name, count in {
            **dict.fromkeys(("mkdir", "rmdir", "unlink", "utime", "fchmod", "fchown", "fsync"), 1),
            **dict.fromkeys(("rename", "replace", "link", "symlink", "ftruncate"), 2),
        }.items():
            mock.patch.object(os, name, self._call(name, getattr(os, name), count)).start()
        mock.patch.object(fcntl, "flock", self._call("flock", fcntl.flock, 1)).start()
        mock.patch.object(staging, "allocate", self._call("allocate", staging.allocate, 2)).start()
        mock.patch.object(os, "open", self._open(os.open)).start()
        mock.patch.object(os, "pwrite", self._pwrite(os.pwrite)).start()
        mock.patch.object(builtins, "open", self._file(io.open)).start()
        mock.patch.object(io, "open", builtins.open).start()  # which is what os.fdopen() calls
        mock.patch.object(URLLib3Session, "send", self._send(URLLib3Session.send)).start()
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of what Python itself knows to change something, and is no step: there must be nothing."""
        writes = event == "open" and isinstance(arguments[0], str) and arguments[2] & _WRITES
        if (writes or event in _CHANGES) and not self._inside.step:
            self.missed.append(f"{event} {arguments}")

    def _call(self, name: str, function: Callable[..., Any], count: int) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            what = " ".join([name, *map(self._called, arguments[:count])])
            return self.take(what, lambda: function(*arguments, **named))

        return call

    def _open(self, function: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
            def do() -> int:
                descriptor = function(path, flags, *arguments, **named)
                self._names[descriptor] = self._called(path)
                return descriptor

            return self.take(f"create {self._called(path)}", do) if flags & os.O_CREAT else do()

        return call

    def _pwrite(self, function: Callable[[int, Any, int], int]) -> Callable[[int, Any, int], int]:
        def call(descriptor: int, content: Any, position: int) -> int:
            name = self._called(descriptor)
            if name.endswith(".part") and position % PART:  # where this begins, chance says: see `torn`
                return function(descriptor, content, position)
            half = bytes(content)[: len(content) // 2]
            return int(
                self.take(
                    f"pwrite {name} {position}",
                    lambda: function(descriptor, content, position),
                    lambda: function(descriptor, half, position),
                )
            )

        return call

    def _file(self, function: Callable[..., Any]) -> Callable[..., Any]:
        steps = self

        class File(io.FileIO):
            def write(self, content: Any, /) -> int:
                half = bytes(content)[: len(content) // 2]
                write = super().write
                what = f"write {steps._called(self.fileno())}"  # noqa: SLF001 - its own class
                return int(steps.take(what, lambda: write(content), lambda: write(half)))

        def call(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if isinstance(file, int) and mode == "wb":
                return io.BufferedWriter(File(file, mode, **named))
            return function(file, mode, *arguments, **named)

        return call

    def _send(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(session: Any, request: Any) -> Any:
            url = urlsplit(request.url)
            query = re.sub(r"uploadId=[^&]*", "uploadId=", url.query)
            what = f"{request.method} {_short(url.path)}{query and '?'}{query}"
            body = request.body
            if not body or request.method != "PUT":
                return self.take(what, lambda: function(session, request))

            def half() -> None:
                request.body = _Half(body if isinstance(body, bytes) else body.read())
                function(session, request)

            return self.take(what, lambda: function(session, request), half)

        return call

    def _called(self, file: Any) -> str:
        """Return how a file is called in the name of a step."""
        name = self._names.get(file, str(file)) if isinstance(file, int) else os.path.basename(file)
        return _short(name)


class _Inside(threading.local):
    """Whether this thread takes a step just now."""

    step = False


class _Half:
    """A body of which the first half is sent, and then the process is no more."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._read = False

    def read(self, count: int = -1) -> bytes:
        del count
        if self._read:
            die()
        self._read = True
        return self._content[: len(self._content) // 2]

    def __len__(self) -> int:
        return len(self._content)


def die() -> None:
    """End this process as nothing can prevent."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def _short(name: str) -> str:
    """Shorten digests, and leave out what chance gave."""
    return re.sub(r"[0-9a-f]{16}\.new", "*.new", re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1", name))


def _say(channel: socket.socket, **told: Any) -> None:
    channel.sendall(json.dumps(told).encode() + b"\n")


# -- the work

SETTINGS = TransferSettings(connections=1, reserve=0)


def mirror_arguments(
    endpoint_url: str, bucket: str, store: Path, keys: Sequence[str], **settings: Any
) -> dict[str, Any]:
    """Return what a nursery makes a mirror of."""
    return {"endpoint_url": endpoint_url, "bucket": bucket, "store": str(store), "keys": keys, **settings}


_mirrors: dict[str, Mirror] = {}


def _mirror(told: dict[str, Any]) -> Mirror:
    """Make a mirror, which takes half a second, once; the one that was forked from has not been used."""
    key = json.dumps(told)
    if key not in _mirrors:
        more = {name: value for name, value in told.items() if name != "keys"}
        keys = Credentials(*told["keys"])
        _mirrors[key] = Mirror(credentials=keys, region="us-east-1", connections=1, reserve=0, **more)
    return _mirrors[key]


WORK: dict[str, Callable[..., Any]] = {
    "import from directory": lambda store, source, models: LocalStore(store).import_models(
        models, source=source, settings=SETTINGS
    ),
    "export to directory": lambda store, directory, models: LocalStore(store).export_models(
        models, directory, settings=SETTINGS
    ),
    "prune store": lambda store, grace: LocalStore(store).prune(grace=grace),
    "import": lambda mirror, models: mirror.import_models(models),
    "publish": lambda mirror, model: mirror.publish_model(model),
    "repair": lambda mirror, model, where: mirror.verify_model(model, where=where, repair=True),
    "prune bucket": lambda mirror: mirror.prune_bucket(),
}


def _told(result: Any) -> dict[str, Any]:
    fields = ("changed", "blobs_fetched", "blobs_skipped", "blobs_sent", "bytes_fetched", "blobs_repaired", "removed")
    told = {name: getattr(result, name) for name in fields if hasattr(result, name)}
    error = getattr(result, "error", None)
    return {"ok": getattr(result, "ok", True), "error": error and f"{type(error).__name__}: {error}", **told}


def _work(request: dict[str, Any], port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as channel:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            steps = Steps(channel, **request["stops"])
            steps.begin()
            done = WORK[request["work"]](**request["arguments"])
            results = [_told(each) for each in (done if isinstance(done, list) else [done])]
            assert not steps.missed, steps.missed
            _say(channel, results=results, error=None)
        except MirrorError as error:
            _say(channel, results=[], error=f"{type(error).__name__}: {error}")
        except BaseException:  # noqa: BLE001 - it is the test's to see
            _say(channel, trace=traceback.format_exc())


def main() -> None:
    """Do what is asked for on standard input, a line each, until that ends."""
    for name, size in _SIZES.items():
        mock.patch(name, size).start()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitpid(request["wait"], 0)[1]
        else:
            if "mirror" in request["arguments"]:
                request["arguments"]["mirror"] = _mirror(request["arguments"]["mirror"])
            answer = os.fork()
            if answer == 0:
                try:
                    _work(request, int(sys.argv[1]))
                finally:
                    os._exit(0)
        print(answer, flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
