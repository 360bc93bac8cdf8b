"""Replies: the typed model that the server sent, and what people mostly want of it.

The same classes come out of ``chat()`` and out of a finished ``chat_stream()``.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from ollama_openapi import models

from .errors import IncompleteReply, InvalidResponse
from .usage import Usage, usage_of


class Reply(msgspec.Struct, frozen=True):
    """What every reply has.

    Attributes:
        result: The server's reply in full, as a generated model; fields that it does not know are kept.
        status: The HTTP status.
    """

    result: models.ChatResponse | models.GenerateResponse | models.EmbedResponse
    status: int

    @property
    def usage(self) -> Usage:
        """Tokens and times."""
        return usage_of(self.result)


class TextReply(Reply, frozen=True):
    """What every reply that was generated has."""

    result: models.ChatResponse | models.GenerateResponse

    @property
    def done_reason(self) -> str:
        """Why the reply ended: ``stop``, ``length``, ``load``, ``unload``; empty if not told."""
        return self.result.done_reason or ""

    @property
    def logprobs(self) -> list[models.Logprob]:
        """Log probabilities of the generated tokens, if they were asked for."""
        return self.result.logprobs or []


class ChatReply(TextReply, frozen=True):
    """A model's answer to a conversation."""

    result: models.ChatResponse

    @property
    def text(self) -> str:
        """The answer."""
        return self.result.message.content

    @property
    def thinking(self) -> str:
        """What the model thought before it answered; empty if it did not, or did not tell."""
        return self.result.message.thinking or ""

    @property
    def tool_calls(self) -> list[models.ToolCall]:
        """The tools that the model wants called, in order."""
        return self.result.message.tool_calls or []

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a plain JSON message with thinking and calls: append it to the history."""
        return self.result.message.to_dict()


class GenerateReply(TextReply, frozen=True):
    """A model's continuation of a prompt."""

    result: models.GenerateResponse

    @property
    def text(self) -> str:
        """The answer."""
        return self.result.response

    @property
    def thinking(self) -> str:
        """What the model thought before it answered; empty if it did not, or did not tell."""
        return self.result.thinking or ""

    @property
    def tool_calls(self) -> list[models.ToolCall]:
        """The tools that the model wants called, in order."""
        return self.result.tool_calls or []


class EmbedReply(Reply, frozen=True):
    """The vectors of some texts."""

    result: models.EmbedResponse

    @property
    def embeddings(self) -> list[list[float]]:
        """One vector per text, in the order of the texts; each of length 1 (L2)."""
        return self.result.embeddings


R = TypeVar("R", ChatReply, GenerateReply)


def whole(reply: R) -> R:
    """Return a reply that came in one piece, if it is whole.

    Raises:
        IncompleteReply: The server stopped before its end, in spite of a status that says success.
    """
    if reply.result.done or reply.result.debug_info:  # a rendered prompt is never "done"
        return reply
    raise IncompleteReply(
        'the server stopped before the end of the reply ("done": false, with status '
        f"{reply.status}); what it sent is in .partial",
        status=reply.status,
        partial=reply,
    )


def all_embedded(reply: EmbedReply, texts: object) -> EmbedReply:
    """Return the reply to an embed call, if it has a vector for each text.

    Raises:
        InvalidResponse: The numbers differ, so nobody could say which vector is whose.
    """
    several: list[Any] = texts if isinstance(texts, list) else [texts]
    # One text that is empty, or none, only loads the model. In a list, an empty text has a vector too.
    expected = len(several) if texts else 0
    if len(reply.embeddings) == expected:
        return reply
    raise InvalidResponse(
        f"the server returned {len(reply.embeddings)} vectors for {expected} texts", status=reply.status
    )
