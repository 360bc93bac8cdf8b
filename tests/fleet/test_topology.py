"""Topology: the queue of a model, subscriptions that cannot stand side by side, and where replies may go."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ollama_ext.errors import InvalidArgument
from ollama_ext.fleet.topology import (
    DEAD_QUEUE,
    DEFAULT_EXCHANGE,
    DIRECT_REPLY_TO,
    REQUEST_TYPES,
    check_subscriptions,
    configured_exchanges,
    other_spelling,
    queue_name,
    reply_queue,
    reply_refused,
    same_model,
)
from ollama_ext.settings import SettingsError, Subscription

ALLOW = ("amq.gen-", "amq.rabbitmq.reply-to.", "llm.reply.")
TYPES = st.sampled_from(REQUEST_TYPES)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
PARTS = st.text("abcXYZ019_-.", min_size=1, max_size=8)


def chat(model: str, exchange: str | None = None) -> Subscription:
    return Subscription(type="chat", model=model, exchange=exchange)


# -- names of queues


@pytest.mark.parametrize(
    ("request_type", "model", "name"),
    [
        ("chat", "qwen3.5:27b", "llm.request.ollama.chat.qwen3.5.27b"),
        ("embed", "nomic-embed-text", "llm.request.ollama.embed.nomic-embed-text"),
        ("generate", "hf.co/user/model:Q4_K_M", "llm.request.ollama.generate.hf.co/user/model.Q4_K_M"),
        ("chat", "host:5000/user/Model:1B", "llm.request.ollama.chat.host.5000/user/Model.1B"),
        ("chat", "two words", "llm.request.ollama.chat.two words"),
    ],
)
def test_only_the_colons_of_a_model_are_changed_in_the_name_of_its_queue(
    request_type: str, model: str, name: str
) -> None:
    assert queue_name(request_type, model) == name


def test_a_queue_of_another_exchange_is_named_after_that() -> None:
    assert queue_name("chat", "a:1b", "llm.batch") == "llm.batch.ollama.chat.a.1b"


@given(request_type=TYPES, model=TEXT, exchange=TEXT)
@example(request_type="chat", model="a:*", exchange="x")
@example(request_type="chat", model="ä" * 120, exchange="x")
def test_a_model_has_the_queue_that_the_rule_says_or_the_message_says_why_not(
    request_type: str, model: str, exchange: str
) -> None:
    expected = f"{exchange}.ollama.{request_type}.{model.replace(':', '.')}"
    words = expected.split(".")
    possible = bool(model and exchange) and not exchange.startswith("amq.") and len(expected.encode()) <= 255
    if possible and not {"*", "#"}.intersection(words):
        assert queue_name(request_type, model, exchange) == expected
    else:
        with pytest.raises(InvalidArgument):
            queue_name(request_type, model, exchange)


@pytest.mark.parametrize(
    ("request_type", "model", "exchange", "said"),
    [
        ("chat", "", "llm.request", "The model is empty: name one"),
        ("chat", "*", "llm.request", "stands for the models of a machine"),
        ("chat", "a:*", "llm.request", "has '*' as a word of its own"),
        ("chat", "a.#.b", "llm.request", "has '#' as a word of its own"),
        ("chat", "a", "llm.*", "The exchange 'llm.*' has '*'"),
        ("chat", "a", "", "The exchange has no name"),
        ("chat", "a", "amq.topic", "Use another exchange"),
        ("chat", "m" * 300, "llm.request", "a name of 324 bytes, and AMQP allows 255"),
        ("chat", "ä" * 120, "llm.request", "a name of 264 bytes"),
        ("chat", "\udcff", "llm.request", "is no Unicode text"),
        ("Embed", "a", "llm.request", "of the type 'Embed': use 'chat', 'generate' or 'embed'"),
    ],
)
def test_a_queue_that_cannot_be_is_refused_with_the_reason(
    request_type: str, model: str, exchange: str, said: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        queue_name(request_type, model, exchange)
    assert said in caught.value.message
    assert caught.value.argument in {"request_type", "model", "exchange"}
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("length", [255, 256])
def test_a_name_of_255_bytes_is_the_longest(length: int) -> None:
    model = "m" * (length - len("llm.request.ollama.chat."))
    if length == 255:
        assert len(queue_name("chat", model)) == 255
    else:
        with pytest.raises(InvalidArgument):
            queue_name("chat", model)


# -- names of models


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("llama3.2", "llama3.2:latest", True),
        ("llama3.2", "LLAMA3.2:Latest", True),
        ("llama3.2", "registry.ollama.ai/library/llama3.2", True),
        ("llama3.2", "llama3.2:1b", False),
        ("user/a", "a", False),
    ],
)
def test_names_mean_the_same_model_where_ollama_says_so(one: str, other: str, same: bool) -> None:
    assert same_model(one, other) is same


@pytest.mark.parametrize(
    ("model", "other"),
    [
        ("llama3.2", "llama3.2:latest"),
        ("llama3.2:latest", "llama3.2"),
        ("llama3.2:LATEST", "llama3.2"),
        ("host:5000/u/m", "host:5000/u/m:latest"),
        ("llama3.2:1b", None),
        ("", None),
        (":latest", None),
        ("user/", None),
    ],
)
def test_the_other_spelling_is_with_or_without_latest(model: str, other: str | None) -> None:
    assert other_spelling(model) == other


@given(model=st.builds("{}{}".format, PARTS, st.sampled_from(["", ":latest", ":1b", "/m", "/m:latest"])))
def test_the_other_spelling_is_another_queue_for_the_same_model_and_leads_back(model: str) -> None:
    other = other_spelling(model)
    if other is None:
        assert model.endswith(":1b")
    else:
        assert other != model
        assert same_model(model, other)
        assert other_spelling(other) == model


# -- subscriptions


@pytest.mark.parametrize(
    ("subscriptions", "said"),
    [
        (
            [chat("a:b.c"), chat("a.b:c")],
            "subscription 1 (chat 'a:b.c') and subscription 2 (chat 'a.b:c') would have the same queue",
        ),
        (
            [chat("x"), chat("llama"), chat("llama:latest")],
            "subscription 2 (chat 'llama') and subscription 3",
        ),
        ([chat("llama"), chat("LLAMA")], "name the same model in two spellings"),
        ([chat("llama"), chat("llama")], "are the same: leave one out"),
        ([chat("llama"), chat("llama", "llm.request")], "are the same: leave one out"),
        ([chat("*"), chat("*")], "are the same: leave one out"),
        ([Subscription(type="*", model="a"), Subscription(type="*", model="a:latest")], "in two spellings"),
        ([chat("a:#")], "subscription 1 (chat 'a:#'): "),
        ([Subscription(type="*", model="m" * 230)], "a name of 258 bytes"),
        ([Subscription(type="*", model="*", exchange="#")], "The exchange '#' has '#'"),
        (
            [chat("ollama.chat.x", "llm"), chat("x", "llm.ollama.chat")],
            "would have the same queue, 'llm.ollama.chat.ollama.chat.x'",
        ),
    ],
)
def test_subscriptions_that_cannot_stand_side_by_side_are_an_error_that_names_them(
    subscriptions: list[Subscription], said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_subscriptions(subscriptions, DEFAULT_EXCHANGE)
    assert said in caught.value.message


def test_every_problem_of_the_subscriptions_is_told() -> None:
    with pytest.raises(SettingsError) as caught:
        check_subscriptions([chat("a"), chat("a:latest"), chat("b:*"), chat("A")], DEFAULT_EXCHANGE)
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize(
    "subscriptions",
    [
        [],
        [chat("llama"), Subscription(type="embed", model="llama:latest")],
        [chat("llama"), chat("llama", "llm.batch")],
        [chat("llama"), chat("*"), Subscription(type="*", model="llama")],
        [chat("llama"), chat("llama:1b"), chat("user/llama")],
    ],
)
def test_subscriptions_of_different_types_models_or_exchanges_are_fine(
    subscriptions: list[Subscription],
) -> None:
    check_subscriptions(subscriptions, DEFAULT_EXCHANGE)


@given(
    models=st.lists(st.sampled_from(["a", "a:latest", "A", "a:b", "a.b", "a:b.c", "a.b:c", "b"]), max_size=4)
)
def test_subscriptions_are_fine_exactly_if_each_has_its_own_queue_and_its_own_model(
    models: list[str],
) -> None:
    pairs = [(one, other) for place, one in enumerate(models) for other in models[place + 1 :]]
    clash = any(
        same_model(*pair) or queue_name("chat", pair[0]) == queue_name("chat", pair[1]) for pair in pairs
    )
    try:
        check_subscriptions([chat(model) for model in models], DEFAULT_EXCHANGE)
    except SettingsError:
        assert clash
    else:
        assert not clash


def test_every_exchange_of_the_settings_is_listed_once() -> None:
    subscriptions = [chat("a", "llm.batch"), chat("b"), chat("c", "llm.request"), chat("d", "llm.batch")]
    assert configured_exchanges(subscriptions, "llm.request") == ("llm.request", "llm.batch")


# -- where replies go


@pytest.mark.parametrize(
    "address",
    [
        "amq.gen-JzTY20BRgKO",
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA.Rw==",
        "llm.reply.shop.7f3a",
        "llm.reply.ä",
    ],
)
def test_replies_go_to_addresses_that_begin_as_allowed(address: str) -> None:
    assert reply_refused(address, ALLOW, [DEFAULT_EXCHANGE]) is None


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("billing", "begins with none of 'amq.gen-', 'amq.rabbitmq.reply-to.', 'llm.reply.'"),
        ("LLM.REPLY.x", "begins with none of"),
        (" llm.reply.x", "begins with none of"),
        (DIRECT_REPLY_TO, "begins with none of"),
        ("llm.request.ollama.chat.llama3.2", "is one for requests, of the exchange 'llm.request'"),
        ("llm.batch.ollama.chat.llama3.2", "is one for requests, of the exchange 'llm.batch'"),
        (DEAD_QUEUE, "is the queue of dead letters"),
        ("llm.reply." + "x" * 290, "has 300 bytes, and AMQP allows 255"),
        ("llm.reply." + "ä" * 123, "has 256 bytes"),
        ("llm.reply.a\nb", "has control characters"),
        ("llm.reply.\x00", "has control characters"),
        ("llm.reply.\x7f", "has control characters"),
        ("llm.reply.\x9b", "has control characters"),
        ("llm.reply.\udc80", "is not Unicode text"),
        ("", "is empty"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused_with_the_reason(address: str, why: str) -> None:
    reason = reply_refused(address, ALLOW, ["llm.batch"])
    assert reason is not None
    assert why in reason
    assert reason.isprintable()
    assert len(reason) < 300


@given(
    address=TEXT, allow=st.lists(st.sampled_from(["", "l", "llm.", "llm.request.", "llm.dead"]), max_size=3)
)
@example(address="llm.request.ollama.chat.a", allow=[""])
@example(address="llm.dead", allow=["llm.dead"])
def test_no_allowance_lets_a_reply_into_a_queue_of_requests_or_dead_letters(
    address: str, allow: list[str]
) -> None:
    for tried in (address, f"llm.request.{address}", f"llm.batch.{address}", DEAD_QUEUE):
        if reply_refused(tried, allow, ["llm.batch"]) is None:
            assert tried == address
            assert not tried.startswith(("llm.request.", "llm.batch."))
            assert tried != DEAD_QUEUE
            assert tried.startswith(tuple(allow))


def test_nothing_is_allowed_where_the_list_is_empty() -> None:
    assert "there are none" in (reply_refused("llm.reply.x", (), ()) or "")


def test_a_reply_queue_of_a_caller_is_an_address_that_is_allowed() -> None:
    name = reply_queue("sho.p", "7f3a")
    assert name == "llm.reply.sho.p.7f3a"
    assert reply_refused(name, ALLOW, [DEFAULT_EXCHANGE]) is None


@pytest.mark.parametrize(("user", "token"), [("a", ""), ("a", "b.c"), ("u" * 250, "x")])
def test_a_reply_queue_that_the_broker_could_not_guard_is_refused(user: str, token: str) -> None:
    with pytest.raises(InvalidArgument):
        reply_queue(user, token)
