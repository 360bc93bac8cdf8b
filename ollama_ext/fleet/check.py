"""What a worker with these settings would find, and what is wrong, each with what to type. Changes nothing.

checks_report      what a check says
checks_broker      asks the broker; checks_answers: what that means
checks_policies    asks the management API, and what that means
checks_ollama      asks the Ollama, and what that means
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ollama_ext.settings import SettingsError

from .checks_answers import Place, about_answers, about_connections, about_queues_unknown, place_of
from .checks_broker import QueuePlan, ask_brokers
from .checks_ollama import about_ollama, ask_ollama
from .checks_policies import about_policies, ask_management
from .checks_report import Finding, Report, Row, problem
from .topology import check_subscriptions, configured_exchanges, is_wild, queue_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ollama_ext.settings import Settings, Subscription

    from .checks_ollama import Server

__all__ = ["Finding", "Report", "Row", "check"]


def check(settings: Settings, config: str | None = None) -> Report:
    """Look at broker, rights, queues, policies and Ollama as a worker with these settings would meet them.

    Takes a second, or where something does not answer as long as its time-outs. Nothing is changed, at the
    broker or elsewhere.

    Args:
        settings: Those of the worker.
        config: Their file, for the commands that the findings name.
    """
    findings = about_subscriptions(settings)
    server = ask_ollama(settings)
    if not findings:
        findings += _about_broker(settings, server, config)
    findings += about_ollama(server, settings)
    rows = tuple(Row(key, value, str(origin)) for key, value, origin in settings.table())
    return Report(rows, tuple(findings))


def about_subscriptions(settings: Settings) -> list[Finding]:
    """Return what is wrong with the subscriptions by themselves."""
    if not settings.subscriptions:
        text = "there are none: a worker has nothing to do"
        return [problem("subscriptions", text, "subscriptions: [{type: chat, model: llama3.2}]")]
    try:
        check_subscriptions(settings.subscriptions, settings.amqp.exchange)
    except SettingsError as error:
        return [problem("subscriptions", text) for text in error.problems]
    return []


def queues_of(subscriptions: Sequence[Subscription], exchange: str) -> list[QueuePlan]:
    """Return the queues of subscriptions; wildcards are left out."""
    return [
        QueuePlan(
            queue_name(each.type, each.model, each.exchange or exchange),
            each.exchange or exchange,
            each.single_active_consumer,
        )
        for each in subscriptions
        if not is_wild(each)
    ]


def _about_broker(settings: Settings, server: Server, config: str | None) -> list[Finding]:
    amqp = settings.amqp
    exchanges = configured_exchanges(settings.subscriptions, amqp.exchange)
    wild = [f"{each.type} {each.model}" for each in settings.subscriptions if is_wild(each)]
    served = settings.subscriptions if server.inventory is None else server.inventory.subscriptions
    plans = queues_of(served, amqp.exchange)

    asked = ask_brokers(amqp, exchanges, plans)
    answered = next((each for each in asked if each.facts is not None), asked[0])
    place: Place = place_of(answered.url, amqp, exchanges, config)
    findings = about_connections(asked, place)
    if answered.facts is None:
        return findings
    findings += about_answers(answered.facts, place)
    if wild and server.inventory is None:
        findings.append(about_queues_unknown(wild))
    managed = ask_management(amqp, plans, place)
    findings += about_policies(managed, place, settings.worker.job_limit)
    return findings
