"""Which exact subscriptions a wildcard stands for on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext.fleet.expansion import Model, expanded, types_of
from ollama_ext.fleet.topology import ANY, is_wild, queue_name, same_model
from ollama_ext.settings import Subscription

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

EXCHANGE = "llm.request"
TALKS = Model(name="llama3.2:latest", digest="1", families=("llama",))
EMBEDS = Model(name="nomic-embed-text:latest", digest="2", families=("nomic-bert",))
BOTH = Model(name="qwen3-embedding:4b", digest="3", families=("qwen3",))
CAN: dict[str, Sequence[str] | None] = {
    TALKS.digest: ["completion", "tools"],
    EMBEDS.digest: ["embedding"],
    BOTH.digest: ["completion", "embedding"],
}


def sub(kind: str, model: str, exchange: str | None = None, slots: int | None = None) -> Subscription:
    return Subscription(type=kind, model=model, exchange=exchange, slots=slots)


def can(model: Model) -> Sequence[str] | None:
    return CAN.get(model.digest)


def silent(model: Model) -> Sequence[str] | None:
    raise AssertionError(f"nobody need ask what {model.name} can do")


def pairs(
    subscriptions: Sequence[Subscription], models: Sequence[Model] = (TALKS, EMBEDS)
) -> list[tuple[str, str]]:
    return [(each.type, each.model) for each in expanded(subscriptions, models, can, EXCHANGE)[0]]


# -- what a wildcard stands for


def test_without_wildcards_the_settings_are_what_they_are_and_no_model_is_looked_at() -> None:
    named = [sub("chat", "a"), sub("embed", "b")]
    assert expanded(named, [TALKS], silent, EXCHANGE) == (named, [])


def test_any_model_is_each_model_of_the_machine_under_the_name_that_it_lists() -> None:
    assert pairs([sub("chat", ANY)]) == [("chat", "llama3.2:latest"), ("chat", "nomic-embed-text:latest")]


def test_any_type_is_what_the_model_can_do() -> None:
    assert pairs([sub(ANY, ANY)], [TALKS, EMBEDS, BOTH]) == [
        ("chat", "llama3.2:latest"),
        ("generate", "llama3.2:latest"),
        ("embed", "nomic-embed-text:latest"),
        ("embed", "qwen3-embedding:4b"),
        ("chat", "qwen3-embedding:4b"),
        ("generate", "qwen3-embedding:4b"),
    ]


def test_any_type_of_one_model_keeps_the_spelling_of_the_settings() -> None:
    assert pairs([sub(ANY, "LLAMA3.2")]) == [("chat", "LLAMA3.2"), ("generate", "LLAMA3.2")]


def test_any_type_of_a_model_that_is_not_there_is_nothing_yet() -> None:
    assert pairs([sub(ANY, "mistral")]) == []


@pytest.mark.parametrize(
    ("model", "types"),
    [(TALKS, ("chat", "generate")), (EMBEDS, ("embed",)), (Model(name="x"), ("chat", "generate"))],
)
def test_where_a_server_does_not_say_what_a_model_can_its_family_decides(
    model: Model, types: tuple[str, ...]
) -> None:
    assert types_of(model, None) == types


def test_a_model_that_can_neither_complete_nor_embed_is_subscribed_to_for_nothing() -> None:
    assert types_of(TALKS, ["image"]) == ()


def test_a_model_on_another_host_is_left_out_unless_it_is_named() -> None:
    remote = Model(name="gpt-oss:120b-cloud", digest="1", remote=True)
    assert pairs([sub("chat", ANY)], [remote]) == []
    assert pairs([sub("chat", "gpt-oss:120b-cloud")], [remote]) == [("chat", "gpt-oss:120b-cloud")]
    assert pairs([sub(ANY, "gpt-oss:120b-cloud")], [remote]) == [
        ("chat", "gpt-oss:120b-cloud"),
        ("generate", "gpt-oss:120b-cloud"),
    ]


def test_what_a_wildcard_says_beside_its_names_is_said_of_each() -> None:
    wild = Subscription(
        type="chat", model=ANY, options={"num_ctx": 1}, keep_alive="5m", slots=2, exchange="llm.batch"
    )
    (found,) = expanded([wild], [TALKS], silent, EXCHANGE)[0]
    assert found == Subscription(
        type="chat",
        model=TALKS.name,
        options={"num_ctx": 1},
        keep_alive="5m",
        slots=2,
        exchange="llm.batch",
    )


# -- who wins


def test_an_exact_subscription_wins_over_a_wildcard_that_stands_before_it() -> None:
    found, _ = expanded([sub("chat", ANY), sub("chat", "llama3.2", slots=3)], [TALKS], silent, EXCHANGE)
    assert found == [sub("chat", "llama3.2", slots=3)]


def test_the_first_of_two_wildcards_wins() -> None:
    found, _ = expanded([sub("chat", ANY, slots=1), sub(ANY, ANY, slots=2)], [TALKS], can, EXCHANGE)
    assert [(each.type, each.slots) for each in found] == [("chat", 1), ("generate", 2)]


def test_a_wildcard_that_names_the_model_wins_over_one_for_any_model_that_stands_before_it() -> None:
    found, _ = expanded([sub("chat", ANY, slots=1), sub(ANY, "Llama3.2", slots=2)], [TALKS], can, EXCHANGE)
    assert [(each.type, each.model, each.slots) for each in found] == [
        ("chat", "Llama3.2", 2),
        ("generate", "Llama3.2", 2),
    ]


def test_lanes_are_queues_of_their_own() -> None:
    found, _ = expanded([sub("chat", ANY), sub("chat", ANY, "llm.batch")], [TALKS], silent, EXCHANGE)
    assert [each.exchange for each in found] == [None, "llm.batch"]


def test_of_two_models_with_one_queue_the_second_is_left_out_and_named() -> None:
    found, notes = expanded([sub("chat", ANY)], [Model(name="a:b.c"), Model(name="a.b:c")], silent, EXCHANGE)
    assert [each.model for each in found] == ["a:b.c"]
    assert notes == ["a.b:c is left out: a:b.c has its queue llm.request.ollama.chat.a.b.c"]


def test_a_model_whose_name_no_queue_can_have_is_left_out_and_named() -> None:
    found, notes = expanded([sub("chat", ANY)], [Model(name="m" * 300), TALKS], silent, EXCHANGE)
    assert [each.model for each in found] == [TALKS.name]
    assert len(notes) == 1
    assert "is left out" in notes[0]


# -- laws

names = st.sampled_from(["a", "A", "a:latest", "a:b.c", "a.b:c", "b", "library/b", "b:1", "hf.co/u/m:Q4"])
kinds = st.sampled_from(["chat", "generate", "embed"])
lanes = st.sampled_from([None, EXCHANGE, "llm.batch"])
models = st.lists(
    st.builds(
        Model,
        name=names,
        digest=st.sampled_from("123"),
        families=st.sampled_from([("llama",), ("bert",), ()]),
        remote=st.booleans(),
    ),
    max_size=5,
)
wild = st.builds(sub, kinds | st.just(ANY), names | st.just(ANY), lanes)


def place(each: Subscription) -> str:
    return queue_name(each.type, each.model, each.exchange or EXCHANGE)


def same(one: Subscription, other: Subscription) -> bool:
    lane = one.exchange or EXCHANGE, other.exchange or EXCHANGE
    return one.type == other.type and lane[0] == lane[1] and same_model(one.model, other.model)


@st.composite
def settings(draw: st.DrawFn) -> list[Subscription]:
    """Draw what settings allow: no two exact subscriptions with one queue, or for one model."""
    found: list[Subscription] = []
    for each in draw(st.lists(wild, max_size=5)):
        exact = [known for known in found if not is_wild(known)]
        clash = not is_wild(each) and any(place(each) == place(known) or same(each, known) for known in exact)
        if not clash and each not in found:
            found.append(each)
    return found


@given(settings(), models)
def test_nothing_wild_is_left(subscriptions: list[Subscription], on_machine: list[Model]) -> None:
    assert not any(map(is_wild, expanded(subscriptions, on_machine, can, EXCHANGE)[0]))


@given(settings(), models)
def test_no_queue_is_taken_from_twice(subscriptions: list[Subscription], on_machine: list[Model]) -> None:
    queues = [place(each) for each in expanded(subscriptions, on_machine, can, EXCHANGE)[0]]
    assert len(set(queues)) == len(queues)


@given(settings(), models)
def test_no_model_has_two_queues_for_one_type_in_one_lane(
    subscriptions: list[Subscription], on_machine: list[Model]
) -> None:
    found = expanded(subscriptions, on_machine, can, EXCHANGE)[0]
    for number, one in enumerate(found):
        assert not any(same(one, other) for other in found[number + 1 :])


@given(settings(), models)
def test_every_exact_subscription_stays_as_it_is_in_its_order(
    subscriptions: list[Subscription], on_machine: list[Model]
) -> None:
    exact = [each for each in subscriptions if not is_wild(each)]
    found = expanded(subscriptions, on_machine, can, EXCHANGE)[0]
    assert [each for each in found if each in exact] == exact


@given(settings(), models)
def test_a_wildcard_never_stands_for_a_model_that_sends_prompts_elsewhere(
    subscriptions: list[Subscription], on_machine: list[Model]
) -> None:
    named = [each.model for each in subscriptions if each.model != ANY]
    local = [each.name for each in on_machine if not each.remote]
    for each in expanded(subscriptions, on_machine, can, EXCHANGE)[0]:
        assert each.model in named or each.model in local


@given(settings(), models, st.randoms(use_true_random=False))
def test_in_what_order_a_machine_lists_its_models_changes_no_exact_subscription(
    subscriptions: list[Subscription], on_machine: list[Model], dice: Random
) -> None:
    shuffled = list(on_machine)
    exact = [each for each in subscriptions if not is_wild(each)]
    dice.shuffle(shuffled)
    for order in (on_machine, shuffled):
        assert [s for s in expanded(subscriptions, order, can, EXCHANGE)[0] if s in exact] == exact
