"""Recorded answers that end too early: what must come out of the client, for every place of the cut.

What is expected is worked out from the bytes that arrive, with another JSON decoder. The only thing taken
from the client are its states, which turn lines into events: they have tests of their own.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ollama_openapi.ndjson import LineSplitter
from scripts import CHAT, EMBED, GENERATE, TRANSFERS
from streams import new_state

from ollama_ext import (
    Client,
    ConnectionFailed,
    IdleTimeout,
    InvalidResponse,
    OllamaError,
    StreamError,
    StreamTruncated,
)
from ollama_ext.progress import ProgressState
from ollama_ext.testing import FakeOllama, RecordedExchange, Recording, recordings

if TYPE_CHECKING:
    from ollama_ext import ChatState, GenerateState

#: How an answer ends: properly, but too early; with its connection, closed or reset; or not at all.
How = Literal["clean", "close", "reset", "stall"]

_STREAMS = {
    CHAT: "chat_stream",
    GENERATE: "generate_stream",
    **{path: f"{method}_stream" for path, method in TRANSFERS.items()},
}
_PLAIN = {
    CHAT: "chat",
    GENERATE: "generate",
    EMBED: "embed",
    "/api/show": "show_model",
    "/api/tags": "list_models",
    "/api/ps": "list_running",
}


@dataclass(frozen=True, repr=False)
class Case:
    """A recorded answer, and the method of `Client` that gets it."""

    exchange: RecordedExchange
    method: str

    def __repr__(self) -> str:
        """Return the identifier of a parametrised test."""
        return f"{self.exchange.version}/{self.exchange.name}/{self.method}"

    @property
    def streams(self) -> bool:
        """Whether the method returns a stream."""
        return self.method.endswith("_stream")

    @property
    def body(self) -> bytes:
        """The whole body."""
        return self.exchange.response.body


def all_cases() -> list[Case]:
    """Return every recorded answer of a model or about one with every method that may get it."""
    return [
        Case(each, method)
        for each in recordings()
        if each.response.status == 200 and each.request.method != "HEAD"
        for method in _methods(each)
    ]


def case(name: str, method: str, version: str = "v0.33.0-rc2") -> Case:
    """Return one of them."""
    return Case(Recording(name, version).exchange, method)


def _methods(exchange: RecordedExchange) -> list[str]:
    # Where a stream was asked for, Ollama answers some requests with a single object all the same.
    single = exchange.response.content_type == "application/json"
    tables = (_PLAIN, _STREAMS) if single else (_STREAMS,)
    return [table[exchange.request.path] for table in tables if exchange.request.path in table]


def check_cut(
    server: FakeOllama, client: Client, cut: Case, at: int, how: How, *, sizes: list[int] | None = None
) -> str:
    """Have an answer end after so many bytes, and see that the client tells what is true.

    Args:
        server: Who answers.
        client: Who asks. It must not try again, and must wait for a moment only where ``how`` is a stall.
        cut: What is answered.
        at: How many bytes of the body arrive.
        how: How it ends.
        sizes: The sizes of the pieces in which the body is sent, or None for those recorded.

    Returns:
        What came of it: ``whole``, or the name of the error.
    """
    answer: Recording = Recording(cut.exchange.name, cut.exchange.version)
    if sizes:
        answer = answer.split(sizes)
    answer = answer.stall(math.inf, at=at) if how == "stall" else answer.cut(at, how)
    server.on(cut.exchange.request.method, cut.exchange.request.path, answer)
    return (_check_stream if cut.streams else _check_plain)(client, cut, at, how)


def _call(client: Client, cut: Case) -> Any:
    asked = cut.exchange.request.json() if cut.exchange.request.body else {}
    arguments: tuple[Any, ...] = (asked.get("model") or "m",)
    if cut.method in {"list_models", "list_running"}:
        arguments = ()
    elif cut.method == "embed":
        texts = asked.get("input")  # as many, but short: nobody is to be told that they were cut
        arguments += (["x" for _ in texts] if isinstance(texts, list) else texts and "x",)
    elif not cut.method.startswith(("pull", "push", "show")):
        arguments += ("hi",)
    return getattr(client, cut.method)(*arguments)


def _check_plain(client: Client, cut: Case, at: int, how: How) -> str:
    reply: Any = None
    error: OllamaError | None = None
    try:
        reply = _call(client, cut)
    except OllamaError as caught:
        error = caught
    if at == len(cut.body) and (how == "clean" or not cut.exchange.response.chunked):
        assert error is None, "all of it had arrived"
        whole = cut.exchange.response.json()
        if isinstance(reply, list):
            assert [each.to_dict() for each in reply] == whole["models"]
        else:
            assert getattr(reply, "result", reply).to_dict() == whole
        return "whole"
    assert error is not None, "half an answer was taken for the whole"
    if how == "clean":
        assert type(error) is InvalidResponse
        assert (error.status, error.body) == (200, cut.body[:at])
    else:
        assert type(error) is (IdleTimeout if how == "stall" else ConnectionFailed)
    assert error.request is not None
    assert error.request.url.endswith(cut.exchange.request.path)
    return type(error).__name__


def _check_stream(client: Client, cut: Case, at: int, how: How) -> str:
    state, events, expected = _expected(cut, at, how)
    stream = _call(client, cut)
    seen: list[Any] = []
    error: OllamaError | None = None
    try:
        for event in stream:
            seen.append(event)  # noqa: PERF402 - what came before the error counts
    except OllamaError as caught:
        error = caught
    assert seen == events
    if isinstance(state, ProgressState):
        assert stream.progress == (events[-1] if events else None)
    else:
        assert stream.partial == state.partial
    if expected is None:
        assert error is None, "all of it had arrived"
        if not isinstance(state, ProgressState):
            assert stream.reply == state.partial
        return "whole"
    assert error is not None, "half a stream was taken for the whole"
    assert type(error) is expected or (expected is StreamError and isinstance(error, StreamError))
    assert (error.status, error.model) == (200, cut.exchange.request.json()["model"])
    if isinstance(state, ProgressState):
        assert (error.progress, error.partial) == (state.partial, None)
    else:
        assert (error.progress, error.partial) == (None, state.partial)
    return type(error).__name__


def _expected(
    cut: Case, at: int, how: How
) -> tuple[ChatState | GenerateState | ProgressState, list[Any], type[OllamaError] | None]:
    """Return the state in the end, the events, and the error; no error where the stream is whole."""
    body, path = cut.body, cut.exchange.request.path
    arrived = body[:at]
    if how == "clean" and (at == len(body) or body[at : at + 1] == b"\n"):
        arrived += b"\n"  # a last line that nothing terminated is one, where the body properly ended
    arrived = arrived[: arrived.rfind(b"\n") + 1]
    if (
        how != "clean" and at == len(body) and not body.endswith(b"\n")
    ):  # one object, by its length at its end
        arrived = body + b"\n"
    model = cut.exchange.request.json()["model"]
    state = new_state(cut.exchange) if path in {CHAT, GENERATE} else ProgressState(path=path, model=model)
    events: list[Any] = []
    whole = False
    for line in LineSplitter().feed(arrived):
        chunk = json.loads(line)
        if "error" in chunk:
            return state, events, StreamError
        events += state.feed(line)
        whole = bool(chunk.get("done") or "_debug_info" in chunk or chunk.get("status") == "success")
    if whole:
        return state, events, None
    return state, events, IdleTimeout if how == "stall" else StreamTruncated
