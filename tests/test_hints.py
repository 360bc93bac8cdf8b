"""Warnings about what Ollama does in silence."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_ext import Client, PromptCut, UnknownName, hints
from ollama_ext.testing import FakeOllama, Json, Lines

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _nothing_told_yet() -> Iterator[None]:
    """Have every test start as a program does."""
    hints.told.clear()
    yield
    hints.told.clear()


def counted(tokens: int) -> dict[str, Any]:
    """Return the last chunk of a chat whose prompt had so many tokens."""
    return {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "Yes."},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": tokens,
    }


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", "did you mean 'temperature'"),
        ("num_context", "did you mean 'num_ctx'"),
        ("mirostat", "ignores it"),
        ("Temperature", "did you mean 'temperature'"),  # options are read by their exact names
    ],
)
def test_an_option_that_ollama_does_not_know_is_told_with_the_one_that_was_meant(
    server: FakeOllama, client: Client, name: str, hint: str
) -> None:
    with pytest.warns(UnknownName, match=rf"'{name}' is no option .*{hint}"):
        client.chat("smollm2:135m", "hi", options={name: 1})
    assert server.requests[0].json()["options"] == {name: 1}  # a newer server may know it


def test_each_name_is_told_once(client: Client) -> None:
    with pytest.warns(UnknownName) as told:
        client.chat("smollm2:135m", "hi", options={"new_one": 1, "another": 2})
    assert len(told) == 2
    client.chat("smollm2:135m", "hi", options={"new_one": 1, "another": 2})  # warnings are errors here


def test_known_options_are_no_matter_for_a_warning(client: Client) -> None:
    client.chat(
        "smollm2:135m", "hi", options={"temperature": 0, "num_ctx": 2048, "stop": ["x"], "min_p": 0.1}
    )


def test_a_misspelt_key_of_a_message_is_told(client: Client) -> None:
    with pytest.warns(UnknownName, match="'tool_callid' is no key of a message .*'tool_call_id'"):
        client.chat("smollm2:135m", [{"role": "tool", "content": "x", "tool_callid": "1"}])


def test_keys_of_messages_are_read_in_any_case(client: Client) -> None:
    client.chat("smollm2:135m", [{"role": "user", "content": "x", "Thinking": "hm"}])


def test_the_warning_names_the_line_of_the_users_program(client: Client) -> None:
    with pytest.warns(UnknownName) as told:
        client.chat("smollm2:135m", "hi", options={"nothing": 1})
    assert told[0].filename == __file__


LONG = "Some words that everybody knows. " * 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_of_which_only_a_part_was_read_is_told(
    server: FakeOllama, client: Client, stream: bool
) -> None:
    server.on("POST", "/api/chat", Lines(counted(130)) if stream else Json(counted(130)))
    with pytest.warns(PromptCut, match=r"only 130 tokens were read of 6,600 bytes .*num_ctx") as told:
        reply = client.chat_stream("m", LONG).finish() if stream else client.chat("m", LONG)
    assert reply.text == "Yes."
    assert told[0].filename == __file__


def test_a_text_to_embed_of_which_only_a_part_was_read_is_told(server: FakeOllama, client: Client) -> None:
    answer = {"model": "m", "embeddings": [[0.6, 0.8]], "prompt_eval_count": 256}
    server.on("POST", "/api/embed", Json(answer))
    with pytest.warns(PromptCut):
        client.embed("m", LONG)


@pytest.mark.parametrize("prompt", ["Why?", LONG[:1000], "=" * 20_000, " " * 20_000])
def test_a_prompt_that_can_have_been_read_in_full_is_no_matter(
    server: FakeOllama, client: Client, prompt: str
) -> None:
    server.on("POST", "/api/chat", Json(counted(250)))
    client.chat("m", prompt)


@given(
    words=st.lists(st.text(max_size=30), max_size=50),
    per_token=st.floats(1, 7.9),
)
def test_no_prompt_is_called_cut_that_has_fewer_bytes_per_token_than_languages_have(
    words: list[str], per_token: float
) -> None:
    text = " ".join(words)
    tokens = int(len(text.encode("utf-8", errors="replace")) / per_token) + 1
    with FakeOllama() as server, Client(server.url) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        server.on("POST", "/api/chat", Json(counted(tokens)))
        client.chat("m", text)
