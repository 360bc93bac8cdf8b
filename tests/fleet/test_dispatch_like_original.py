"""Dispatch: what it does with a message is what lex-ollama 0.3.1 did, but for a list of differences."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import lex_ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lex_ollama import Observed
from stub_ollama import Scripted, StubOllama

from ollama_ext.errors import ConnectionFailed
from ollama_ext.fleet.dispatch import handle_request
from ollama_ext.names import parse_name
from ollama_ext.settings import Subscription
from ollama_ext.usage import EMPTY_USAGE

if TYPE_CHECKING:
    from collections.abc import Callable

# What the differences pass over, as the original has no such field.
_MORE = {
    "/api/chat": ("truncate", "shift", "logprobs", "top_logprobs"),
    "/api/generate": (
        *("suffix", "template", "context", "raw", "think"),
        *("truncate", "shift", "logprobs", "top_logprobs"),
    ),
    "/api/embed": (),
}
_ZERO = EMPTY_USAGE.to_dict()


@dataclass(frozen=True)
class Case:
    """A message, who takes it, and what Ollama answers to the plain call: None if it cannot be reached."""

    body: Any
    headers: dict[str, Any]
    subscription: Subscription
    answer: tuple[int, Any] | None

    @property
    def message(self) -> dict[str, Any]:
        """The body, if it is an object."""
        return self.body if isinstance(self.body, dict) else {}


# -- what both make of a case


def of_the_original(case: Case) -> Observed:
    worker = lex_ollama.Worker(case.subscription.type, case.subscription.model)
    return lex_ollama.handle(case.body, case.headers, worker, answering(case.answer))


def answering(answer: tuple[int, Any] | None) -> Callable[[str, dict[str, Any]], tuple[int, Any] | None]:
    return lambda _path, _body: answer


def of_ours(case: Case) -> Observed:
    server = StubOllama(lambda _path, body: scripted(case.answer, streamed="stream" in body))
    reply = handle_request(case.body, server.client().with_options(retry=None), case.subscription)
    if "error" in reply:
        reply["error"] = {name: type(value).__name__ for name, value in reply["error"].items()}
    assert len(server.requests) <= 1
    sent = [(request.path, request.body) for request in server.requests]
    return Observed(sent[0] if sent else None, reply)


def scripted(answer: tuple[int, Any] | None, *, streamed: bool) -> Scripted:
    """Return how Ollama answers: a reply comes in pieces where that is asked for."""
    if answer is None:
        return Scripted(refuses=ConnectionFailed("refused"))
    status, result = answer
    if not streamed or status != 200:
        return Scripted(status, (json.dumps(result).encode(),))
    end = {name: value for name, value in result.items() if name not in {"message", "response"}}
    start = {**end, "done": False}
    if "message" in result:
        message: dict[str, Any] = result["message"]
        text = message["content"]
        halves = [{"message": {**message, "content": part}} for part in (text[:2], text[2:])]
    else:
        halves = [{"response": part} for part in (result["response"][:2], result["response"][2:])]
    lines = [{**start, **halves[0]}, {**end, **halves[1]}]
    return Scripted(pieces=tuple(json.dumps(line).encode() + b"\n" for line in lines))


# -- the differences


@dataclass(frozen=True)
class Difference:
    """Where ours does something else on purpose.

    Attributes:
        name: What the original did.
        reason: Why ours does not.
        message: The case that the original would have to get, to do as ours does.
        observed: What ours does instead, from what the original did with it.
    """

    name: str
    reason: str
    message: Callable[[Case], Case] = lambda case: case
    observed: Callable[[Case, Observed], Observed] = lambda _case, seen: seen


_ERROR = {"code": "str", "message": "str", "retryable": "bool"}


def _refusal(status: int, model: Any) -> Observed:
    model = model if isinstance(model, str) else None
    return Observed(None, {"result": None, "usage": {}, "status": status, "model": model, "error": _ERROR})


def _with_sent(seen: Observed, **fields: Any) -> Observed:
    if seen.sent is None:
        return seen
    path, body = seen.sent
    changed = {**body, **fields}
    return replace(seen, sent=(path, {name: value for name, value in changed.items() if value is not None}))


def _with_reply(seen: Observed, **fields: Any) -> Observed:
    return replace(seen, reply={**(seen.reply or {}), **fields})


def _false_type(case: Case) -> Case:
    if case.message.get("request_type") is False:
        return replace(case, body={**case.message, "request_type": "chat"})
    return case


def _false_input(case: Case, seen: Observed) -> Observed:
    embeds = seen.sent is not None and seen.sent[0] == "/api/embed"
    return _with_sent(seen, input=False) if embeds and case.message.get("input") is False else seen


def _no_name(case: Case, seen: Observed) -> Observed:
    model = case.message.get("model")
    fits = model is None or (isinstance(model, str) and model)
    return seen if fits or not isinstance(case.body, dict) else _refusal(400, model)


def _foreign(case: Case, seen: Observed) -> Observed:
    model, served = case.message.get("model"), case.subscription.model
    if not isinstance(model, str) or not model or parse_name(model).same_as(parse_name(served)):
        return seen
    return _refusal(404, model)


def _more_fields(case: Case, seen: Observed) -> Observed:
    if seen.sent is None:
        return seen
    return _with_sent(seen, **{name: case.message.get(name) for name in _MORE[seen.sent[0]]})


def _streams(_case: Case, seen: Observed) -> Observed:
    return _with_sent(seen, stream=True) if seen.sent and "stream" in seen.sent[1] else seen


def _pins(case: Case, seen: Observed) -> Observed:
    own = {"options": case.subscription.options, "keep_alive": case.subscription.keep_alive}
    return _with_sent(seen, **{name: value for name, value in own.items() if value is not None})


def _embed_usage(case: Case, seen: Observed) -> Observed:
    if seen.reply is None or seen.reply["usage"] is not None or case.answer is None:
        return seen
    tokens = case.answer[1].get("prompt_eval_count", 0) if isinstance(case.answer[1], dict) else 0
    return _with_reply(seen, usage={**_ZERO, "input_tokens": tokens})


def _failure(_case: Case, seen: Observed) -> Observed:
    if seen.reply is None or seen.reply["status"] < 400 or "error" in seen.reply:
        return seen
    return _with_reply(seen, usage={}, error=_ERROR)


def _unreachable(case: Case, seen: Observed) -> Observed:
    return _with_reply(seen, status=503) if case.answer is None and seen.sent is not None else seen


def _half(case: Case, seen: Observed) -> Observed:
    whole = (
        case.answer is None or not isinstance(case.answer[1], dict) or case.answer[1].get("done") is not False
    )
    if whole or seen.sent is None:
        return seen
    return _with_reply(seen, status=503, result=None)


def _no_object(case: Case, seen: Observed) -> Observed:
    return seen if isinstance(case.body, dict) else _refusal(400, None)


#: In the order in which they are applied.
DIFFERENCES = [
    Difference(
        "headers were merged over the body",
        "a header of the broker, a proxy or a tracer must not change what is run",
        message=lambda case: replace(case, headers={}),
    ),
    Difference(
        "a request_type of false was filled in",
        "only what is absent or null is filled in; false is a wrong type, and any other type is a chat",
        message=_false_type,
    ),
    Difference(
        "an input of false was as good as none", "only what is absent or null is", observed=_false_input
    ),
    Difference(
        "fields of newer versions of Ollama were not passed on",
        "the original left them out as it was older",
        observed=_more_fields,
    ),
    Difference("the plain call was made", "a stream shows a hang, and can be left", observed=_streams),
    Difference("the caller's options always held", "a queue can pin num_ctx, say", observed=_pins),
    Difference("no connection was status 500", "503 says that another try may help", observed=_unreachable),
    Difference("half a reply counted as one", "nobody can tell that it is none", observed=_half),
    Difference(
        "a failure had a usage of zeros or null, and no text",
        "zeros look like a count, and a caller cannot mend what nobody tells",
        observed=_failure,
    ),
    Difference("the usage of embed was null", "Ollama counts its tokens too", observed=_embed_usage),
    Difference(
        "a model that is no name was sent on, or filled in for false",
        "Ollama can only refuse it, in other words for each endpoint",
        observed=_no_name,
    ),
    Difference(
        "any model was run that a message named",
        "a publisher could have had any model loaded, in place of those that the machine serves",
        observed=_foreign,
    ),
    Difference("a body that is no object got no reply", "its caller would wait in vain", observed=_no_object),
]


def expected(case: Case, differences: list[Difference]) -> Observed:
    """Return what ours must do: what the original did, but for the differences."""
    for difference in differences:
        case = replace(difference.message(case), answer=case.answer)
    seen = of_the_original(case)
    for difference in differences:
        seen = difference.observed(case, seen)
    return seen


# -- cases

texts = st.sampled_from(["", "x", "naïve \U0001f999", "ja", "5m"])
values: st.SearchStrategy[Any] = (
    st.sampled_from([None, False, True, 0, 1, 0.5, [], {}, ["a"], {"num_ctx": 4096}]) | texts
)
MODELS = ["llama3.2", "llama3.2:latest", "LLAMA3.2", "qwen3.5:27b"]
kinds = st.sampled_from(["chat", "generate", "embed"])
names = st.sampled_from(
    [
        *(
            "messages",
            "prompt",
            "input",
            "text",
            "tools",
            "images",
            "format",
            "options",
            "system",
            "keep_alive",
        ),
        *(
            "think",
            "truncate",
            "dimensions",
            "suffix",
            "raw",
            "shift",
            "logprobs",
            "context",
            "stream",
            "host",
        ),
        *("reply_to", "correlation_id", "routing_key", "template", "top_logprobs", "_debug_render_only"),
    ]
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "request_type": kinds | st.sampled_from(["Embed", "embedding", "", None, False, True, 5, ["embed"]]),
        "model": st.sampled_from([*MODELS, *MODELS, None, "", False, 5, ["m"]]),
    },
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    body: Any = {**draw(st.dictionaries(names, values, max_size=7)), **draw(messages)}
    if draw(st.integers(0, 15)) == 0:
        body = draw(values.filter(lambda value: not isinstance(value, dict)))
    case = Case(
        body=body,
        headers=draw(st.just({}) | messages | st.dictionaries(names, values, max_size=2)),
        subscription=Subscription(
            type=draw(kinds),
            model=draw(st.sampled_from(MODELS)),
            options=draw(st.sampled_from([None, None, {}, {"num_ctx": 1}])),
            keep_alive=draw(st.sampled_from([None, None, 0, "30m"])),
        ),
        answer=None,
    )
    kind = draw(st.sampled_from(["reply", "reply", "half", "refusal", "nobody"]))
    return replace(case, answer=draw(answers(of_ours(case).sent, kind)))


@st.composite
def answers(draw: st.DrawFn, sent: tuple[str, dict[str, Any]] | None, kind: str) -> tuple[int, Any] | None:
    """Return what the plain call of a request gives."""
    if kind == "nobody" or sent is None:
        return None
    if kind == "refusal":
        return draw(st.sampled_from([400, 404, 500, 503])), draw(st.sampled_from([{"error": "why"}, {}, [1]]))
    path, body = sent
    if path == "/api/embed":
        asked = body.get("input")
        vectors = ([[0.5]] * (len(asked) if isinstance(asked, list) else 1)) if asked else []
        return 200, {
            "model": body["model"],
            "embeddings": vectors,
            "prompt_eval_count": draw(st.integers(1, 9)),
        }
    reply: dict[str, Any] = {"model": body["model"], "created_at": "2026-04-08", "done": kind != "half"}
    reply |= {"eval_count": draw(st.integers(1, 9)), "new": {"field": None}}
    text = draw(texts)
    if path == "/api/chat":
        return 200, {**reply, "message": {"role": "assistant", "content": text}}
    return 200, {**reply, "response": text}


# -- the comparison


@given(cases())
def test_a_message_is_handled_as_the_original_did_but_for_the_differences(case: Case) -> None:
    """The same request goes to Ollama, and the same is replied; what is different and not listed is a bug."""
    assert of_ours(case) == expected(case, DIFFERENCES)


CHAT, EMBED = (Subscription(type=kind, model="llama3.2") for kind in ("chat", "embed"))
PINNED = Subscription(type="chat", model="llama3.2", options={"num_ctx": 1})
_ANSWER: dict[str, Any] = {"model": "llama3.2", "created_at": "2026-04-08", "done": True}
REPLY = (200, {**_ANSWER, "message": {"role": "assistant", "content": "Hello"}})
HALF = (200, {**REPLY[1], "done": False})
VECTOR = (200, {"model": "llama3.2", "embeddings": [[0.5]], "prompt_eval_count": 4})
#: For each difference, in their order, a case that it alone is about (but for the stream on the wire).
EXAMPLES = [
    Case({"messages": []}, {"think": True}, CHAT, REPLY),
    Case({"request_type": False}, {}, EMBED, REPLY),
    Case({"input": False, "text": "x"}, {}, EMBED, (400, {"error": "invalid input type"})),
    Case({"messages": [], "truncate": False}, {}, CHAT, REPLY),
    Case({"messages": []}, {}, CHAT, REPLY),
    Case({"messages": [], "options": {"num_ctx": 9, "seed": 1}}, {}, PINNED, REPLY),
    Case({"messages": []}, {}, CHAT, None),
    Case({"messages": []}, {}, CHAT, HALF),
    Case({"messages": []}, {}, CHAT, (500, {"error": "why"})),
    Case({"input": "x"}, {}, EMBED, VECTOR),
    Case({"model": False}, {}, CHAT, REPLY),
    Case({"model": "qwen3.5:27b"}, {}, CHAT, REPLY),
    Case([], {}, CHAT, REPLY),
]


@pytest.mark.parametrize(
    ("difference", "case"),
    [pytest.param(*pair, id=pair[0].name) for pair in zip(DIFFERENCES, EXAMPLES, strict=True)],
)
def test_a_listed_difference_is_one(difference: Difference, case: Case) -> None:
    """Nothing stays in the list that is no difference any more: each is needed for its example."""
    others = [each for each in DIFFERENCES if each is not difference]
    assert of_ours(case) == expected(case, DIFFERENCES)
    assert of_ours(case) != expected(case, others)
    assert difference.reason


def test_what_the_original_did_with_a_message() -> None:
    """The model of the original itself, by the examples of its wire format."""
    body = {
        "request_type": "embed",
        "model": "mxbai-embed-large",
        "input": ["alpha", "beta"],
        "dimensions": 256,
    }
    answer = {"model": "mxbai-embed-large", "embeddings": [[0.12, -0.5], [0.3, 0.9]], "prompt_eval_count": 4}
    worker = lex_ollama.Worker("chat", "llama3.2")
    seen = lex_ollama.handle({**body, "reply_to": "agent.node-17"}, {}, worker, answering((200, answer)))
    assert seen.sent == ("/api/embed", {name: body[name] for name in ("model", "input", "dimensions")})
    assert seen.reply == {"result": answer, "usage": None, "model": "mxbai-embed-large", "status": 200}
    seen = lex_ollama.handle({}, {}, worker, answering(None))
    assert seen.sent == ("/api/chat", {"model": "llama3.2", "stream": False})
    assert seen.reply == {"result": None, "usage": {}, "model": "llama3.2", "status": 500}
    seen = lex_ollama.handle(
        {"model": False, "prompt": ""}, {"request_type": "generate"}, worker, answering(None)
    )
    assert seen.sent == ("/api/generate", {"model": "llama3.2", "prompt": "", "stream": False})
    seen = lex_ollama.handle(
        {"input": False, "text": ""}, {"request_type": "embed"}, worker, answering((404, "no"))
    )
    assert seen.sent == ("/api/embed", {"model": "llama3.2", "input": ""})
    assert seen.reply == {"result": "no", "usage": None, "model": "llama3.2", "status": 404}
