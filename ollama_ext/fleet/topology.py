"""Where requests go and where replies may go: the names of exchanges and queues. Pure.

A request is published to a topic exchange with the name of its queue as routing key, and there is one queue
for each type of request and model: ``llm.request.ollama.chat.qwen3.5.27b``. The name is not to be read
backwards (``a:b.c`` and ``a.b:c`` have the same), so a worker knows its models from its settings.
"""

from __future__ import annotations

import unicodedata
from itertools import combinations
from typing import TYPE_CHECKING, Final

from ollama_ext.errors import InvalidArgument
from ollama_ext.names import parse_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ollama_ext.settings import Subscription

#: Who serves the requests; a word of every routing key, and a field of every reply.
PROVIDER: Final = "ollama"
#: Where requests are published unless the settings say otherwise.
DEFAULT_EXCHANGE: Final = "llm.request"
#: The queue of the requests that nobody could do.
DEAD_QUEUE: Final = "llm.dead"
#: What the reply queues of `FleetClient` begin with.
REPLY_PREFIX: Final = "llm.reply."
#: What the broker replaces by an address of the caller in the property ``reply_to``, and only there.
DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"
#: The types of request that have queues.
REQUEST_TYPES: Final = ("chat", "generate", "embed")
#: In a subscription: every type, or every model of the machine.
ANY: Final = "*"
#: Bytes that a name or key may have in AMQP, in UTF-8.
LONGEST_NAME: Final = 255

_WILDCARDS: Final = frozenset({"*", "#"})
_RESERVED: Final = "amq."
_LATEST: Final = ":latest"


def queue_name(request_type: str, model: str, exchange: str = DEFAULT_EXCHANGE) -> str:
    """Return the name of the queue for a type of request and a model; it is the routing key as well.

    Args:
        request_type: One of `REQUEST_TYPES`.
        model: As callers write it. Every ``:`` becomes ``.``, and nothing else is changed.
        exchange: Where the requests are published.

    Raises:
        InvalidArgument: There can be no such queue; the message says why, and what to write instead.
    """
    if request_type not in REQUEST_TYPES:
        raise InvalidArgument(
            f"There are no queues for requests of the type {_shown(request_type)}: use {_or(REQUEST_TYPES)}.",
            argument="request_type",
        )
    if not model:
        raise InvalidArgument("The model is empty: name one, such as 'llama3.2:1b'.", argument="model")
    if model == ANY:
        raise InvalidArgument(
            "The model '*' has no queue: it stands for the models of a machine; each has one. Name one.",
            argument="model",
        )
    if not exchange:
        raise InvalidArgument(
            f"The exchange has no name: give it one, such as {DEFAULT_EXCHANGE!r}.", argument="exchange"
        )
    if exchange.startswith(_RESERVED):
        raise InvalidArgument(
            f"The exchange {_shown(exchange)} cannot be used: the broker keeps queue names that begin with "
            f"{_RESERVED!r} for itself. Use another exchange, such as {DEFAULT_EXCHANGE!r}.",
            argument="exchange",
        )
    words = model.replace(":", ".")
    for argument, text, named in (("exchange", exchange, exchange), ("model", words, model)):
        wildcards = _WILDCARDS.intersection(text.split("."))
        if wildcards:
            raise InvalidArgument(
                f"The {argument} {_shown(named)} has {min(wildcards)!r} as a word of its own, which would "
                "bind its queue to those of other models: use a name without it.",
                argument=argument,
            )
    name = f"{exchange}.{PROVIDER}.{request_type}.{words}"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(
            f"The model {_shown(model)} or exchange {_shown(exchange)} is no Unicode text: use one that is.",
            argument="model",
        ) from None
    if length > LONGEST_NAME:
        raise InvalidArgument(
            f"The queue of the model {_shown(model)} would have a name of {length} bytes, and AMQP allows "
            f"{LONGEST_NAME}: give the model a shorter name (`ollama cp`), or use a shorter exchange.",
            argument="model",
        )
    return name


def is_wild(subscription: Subscription) -> bool:
    """Whether a subscription stands for a list that depends on the machine."""
    return ANY in (subscription.model, subscription.type)


def same_model(one: str, other: str) -> bool:
    """Tell whether two names mean the same model: defaults filled in, case ignored, as Ollama does."""
    return parse_name(one).same_as(parse_name(other))


def other_spelling(model: str) -> str | None:
    """Return the other name under which the same model may have its queue, or None.

    That is the one with ``:latest`` where a name has no tag, and the one without where its tag is that.
    """
    if ":" not in model.rpartition("/")[2]:
        return model + _LATEST if model and not model.endswith("/") else None
    if not model.lower().endswith(_LATEST):
        return None
    return model[: -len(_LATEST)] or None


def configured_exchanges(subscriptions: Iterable[Subscription], exchange: str) -> tuple[str, ...]:
    """Return every exchange of the settings once: ``amqp.exchange`` first, then those of subscriptions."""
    return tuple(dict.fromkeys([exchange, *(each.exchange or exchange for each in subscriptions)]))


def check_subscriptions(subscriptions: Iterable[Subscription], exchange: str) -> None:
    """See that each subscription can have its queue, and that no two have the same or mean the same model.

    Args:
        subscriptions: Those of the settings, in their order.
        exchange: That of subscriptions which name none.

    Raises:
        ollama_ext.settings.SettingsError: Some cannot; its ``problems`` name all, by their places from 1.
    """
    # Settings need not be loaded by a caller, and may check themselves with this.
    from ollama_ext.settings.given import MAPPING, Problem, SettingsError  # noqa: PLC0415

    problems: list[str] = []
    places: list[_Place] = []
    for number, each in enumerate(subscriptions, start=1):
        place = _Place(number, each, each.exchange or exchange)
        try:
            # The type of a wildcard is not known here; the longest one has the longest name.
            kind = "generate" if each.type == ANY else each.type
            queue = queue_name(kind, "any" if each.model == ANY else each.model, place.exchange)
        except InvalidArgument as error:
            problems.append(f"{place}: {error.message}")
            continue
        if not is_wild(each):
            place.queue = queue
        places.append(place)
    for one, other in combinations(places, 2):
        problem = _conflict(one, other)
        if problem is not None:
            problems.append(problem)
    if problems:
        raise SettingsError.of(Problem(MAPPING, problem) for problem in problems)


class _Place:
    """A subscription in its list; ``queue`` is None for a wildcard."""

    def __init__(self, number: int, subscription: Subscription, exchange: str) -> None:
        self.number, self.subscription, self.exchange = number, subscription, exchange
        self.queue: str | None = None

    def __str__(self) -> str:
        return f"subscription {self.number} ({self.subscription.type} {_shown(self.subscription.model)})"


def _conflict(one: _Place, other: _Place) -> str | None:
    mine, theirs = one.subscription, other.subscription
    if (
        (mine.type, one.exchange) == (theirs.type, other.exchange)
        and (mine.model == ANY) == (theirs.model == ANY)
        and same_model(mine.model, theirs.model)
    ):
        if mine.model == theirs.model:
            return f"{one} and {other} are the same: leave one out"
        return (
            f"{one} and {other} name the same model in two spellings: leave one out, or requests would be "
            "spread over two queues for it"
        )
    if one.queue is not None and one.queue == other.queue:
        return (
            f"{one} and {other} would have the same queue, {_shown(one.queue)}: rename one model "
            "(`ollama cp`), or give one of them an exchange of its own"
        )
    return None


def reply_queue(user: str, token: str) -> str:
    """Return the name of a caller's reply queue: ``llm.reply.<user>.<token>``.

    The broker can keep users out of each other's queues (`definitions.permission_lines`), because a token has
    no dot: no name of a user is the beginning of another one's queue.

    Args:
        user: Who is logged in at the broker.
        token: Random; without a dot.

    Raises:
        InvalidArgument: The token is empty or has a dot, or the name is too long.
    """
    if not token or "." in token:
        raise InvalidArgument("The token of a reply queue must be text without a dot.", argument="token")
    name = f"{REPLY_PREFIX}{user}.{token}"
    length = len(name.encode("utf-8", "surrogatepass"))
    if length > LONGEST_NAME:
        raise InvalidArgument(
            f"The reply queue of the user {_shown(user)} would have a name of {length} bytes, and AMQP "
            f"allows {LONGEST_NAME}: log in as a user with a shorter name.",
            argument="user",
        )
    return name


def reply_refused(reply_to: str, allow: Sequence[str], exchanges: Iterable[str]) -> str | None:
    """Return why no reply may go to an address, or None if one may.

    A worker may publish to every queue of its virtual host, and the address comes from the caller: else a
    request could have its reply put into a queue of requests, or into somebody's accounts.

    Args:
        reply_to: The name of a queue, from the request.
        allow: What it may begin with (``worker.reply_to_allow``).
        exchanges: Those whose queues hold requests. No reply goes there, or to `DEAD_QUEUE`, whatever is
            allowed.
    """
    if not reply_to:
        return "the reply address is empty"
    problem = _problem_of(reply_to, allow, exchanges)
    return None if problem is None else f"the reply address {_shown(reply_to)} {problem}"


def _problem_of(  # noqa: PLR0911 - one for each rule
    reply_to: str, allow: Sequence[str], exchanges: Iterable[str]
) -> str | None:
    try:
        length = len(reply_to.encode())
    except UnicodeEncodeError:
        return "is not Unicode text"
    if length > LONGEST_NAME:
        return f"has {length} bytes, and AMQP allows {LONGEST_NAME}"
    if not reply_to.isprintable() and any(unicodedata.category(each) == "Cc" for each in reply_to):
        return "has control characters"
    if reply_to == DEAD_QUEUE:
        return "is the queue of dead letters"
    for exchange in (DEFAULT_EXCHANGE, *exchanges):
        if reply_to.startswith(f"{exchange}."):
            return f"is one for requests, of the exchange {_shown(exchange)}"
    if not reply_to.startswith(tuple(allow)):
        allowed = ", ".join(map(repr, allow)) or "the allowed beginnings, of which there are none"
        return f"begins with none of {allowed}"
    return None


def _shown(text: object) -> str:
    return f"{text!r:.120}"


def _or(words: Sequence[str]) -> str:
    return f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"
