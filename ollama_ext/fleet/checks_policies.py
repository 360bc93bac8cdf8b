"""Which policies apply to the queues, and how long a worker may hold a request: from the management API.

AMQP tells nothing of policies, so without ``amqp.management_url`` a check says how to look.
"""

from __future__ import annotations

import base64
import json
import re
from math import inf
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from ollama_ext.client import Client
from ollama_ext.errors import ConnectionFailed, OllamaError
from ollama_ext.settings import redacted

from .broker import parameters, tls_context
from .checks_report import Finding, command, counted, note, ok, problem
from .definitions import CONSUMER_TIMEOUT_MS, REQUEST_POLICY, configuration_lines
from .errors import FleetError
from .topology import DEAD_QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ollama_ext.settings import AmqpSettings

    from .checks_answers import Place
    from .checks_broker import QueuePlan

# Seconds for each question to the management API.
_PATIENCE: Final = 10.0
# RabbitMQ's own limit on how long a consumer may hold a message, in milliseconds.
_DEFAULT_TIMEOUT_MS: Final = 30 * 60 * 1000
_NOT_FOUND, _UNKNOWN_USER, _NO_RIGHT = 404, 401, 403


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of the virtual host."""

    name: str
    pattern: str
    priority: int = 0
    apply_to: str = "all"
    definition: dict[str, Any] = {}

    def matches(self, queue: ManagedQueue) -> bool | None:
        """Whether it is for this queue; None if the broker can read its pattern, and Python cannot."""
        applies = self.apply_to in {"queues", "all", queue.kind}
        try:
            return applies and re.search(self.pattern, queue.name) is not None
        except re.error:
            return None


class ManagedQueue(msgspec.Struct, frozen=True, kw_only=True):
    """What the management API says of a queue.

    Attributes:
        name: Its name.
        there: Whether it is there.
        kind: What policies for its kind of queue apply to.
        arguments: Those it was declared with.
        policy: The name of the one that applies; empty for none, None where the API does not know it yet.
        effective: What that and an operator's policy say together, up to 5 s ago; None where it is not known.
        bound: Whether it is bound to its exchange by its own name; None if that could not be seen.
    """

    name: str
    there: bool = True
    kind: str = "quorum_queues"
    arguments: dict[str, Any] = {}
    policy: str | None = None
    effective: dict[str, Any] | None = None
    bound: bool | None = None


class Managed(msgspec.Struct, frozen=True, kw_only=True):
    """What the management API says.

    Attributes:
        version: Of the broker.
        queues: Each queue that was asked for.
        policies: Those of the virtual host; None if the user may not see them.
        trouble: Why there is no answer, or empty.
        fix: What to do about it.
    """

    version: str = ""
    queues: tuple[ManagedQueue, ...] = ()
    policies: tuple[Policy, ...] | None = None
    trouble: str = ""
    fix: str = ""


def ask_management(settings: AmqpSettings, plans: Sequence[QueuePlan], place: Place) -> Managed | None:
    """Ask the management API; None if the settings name none."""
    if settings.management_url is None:
        return None
    shown = redacted(settings.management_url)
    try:
        with _client(settings, settings.management_url) as client:
            return _asked(client, plans, place)
    except (OllamaError, FleetError) as error:
        if error.status in {_UNKNOWN_USER, _NO_RIGHT}:
            return Managed(
                trouble=f"{shown} does not let {place.user!r} in",
                fix=f"{command('rabbitmqctl', 'set_user_tags', place.user, 'policymaker')}   "
                "(replaces the tags that the user has; it still sees its own virtual hosts only)",
            )
        # What else the client says is about an Ollama.
        told = "no connection" if isinstance(error, ConnectionFailed) else f"status {error.status}"
        if isinstance(error, FleetError):
            told = error.message
        return Managed(
            trouble=f"{shown} does not answer as a management API does ({told})",
            fix="rabbitmq-plugins enable rabbitmq_management   (on the broker's machine)\n"
            "amqp.management_url: http://HOST:15672",
        )


def _client(settings: AmqpSettings, url: str) -> Client:
    """Return a client that logs in with the user of this URL, or else of the broker's."""
    parts = urlsplit(url)
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
    else:
        credentials: Any = parameters(settings.urls[0], settings, "", {}).credentials
        user, password = getattr(credentials, "username", ""), getattr(credentials, "password", "")
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Client(
        bare,
        headers={"Authorization": f"Basic {secret}"},
        timeout=_PATIENCE,
        retry=None,
        verify=tls_context(settings) if parts.scheme == "https" else True,
    )


def _asked(client: Client, plans: Sequence[QueuePlan], place: Place) -> Managed:
    overview = client.request("GET", "/api/overview")
    vhost = quote(place.vhost, safe="")
    listed = _get(client, f"/api/policies/{vhost}")
    policies: tuple[Policy, ...] | None = None
    if isinstance(listed, list):
        renamed = [{**each, "apply_to": each.get("apply-to", "all")} for each in listed]
        policies = tuple(msgspec.convert(each, Policy) for each in renamed)
    return Managed(
        version=str(overview.get("rabbitmq_version", "")) if isinstance(overview, dict) else "",
        policies=policies,
        queues=tuple(_queue(client, vhost, plan) for plan in plans),
    )


def _queue(client: Client, vhost: str, plan: QueuePlan) -> ManagedQueue:
    name = quote(plan.name, safe="")
    told: Any = _get(client, f"/api/queues/{vhost}/{name}")
    if not isinstance(told, dict):
        return ManagedQueue(name=plan.name, there=False)
    bindings: Any = _get(client, f"/api/bindings/{vhost}/e/{quote(plan.exchange, safe='')}/q/{name}")
    bound = (
        any(each.get("routing_key") == plan.name for each in bindings) if isinstance(bindings, list) else None
    )
    effective = told.get("effective_policy_definition")
    return ManagedQueue(
        name=plan.name,
        kind=f"{told.get('type', 'quorum')}_queues",
        arguments=told.get("arguments") or {},
        policy=(told["policy"] or "") if "policy" in told else None,
        effective=effective if isinstance(effective, dict) else None,
        bound=bound,
    )


def _get(client: Client, path: str) -> Any:
    """Return an answer; None where it is not there, or not for us to see."""
    try:
        return client.request("GET", path)
    except OllamaError as error:
        if error.status in {_NOT_FOUND, _UNKNOWN_USER, _NO_RIGHT}:
            return None
        raise


def about_policies(managed: Managed | None, place: Place, job_limit: float) -> list[Finding]:
    """Return findings about policies, bindings and the broker's patience with consumers.

    Args:
        managed: What the management API said; None if it was not asked.
        place: Where the worker works.
        job_limit: Seconds that a job may run.
    """
    if managed is None or managed.trouble:
        look = command(
            "rabbitmqctl", "list_queues", "-p", place.vhost, "name", "policy", "effective_policy_definition"
        )
        if managed is None:
            text, fix = "which policies apply is not told over AMQP: amqp.management_url is not set", ""
        else:
            text, fix = f"which policies apply is not known: {managed.trouble}", f"{managed.fix}\n"
        return [note("policy", text, fix + look), _about_unknown_timeout(job_limit, "")]
    found: list[Finding] = []
    limits: dict[int, list[str]] = {}
    for queue in managed.queues:
        if queue.there and queue.bound is False:
            text = f"{queue.name} is not bound to its exchange, so nothing reaches it; a worker binds it"
            found.append(note("queue", text))
    found += _about_winners(managed, place)
    for queue in managed.queues:
        limit = _timeout(managed, queue)
        if limit is not None:
            limits.setdefault(limit, []).append(queue.name)
    found += _about_timeouts(limits, managed, job_limit)
    return found


def _winner(managed: Managed, queue: ManagedQueue) -> str | None:
    """Return the name of the policy that applies to a queue; empty for none, None if not known.

    It follows from the policies: what the API says of the queue lags by up to 5 s behind them. The API
    decides among policies of one priority, and where a pattern cannot be read here.
    """
    if managed.policies is None:
        return queue.policy
    matching = [each for each in managed.policies if each.matches(queue)]
    highest = max((each.priority for each in matching), default=-inf)
    names = [each.name for each in matching if each.priority == highest] or [""]
    unread = any(each.matches(queue) is None and each.priority >= highest for each in managed.policies)
    if queue.policy is not None and (unread or queue.policy in names):
        return queue.policy
    return names[0]


def _effective(managed: Managed, queue: ManagedQueue) -> dict[str, Any]:
    """Return what applies to a queue.

    The definition of the policy that wins comes first: the API's own answer lags by up to 5 s behind a policy
    that changed. (An operator's policy can set none of what is looked at here.)
    """
    winner = _winner(managed, queue)
    for policy in managed.policies or ():
        if policy.name == winner:
            return policy.definition
    return (queue.effective if winner != "" else None) or {}


def _about_winners(managed: Managed, place: Place) -> Iterator[Finding]:
    queues: dict[str, list[str]] = {}
    for queue in managed.queues:
        winner = _winner(managed, queue)
        if winner is not None:
            queues.setdefault(winner, []).append(queue.name)
    ours = next((each for each in managed.policies or () if each.name == REQUEST_POLICY), None)
    for winner, names in queues.items():
        shown = counted(names)
        if winner == REQUEST_POLICY:
            yield ok("policy", f"{winner} applies to {shown}")
        elif not winner:
            yield note(
                "policy",
                f"none applies to {shown}: nothing limits how many requests wait, and how long",
                place.definitions(),
            )
        elif ours is not None and any(ours.matches(queue) for queue in managed.queues if queue.name in names):
            yield _about_rival(winner, ours, shown, managed, place)
        else:
            yield note("policy", f"{winner}, not {REQUEST_POLICY}, applies to {shown}", place.definitions())
    for queue in managed.queues:
        yield from _about_dead_letter_exchange(managed, queue)


def _about_rival(winner: str, ours: Policy, shown: str, managed: Managed, place: Place) -> Finding:
    rival = next((each for each in managed.policies or () if each.name == winner), None)
    fix = ""
    if rival is not None:
        priority = min(rival.priority, ours.priority - 1)
        options = ("-p", place.vhost, "--priority", str(priority), "--apply-to", rival.apply_to)
        fix = command(
            "rabbitmqctl", "set_policy", *options, rival.name, rival.pattern, json.dumps(rival.definition)
        )
    level = f" (priority {rival.priority})" if rival is not None else ""
    return problem(
        "policy",
        f"{winner!r}{level} applies to {shown} in place of {ours.name!r} (priority {ours.priority}), "
        "and only one policy applies to a queue",
        fix,
    )


def _about_dead_letter_exchange(managed: Managed, queue: ManagedQueue) -> Iterator[Finding]:
    effective = _effective(managed, queue)
    target = queue.arguments.get("x-dead-letter-exchange", effective.get("dead-letter-exchange"))
    if queue.there and target is None and _winner(managed, queue):
        yield note(
            "policy",
            f"{queue.name} has no dead-letter exchange: what fails too often or waits too long is dropped",
            f'dead-letter-exchange "" and dead-letter-routing-key {DEAD_QUEUE} in its policy, as in '
            f"{REQUEST_POLICY}",
        )


def _timeout(managed: Managed, queue: ManagedQueue) -> int | None:
    """Return how many milliseconds a consumer may hold a message, if that is set for the queue."""
    value = queue.arguments.get("x-consumer-timeout", _effective(managed, queue).get("consumer-timeout"))
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _about_timeouts(limits: dict[int, list[str]], managed: Managed, job_limit: float) -> Iterator[Finding]:
    for limit, names in sorted(limits.items()):
        seconds = limit / 1000
        if seconds <= job_limit:
            yield problem(
                "time-out",
                f"the broker takes requests of {counted(names)} back after {seconds:g} s, and "
                f"worker.job_limit is {job_limit:g} s: they would run twice",
                f"consumer-timeout {CONSUMER_TIMEOUT_MS} in their policy, as in {REQUEST_POLICY}\n"
                f"worker.job_limit: {max(int(seconds * 0.8), 1)}   (or this)",
            )
        else:
            yield ok("time-out", f"the broker leaves requests of {counted(names)} with us for {seconds:g} s")
    unset = [queue for queue in managed.queues if _timeout(managed, queue) is None]
    if unset or not managed.queues:
        yield _about_unknown_timeout(job_limit, managed.version or "")


def _about_unknown_timeout(job_limit: float, version: str) -> Finding:
    default = _DEFAULT_TIMEOUT_MS / 1000
    text = (
        f"how long the broker leaves a request with a worker is not known; RabbitMQ's default is "
        f"{default:g} s, and worker.job_limit is {job_limit:g} s"
    )
    if job_limit < default:
        return ok("time-out", text)
    try:
        lines = configuration_lines(version) if version else [f"consumer_timeout = {CONSUMER_TIMEOUT_MS}"]
    except OllamaError:
        lines = []
    where = "rabbitmq.conf: " + lines[0] if lines else f"consumer-timeout {CONSUMER_TIMEOUT_MS} in the policy"
    return note("time-out", text, f"{where}   (if it is not set already)\nworker.job_limit: 1500   (or this)")
