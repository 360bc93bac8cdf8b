"""The options of `ollama-ext mirror`: where bucket and store are, and what a transfer may take."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from ollama_ext.errors import InvalidArgument
from ollama_ext.s3 import LocalStore, Mirror
from ollama_ext.s3.limits import CONNECTIONS

_PREFIX: Final = "ollama/models"
_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*(?:([KMGT])(i?))?(?:B?/s|B)?", re.IGNORECASE | re.ASCII)


class Place(msgspec.Struct, frozen=True):
    """Where the bucket is, who asks, and where the store is."""

    bucket: Annotated[
        str | None, typer.Option(metavar="NAME", help="The bucket.", show_default="$OLLAMA_EXT_BUCKET")
    ] = None
    prefix: Annotated[
        str | None,
        typer.Option(
            help="What its keys begin with; '' is its root.",
            show_default=f"$OLLAMA_EXT_PREFIX, or {_PREFIX}",
        ),
    ] = None
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The S3 server.",
            show_default="$AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, or AWS",
        ),
    ] = None
    region: Annotated[
        str | None, typer.Option(help="Region of the bucket.", show_default="$AWS_DEFAULT_REGION")
    ] = None
    profile: Annotated[
        str | None, typer.Option(help="Profile of the AWS configuration.", show_default="$AWS_PROFILE")
    ] = None
    ca_bundle: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Certificates that are trusted instead of the usual.",
            show_default="$AWS_CA_BUNDLE",
        ),
    ] = None
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Ask without credentials.")] = False
    expected_owner: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="The account that must own the bucket.")
    ] = None
    allow_link_local: Annotated[
        bool,
        typer.Option("--allow-link-local", help="Take an endpoint whose address metadata services have."),
    ] = False
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="The model directory.",
            show_default="$OLLAMA_MODELS, or Ollama's default",
        ),
    ] = None

    @property
    def named_bucket(self) -> str | None:
        """The bucket, by the option or by the environment."""
        return self.bucket if self.bucket is not None else os.environ.get("OLLAMA_EXT_BUCKET") or None

    def mirror(self, *, store: Path | None = None, **settings: Any) -> Mirror:
        """Open the bucket, with the store of the options or another one.

        Raises:
            InvalidArgument: No bucket is named.
            MirrorError: As `Mirror` does.
        """
        if self.named_bucket is None:
            raise InvalidArgument(
                "no bucket is named: pass --bucket, or set OLLAMA_EXT_BUCKET", argument="bucket"
            )
        prefix = self.prefix if self.prefix is not None else os.environ.get("OLLAMA_EXT_PREFIX", _PREFIX)
        return Mirror(
            self.named_bucket,
            prefix,
            endpoint_url=self.endpoint_url,
            region=self.region,
            profile=self.profile,
            ca_bundle=self.ca_bundle,
            anonymous=self.anonymous,
            expected_owner=self.expected_owner,
            allow_link_local=self.allow_link_local,
            store=store or self.store,
            **settings,
        )

    def local_store(self) -> LocalStore:
        """Return the store.

        Raises:
            StoreRefused: None is named, and two may be meant.
        """
        return LocalStore(self.store)


class Reading(msgspec.Struct, frozen=True):
    """What reading may take."""

    connections: Annotated[
        int, typer.Option(help="Connections at most.", show_default="16, or 4 a processor")
    ] = CONNECTIONS
    limit_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Bytes a second at most, over all connections, such as 50M or 1.5G.",
            show_default="none",
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `Mirror` and of `TransferSettings` that say the same.

        Raises:
            InvalidArgument: An option cannot be read.
        """
        rate = None if self.limit_rate is None else amount(self.limit_rate, "--limit-rate")
        return {"connections": self.connections, "limit_rate": rate}


class Sending(Reading, frozen=True):
    """What a publication may take."""

    start_jitter: Annotated[
        float, typer.Option(metavar="SECONDS", help="Begin after up to this long, by chance, for fleets.")
    ] = 0.0

    def settings(self) -> dict[str, Any]:
        """Return the arguments that say the same."""
        return {**Reading.settings(self), "start_jitter": self.start_jitter}


class Writing(Sending, frozen=True):
    """What an import or an export may take."""

    reserve: Annotated[
        str, typer.Option(metavar="SIZE", help="Bytes that stay free on the disk, such as 500M or 2GiB.")
    ] = "1GiB"
    trust_present: Annotated[
        bool,
        typer.Option(
            "--trust-present", help="Take blobs that are there, with the right size, for good unhashed."
        ),
    ] = False

    def settings(self) -> dict[str, Any]:
        """Return the arguments that say the same."""
        reserve = int(amount(self.reserve, "--reserve"))
        return {**Sending.settings(self), "reserve": reserve, "trust_present": self.trust_present}


def amount(text: str, option: str) -> float:
    """Return a number of bytes as a user types it: ``50M`` is 50,000,000, and ``50MiB`` is 52,428,800.

    Raises:
        InvalidArgument: It is none.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            f"{option} must be a number of bytes, such as 500000, 50M, 1.5G or 64MiB; not {text!r:.80}",
            argument=option.removeprefix("--").replace("-", "_"),
        )
    number, unit, binary = match.groups()
    power = " KMGT".index(unit.upper()) if unit else 0
    return float(number) * float((1024 if binary else 1000) ** power)
