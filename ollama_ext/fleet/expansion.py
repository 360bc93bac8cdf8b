"""What a subscription to ``*`` means on a machine: exact subscriptions to the models that it has. Pure.

A queue bound by a wildcard would get each request beside the model's own queue, and it would run twice. So
``*`` is a list that is made anew from what Ollama has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ollama_ext.errors import InvalidArgument

from .topology import ANY, is_wild, queue_name, same_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ollama_ext.settings import Subscription

_EMBED: Final = ("embed",)
_TEXT: Final = ("chat", "generate")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that an Ollama has.

    Attributes:
        name: As the server lists it.
        digest: Of its manifest, hexadecimal.
        families: Of its architecture.
        remote: Whether it is only a name here, and prompts go on to another host.
    """

    name: str
    digest: str = ""
    families: tuple[str, ...] = ()
    remote: bool = False


def types_of(model: Model, capabilities: Sequence[str] | None) -> tuple[str, ...]:
    """Return which types of request a model is for.

    Args:
        model: The model.
        capabilities: What ``/api/show`` says of it, or None: servers before 0.6.4 say nothing. Then the
            families decide: those of BERT embed.
    """
    if capabilities is not None:
        types = _EMBED if "embedding" in capabilities else ()
        return types + (_TEXT if "completion" in capabilities else ())
    return _EMBED if any("bert" in family for family in model.families) else _TEXT


def expanded(
    subscriptions: Iterable[Subscription],
    models: Sequence[Model],
    capabilities: Callable[[Model], Sequence[str] | None],
    exchange: str,
) -> tuple[list[Subscription], list[str]]:
    """Return exact subscriptions for all, in their order, and notes on what was left out.

    What names more wins: an exact subscription over one to any type of a model, that over one to any model,
    and else the one that stands first. Models that run on another host are left out: whoever wants prompts to
    leave this machine says so by name.

    Args:
        subscriptions: Those of the settings.
        models: What the machine has.
        capabilities: Asks what a model can do; called only where ``type`` is ``*``.
        exchange: That of subscriptions which name none.
    """
    named = list(subscriptions)
    taken = {_queue(each, exchange): each for each in named if not is_wild(each)}
    found = {place: [each] for place, each in enumerate(named) if not is_wild(each)}
    notes: list[str] = []
    for place in sorted(set(range(len(named))) - found.keys(), key=lambda place: named[place].model == ANY):
        found[place] = []
        for each in _stood_for(named[place], models, capabilities):
            try:
                queue = _queue(each, exchange)
            except InvalidArgument as error:
                notes.append(f"{each.model} is left out: {error.message}")
                continue
            other = taken.get(queue)
            if other is not None:
                if not same_model(other.model, each.model):
                    notes.append(f"{each.model} is left out: {other.model} has its queue {queue}")
            elif not any(_same(each, known, exchange) for known in taken.values()):
                taken[queue] = each
                found[place].append(each)
    return [each for place in range(len(named)) for each in found[place]], notes


def _stood_for(
    wild: Subscription, models: Iterable[Model], capabilities: Callable[[Model], Sequence[str] | None]
) -> Iterator[Subscription]:
    """Yield what a wildcard stands for, whatever else there is."""
    for model in models:
        if wild.model == ANY:
            if model.remote:
                continue
            name = model.name
        else:
            if not same_model(wild.model, model.name):
                continue
            name = wild.model
        types = (wild.type,) if wild.type != ANY else types_of(model, capabilities(model))
        for kind in types:
            yield msgspec.structs.replace(wild, type=kind, model=name)


def _queue(subscription: Subscription, exchange: str) -> str:
    return queue_name(subscription.type, subscription.model, subscription.exchange or exchange)


def _same(one: Subscription, other: Subscription, exchange: str) -> bool:
    return (
        one.type == other.type
        and (one.exchange or exchange) == (other.exchange or exchange)
        and same_model(one.model, other.model)
    )
