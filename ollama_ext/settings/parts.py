"""The sections of the settings, as values. `Settings.load` makes and checks them; ``repr`` hides secrets."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any, Final

import msgspec

from .given import SettingsError
from .urls import redacted

#: What is shown in place of a secret.
HIDDEN: Final = "***"

# For `WorkerSettings.drain_limit`: time for the reply of the last job to be confirmed.
_AFTER_THE_LAST_JOB: Final = 30.0
_DERIVED: Final = -1.0


def machine_name() -> str:
    """Return the name of this machine."""
    return platform.node() or "localhost"


class OllamaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The Ollama that a worker calls.

    Attributes:
        host: Its address, as `ollama_ext.parse_host` reads it.
        first_token: Seconds until the first token, loading of the model included.
        between_tokens: Seconds from one token to the next.
    """

    host: str = "http://127.0.0.1:11434"
    first_token: float = 600.0
    between_tokens: float = 60.0


class AmqpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The broker. Passwords and certificates are read from their files at each connect, never here.

    Attributes:
        urls: Brokers of one cluster, each as ``amqp://user:password@host:port/virtual-host`` (``amqps`` for
            TLS), percent-encoded where need be.
        password_file: A file with the password, in place of one in the URLs.
        ca_file: Certificates of the authorities that are trusted, instead of those of the system.
        cert_file: Our own certificate; it logs us in where the URL names no user.
        key_file: Its key, where that is not in the same file.
        management_url: The broker's management API.
        heartbeat: Seconds between signs of life; 0 for none.
        exchange: Where requests are published.
    """

    urls: tuple[str, ...] = ("amqp://localhost/",)
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    management_url: str | None = None
    heartbeat: int = 15
    exchange: str = "llm.request"

    def __repr__(self) -> str:
        """Show all but passwords."""
        return _shown(self)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show all but passwords where `rich` prints."""
        return _fields(self)


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker works.

    Attributes:
        name: Of the worker, in replies and in the broker's management UI.
        slots: Jobs at the same time, over all subscriptions.
        dwell: Seconds for which a worker serves the model that is loaded before it asks for others first.
        job_limit: Seconds a job may run.
        drain_limit: Seconds that jobs may still run after SIGTERM; left out, or below 0, ``job_limit`` + 30.
        max_deliveries: Runs after which a request that kills its machine is given up.
        reply_to_allow: Beginnings of the reply queues that are served.
        max_request_bytes: The longest request.
        max_reply_bytes: The longest reply.
        preload: Whether to load the model before the first request; for one subscription only.
    """

    name: str = msgspec.field(default_factory=machine_name)
    slots: int = 1
    dwell: float = 60.0
    job_limit: float = 1500.0
    drain_limit: float = _DERIVED
    max_deliveries: int = 3
    reply_to_allow: tuple[str, ...] = ("amq.gen-", "amq.rabbitmq.reply-to.", "llm.reply.")
    max_request_bytes: int = 8388608
    max_reply_bytes: int = 8388608
    preload: bool = False

    def __post_init__(self) -> None:
        """Derive what was left out."""
        if self.drain_limit < 0:
            msgspec.structs.force_setattr(self, "drain_limit", self.job_limit + _AFTER_THE_LAST_JOB)


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One queue that a worker serves.

    Attributes:
        type: ``chat``, ``generate``, ``embed``, or ``*`` for all that the model can.
        model: The model, as callers name it, or ``*`` for every model of the machine.
        options: Override what callers send.
        keep_alive: Overrides what callers send.
        exchange: Another than ``amqp.exchange``.
        slots: Jobs at the same time of this subscription.
        single_active_consumer: Whether one worker at a time serves the queue.
    """

    type: str
    model: str
    options: dict[str, Any] | None = None
    keep_alive: str | int | float | None = None
    exchange: str | None = None
    slots: int | None = None
    single_active_consumer: bool = False


class S3Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The bucket with the models: what `ollama_ext.s3.Mirror` takes, under the same names.

    Attributes:
        bucket: Its name.
        prefix: What its keys begin with.
        endpoint_url: The server.
        region: The region.
        store: The model directory.
        profile: The profile of the AWS configuration.
        access_key_id: The id of a key.
        secret_access_key: The key; hidden by ``repr``.
        secret_access_key_file: A file that holds it, read when it is needed.
        session_token: Its token; hidden by ``repr``.
        anonymous: Whether to ask without credentials.
        ca_bundle: A file of certificates that are trusted instead of the usual ones.
        expected_owner: The account that must own the bucket.
        allow_link_local: Whether the endpoint may be an address that metadata services have.
        connections: Connections at most; None is the mirror's own choice.
        limit_rate: Bytes a second at most; None is no limit.
        start_jitter: Seconds, up to which a transfer waits by chance.
        reserve: Bytes that stay free on the disk.
        stall: Seconds without a byte after which a connection is replaced.
        trust_present: Whether blobs with the right size are taken for good.
        allow_remote: Whether models are taken that send their prompts to another host.
        prune_grace: Seconds for which pruning spares a blob.
        allow_short_grace: Whether that may be less than a day.
    """

    bucket: str
    prefix: str = "ollama/models"
    endpoint_url: str | None = None
    region: str | None = None
    store: str | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    secret_access_key_file: str | None = None
    session_token: str | None = None
    anonymous: bool = False
    ca_bundle: str | None = None
    expected_owner: str | None = None
    allow_link_local: bool = False
    connections: int | None = None
    limit_rate: int | None = None
    start_jitter: float = 0.0
    reserve: int = 1 << 30
    stall: float = 30.0
    trust_present: bool = False
    allow_remote: bool = False
    prune_grace: float = 86400.0
    allow_short_grace: bool = False

    def __repr__(self) -> str:
        """Show all but secrets."""
        return _shown(self)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show all but secrets where `rich` prints."""
        return _fields(self)

    def mirror_arguments(self) -> dict[str, Any]:
        """Return the arguments of `ollama_ext.s3.Mirror`; the file of the key is read now.

        Raises:
            SettingsError: That file cannot be read.
        """
        names = set(self.__struct_fields__) - {
            "access_key_id",
            "secret_access_key",
            "secret_access_key_file",
            "session_token",
        }
        arguments = {name: getattr(self, name) for name in names}
        if self.connections is None:
            del arguments["connections"]
        if self.access_key_id is not None:
            from ollama_ext.s3 import Credentials  # noqa: PLC0415 - the mirror is not everyone's

            arguments["credentials"] = Credentials(
                self.access_key_id, self._secret_access_key(), self.session_token
            )
        return arguments

    def _secret_access_key(self) -> str:
        if self.secret_access_key_file is None:
            return self.secret_access_key or ""
        file = self.secret_access_key_file
        try:
            key = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise SettingsError(f"s3.secret_access_key_file: cannot read {file}: {reason}") from None
        if not key:
            raise SettingsError(f"s3.secret_access_key_file: {file} is empty")
        return key


_SECRET: Final = frozenset({"secret_access_key", "session_token"})


def _fields(part: AmqpSettings | S3Settings) -> list[tuple[str, Any]]:
    return [(name, without_secret(name, getattr(part, name))) for name in part.__struct_fields__]


def without_secret(name: str, value: Any) -> Any:
    """Return the value of a key for showing it."""
    if value is None:
        return None
    if name in _SECRET:
        return HIDDEN
    if name == "urls":
        return tuple(redacted(url) for url in value)
    return redacted(value) if name in {"management_url", "endpoint_url"} else value


def _shown(part: AmqpSettings | S3Settings) -> str:
    return f"{type(part).__name__}({', '.join(f'{name}={value!r}' for name, value in _fields(part))})"
