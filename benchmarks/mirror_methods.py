"""The ways to copy a model, ours and what people use: for each its commands and a check of the result."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror_models import BUCKET, PREFIX
from mirror_processes import REGION, Command, MeasureError, environment, program, succeed
from mirror_servers import s5cmd

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror_models import Blob, Model

OURS = "ollama_ext"
S5CMD = "s5cmd"
RCLONE = "rclone"
BOTO3 = "boto3"

# What the mirror takes by default, said here so that the report can tell it. boto3 has 16, s5cmd its own.
CONNECTIONS = min(16, 4 * (os.cpu_count() or 4))

_CHILD = Path(__file__).with_name("mirror_child.py")


@dataclass(frozen=True)
class Job:
    """A model to copy.

    Attributes:
        model: What to copy, from where it lies on this disk.
        url: The endpoint.
        ca: The certificate to trust; None without TLS.
        folder: An empty folder of this run: results, lists of files, the home folder.
    """

    model: Model
    url: str
    ca: Path | None
    folder: Path

    @property
    def store(self) -> Path:
        """Where an import of ours goes."""
        return self.folder / "store"

    @property
    def copies(self) -> Path:
        """Where the others put their files."""
        return self.folder / "copies"

    def copy(self, blob: Blob) -> Path:
        """Return where the others put a blob."""
        return self.copies / blob.file


@dataclass(frozen=True)
class Method:
    """A way to copy a model.

    Attributes:
        commands: What to run for it.
        files: Which files it leaves; none where it uploads.
        check: Looks, when the clock has stopped, at what its commands printed and left.
    """

    commands: Callable[[Job], list[Command]]
    files: Callable[[Job], list[Path]]
    check: Callable[[Job, list[str]], None]


def child(job: Job, action: str, **more: Any) -> Command:
    """Return the command of a fresh interpreter that does that."""
    given = {
        "action": action,
        "url": job.url,
        "ca": str(job.ca) if job.ca else None,
        "region": REGION,
        "bucket": BUCKET,
        "prefix": PREFIX,
        "model": job.model.name,
        "connections": CONNECTIONS,
        **more,
    }
    # -P: the folder of the benchmarks is not searched for modules.
    return Command((sys.executable, "-P", str(_CHILD), json.dumps(given)), environment(job.folder))


def ours(job: Job) -> Command:
    """Return the command that imports the model with `Mirror.import_model`."""
    return child(job, "import", store=str(job.store))


def _files_of_ours(job: Job) -> list[Path]:
    return [job.store / "blobs" / blob.file for blob in job.model.layers]


def check_store(job: Job, _: list[str]) -> None:
    """Look whether the store has the model, byte for byte.

    Raises:
        MeasureError: It has not.
    """
    manifest = job.model.manifest
    if (job.store / manifest).read_bytes() != (job.model.store / manifest).read_bytes():
        raise MeasureError(f"{job.store / manifest} is not what the bucket has")
    blobs = (*job.model.layers, job.model.config)
    digest = _digest_command(job, [job.store / "blobs" / blob.file for blob in blobs])
    _compare([blob.digest for blob in blobs], succeed(digest).output)


def _digest_command(job: Job, paths: list[Path]) -> Command:
    words = (program("openssl") or "openssl", "dgst", "-sha256", "-r", *map(str, paths))
    return Command(words, environment(job.folder))


def _compare(expected: list[str], printed: str) -> None:
    digests = [line.split()[0] for line in printed.splitlines()]
    if digests != expected:
        raise MeasureError(f"digests differ: {expected[:3]} ..., got {digests[:3]} ...")


def _s5cmd(job: Job, *arguments: str) -> Command:
    words = (program("s5cmd") or "s5cmd", "--endpoint-url", job.url, *arguments)
    return Command(words, environment(job.folder, job.ca))


def _s5cmd_import(job: Job) -> list[Command]:
    pairs = [(f"s3://{BUCKET}/{blob.key}", str(job.copy(blob))) for blob in job.model.layers]
    if len(pairs) == 1:
        return [_s5cmd(job, "cp", *pairs[0]), *_digests(job)]
    listed = job.folder / "commands"
    listed.write_text("".join(f"cp {source} {target}\n" for source, target in pairs), encoding="utf-8")
    return [_s5cmd(job, "run", str(listed)), *_digests(job)]


def _rclone(job: Job, *arguments: str) -> Command:
    settings = ("--config=", "--s3-provider=Other", "--s3-env-auth", f"--s3-region={REGION}")
    endpoint = (f"--s3-endpoint={job.url}", "--s3-force-path-style", "--s3-no-check-bucket")
    trusted = (f"--ca-cert={job.ca}",) if job.ca else ()
    words = (program("rclone") or "rclone", *settings, *endpoint, *trusted, *arguments)
    return Command(words, environment(job.folder))


def _rclone_import(job: Job) -> list[Command]:
    listed = job.folder / "files"
    listed.write_text("".join(f"{blob.file}\n" for blob in job.model.layers), encoding="utf-8")
    # By names, for a static server lists nothing; the slash says that this is no file, which it would ask.
    copy = ("copy", "--no-traverse", f"--files-from-raw={listed}")
    source = f":s3:{BUCKET}/{PREFIX}/blobs/"
    return [_rclone(job, *copy, source, str(job.copies)), *_digests(job)]


def _digests(job: Job) -> list[Command]:
    return [_digest_command(job, _copies(job))]


def _copies(job: Job) -> list[Path]:
    return [job.copy(blob) for blob in job.model.layers]


def _check_digests(job: Job, printed: list[str]) -> None:
    _compare([blob.digest for blob in job.model.layers], printed[-1])


def _boto3_import(job: Job) -> list[Command]:
    files = {blob.key: str(job.copy(blob)) for blob in job.model.layers}
    return [child(job, "boto3-import", files=files)]


def _check_boto3(job: Job, printed: list[str]) -> None:
    digests: list[str] = json.loads(printed[-1])["digests"]
    _compare([blob.digest for blob in job.model.layers], "\n".join(digests))


def _no_files(_: Job) -> list[Path]:
    return []


def _check_bucket(job: Job, _: list[str]) -> None:
    """Look whether the bucket has the blobs, in their sizes."""
    lines = s5cmd(job.url, job.folder, "--json", "ls", f"s3://{BUCKET}/{PREFIX}/blobs/*").splitlines()
    found = {Path(entry["key"]).name: entry["size"] for entry in map(json.loads, lines)}
    for blob in job.model.layers:
        if found.get(blob.file) != blob.size:
            raise MeasureError(f"{blob.key} has {found.get(blob.file)} bytes in the bucket, not {blob.size}")


def _check_published(job: Job, printed: list[str]) -> None:
    _check_bucket(job, printed)
    manifest = job.model.manifest
    found = s5cmd(job.url, job.folder, "cat", f"s3://{BUCKET}/{PREFIX}/{manifest}")
    if found != (job.model.store / manifest).read_text(encoding="utf-8"):
        raise MeasureError(f"the manifest in the bucket is not that of {job.model.name}")


def _our_publish(job: Job) -> list[Command]:
    return [child(job, "publish", store=str(job.model.store))]


def _s5cmd_publish(job: Job) -> list[Command]:
    return [
        _s5cmd(job, "cp", str(job.model.blob(blob)), f"s3://{BUCKET}/{blob.key}") for blob in job.model.layers
    ]


def _rclone_publish(job: Job) -> list[Command]:
    return [
        _rclone(job, "copyto", str(job.model.blob(blob)), f":s3:{BUCKET}/{blob.key}")
        for blob in job.model.layers
    ]


def _boto3_publish(job: Job) -> list[Command]:
    return [
        child(job, "boto3-publish", files={blob.key: str(job.model.blob(blob)) for blob in job.model.layers})
    ]


#: All of them verify.
IMPORTS = {
    OURS: Method(lambda job: [ours(job)], _files_of_ours, check_store),
    S5CMD: Method(_s5cmd_import, _copies, _check_digests),
    RCLONE: Method(_rclone_import, _copies, _check_digests),
    BOTO3: Method(_boto3_import, _copies, _check_boto3),
}
PUBLISHES = {
    OURS: Method(_our_publish, _no_files, _check_published),
    S5CMD: Method(_s5cmd_publish, _no_files, _check_bucket),
    RCLONE: Method(_rclone_publish, _no_files, _check_bucket),
    BOTO3: Method(_boto3_publish, _no_files, _check_bucket),
}
#: What the methods are called where it matters that they verify.
VERIFIED = {OURS: OURS, S5CMD: "s5cmd + openssl", RCLONE: "rclone + openssl", BOTO3: "boto3 + hashlib"}
