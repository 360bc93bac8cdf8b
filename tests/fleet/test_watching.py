"""What a worker asks its Ollama beside requests, and how it provides models."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from background import wait_until
from watched_fleets import entry, tags

from ollama_ext import Client
from ollama_ext.cancel import CancelToken
from ollama_ext.errors import Cancelled, ConnectionFailed, OllamaError
from ollama_ext.fleet import watching
from ollama_ext.fleet.expansion import Model
from ollama_ext.fleet.watching import Inventory, Watcher, probe
from ollama_ext.settings import Subscription
from ollama_ext.testing import FakeOllama, Json, Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHAT = Subscription(type="chat", model="smollm2:135m")
EMBED = Subscription(type="embed", model="all-minilm:l6-v2")
ANYTHING = Subscription(type="*", model="*")
EXCHANGE = "llm.request"


class Heard:
    """Takes note of what a watcher tells."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.events: list[tuple[str, Any]] = []

    def seen(self, inventory: Inventory) -> None:
        """Take note."""
        self.events.append(("seen", inventory))

    def away(self, error: OllamaError) -> None:
        """Take note."""
        self.events.append(("away", error))

    def provided(self, model: str) -> None:
        """Take note."""
        self.events.append(("provided", model))

    def not_provided(self, model: str, error: Exception) -> None:
        """Take note."""
        self.events.append(("not provided", (model, str(error))))

    def of(self, kind: str) -> list[Any]:
        """Return what was told in this way."""
        return [what for each, what in self.events if each == kind]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def watched(client: Client, heard: Heard) -> Iterator[Callable[..., Watcher]]:
    """Make watchers, and stop them at the end."""
    made: list[Watcher] = []

    def make(*subscriptions: Subscription, **arguments: Any) -> Watcher:
        made.append(Watcher(client, subscriptions or (CHAT,), EXCHANGE, heard, **arguments))
        made[-1].start()
        return made[-1]

    yield make
    for watcher in made:
        watcher.stop()
    wait_until(lambda: not any(each.name.startswith("fleet-") for each in threading.enumerate()))


def wait_for_looks(heard: Heard, count: int) -> None:
    wait_until(lambda: len(heard.of("seen")) == count)


# -- looking


def test_what_a_server_has_is_seen_at_the_start(
    watched: Callable[..., Watcher], heard: Heard, server: FakeOllama
) -> None:
    watched()
    wait_until(lambda: heard.of("seen"))
    (inventory,) = heard.of("seen")
    assert inventory.version == server.version.removeprefix("v")
    assert inventory.find("SMOLLM2:135m") is inventory.find("smollm2:135m") is not None
    assert inventory.find("nope") is None
    assert inventory.subscriptions == (CHAT,)


def test_a_poke_is_a_look(watched: Callable[..., Watcher], heard: Heard) -> None:
    watcher = watched()
    for count in (1, 2):
        wait_for_looks(heard, count)
        watcher.poke()


def test_a_server_that_is_away_is_told_and_looked_for_until_it_is_back(
    watched: Callable[..., Watcher], heard: Heard, server: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_AWAY", 0.01)
    server.on("GET", "/api/version", Json({"error": "starting"}, 503), Json({"version": "0.9.6"}))
    watched()
    wait_until(lambda: heard.of("seen"))
    assert [kind for kind, _ in heard.events][:2] == ["away", "seen"]


def test_an_answer_that_nobody_can_read_does_not_end_the_looking(
    watched: Callable[..., Watcher], heard: Heard, server: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_AWAY", 0.01)
    good = tags("a")
    server.on("GET", "/api/tags", Json([1]), Json({"models": 1}), Json({"models": [{"name": 3}]}), good)
    watched()
    wait_until(lambda: heard.of("seen"))
    assert len(heard.of("away")) == 3


def test_wildcards_mean_what_there_is_at_each_look(
    watched: Callable[..., Watcher], heard: Heard, server: FakeOllama
) -> None:
    server.on("GET", "/api/tags", tags("a"), tags("a", "b"))
    watcher = watched(Subscription(type="chat", model="*"))
    wait_until(lambda: heard.of("seen"))
    watcher.poke()
    wait_until(lambda: len(heard.of("seen")) == 2)
    assert [[each.model for each in seen.subscriptions] for seen in heard.of("seen")] == [["a"], ["a", "b"]]


def test_what_a_model_can_is_asked_once_for_each_digest(
    watched: Callable[..., Watcher], heard: Heard, server: FakeOllama
) -> None:
    server.on("GET", "/api/tags", tags("smollm2:135m", "all-minilm:l6-v2"))
    watcher = watched(ANYTHING)
    for count in (1, 2, 3):
        wait_for_looks(heard, count)
        watcher.poke()
    assert [each.path for each in server.requests].count("/api/show") == 2
    assert [(each.type, each.model) for each in heard.of("seen")[0].subscriptions] == [
        ("chat", "smollm2:135m"),
        ("generate", "smollm2:135m"),
        ("embed", "all-minilm:l6-v2"),
    ]


def test_where_a_server_does_not_tell_what_a_model_can_its_family_decides(
    watched: Callable[..., Watcher], heard: Heard, server: FakeOllama
) -> None:
    shown = Recording("show").exchange.response.json()
    del shown["capabilities"]
    server.on("GET", "/api/tags", Json({"models": [entry("old", "bert")]}))
    server.on("POST", "/api/show", Json(shown))
    watched(ANYTHING)
    wait_until(lambda: heard.of("seen"))
    assert [(each.type, each.model) for each in heard.of("seen")[0].subscriptions] == [("embed", "old")]


def test_a_model_that_cannot_be_shown_keeps_no_other_from_serving_and_is_named(
    watched: Callable[..., Watcher], heard: Heard, server: FakeOllama
) -> None:
    server.on("GET", "/api/tags", tags("broken", "good"))
    server.on("POST", "/api/show", Json({"error": "no such blob"}, 500))
    watched(ANYTHING)
    wait_until(lambda: heard.of("seen"))
    (inventory,) = heard.of("seen")
    assert [each.model for each in inventory.subscriptions] == ["broken", "broken", "good", "good"]
    assert "what broken can do is guessed by its family: " in inventory.notes[0]
    assert "no such blob" in inventory.notes[0]


def test_a_model_of_another_host_is_known_as_one(client: Client, server: FakeOllama, heard: Heard) -> None:
    remote = entry("big-cloud", remote_model="big", remote_host="https://ollama.com")
    server.on("GET", "/api/tags", Json({"models": [remote]}))
    inventory = Watcher(client, [CHAT], EXCHANGE, heard).look()
    assert inventory.models == (
        Model(name="big-cloud", digest="big-cloud", families=("llama", "llama"), remote=True),
    )


# -- providing


def test_models_are_provided_one_after_the_other_and_looked_for_at_once(
    watched: Callable[..., Watcher], heard: Heard
) -> None:
    asked: list[str] = []
    watched(CHAT, EMBED, before_subscribe=asked.append, provided=(CHAT.model, EMBED.model))
    wait_until(lambda: len(heard.of("provided")) == 2)
    assert asked == heard.of("provided") == [CHAT.model, EMBED.model]


def test_a_model_that_cannot_be_provided_is_tried_again_and_holds_up_no_other(
    watched: Callable[..., Watcher], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_AGAIN", 0.01)
    tries: list[str] = []

    def provide(model: str) -> None:
        tries.append(model)
        if model == CHAT.model and tries.count(model) < 3:
            raise RuntimeError("no bucket")

    watched(CHAT, EMBED, before_subscribe=provide, provided=(CHAT.model, EMBED.model))
    wait_until(lambda: len(heard.of("provided")) == 2)
    assert tries == [CHAT.model, EMBED.model, CHAT.model, CHAT.model]
    assert heard.of("provided") == [EMBED.model, CHAT.model]
    assert heard.of("not provided") == [(CHAT.model, "no bucket")] * 2


def test_a_stop_waits_for_no_model_that_is_being_provided(watched: Callable[..., Watcher]) -> None:
    begun, go_on = threading.Event(), threading.Event()
    asked: list[str] = []

    def provide(model: str) -> None:
        asked.append(model)
        begun.set()
        go_on.wait(20)

    watcher = watched(CHAT, EMBED, before_subscribe=provide, provided=(CHAT.model, EMBED.model))
    assert begun.wait(20)
    watcher.stop()
    go_on.set()
    wait_until(lambda: not any(each.name == "fleet-provide" for each in threading.enumerate()))
    assert asked == [CHAT.model], "the next one was begun after the stop"


# -- probing


def test_a_probe_that_passes_has_asked_for_version_and_models_and_loaded_one(
    client: Client, server: FakeOllama
) -> None:
    assert probe(client, CHAT, 10.0) is None
    assert [each.path for each in server.requests] == ["/api/version", "/api/tags", "/api/generate"]


def test_a_probe_without_a_model_loads_none(client: Client, server: FakeOllama) -> None:
    assert probe(client, None, 10.0) is None
    assert [each.path for each in server.requests] == ["/api/version", "/api/tags"]


def test_a_probe_loads_an_embedding_model_by_embedding_nothing(client: Client, server: FakeOllama) -> None:
    assert probe(client, EMBED, 10.0) is None
    assert server.requests[-1].json()["model"] == EMBED.model


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/version"), ("GET", "/api/tags"), ("POST", "/api/generate")]
)
def test_a_probe_fails_with_what_fails_first_and_tries_nothing_again(
    method: str, path: str, client: Client, server: FakeOllama
) -> None:
    server.on(method, path, Json({"error": "broken"}, 500))
    failed = probe(client, CHAT, 10.0)
    assert failed is not None
    assert "broken" in failed.message
    assert [each.path for each in server.requests].count(path) == 1


def test_a_probe_of_nobody_fails_by_the_connection() -> None:
    with FakeOllama() as server, Client(server.url) as client:
        server.stop()
        assert isinstance(probe(client, CHAT, 10.0), ConnectionFailed)


def test_a_probe_can_be_cancelled(client: Client) -> None:
    token = CancelToken()
    token.cancel()
    assert isinstance(probe(client, CHAT, 10.0, token), Cancelled)


def test_a_bug_in_a_probe_is_a_failed_probe(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Client, "list_models", bug)
    failed = probe(client, CHAT, 10.0)
    assert failed is not None
    assert failed.message == "the probe failed: ZeroDivisionError"
