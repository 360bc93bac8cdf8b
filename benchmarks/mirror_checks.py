"""What is counted rather than timed: bytes fetched again, requests, memory. The server does the counting."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mirror_memory import LIMIT, limited, watched
from mirror_methods import CONNECTIONS, IMPORTS, check_store, child, ours
from mirror_models import BUCKET, PREFIX
from mirror_processes import INTERVAL, MeasureError, run, sample, succeed
from mirror_servers import moto, nginx, s5cmd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror_memory import Curve
    from mirror_models import Model
    from mirror_scenarios import Workshop
    from mirror_servers import Request

#: Requests that a list of 10,000 models may take: 10 pages of 1,000 keys, and two more.
LIST_TARGET = 12


def _blob_bytes(requests: Iterable[Request], model: Model) -> int:
    """Return the bytes of a model's layers that were sent."""
    paths = {f"/{BUCKET}/{layer.key}" for layer in model.layers}
    return sum(one.sent for one in requests if one.method == "GET" and one.path in paths)


@dataclass(frozen=True)
class Resumed:
    """Imports that were killed at half of their bytes and started again.

    Attributes:
        size: Bytes of the blob.
        part: Bytes of the largest range that was asked for.
        connections: How many were allowed.
        killed_at: For each round, the bytes that the server had sent in whole requests when it was killed.
        again: For each round, the bytes that it sent in both imports beyond the size of the blob.
    """

    size: int
    part: int
    connections: int
    killed_at: list[int]
    again: list[int]

    @property
    def parts(self) -> list[float]:
        """For each round, what was fetched again in parts."""
        return [sent / self.part for sent in self.again]

    @property
    def reached(self) -> bool:
        """Whether no round fetched more than one part per connection again."""
        return max(self.parts) <= self.connections


def resume(workshop: Workshop, rounds: int) -> Resumed:
    """Kill imports of the large model when half of it has been sent, and import it again.

    Raises:
        MeasureError: An import ended before it could be killed, or the second one failed.
    """
    model = workshop.model("large")
    killed_at: list[int] = []
    again: list[int] = []
    part = 0
    for _ in range(rounds):
        # A server for each: it writes its last lines when it is stopped.
        with nginx(workshop.served) as static, workshop.job(model, static.url, None) as job:

            def at_half(pid: int) -> None:
                if _blob_bytes(static.requests(), model) >= model.size / 2:
                    os.kill(pid, signal.SIGKILL)

            ended = run(ours(job), watch=at_half)
            if ended.status != -signal.SIGKILL:
                raise MeasureError(
                    f"the import ended (status {ended.status}) before it could be killed at half: "
                    f"take a larger blob with --size-gib\n{ended.output[-2000:]}"
                )
            killed_at.append(_blob_bytes(static.requests(), model))
            succeed(ours(job))
            check_store(job, [])
        requests = static.requests()
        again.append(_blob_bytes(requests, model) - model.size)
        part = max(part, *(one.asked or 0 for one in requests))
    if not part:
        raise MeasureError("the blob was not fetched in parts: take a larger one with --size-gib")
    return Resumed(model.size, part, CONNECTIONS, killed_at, again)


@dataclass(frozen=True)
class Again:
    """A second import of a model that the store has.

    Attributes:
        first_bytes: Bytes of its blobs that the server sent for the first import.
        bytes: The same for the second.
        requests: Requests of the second import.
        seconds: Its wall time, the start of the interpreter included.
        first_seconds: That of the first.
    """

    first_bytes: int
    bytes: int
    requests: int
    seconds: float
    first_seconds: float

    @property
    def reached(self) -> bool:
        """Whether no bytes of blobs were fetched."""
        return self.bytes == 0


def again(workshop: Workshop) -> Again:
    """Import the large model twice, from two servers: each has its own log.

    Raises:
        MeasureError: An import failed.
    """
    model = workshop.model("large")
    with nginx(workshop.served) as first, workshop.job(model, first.url, None) as job:
        before, _ = sample([ours(job)], list)
        with nginx(workshop.served) as second:
            job_again = replace(job, url=second.url)
            after, _ = sample([ours(job_again)], list)
            check_store(job_again, [])
    requests = second.requests()
    return Again(
        first_bytes=_blob_bytes(first.requests(), model),
        bytes=_blob_bytes(requests, model),
        requests=len(requests),
        seconds=after.seconds,
        first_seconds=before.seconds,
    )


@dataclass(frozen=True)
class Listed:
    """A list of all models in a bucket.

    Attributes:
        models: How many there are.
        requests: How many the server got for it.
        seconds: Of the call, most of it spent in the server.
    """

    models: int
    requests: int
    seconds: float

    @property
    def reached(self) -> bool:
        """Whether it took no more requests than allowed."""
        return self.requests <= LIST_TARGET


def listing(workshop: Workshop) -> Listed:
    """List the models of a bucket with very many.

    Raises:
        MeasureError: The call failed, or told another number of models.
    """
    model = workshop.model("medium")
    wanted = workshop.sizes.names
    with workshop.job(model, "", None) as place, moto(place.folder) as server:
        job = replace(place, url=server.url)
        manifest = (model.store / model.manifest).read_bytes()
        names = place.folder / "names"
        for number in range(wanted):
            file = names / f"model-{number // 10}" / f"tag-{number % 10}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(manifest)
        target = f"s3://{BUCKET}/{PREFIX}/manifests/registry.ollama.ai/library/"
        s5cmd(server.url, place.folder, "cp", f"{names}/", target)
        before = server.reads()
        found = json.loads(succeed(child(job, "list", store=str(job.store))).output)
        requests = server.reads() - before
    if found["models"] != wanted:
        raise MeasureError(f"{wanted} models are in the bucket, list_models() tells {found['models']}")
    return Listed(wanted, requests, found["seconds"])


@dataclass(frozen=True)
class Limited:
    """The memory of all methods while they import the large model.

    Attributes:
        size: Bytes of the blob.
        limit: Bytes that a method may use, page cache included; None where the machine sets no limit.
        reason: Why there is no limit.
        interval: Seconds between two looks.
        curves: For each method, what was seen.
    """

    size: int
    limit: int | None
    reason: str
    interval: float
    curves: Mapping[str, Curve] = field(default_factory=dict[str, "Curve"])


def memory(workshop: Workshop) -> Limited:
    """Import the large model with every method within a limit on memory, where this machine can set one.

    Raises:
        MeasureError: The server failed.
    """
    model = workshop.model("large")
    limit: int | None = LIMIT
    reason = ""
    try:
        with limited():
            pass
    except OSError as error:
        limit, reason = None, f"a memory cgroup needs root ({error})"
        sys.stderr.write(f"no limit on memory: {reason}\n")
    curves: dict[str, Curve] = {}
    for name, method in IMPORTS.items():
        with (
            nginx(workshop.served) as static,
            workshop.job(model, static.url, None) as job,
            limited() if limit else nullcontext() as group,
        ):
            curves[name], printed = watched(method.commands(job), group)
            if not curves[name].failed:
                method.check(job, printed)
    return Limited(model.size, limit, reason, INTERVAL, curves)
