"""What a stream yields: one small immutable value per thing that happened.

Match on the class, or on ``event.type``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
from ollama_openapi import models

from .usage import Usage


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the answer: one token or a few. Never empty."""

    type: ClassVar[Literal["text"]] = "text"
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    """More of what the model thinks before it answers. Never empty."""

    type: ClassVar[Literal["thinking"]] = "thinking"
    text: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A whole tool call: Ollama never sends one in pieces."""

    type: ClassVar[Literal["tool_call"]] = "tool_call"
    call: models.ToolCall


class LogprobsDelta(msgspec.Struct, frozen=True):
    """Log probabilities of the tokens just generated, when they were asked for."""

    type: ClassVar[Literal["logprobs"]] = "logprobs"
    logprobs: list[models.Logprob]


class Done(msgspec.Struct, frozen=True):
    """The last event: the reply is whole.

    Attributes:
        usage: Tokens and times of the whole reply.
        reason: Why it ended: ``stop`` (tool calls too), ``length``, ``load``, ``unload``; empty where
            the server gives none.
    """

    type: ClassVar[Literal["done"]] = "done"
    usage: Usage
    reason: str


Event = TextDelta | ThinkingDelta | ToolCallDelta | LogprobsDelta | Done
