"""Every key of the settings: its kind, what it means, its default. docs/settings.md is made of this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from .given import Problem, Unfit
from .kinds import (
    FilePath,
    Json,
    KeepAlive,
    Kind,
    ListOf,
    Seconds,
    Size,
    Switch,
    Text,
    Whole,
    unknown,
)
from .parts import AmqpSettings, OllamaSettings, S3Settings, Subscription, WorkerSettings
from .texts import (
    bucket_fault,
    endpoint_fault,
    exchange_fault,
    host_fault,
    model_fault,
    model_or_all_fault,
    name_fault,
    prefix_fault,
    reply_fault,
    type_fault,
)
from .urls import amqp_fault, management_fault

if TYPE_CHECKING:
    from .given import Given

_LARGEST_PREFETCH: Final = 65535  # what AMQP can say
_LARGEST_MESSAGE: Final = 512 << 20  # what RabbitMQ can be set to take


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key.

    Attributes:
        name: Its name within its section.
        kind: What it takes.
        meaning: What it is for, in Markdown.
        default: What is meant where it is left out, in Markdown; left out, what the section's type says.
        secret: Whether its value is never shown.
    """

    name: str
    kind: Kind
    meaning: str
    default: str | None = None
    secret: bool = False


OLLAMA: Final = (
    Key(
        name="host",
        kind=Text("the address of an Ollama, such as 'http://gpu1:11434'", host_fault),
        meaning="the Ollama that a worker calls",
        default="`$OLLAMA_HOST`, else `http://127.0.0.1:11434`",
    ),
    Key(
        name="first_token",
        kind=Seconds(positive=True),
        meaning="how long the first token may take, loading of the model included",
    ),
    Key(name="between_tokens", kind=Seconds(positive=True), meaning="how long each further token may take"),
)

AMQP: Final = (
    Key(
        name="url",
        kind=Text("the URL of a broker, such as 'amqp://user@broker.example.com'", amqp_fault),
        meaning="the broker: `amqp://user:password@host:port/virtual-host`, `amqps://` for TLS; other "
        "characters than letters, digits and `-._~` are percent-encoded",
        default='`"amqp://localhost/"`',
    ),
    Key(
        name="urls",
        kind=ListOf(Text("the URL of a broker", amqp_fault), "a list of URLs of brokers", least=1),
        meaning="in place of `url`, the brokers of a cluster; the first one that answers is taken",
        default="none",
    ),
    Key(
        name="password_file",
        kind=FilePath(),
        meaning="a file with the password, in place of one in the URL; read at each connect",
    ),
    Key(
        name="ca_file",
        kind=FilePath(),
        meaning="certificates of the authorities that are trusted with `amqps://`",
        default="those of the system",
    ),
    Key(
        name="cert_file",
        kind=FilePath(),
        meaning="our own certificate for `amqps://`; it logs us in where the URL names no user",
    ),
    Key(name="key_file", kind=FilePath(), meaning="the key of `cert_file`, where that does not hold it"),
    Key(
        name="management_url",
        kind=Text("the URL of a management API, such as 'http://broker:15672'", management_fault),
        meaning="the broker's management API, which `fleet check` asks for policies",
    ),
    Key(
        name="heartbeat",
        kind=Whole(0, 3600),
        meaning="seconds between signs of life; a dead link shows after about three times that; 0 is never",
    ),
    Key(
        name="exchange",
        kind=Text("the name of an exchange", exchange_fault),
        meaning="where requests are published, and what the names of queues begin with",
    ),
)

WORKER: Final = (
    Key(
        name="name",
        kind=Text("text", name_fault),
        meaning="what replies and the broker's management UI call the worker",
        default="the name of the machine",
    ),
    Key(
        name="slots",
        kind=Whole(1, _LARGEST_PREFETCH),
        meaning="jobs at the same time; Ollama's `OLLAMA_NUM_PARALLEL`",
    ),
    Key(
        name="dwell",
        kind=Seconds(),
        meaning="how long the model that is loaded is served before other queues are asked first",
    ),
    Key(name="job_limit", kind=Seconds(least=1), meaning="how long a job may run"),
    Key(
        name="drain_limit",
        kind=Seconds(),
        meaning="how long jobs may still run after SIGTERM",
        default="`job_limit` + 30",
    ),
    Key(
        name="max_deliveries",
        kind=Whole(1),
        meaning="how often a request is tried whose runs end with the machine's failure",
    ),
    Key(
        name="reply_to_allow",
        kind=ListOf(
            Text("the beginning of a queue's name", reply_fault),
            "a list of what names of reply queues begin with",
            least=1,
        ),
        meaning="what the names of reply queues begin with; requests with others are not run",
    ),
    Key(
        name="max_request_bytes",
        kind=Size(1024, _LARGEST_MESSAGE),
        meaning="the longest request that is read",
    ),
    Key(
        name="max_reply_bytes",
        kind=Size(1024, _LARGEST_MESSAGE),
        meaning="the longest reply that is sent; RabbitMQ 4 takes 16 MiB, before 128 MiB",
    ),
    Key(
        name="preload",
        kind=Switch(),
        meaning="load the model before the first request; for a worker with one subscription",
    ),
)

SUBSCRIPTION: Final = (
    Key(
        name="type",
        kind=Text('chat, generate, embed or "*" (quoted)', type_fault),
        meaning='`chat`, `generate`, `embed`, or `"*"` for all that the model can',
        default="required",
    ),
    Key(
        name="model",
        kind=Text('the name of a model, or "*" (quoted)', model_or_all_fault),
        meaning='the model as callers name it, or `"*"` for every model of the machine',
        default="required",
    ),
    Key(
        name="options",
        kind=Json("a mapping of options, such as {num_ctx: 16384}"),
        meaning="override the options that callers send",
        default="the caller's",
    ),
    Key(
        name="keep_alive",
        kind=KeepAlive(),
        meaning="overrides what callers send",
        default="the caller's",
    ),
    Key(
        name="exchange",
        kind=Text("the name of an exchange", exchange_fault),
        meaning="a lane of its own, such as `llm.batch`; lanes are served in the order of the file",
        default="`amqp.exchange`",
    ),
    Key(
        name="slots",
        kind=Whole(1, _LARGEST_PREFETCH),
        meaning="jobs at the same time of this subscription",
        default="`worker.slots`",
    ),
    Key(
        name="single_active_consumer",
        kind=Switch(),
        meaning="one worker at a time serves the queue, others stand by; only a queue that does not exist "
        "yet becomes one",
    ),
)

S3: Final = (
    Key(
        name="bucket",
        kind=Text("the name of a bucket", bucket_fault),
        meaning="the bucket",
        default="required",
    ),
    Key(
        name="prefix",
        kind=Text("text", prefix_fault, empty=True),
        meaning='what its keys begin with; `""` is its root',
    ),
    Key(
        name="endpoint_url",
        kind=Text("the URL of a server, such as 'https://s3.example.com'", endpoint_fault),
        meaning="the S3 server",
        default="`$AWS_ENDPOINT_URL_S3`, `$AWS_ENDPOINT_URL`, else AWS",
    ),
    Key(
        name="region", kind=Text(), meaning="its region", default="`$AWS_DEFAULT_REGION`, else the profile's"
    ),
    Key(
        name="store",
        kind=FilePath("the path of a directory"),
        meaning="the model directory of the Ollama on this machine",
        default="`$OLLAMA_MODELS`, else Ollama's own",
    ),
    Key(
        name="profile",
        kind=Text(),
        meaning="the profile of the AWS configuration",
        default="`$AWS_PROFILE`",
    ),
    Key(
        name="access_key_id",
        kind=Text(),
        meaning="the id of a key, where it is not found as AWS's own tools find it",
    ),
    Key(name="secret_access_key", kind=Text(), meaning="the key", secret=True),
    Key(
        name="secret_access_key_file",
        kind=FilePath(),
        meaning="in place of `secret_access_key`, a file that holds it",
    ),
    Key(name="session_token", kind=Text(), meaning="the token of a temporary key", secret=True),
    Key(name="anonymous", kind=Switch(), meaning="ask without credentials"),
    Key(
        name="ca_bundle",
        kind=FilePath(),
        meaning="certificates that are trusted instead of the usual ones",
        default="`$AWS_CA_BUNDLE`",
    ),
    Key(name="expected_owner", kind=Text(), meaning="the account that must own the bucket"),
    Key(
        name="allow_link_local",
        kind=Switch(),
        meaning="take an endpoint whose address metadata services have",
    ),
    Key(
        name="connections",
        kind=Whole(1, 256),
        meaning="connections at most",
        default="16, or 4 for each processor",
    ),
    Key(name="limit_rate", kind=Size(1), meaning="bytes a second at most", default="no limit"),
    Key(
        name="start_jitter",
        kind=Seconds(),
        meaning="a transfer begins after up to this long, by chance, for fleets",
    ),
    Key(name="reserve", kind=Size(0), meaning="bytes that stay free on the disk"),
    Key(
        name="stall",
        kind=Seconds(positive=True),
        meaning="a connection that is silent for this long is replaced",
    ),
    Key(
        name="trust_present",
        kind=Switch(),
        meaning="take blobs that are there, with the right size, for good unhashed",
    ),
    Key(
        name="allow_remote",
        kind=Switch(),
        meaning="take models that send their prompts to another host",
    ),
    Key(
        name="prune_grace",
        kind=Seconds(),
        meaning="how old a blob must be for pruning; the same for all who use the bucket",
    ),
    Key(name="allow_short_grace", kind=Switch(), meaning="let `prune_grace` be less than a day"),
)

#: The sections: their keys, and their types.
SECTIONS: Final[dict[str, tuple[tuple[Key, ...], type[msgspec.Struct]]]] = {
    "ollama": (OLLAMA, OllamaSettings),
    "amqp": (AMQP, AmqpSettings),
    "worker": (WORKER, WorkerSettings),
    "s3": (S3, S3Settings),
}


class _Subscriptions(msgspec.Struct, frozen=True):
    """One entry of ``subscriptions``."""

    wanted: str = "a mapping with type and model"

    def read(self, given: Given, path: str, *, secret: bool = False) -> Subscription:
        """Return the subscription."""
        del secret
        if not isinstance(given.value, dict):
            raise Unfit(f"{path} must be {self.wanted}; not {given.shown()}", given.origin)
        known = {key.name: key for key in SUBSCRIPTION}
        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for name, held in given.value.items():
            try:
                if name not in known:
                    what = unknown(f"{path}.{name}", name, list(known))
                    problems.append(Problem(held.origin, what))
                elif held.value is not None:
                    values[name] = known[name].kind.read(held, f"{path}.{name}")
            except Unfit as unfit:
                problems += unfit.problems
        missing = [
            name for name in ("type", "model") if name not in given.value or given.value[name].value is None
        ]
        for name in missing:
            problems.append(
                Problem(given.origin, f"{path} has no {name}: write {{type: chat, model: llama3.2}}")
            )
        if problems:
            raise Unfit.of(problems)
        return Subscription(**values)


#: The keys that stand alone.
TOP: Final = (
    Key(
        name="subscriptions",
        kind=ListOf(_Subscriptions(), "a list of subscriptions, such as [{type: chat, model: llama3.2}]"),
        meaning="the queues that a worker serves, in the order of the lanes; the keys of each are below",
        default="none",
    ),
    Key(
        name="default_models",
        kind=ListOf(Text("the name of a model", model_fault), "a list of names of models"),
        meaning="models that are fetched from the bucket before their subscriptions start",
        default="none",
    ),
)

#: Every key that a flag or an environment variable can set, by its path.
PATHS: Final = {
    **{f"{section}.{key.name}": key for section, (keys, _) in SECTIONS.items() for key in keys},
    **{key.name: key for key in TOP},
}
