"""Transfers in processes of their own, held or killed at any step that changes something.

A step is a call that changes a file, a directory or a lock, and every request that is sent to a bucket. Steps
are taken one at a time, whichever thread takes them, and each has a name that is the same in every run, such
as ``rename 3f2a9c01.part 3f2a9c01.whole #1``. So a test can have one run tell the names of its steps, and
then have it killed at each of them. Between two steps nothing changes: these are all the states that a kill
can leave, but for steps that were half done, and those can be asked for.

This is a program that has imported everything and forks for every transfer, which takes milliseconds. Tests
use it through `nursery`.
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
import sys
import threading
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock
from urllib.parse import urlsplit

from botocore.httpsession import URLLib3Session
from nursery import PART, UPLOAD_PART, Step

from ollama_ext.s3 import Credentials, LocalStore, Mirror, MirrorError, TransferSettings, staging

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZES = {
    "ollama_ext.s3.limits._SMALL_PART": PART,
    "ollama_ext.s3.uploads._SINGLE": UPLOAD_PART,
    "ollama_ext.s3.uploads._PART": UPLOAD_PART,
}

# The calls of `os` that change something, by how many of their arguments tell what.
_ONE_NAME = (
    *("mkdir", "rmdir", "unlink", "remove", "utime", "chmod", "chown", "lchown"),
    *("fchmod", "fchown", "fsync", "fdatasync"),
)
_TWO_NAMES = ("rename", "replace", "link", "symlink", "truncate", "ftruncate")

_WRITES = os.O_CREAT | os.O_TRUNC
_CHANGES = {
    *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"),
    *("os.truncate", "os.utime", "fcntl.flock", "fcntl.lockf", "shutil.rmtree", "shutil.move"),
}


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
            **dict.fromkeys(_ONE_NAME, 1),
            **dict.fromkeys(_TWO_NAMES, 2),
        }.items():
            mock.patch.object(os, name, self._call(name, getattr(os, name), count)).start()
        mock.patch.object(fcntl, "flock", self._call("flock", fcntl.flock, 1)).start()
        mock.patch.object(staging, "allocate", self._call("allocate", staging.allocate, 2)).start()
        mock.patch.object(os, "open", self._open(os.open)).start()
        mock.patch.object(os, "dup", self._dup(os.dup)).start()
        mock.patch.object(os, "pwrite", self._write_at(os.pwrite)).start()
        mock.patch.object(os, "pwritev", self._write_at(os.pwritev)).start()
        mock.patch.object(builtins, "open", self._file(io.open)).start()
        mock.patch.object(io, "open", builtins.open).start()  # which is what os.fdopen() calls
        mock.patch.object(URLLib3Session, "send", self._send(URLLib3Session.send)).start()
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of what Python knows to change something, and is no step: there must be nothing."""
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

    def _dup(self, function: Callable[[int], int]) -> Callable[[int], int]:
        def call(descriptor: int) -> int:
            copy = function(descriptor)
            self._names[copy] = self._called(descriptor)
            return copy

        return call

    def _write_at(self, function: Callable[[int, Any, int], int]) -> Callable[[int, Any, int], int]:
        def call(descriptor: int, content: Any, position: int) -> int:
            name = self._called(descriptor)
            if name.endswith(".part") and position % PART:  # where this begins, chance says: see `torn`
                return function(descriptor, content, position)
            whole = b"".join(content) if isinstance(content, list) else bytes(content)
            half = whole[: len(whole) // 2]
            return int(
                self.take(
                    f"pwrite {name} {position}",
                    lambda: function(descriptor, content, position),
                    lambda: function(descriptor, [half] if isinstance(content, list) else half, position),
                )
            )

        return call

    def _file(self, function: Callable[..., Any]) -> Callable[..., Any]:
        steps = self

        class File(io.FileIO):
            def write(self, content: Any, /) -> int:
                half = bytes(content)[: len(content) // 2]
                write = super().write
                what = f"write {steps._called(self.fileno())}"
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
        name = self._names.get(file, str(file)) if isinstance(file, int) else Path(file).name
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


# The work.

SETTINGS = TransferSettings(connections=1, reserve=0)


_mirrors: dict[str, Mirror] = {}


def _mirror(told: dict[str, Any]) -> Mirror:
    """Make a mirror, once, as that takes half a second; without connections, which forks would share."""
    key = json.dumps(told)
    if key not in _mirrors:
        more = {name: value for name, value in told.items() if name != "keys"}
        keys = Credentials(*told["keys"])
        mirror = Mirror(credentials=keys, region="us-east-1", connections=1, reserve=0, **more)
        mirror.list_models()  # boto3 puts off much of its work to the first request
        mirror.close()
        _mirrors[key] = mirror
    return _mirrors[key]


def _imported(store: str, source: str, models: list[str]) -> Any:
    return LocalStore(store).import_models(models, source=source, settings=SETTINGS)


def _exported(store: str, directory: str, models: list[str]) -> Any:
    return LocalStore(store).export_models(models, directory, settings=SETTINGS)


def _pruned(store: str, grace: float) -> Any:
    return LocalStore(store).prune(grace=grace)


def _repaired(mirror: Mirror, model: str, where: Literal["store", "bucket"]) -> Any:
    return mirror.verify_model(model, where=where, repair=True)


WORK: dict[str, Callable[..., Any]] = {
    "import from directory": _imported,
    "export to directory": _exported,
    "prune store": _pruned,
    "import": Mirror.import_models,
    "publish": Mirror.publish_model,
    "repair": _repaired,
    "prune bucket": Mirror.prune_bucket,
}


def _told(result: Any) -> dict[str, Any]:
    fields = (
        "changed",
        "blobs_fetched",
        "blobs_skipped",
        "blobs_sent",
        "bytes_fetched",
        "blobs_repaired",
        "removed",
    )
    told = {name: getattr(result, name) for name in fields if hasattr(result, name)}
    error = getattr(result, "error", None)
    return {"ok": getattr(result, "ok", True), "error": error and f"{type(error).__name__}: {error}", **told}


def _work(request: dict[str, Any], mirrors: list[Mirror], port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as channel:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            steps = Steps(channel, **request["stops"])
            steps.begin()
            done = WORK[request["work"]](*mirrors, **request["arguments"])
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
            told = request["arguments"].pop("mirror", None)
            mirrors = [] if told is None else [_mirror(told)]
            assert threading.active_count() == 1, "a fork has only one of our threads"
            answer = os.fork()
            if answer == 0:
                try:
                    _work(request, mirrors, int(sys.argv[1]))
                finally:
                    os._exit(0)
        print(answer, flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
