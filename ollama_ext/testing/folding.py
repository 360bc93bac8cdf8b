"""What the plain call would have answered, from what the streamed one did.

Ollama makes its single reply by joining the chunks of the stream; so does this.
"""

from __future__ import annotations

from typing import Any, cast

_Chunk = dict[str, Any]


def fold(chunks: list[_Chunk]) -> _Chunk:
    """Return the single reply to a chat or generate request whose stream had these chunks.

    Text, thinking, tool calls and log probabilities are joined; the rest is the last chunk's.
    """
    reply = dict(chunks[-1])
    if "message" in reply:
        messages = [cast("_Chunk", chunk["message"]) for chunk in chunks]
        reply["message"] = {"role": messages[-1]["role"], **_joined(messages, "content")}
    else:
        joined = _joined(chunks, "response")
        reply = {name: joined.pop(name, value) for name, value in reply.items()} | joined
    logprobs = [each for chunk in chunks for each in chunk.get("logprobs") or ()]
    if logprobs:
        reply["logprobs"] = logprobs
    return reply


def _joined(parts: list[_Chunk], text: str) -> _Chunk:
    joined: _Chunk = {text: "".join(part[text] for part in parts)}
    thinking = "".join(part.get("thinking", "") for part in parts)
    if thinking:
        joined["thinking"] = thinking
    calls = [call for part in parts for call in part.get("tool_calls") or ()]
    if calls:
        joined["tool_calls"] = calls
    return joined
