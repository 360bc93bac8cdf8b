"""What a check makes of what it was told: findings and remedies, without a broker and without an Ollama."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.fleet.broker import Reason
from ollama_ext.fleet.check import about_subscriptions, check, queues_of
from ollama_ext.fleet.checks_answers import Place, about_answers, about_connections, place_of
from ollama_ext.fleet.checks_broker import Asked, BrokerFacts, QueuePlan, examine
from ollama_ext.fleet.checks_ollama import Server, about_ollama
from ollama_ext.fleet.checks_policies import Managed, ManagedQueue, Policy, about_policies
from ollama_ext.fleet.expansion import Model
from ollama_ext.fleet.questions import (
    Answer,
    ExchangeDeclare,
    QueueDeclare,
    QueueUnbind,
    TryConsume,
    TryPublish,
)
from ollama_ext.fleet.watching import Inventory
from ollama_ext.settings import AmqpSettings, Settings, SettingsError, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ollama_ext.fleet.broker import Kind
    from ollama_ext.fleet.check import Finding
    from ollama_ext.fleet.questions import Question

QUEUE = "llm.request.ollama.chat.llama3.2"
PLACE = Place(user="worker", vhost="/", exchanges=("llm.request",))
YES, MISSING = Answer(), Answer(404, "NOT_FOUND")
REFUSED = Answer(403, "ACCESS_REFUSED - access refused")
ODD = Answer(406, "PRECONDITION_FAILED - invalid arg 'x-max-priority' (406)")
SECRET = "s3cret"  # noqa: S105 - is to be in no finding


def settings(**told: Any) -> Settings:
    """Return settings as a file says them."""
    return Settings.from_mapping(
        {"subscriptions": [{"type": "chat", "model": "llama3.2"}], **told}, environ={}
    )


def of(findings: Sequence[Finding], about: str) -> Finding:
    """Return the only finding about something."""
    (found,) = [finding for finding in findings if finding.about == about]
    return found


# -- settings


def test_no_subscriptions_is_a_problem() -> None:
    (found,) = about_subscriptions(Settings.from_mapping({}, environ={}))
    assert (found.state, found.text) == ("problem", "there are none: a worker has nothing to do")


def test_two_models_with_one_queue_are_a_problem() -> None:
    both = [{"type": "chat", "model": "a:b.c"}, {"type": "chat", "model": "a.b:c"}]
    (found,) = about_subscriptions(settings(subscriptions=both))
    assert found.state == "problem"
    assert "would have the same queue" in found.text


def test_the_settings_of_a_report_have_their_origins_and_no_secrets() -> None:
    told = {"amqp": {"url": f"amqp://worker:{SECRET}@127.0.0.1:1/"}, "ollama": {"host": "http://127.0.0.1:1"}}
    report = check(settings(**told))
    rows = {row.key: row for row in report.settings}
    assert rows["amqp.url"].value == "amqp://worker:***@127.0.0.1:1/"
    assert (rows["amqp.url"].origin, rows["worker.slots"].origin) == ("mapping", "default")
    assert SECRET not in repr(report) + json.dumps(report.plain())


def test_a_report_is_json_with_what_was_found() -> None:
    plain = check(settings(amqp={"url": "amqp://127.0.0.1:1"}, ollama={"host": "http://127.0.0.1:1"})).plain()
    plain = json.loads(json.dumps(plain))
    assert plain["ok"] is False
    assert {"state", "about", "text", "fix"} == set(plain["findings"][0])


# -- questions


def asked_of(broker: Callable[[Question], Answer], *, single: bool = False) -> list[Question]:
    """Return what is asked of a broker that answers so."""
    talk = examine(["llm.request"], [QueuePlan(QUEUE, "llm.request", single)], "token")
    asked = [next(talk)]
    with suppress(StopIteration):
        while True:
            asked.append(talk.send(broker(asked[-1])))
    return asked


@pytest.mark.parametrize("answer", [YES, MISSING, REFUSED, ODD])
def test_nothing_is_asked_that_would_change_something(answer: Answer) -> None:
    for question in asked_of(lambda _question: answer):
        match question:
            case ExchangeDeclare() | QueueDeclare():
                # Looked at, or refused for its arguments. A queue that is there may be declared as it is.
                assert question.passive or question.arguments
            case QueueUnbind():
                assert question.routing_key != question.queue
            case TryConsume():
                assert question.queue == QUEUE
            case TryPublish():
                assert question.routing_key == "llm.reply.check-token"
            case _:
                pytest.fail(f"{question} is asked")


@pytest.mark.parametrize(("there", "times"), [(YES, 2), (MISSING, 1)])
def test_a_queue_is_declared_as_workers_do_only_where_it_is(there: Answer, times: int) -> None:
    asked = asked_of(lambda question: there if getattr(question, "passive", False) else ODD, single=True)
    declared = [each.arguments for each in asked if isinstance(each, QueueDeclare) and not each.passive]
    ours = {"x-queue-type": "quorum", "x-single-active-consumer": True}
    assert declared == [ours | {"x-max-priority": -1}, ours][:times]


# -- getting in


def refused(kind: Kind, url: str, *, code: int | None = None, amqp: AmqpSettings | None = None) -> Finding:
    """Return the finding about a broker that refuses."""
    place = place_of(url, amqp or AmqpSettings(urls=(url,)), ["llm.request"], None)
    reason = Reason("it says no", code, final=True, kind=kind)
    return of(about_connections([Asked(url=url, refusal=reason)], place), "broker")


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("amqp://guest:guest@broker.example.com/", "rabbitmqctl add_user fleet "),
        ("amqp://broker.example.com/", "rabbitmqctl add_user fleet "),
        ("amqp://[2001:db8::1]/", "rabbitmqctl add_user fleet "),
        ("amqp://localhost/", "rabbitmqctl authenticate_user guest "),
        ("amqp://[::1]/", "rabbitmqctl authenticate_user guest "),
        ("amqp://me@broker.example.com/", "rabbitmqctl authenticate_user me "),
        ("amqp://a%20b@broker.example.com/", "rabbitmqctl authenticate_user 'a b' "),
    ],
)
def test_guest_is_let_in_from_the_brokers_own_machine_only(url: str, start: str) -> None:
    assert refused("login", url, code=403).fix.startswith(start)


@pytest.mark.parametrize(
    ("kind", "url", "better"),
    [
        ("plain", f"amqp://me:{SECRET}@broker:5671/x", "amqp.url: amqps://me:***@broker:5671/x"),
        ("plain", "amqp://broker:5672", "amqp.url: amqps://broker:5671"),
        ("plain", "amqp://broker", "amqp.url: amqps://broker"),
        ("plain", "amqp://broker:7777/x", "amqp.url: amqps://broker:7777/x"),
        ("tls", "amqps://broker:5671/x", "amqp.url: amqp://broker:5672/x"),
        ("tls", "amqps://broker:5672/x", "amqp.url: amqp://broker:5672/x"),
    ],
)
def test_the_other_scheme_comes_with_its_port(kind: Kind, url: str, better: str) -> None:
    assert refused(kind, url).fix.splitlines()[0].partition("   (")[0] == better


ONE_LINE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)


@given(user=ONE_LINE, vhost=ONE_LINE)
def test_commands_of_remedies_are_read_by_a_shell_as_they_are_meant(user: str, vhost: str) -> None:
    place = Place(user=user, vhost=vhost, exchanges=("llm.request",))
    words = shlex.split(place.rights())
    assert words[:6] == ["rabbitmqctl", "set_permissions", "-p", vhost, "--", user]
    assert vhost in shlex.split(place.definitions().splitlines()[0])


def test_who_logs_in_by_a_certificate_has_no_name_that_is_known() -> None:
    amqp = AmqpSettings(urls=("amqps://broker/",), cert_file="me.pem")
    assert place_of("amqps://broker/", amqp, ["llm.request"], None).user == "USER"


# -- what the broker says


def facts(*, there: Answer = YES, made: Answer = YES, bound: Answer = YES, read: Answer = ODD) -> BrokerFacts:
    """Return what a broker says about one queue."""
    talk = examine([], [QueuePlan(QUEUE, "llm.request")], "token")
    next(talk)
    for answer in (there, made, bound, read, YES):
        talk.send(answer)
    with pytest.raises(StopIteration) as end:
        talk.send(YES)
    found: BrokerFacts = end.value.value
    return found


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        (facts(), "ok", "is there"),
        (facts(there=MISSING, made=Answer(406, "invalid arg 'x-max'")), "ok", "the worker makes it"),
        (facts(there=MISSING, made=REFUSED), "problem", "'worker' may not make it"),
        (facts(made=REFUSED), "ok", "is there"),
        (facts(made=Answer(406, "inequivalent arg 'x-delivery-limit'")), "note", "used as it is"),
    ],
)
def test_a_queue_is_there_or_made_or_missing(told: BrokerFacts, state: str, words: str) -> None:
    found = of(about_answers(told, PLACE), "queue")
    assert (found.state, words in found.text) == (state, True)


def test_a_right_to_make_is_not_missed_where_the_queue_is_there() -> None:
    assert of(about_answers(facts(made=REFUSED), PLACE), "rights").state == "ok"


# -- policies and time-outs


def managed(*policies: Policy, **queue: Any) -> Managed:
    """Return what a management API says about one queue."""
    return Managed(version="4.1.0", queues=(ManagedQueue(name=QUEUE, **queue),), policies=policies)


OURS = Policy(
    name="ollama-ext-requests",
    pattern=r"^llm\.request\.ollama\.",
    priority=10,
    apply_to="queues",
    definition={"consumer-timeout": 7_200_000, "dead-letter-exchange": ""},
)


@pytest.mark.parametrize(
    ("rival", "state"),
    [
        (Policy(name="high", pattern="^llm", priority=11, apply_to="all"), "problem"),
        (Policy(name="low", pattern="^llm", priority=9), "ok"),
        (Policy(name="exchanges", pattern="^llm", priority=11, apply_to="exchanges"), "ok"),
        (Policy(name="classic", pattern="^llm", priority=11, apply_to="classic_queues"), "ok"),
        (Policy(name="others", pattern="^amq", priority=11), "ok"),
        (Policy(name="of another dialect", pattern="(?<n>a)(?i", priority=11), "ok"),
    ],
)
def test_the_policy_with_the_highest_priority_wins(rival: Policy, state: str) -> None:
    told = about_policies(managed(OURS, rival), PLACE, 1500)
    assert next(each.state for each in told if each.about == "policy") == state


@pytest.mark.parametrize(
    "rival",
    [
        Policy(name="twin", pattern="^llm", priority=10, definition={"dead-letter-exchange": ""}),
        Policy(name="dialect", pattern="(?<n>a)(?i", priority=11, definition={"dead-letter-exchange": ""}),
    ],
)
def test_the_broker_says_which_policy_applies_where_patterns_and_priorities_do_not(rival: Policy) -> None:
    told = about_policies(managed(OURS, rival, policy=rival.name), PLACE, 1500)
    assert of(told, "policy").text.startswith(f"{rival.name!r} (priority {rival.priority}) applies to")


def test_a_policy_that_is_there_no_more_is_not_believed_in_though_the_broker_names_it_for_a_while() -> None:
    told = about_policies(managed(OURS, policy="other", effective={}), PLACE, 1500)
    assert [(each.state, each.text) for each in told if each.about == "policy"] == [
        ("ok", f"{OURS.name} applies to {QUEUE}")
    ]


@pytest.mark.parametrize(
    ("queue", "job_limit", "state"),
    [
        ({}, 1500, "ok"),
        ({}, 7200, "problem"),
        ({"arguments": {"x-consumer-timeout": 60_000}}, 1500, "problem"),
        ({"effective": {"consumer-timeout": 60_000}, "policy": "x"}, 59, "ok"),
    ],
)
def test_a_job_must_end_before_the_broker_takes_its_request_back(
    queue: dict[str, Any], job_limit: float, state: str
) -> None:
    assert of(about_policies(managed(OURS, **queue), PLACE, job_limit), "time-out").state == state


@pytest.mark.parametrize(("job_limit", "state"), [(1500.0, "ok"), (1800.0, "note")])
def test_without_a_management_api_the_default_of_the_broker_is_told(job_limit: float, state: str) -> None:
    told = about_policies(None, PLACE, job_limit)
    assert (of(told, "policy").state, of(told, "time-out").state) == ("note", state)
    assert "rabbitmqctl list_queues -p / name policy effective_policy_definition" in of(told, "policy").fix
    assert "RabbitMQ's default is 1800 s" in of(told, "time-out").text


# -- Ollama


HERE = Inventory("0.12.0", (Model(name="llama3.2:latest"),), (Subscription(type="chat", model="llama3.2"),))


def about(told: Settings, server: Server | None = None) -> dict[str, Finding]:
    """Return findings about an Ollama that has one model, by what they are about."""
    return {each.about: each for each in about_ollama(server or Server(HERE), told)}


def test_a_model_is_found_by_any_spelling() -> None:
    assert about(settings())["model"].text == "llama3.2 is there"


@pytest.mark.parametrize(
    ("host", "fix"),
    [
        ("http://127.0.0.1:11434", "ollama pull qwen3"),
        ("http://gpu1:11434", "OLLAMA_HOST=http://gpu1:11434 ollama pull qwen3"),
    ],
)
def test_a_missing_model_is_told_with_how_to_pull_it(host: str, fix: str) -> None:
    told = settings(subscriptions=[{"type": "chat", "model": "qwen3"}], ollama={"host": host})
    found = about(told)["model"]
    assert (found.state, found.text, found.fix) == ("problem", "qwen3 is missing", fix)


def test_a_missing_model_that_the_worker_fetches_is_none() -> None:
    told = settings(
        subscriptions=[{"type": "chat", "model": "qwen3"}],
        default_models=["qwen3:latest"],
        s3={"bucket": "models"},
    )
    assert about(told)["model"].state == "ok"


def test_models_for_an_ollama_elsewhere_cannot_be_fetched_here() -> None:
    told = settings(default_models=["llama3.2"], s3={"bucket": "models"}, ollama={"host": "gpu1"})
    found = [each for each in about_ollama(Server(HERE), told) if each.state == "problem"]
    assert "the worker does not start" in found[0].text
    assert found[0].fix.endswith("ollama-ext mirror import llama3.2")


def test_default_models_without_a_bucket_are_refused_with_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"set s3\.bucket"):
        settings(default_models=["llama3.2"])


@pytest.mark.parametrize(
    ("subscription", "told"),
    [
        ({"type": "chat", "options": {"num_ctx": 8192}}, False),
        ({"type": "embed"}, False),
        ({"type": "generate", "options": {"temperature": 0}}, True),
        ({"type": "chat"}, True),
    ],
)
def test_a_context_that_each_machine_chooses_is_a_note(subscription: dict[str, Any], told: bool) -> None:
    found = about(settings(subscriptions=[{"model": "llama3.2", **subscription}]))
    assert ("context" in found) is told


@pytest.mark.parametrize(("slots", "state", "fix"), [(1, "ok", ""), (4, "note", "OLLAMA_NUM_PARALLEL=4")])
def test_slots_are_to_be_what_ollama_runs_at_once(slots: int, state: str, fix: str) -> None:
    found = about(settings(worker={"slots": slots}))["slots"]
    assert (found.state, found.fix.partition("   ")[0]) == (state, fix)


def test_an_ollama_that_does_not_answer_is_a_problem_and_models_are_not_spoken_of() -> None:
    found = about(settings(), Server(None, "cannot connect"))
    assert (found["ollama"].state, found["ollama"].text) == ("problem", "cannot connect")
    assert "model" not in found


def test_an_old_ollama_is_a_note() -> None:
    old = Inventory("0.3.14", HERE.models, HERE.subscriptions)
    assert about(settings(), Server(old))["ollama"].state == "note"


@pytest.mark.parametrize("version", ["0.9.0", "0.33.0-rc2", "1.0", "0.0.0-dev", "main"])
def test_other_versions_are_fine_or_unknown(version: str) -> None:
    inventory = Inventory(version, HERE.models, HERE.subscriptions)
    assert about(settings(), Server(inventory))["ollama"].state == (
        "note" if version == "0.0.0-dev" else "ok"
    )


def test_what_wildcards_stand_for_is_told() -> None:
    told = settings(subscriptions=[{"type": "*", "model": "*"}])
    subscriptions = (Subscription(type="chat", model="a"), Subscription(type="embed", model="b"))
    found = about(told, Server(Inventory("0.12.0", HERE.models, subscriptions)))
    assert found["model"].text == "with wildcards: chat a, embed b"
    assert [plan.name for plan in queues_of([*subscriptions, *told.subscriptions], "llm.request")] == [
        "llm.request.ollama.chat.a",
        "llm.request.ollama.embed.b",
    ]
