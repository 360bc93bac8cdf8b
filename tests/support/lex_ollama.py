"""What lex-ollama 0.3.1 did with a message: a model in Python of its worker, from the taking to the reply.

Written from what the gem does, feature by feature: the merge of headers over the body, the worker's two
defaults, the choice of the endpoint, the fields of each, what goes out, and what is replied. In Ruby only nil
and false are not true, so ``a || b`` keeps empty texts and 0; types are compared with their case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OPTIONAL = {
    "embed": ("truncate", "options", "keep_alive", "dimensions"),
    "generate": ("images", "format", "options", "system", "keep_alive"),
    "chat": ("tools", "format", "options", "keep_alive", "think"),
}
_COUNTS = {
    "input_tokens": "prompt_eval_count",
    "output_tokens": "eval_count",
    "total_duration": "total_duration",
    "load_duration": "load_duration",
    "prompt_eval_duration": "prompt_eval_duration",
    "eval_duration": "eval_duration",
}


@dataclass(frozen=True)
class Worker:
    """A worker, which serves one queue."""

    type: str
    model: str


@dataclass(frozen=True)
class Observed:
    """What can be seen of how a message was handled.

    Attributes:
        sent: Path and body of the request to Ollama, or None if there was none.
        reply: What is in the reply of what became of it; None if there is none.
    """

    sent: tuple[str, dict[str, Any]] | None
    reply: dict[str, Any] | None


def handle(
    body: Any,
    headers: Mapping[str, Any],
    worker: Worker,
    ask: Callable[[str, dict[str, Any]], tuple[int, Any] | None],
) -> Observed:
    """Handle a message as the worker of 0.3.1 did.

    Args:
        body: The decoded body.
        headers: Those of the message.
        worker: Who takes it.
        ask: Asks Ollama: path and body to status and decoded answer, or None if there is no connection.
    """
    if not isinstance(body, dict):
        return Observed(None, None)  # an exception outside of the dispatch: rejected, nothing is replied
    message: dict[str, Any] = {**body, **headers}
    if not _true(message.get("request_type")):
        message["request_type"] = worker.type
    if not _true(message.get("model")):
        message["model"] = worker.model
    sent = _request(message)
    answer = ask(*sent)
    return Observed(sent, {**_replied(sent[0], answer), "model": message["model"]})


def _true(value: Any) -> bool:
    return value is not None and value is not False


def _request(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the request that goes out: nil is dropped, false is kept, and the answer comes in one piece."""
    kind = message["request_type"]
    kind = kind if isinstance(kind, str) and kind in {"embed", "generate"} else "chat"
    fields = {name: message.get(name) for name in ("model", *_OPTIONAL[kind])}
    if kind == "embed":
        fields["input"] = message.get("input") if _true(message.get("input")) else message.get("text")
    else:
        own = "prompt" if kind == "generate" else "messages"
        fields |= {own: message.get(own), "stream": False}
    return f"/api/{kind}", {name: value for name, value in fields.items() if value is not None}


def _replied(path: str, answer: tuple[int, Any] | None) -> dict[str, Any]:
    if answer is None:
        return {"result": None, "usage": {}, "status": 500}
    status, result = answer
    if path == "/api/embed":
        return {"result": result, "usage": None, "status": status}
    counts: Mapping[str, Any] = result if isinstance(result, dict) else {}
    usage = {name: counts[theirs] if _true(counts.get(theirs)) else 0 for name, theirs in _COUNTS.items()}
    return {"result": result, "usage": usage, "status": status}
