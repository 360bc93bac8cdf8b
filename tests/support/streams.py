"""Recorded and made-up streams for the tests of the client, and what is in them."""

from __future__ import annotations

import json
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any

from ollama_openapi.ndjson import LineSplitter

from ollama_ext import ChatState, Event, GenerateState, Progress
from ollama_ext.testing import RecordedExchange, recordings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

INFERENCE = {"/api/chat", "/api/generate"}
#: Recorded streams without a last chunk: the runner was killed, or the server.
UNFINISHED = {
    "generate-stream-runner-killed",
    "generate-stream-server-killed",
    "generate-stream-server-terminated",
}


def recorded_replies() -> list[RecordedExchange]:
    """Return every recorded answer of chat and generate with a status of success, streamed or not."""
    return [each for each in recordings() if each.request.path in INFERENCE and each.response.status == 200]


def recorded_streams() -> list[RecordedExchange]:
    """Return those recorded answers that are NDJSON."""
    return [each for each in recorded_replies() if each.response.content_type == "application/x-ndjson"]


def identify(exchange: RecordedExchange) -> str:
    """Return the identifier of a parametrised test."""
    return f"{exchange.version}/{exchange.name}"


def new_state(exchange: RecordedExchange) -> ChatState | GenerateState:
    """Return the state that takes the lines of a recorded exchange."""
    model: str = exchange.request.json()["model"]
    return ChatState(model) if exchange.request.path == "/api/chat" else GenerateState(model)


def pieces(body: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut a body into pieces of these sizes, in turn and from the start again."""
    start = 0
    for size in cycle(sizes):
        if start >= len(body):
            return
        yield body[start : start + size]
        start += size


def play(state: ChatState | GenerateState, reads: Iterable[bytes]) -> list[Event]:
    """Let a state have a whole body as it came in reads; return the events."""
    lines, events = LineSplitter(), list[Event]()
    for data in reads:
        for line in lines.feed(data):
            events += state.feed(line)
    for line in lines.finish():
        events += state.feed_rest(line)
    return events


def whole_lines(body: bytes) -> list[dict[str, Any]]:
    """Return the decoded lines of a body of which an end is there; decoded by another library."""
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


def text_of(chunks: Sequence[dict[str, Any]]) -> str:
    """Return the text in chunks of chat or generate."""
    return "".join(
        chunk["message"]["content"] if "message" in chunk else chunk["response"] for chunk in chunks
    )


def chunk(content: str = "", *, done: bool = False, **fields: Any) -> dict[str, Any]:
    """Return a chunk of a chat; ``fields`` named ``message`` are added to its message."""
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    end = {"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2} if done else {}
    return {
        "model": "m",
        "created_at": "2026-11-25T00:00:00Z",
        "message": message,
        "done": done,
        **end,
        **fields,
    }


def line(value: object) -> bytes:
    """Return a value as a line without its end; characters beyond ASCII stay as they are, as in Go."""
    return json.dumps(value, ensure_ascii=False).encode()


def assert_lawful(steps: Sequence[Progress]) -> None:
    """Assert what holds for every sequence of steps."""
    for step in steps:
        overall = step.overall
        assert step.completed >= 0
        assert step.completed <= step.total or step.total == 0
        assert 0 <= overall.completed <= overall.total
        assert 0.0 <= overall.fraction <= 1.0
    for before, after in pairwise(steps):
        assert before.overall.completed <= after.overall.completed
        assert before.overall.total <= after.overall.total
        assert before.overall.fraction <= after.overall.fraction
        if (before.status, before.digest) == (after.status, after.digest) and after.digest:
            assert before.completed <= after.completed
            assert before.total <= after.total
