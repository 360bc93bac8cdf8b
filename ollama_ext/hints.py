"""Warnings about what Ollama does in silence: names that it does not know, prompts that it cuts.

All are `OllamaWarning`; turn them off, or into errors, with Python's `warnings` filters.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from ollama_openapi import models
from ollama_openapi.types import UNSET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ollama_openapi.models import ChatRequest, EmbedRequest, GenerateRequest
    from ollama_openapi.types import Model, Unset

    from .replies import Reply

#: Bytes per token from which a prompt cannot have been read in full. English has 4 to 5, code and other
#: languages fewer; what a tokenizer joins to much longer tokens is runs of one character.
_BYTES_PER_TOKEN: Final = 8
#: What is left of a prompt that was cut fills at least half of a context, and no model has one so small.
_LEAST_TOKENS: Final = 64
_RUN: Final = re.compile(r"(.)\1{3,}", re.DOTALL)

_HERE: Final = str(Path(__file__).parent)
#: What was told already, and is not told again.
told: set[tuple[str, str]] = set()


class OllamaWarning(UserWarning):
    """Something that works, but hardly as it was meant."""


class UnknownName(OllamaWarning):
    """An option, or a key of a message, that Ollama ignores. Told once for each name."""


class PromptCut(OllamaWarning):
    """A prompt that seems to have been longer than the context, of which Ollama then reads a part only."""


def check_names(request: Any) -> None:
    """Warn about options and keys of messages in a request that Ollama does not know, and so ignores.

    Options it reads by their exact names, keys of messages in any case of letters.
    """
    options: models.Options | Unset | None = getattr(request, "options", None)
    if options and options.additional_properties:
        for name in options.additional_properties:
            _unknown("option", name, models.Options)
    for message in getattr(request, "messages", None) or ():
        for name in message.additional_properties:
            if name.lower() not in attrs.fields_dict(models.Message):
                _unknown("key of a message", name, models.Message)


def _unknown(kind: str, name: str, model: type[Model]) -> None:
    if (kind, name) in told:
        return
    told.add((kind, name))
    from difflib import get_close_matches  # noqa: PLC0415 - few programs need it

    known = [field for field in attrs.fields_dict(model) if field != "additional_properties"]
    meant = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {meant[0]!r}?" if meant else "a server that does not know it ignores it"
    _warn(f"{name!r} is no {kind} that this version of ollama-ext knows: {hint}", UnknownName)


def check_prompt(request: ChatRequest | GenerateRequest | EmbedRequest, reply: Reply) -> None:
    """Warn if a prompt has so much more text than was read of it that the rest must have been cut.

    Ollama drops the oldest messages, or the middle of a prompt, where they are longer than the context, and
    says nothing. What it counts as input are the tokens that were left, cached ones included.
    """
    tokens = reply.usage.input_tokens
    if tokens < _LEAST_TOKENS:
        return
    texts = list(_texts(request))
    if _size(texts) <= tokens * _BYTES_PER_TOKEN:
        return
    size = _size(_RUN.sub(r"\1", text) for text in texts)
    if size > tokens * _BYTES_PER_TOKEN:
        _warn(
            f"only {tokens} tokens were read of {size:,} bytes of text: it seems to have been cut to the "
            "context of the model. Raise options={'num_ctx': ...} if the model can have more, or pass "
            "truncate=False to have such requests refused",
            PromptCut,
        )


def _size(texts: Iterable[str]) -> int:
    return sum(len(text.encode("utf-8", errors="replace")) for text in texts)


def _texts(request: ChatRequest | GenerateRequest | EmbedRequest) -> Iterable[str]:
    if isinstance(request, models.ChatRequest):
        return [_text(message.content) for message in request.messages or []]
    if isinstance(request, models.GenerateRequest):
        return [_text(request.system), _text(request.prompt)]
    given: Any = request.input_
    return [text for text in (given if isinstance(given, list) else [given]) if isinstance(text, str)]


def _text(value: str | Unset | None) -> str:
    return "" if value is UNSET or value is None else value


def _warn(message: str, category: type[OllamaWarning]) -> None:
    """Warn about the line of the user's program, however deep in this package it was noticed."""
    level, frame = 2, sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - only 3.12 can skip files
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
