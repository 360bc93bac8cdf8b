"""Which recording fits a chat or a generate request that no test scripted.

The conditions stand in the order in which the server looks at them. A recorded error is chosen only
for what that very request does wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .catalog import Catalog
    from .recordings import RecordedExchange

_Fields = dict[str, Any]


def choose_chat(catalog: Catalog, model: str, fields: _Fields) -> RecordedExchange | None:
    """Return the exchange whose answer a known model gives to a chat request, or None."""
    messages = _messages(fields)
    if messages is None:
        return catalog.get_or_newest("chat-content-array")
    if not messages and _unloads(fields):
        return catalog.get_or_newest("chat-unload")
    if not catalog.can(model, "completion"):
        return catalog.get_or_newest("chat-embedding-model")
    if not messages:
        return catalog.get("chat-load")
    refused = _chat_refusal(catalog, model, fields, messages)
    if refused is not None:
        return catalog.get_or_newest(refused)
    return _of_kind(catalog, "chat", _chat_kind(catalog, model, fields, messages), fields)


def choose_generate(catalog: Catalog, model: str, fields: _Fields) -> RecordedExchange | None:
    """Return the exchange whose answer a known model gives to a generate request, or None."""
    prompt = fields.get("prompt")
    if not prompt and _unloads(fields):
        return catalog.get_or_newest("generate-unload")
    refused = _generate_refusal(catalog, model, fields)
    if refused is not None or not prompt:
        return catalog.get_or_newest(refused or "generate-load")
    thinks = catalog.can(model, "thinking") and fields.get("think") is not False
    special = {
        "generate-debug-render": fields.get("_debug_render_only"),
        "generate-stream-thinking": thinks,
        "generate-raw": fields.get("raw"),
    }
    for name, wanted in special.items():
        if wanted and (found := catalog.get(name)) is not None:
            return found
    return _of_kind(catalog, "generate", "", fields)


def _generate_refusal(catalog: Catalog, model: str, fields: _Fields) -> str | None:
    if fields.get("raw") and any(fields.get(name) for name in ("template", "system", "context")):
        return "generate-raw-with-system"
    if fields.get("suffix"):
        return "generate-suffix-unsupported"
    if fields.get("think") and not catalog.can(model, "thinking"):
        return "chat-think-unsupported"
    return None


def _chat_refusal(catalog: Catalog, model: str, fields: _Fields, messages: list[_Fields]) -> str | None:
    if _top_logprobs_refused(catalog, fields):
        return "chat-top-logprobs-range"
    if fields.get("tools") and not catalog.can(model, "tools"):
        return "chat-tools-unsupported"
    if fields.get("think") and not catalog.can(model, "thinking"):
        return "chat-think-unsupported"
    if any(message.get("images") for message in messages):
        return "chat-images-unsupported"  # none of the recorded models can see
    return None


def _top_logprobs_refused(catalog: Catalog, fields: _Fields) -> bool:
    if catalog.get("chat-top-logprobs-range") is None:
        return False  # a version that ignores the field
    top = fields.get("top_logprobs") or 0
    return isinstance(top, int) and not 0 <= top <= 20  # noqa: PLR2004 - the server's range


def _chat_kind(catalog: Catalog, model: str, fields: _Fields, messages: list[_Fields]) -> str:
    """Return the part of the name that recordings of this kind share, or ``""``."""
    if fields.get("tools") and messages[-1].get("role") != "tool":
        return "tools"  # after a tool's result the model talks, or a tool loop would never end
    if catalog.can(model, "thinking"):
        return "nothink" if fields.get("think") is False else "thinking"
    if fields.get("logprobs"):
        return "logprobs"
    if fields.get("format") == "json":
        return "json-format"
    return "schema" if fields.get("format") else ""


def _of_kind(catalog: Catalog, operation: str, kind: str, fields: _Fields) -> RecordedExchange | None:
    """Return the recording of a kind: streamed or not as asked, else the other, else of no kind.

    A stream stands in for a single reply, into which it can be folded, never the other way round.
    """
    streamed = fields.get("stream") is not False
    forms = ("stream",) if streamed else ("nostream", "stream")
    for suffix in (f"-{kind}", "") if kind else ("",):
        names = [f"{operation}-{form}{suffix}" for form in forms]
        if kind == "nothink" and suffix:
            names = [f"{operation}-nothink"]  # recorded streamed, under a name of its own
        for name in names:
            if (found := catalog.get(name)) is not None:
                return found
    return None


def _messages(fields: _Fields) -> list[_Fields] | None:
    """Return the messages, or None if one has a content that the server cannot decode."""
    value = fields.get("messages")
    listed = cast("list[object]", value) if isinstance(value, list) else []
    messages = [cast("_Fields", each) for each in listed if isinstance(each, dict)]
    contents = [each.get("content") for each in messages]
    return None if any(isinstance(each, list) for each in contents) else messages


def _unloads(fields: _Fields) -> bool:
    return fields.get("keep_alive") in (0, "0", "0s")
