"""What a broker's answers mean for a worker: the connection, the rights, each queue. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from ollama_ext.hosts import parse_host
from ollama_ext.settings import redacted

from .checks_report import UNKNOWN_USER, Finding, command, counted, note, ok, problem
from .definitions import permission_lines
from .topology import DEAD_QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ollama_ext.settings import AmqpSettings

    from .broker import Reason
    from .checks_broker import Asked, BrokerFacts, ExchangeFacts, QueueFacts
    from .questions import Answer

_REFUSED: Final = 403
_OTHER: Final = 406
_PLAIN_PORT, _TLS_PORT = 5672, 5671


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker works, in the words of commands.

    Attributes:
        user: Who it is there.
        vhost: The virtual host.
        exchanges: Those of the settings.
        config: The file of the settings, if there is one.
    """

    user: str
    vhost: str
    exchanges: tuple[str, ...]
    config: str | None = None

    def rights(self) -> str:
        """Return the command that gives a worker its rights; it replaces those that the user has there."""
        return permission_lines(self.user, self.vhost, self.exchanges, "worker")[0]

    def definitions(self) -> str:
        """Return the commands that make exchanges, queues, the dead-letter queue and the policies."""
        config = ("--config", self.config) if self.config else ()
        printed = command("ollama-ext", "fleet", "definitions", *config, "--vhost", self.vhost)
        return (
            f'{printed} --broker-version "$(rabbitmqctl version)" > fleet.json\n'
            "rabbitmqctl import_definitions fleet.json"
        )


def place_of(url: str, settings: AmqpSettings, exchanges: Sequence[str], config: str | None) -> Place:
    """Return where a URL leads."""
    parts = urlsplit(url)
    by_certificate = parts.username is None and settings.cert_file is not None
    return Place(
        user=UNKNOWN_USER if by_certificate else unquote(parts.username or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        exchanges=tuple(exchanges),
        config=config,
    )


def about_connections(asked: Sequence[Asked], place: Place) -> list[Finding]:
    """Return findings about each broker: can a worker get in, and if not, what is to be changed?"""
    reached = any(each.refusal is None for each in asked)
    found: list[Finding] = []
    for each in asked:
        if each.refusal is None:
            version = f"RabbitMQ {each.version}" if each.version else "a broker"
            shown = f"{redacted(each.url)} is {version}, and lets {place.user!r} in"
            found.append(ok("broker", shown))
        else:
            # One of a cluster may be away; a worker takes the next.
            state: Literal["note", "problem"] = "note" if reached else "problem"
            found.append(Finding(state, "broker", each.refusal.text, _way_in(each.url, each.refusal, place)))
    return found


def _way_in(url: str, refusal: Reason, place: Place) -> str:  # noqa: PLR0911 - one for each kind
    """Return what to do about a refused connection."""
    match refusal.kind:
        case "login":
            return _login_fix(url, place)
        case "vhost":
            return (
                f"{command('rabbitmqctl', 'add_vhost', place.vhost)}   (if it is not there)\n{place.rights()}"
            )
        case "plain":
            return f"amqp.url: {_other_scheme(url)}"
        case "tls":
            return (
                f"amqp.url: {_other_scheme(url)}   (if that port has no TLS)\n"
                "amqp.cert_file and amqp.key_file: our certificate   (if the broker wants one)"
            )
        case "certificate":
            return "amqp.ca_file: the file with the certificate of the authority that signed the broker's"
        case _ if refusal.code is None:
            return (
                "rabbitmq-diagnostics listeners   (on the broker's machine: does it run, on which port?)\n"
                "amqp.url: amqp://user@HOST:PORT/VHOST"
            )
        case _:
            return "rabbitmqctl status   (on the broker's machine)"


def _login_fix(url: str, place: Place) -> str:
    host = urlsplit(url).hostname or ""
    if place.user == "guest" and not parse_host(f"[{host}]" if ":" in host else host).is_loopback:
        user = msgspec.structs.replace(place, user="fleet")
        return (
            "rabbitmqctl add_user fleet   (guest is let in from the broker's own machine only)\n"
            f"{user.rights()}\namqp.url: {_as_user(url, 'fleet')}, and its password in amqp.password_file"
        )
    return (
        f"{command('rabbitmqctl', 'authenticate_user', place.user)}   (asks for the password: is it right?)\n"
        f"{command('rabbitmqctl', 'change_password', place.user)}   (if not; add_user if there is none)"
    )


def _other_scheme(url: str) -> str:
    """Return a URL with TLS in place of none, or the reverse; a usual port becomes the other one."""
    parts = urlsplit(redacted(url))
    scheme = "amqp" if parts.scheme == "amqps" else "amqps"
    netloc = parts.netloc
    for mine, others in ((_PLAIN_PORT, _TLS_PORT), (_TLS_PORT, _PLAIN_PORT)):
        if parts.port == mine and (mine == _TLS_PORT) == (parts.scheme == "amqps"):
            netloc = netloc.replace(f":{mine}", f":{others}")
            break
    return urlunsplit((scheme, netloc, parts.path, "", ""))


def _as_user(url: str, user: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, f"{user}@{parts.netloc.rpartition('@')[2]}", parts.path, "", ""))


def about_answers(facts: BrokerFacts, place: Place) -> list[Finding]:
    """Return findings about exchanges, queues, rights and dead letters."""
    missing = _Missing()
    found = [finding for each in facts.exchanges for finding in _about_exchange(each, place)]
    for queue in facts.queues:
        found += _about_queue(queue, place, missing)
    if facts.replies.code == _REFUSED:
        missing.add("write", "amq.default")
    if missing:
        found.append(
            problem(
                "rights",
                f"{place.user!r} lacks {missing}",
                f"{place.rights()}   (replaces the rights that the user has in this virtual host)",
            )
        )
    elif facts.queues:
        found.append(ok("rights", f"{place.user!r} may do in {place.vhost!r} what a worker does"))
    found.append(_about_dead_letters(facts.dead, place))
    return found


class _Missing:
    """Rights that were refused, in RabbitMQ's words, each with the names that it is missing on."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {"configure": [], "write": [], "read": []}

    def add(self, right: Literal["configure", "write", "read"], name: str) -> None:
        if name not in self._names[right]:
            self._names[right].append(name)

    def __bool__(self) -> bool:
        return any(self._names.values())

    def __str__(self) -> str:
        return "; ".join(f"{right} on {counted(names)}" for right, names in self._names.items() if names)


def _about_exchange(facts: ExchangeFacts, place: Place) -> Iterator[Finding]:
    name = facts.name
    if not facts.there.ok:
        if facts.made.code == _REFUSED:
            told = f"{name!r} is missing, and {place.user!r} may not make it"
            yield problem("exchange", told, place.definitions())
        else:
            yield ok("exchange", f"{name!r} is missing; the worker makes it")
    elif "'type'" in facts.made.text:
        yield problem(
            "exchange",
            f"{name!r} is no topic exchange ({_said(facts.made)}), and no worker can use it",
            f"amqp.exchange: another name\nrabbitmqadmin delete exchange name={name}   (if nobody needs it)",
        )
    elif facts.made.code == _OTHER and "'alternate-exchange'" not in facts.made.text:
        yield note("exchange", f"{name!r} is used as it is, though {_said(facts.made)}")
    else:
        # Who may not declare it is not told its type; a binding to it is all that a worker needs.
        yield ok("exchange", f"{name!r} is there")


def _about_queue(facts: QueueFacts, place: Place, missing: _Missing) -> Iterator[Finding]:
    name, exchange = facts.plan.name, facts.plan.exchange
    if facts.bound.code == _REFUSED:
        if f"exchange '{exchange}'" in facts.bound.text:
            missing.add("read", exchange)
        else:
            missing.add("write", name)
    if facts.read.code == _REFUSED:
        missing.add("read", name)
    if facts.there.ok:
        yield from _about_present_queue(facts, place)
    elif facts.made.code == _REFUSED:
        missing.add("configure", name)
        yield problem("queue", f"{name} is missing, and {place.user!r} may not make it", place.definitions())
    else:
        yield ok("queue", f"{name} is missing; the worker makes it")


def _about_present_queue(facts: QueueFacts, place: Place) -> Iterator[Finding]:
    name, there = facts.plan.name, facts.there
    waiting = f"{there.messages} waiting, {there.consumers} consumers"
    if facts.made.code != _OTHER:
        yield ok("queue", f"{name} is there, {waiting}")
        return
    text = f"{name} is there, {waiting}, and used as it is, though {_said(facts.made)}"
    if "x-single-active-consumer" in facts.made.text and facts.plan.single:
        yield note(
            "queue",
            f"{text}: single_active_consumer has no effect on a queue that exists",
            f"{command('rabbitmqctl', 'delete_queue', '-p', place.vhost, name)}   "
            "(with all that waits in it; the worker makes it anew)",
        )
    else:
        yield note("queue", text)


def _about_dead_letters(dead: Answer, place: Place) -> Finding:
    if dead.ok:
        waiting = f", with {dead.messages} dead letters in it" if dead.messages else ""
        return ok("dead letters", f"{DEAD_QUEUE} is there{waiting}")
    if dead.code == _REFUSED:
        return note("dead letters", f"{place.user!r} may not see whether there is {DEAD_QUEUE}")
    return problem(
        "dead letters",
        f"there is no queue {DEAD_QUEUE}: no copy is kept of a request that no machine could do",
        place.definitions(),
    )


def _said(answer: Answer) -> str:
    """Return what the broker said, without what our reasons put around it."""
    _, separator, text = answer.text.partition("PRECONDITION_FAILED - ")
    return (text if separator else answer.text).removesuffix(f" ({answer.code})")


def about_queues_unknown(names: Sequence[str]) -> Finding:
    """Return the finding that queues of wildcards cannot be looked at, because Ollama does not answer."""
    return note("queue", f"which queues {counted(list(names))} stand for is known only when Ollama answers")
