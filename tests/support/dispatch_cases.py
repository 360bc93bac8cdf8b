"""Any message, any subscription and any Ollama: what the laws of dispatch are tried on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from stub_ollama import Scripted

from ollama_ext import errors
from ollama_ext.errors import OllamaError
from ollama_ext.settings import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The table of the protocol: what goes on for which type, beside the model.
CHAT = {
    *("messages", "tools", "format", "options", "keep_alive", "think", "truncate", "shift", "logprobs"),
    "top_logprobs",
}
GENERATE = {
    *("prompt", "images", "format", "options", "system", "keep_alive", "suffix", "template", "context"),
    *("raw", "think", "truncate", "shift", "logprobs", "top_logprobs"),
}
EMBED = {"input", "truncate", "options", "keep_alive", "dimensions"}
TABLE = {"/api/chat": CHAT, "/api/generate": GENERATE, "/api/embed": EMBED}
#: What a message can have besides, and what no message can make Ollama hear of.
OTHERS = [
    *("request_type", "model", "text", "stream", "reply_to", "correlation_id", "message_context", "host"),
    *("_debug_render_only", "name", "path", "from", "files", "insecure", "method", "endpoint", "Model", ""),
]

# -- messages

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
#: Values that Python takes for false, of which only null is as good as absent, and some others.
falsy: list[Any] = [None, False, "", 0, [], {}, 0.0]
values: st.SearchStrategy[Any] = st.sampled_from([*falsy, True, "5m", "x"]) | json_values
types = st.sampled_from(["chat", "generate", "embed"])
request_types = (
    types | st.sampled_from(["", "Embed", "embedding", "EMBED", " chat", "show", "delete"]) | values
)
MODELS = ["llama3.2", "llama3.2:latest", "LLAMA3.2", "library/llama3.2", "qwen3.5:27b", "hf.co/a/b:Q4_K_M"]
models = st.sampled_from(MODELS)
fields = st.dictionaries(
    st.sampled_from(sorted(CHAT | GENERATE | EMBED | {*OTHERS})) | st.text(max_size=5), values, max_size=8
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Return a message that can be sent on: any fields, any type, a model that is a name."""
    message = draw(fields)
    message.pop("request_type", None)
    if draw(st.booleans()):
        message["request_type"] = draw(request_types)
    return {**message, "model": draw(models)}


def subscriptions(**fixed: Any) -> st.SearchStrategy[Subscription]:
    """Return any subscription that has these parts."""
    parts: dict[str, st.SearchStrategy[Any]] = {
        "type": types,
        "model": models,
        "options": st.none() | st.dictionaries(st.text(max_size=4), scalars, max_size=2),
        "keep_alive": st.none() | st.sampled_from(["30m", "", 0, -1, 0.5]),
    }
    parts |= {name: st.just(value) for name, value in fixed.items()}
    return st.builds(Subscription, **parts)


# -- servers


def succeeding(path: str, body: Any) -> Scripted:
    """Answer as a server does that has no quarrel with anything."""
    if path == "/api/embed":
        texts = body.get("input")
        several = texts if isinstance(texts, list) else [texts]
        vectors = [[0.5, 1.0] for _ in several] if texts else []
        answer = {
            "model": body["model"],
            "embeddings": vectors,
            "prompt_eval_count": 3,
            "load_duration": 2_000_000,
        }
        return Scripted(pieces=(json.dumps(answer).encode(),))
    start = {"model": body["model"], "created_at": "2026-11-25T00:00:00Z"}
    end: dict[str, Any] = {
        "done": True,
        "done_reason": "stop",
        "eval_count": 2,
        "total_duration": 9,
        "new": [None],
    }
    if path == "/api/chat":
        texts = [{"message": {"role": "assistant", "content": text}} for text in ("Hel", "lo", "")]
    else:
        texts = [{"response": text} for text in ("Hel", "lo", "")]
    lines = [start | text | ({"done": False} if text is not texts[-1] else end) for text in texts]
    return Scripted(pieces=tuple(json.dumps(line).encode() + b"\n" for line in lines))


def below(kind: type[OllamaError]) -> Iterator[type[OllamaError]]:
    """Yield a class and those below it, but for what other modules of the library hang in there."""
    if kind.__module__ == errors.__name__:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)


class Unspeakable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        """Have none."""
        raise ValueError("no text")


@st.composite
def of_the_tree(draw: st.DrawFn) -> OllamaError:
    """Return an error of any class of the tree."""
    kinds = sorted(set(below(OllamaError)), key=lambda kind: kind.__name__)
    return draw(st.sampled_from(kinds))(
        "what happened",
        status=draw(st.none() | st.integers(100, 599)),
        body=draw(st.sampled_from([b"", b"{}", b'{"error": "why"}', b"<html>", b"\xff", b"[[["])),
    )


exceptions = st.sampled_from(
    [
        *(ValueError("x"), OSError(5, "x"), MemoryError(), RecursionError(), KeyError("x"), Unspeakable()),
        ExceptionGroup("x", [ValueError("y")]),
        *(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), StopIteration(), UserWarning("x")),
    ]
)
failures = of_the_tree() | exceptions
junk = st.sampled_from(
    [
        b"",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b'{"error": "why"}\n',
        b'{"error": {"message": 5}}\n',
        b"<html>",
        b"\xff\n",
    ]
)


@st.composite
def servers(draw: st.DrawFn) -> Callable[[str, Any], Scripted]:
    """Return a server that succeeds, refuses, breaks off anywhere or talks nonsense."""
    status = draw(st.sampled_from([200, 200, 200, 201, 302, 400, 401, 404, 418, 429, 500, 502, 503, 599]))
    refuses = draw(st.none() | failures)
    breaks = draw(st.none() | failures)
    keep = draw(st.none() | st.integers(0, 3))
    more = draw(st.lists(junk, max_size=2))

    def answer(path: str, body: Any) -> Scripted:
        pieces = (*succeeding(path, body).pieces[:keep], *more)
        return Scripted(status, pieces, refuses, breaks)

    return answer
