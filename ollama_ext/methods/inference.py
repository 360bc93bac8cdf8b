"""What a model is asked for: chat, generate, embed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from ollama_openapi.api import inference

from ollama_ext import arguments
from ollama_ext.calls import tried
from ollama_ext.hints import check_prompt
from ollama_ext.repeats import Repeat
from ollama_ext.replies import ChatReply, EmbedReply, GenerateReply, all_embedded, whole
from ollama_ext.state import ChatState, GenerateState
from ollama_ext.streaming import ChatStream, GenerateStream

from .base import Methods

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ollama_openapi.models import (
        ChatRequest,
        ChatResponse,
        GenerateRequest,
        GenerateResponse,
        Message,
        Options,
        Tool,
    )

    from ollama_ext.arguments import Image, KeepAlive
    from ollama_ext.calls import OpenCall, Operation
    from ollama_ext.options import BodyOptions, CallOptions
    from ollama_ext.replies import TextReply

StateT = TypeVar("StateT")


class WholeReplies(Methods):
    """Methods that run a model and return when it is done. A fleet answers them, too."""

    def chat(
        self,
        model: str,
        messages: str | Sequence[Mapping[str, Any] | Message] | None,
        *,
        tools: Sequence[Mapping[str, Any] | Tool] | None = None,
        format: str | Mapping[str, Any] | None = None,  # noqa: A002 - the API's name
        options: Mapping[str, Any] | Options | None = None,
        keep_alive: KeepAlive | None = None,
        think: bool | str | None = None,
        truncate: bool | None = None,
        shift: bool | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        debug_render_only: bool | None = None,
        **call: Unpack[BodyOptions],
    ) -> ChatReply:
        """Continue a conversation and wait for the whole reply.

        Args:
            model: Name of the model.
            messages: The conversation, or one text from the user. Images in a message are `pathlib.Path`,
                bytes or base64 text. None or empty only loads the model, or unloads it where
                ``keep_alive`` is 0.
            tools: Functions that the model may ask to call.
            format: ``"json"``, or a JSON Schema that the reply must follow.
            options: Sampling and runtime options, such as ``temperature`` or ``num_ctx``. Changing
                one that shapes the runner (``num_ctx``, ``num_gpu``, ...) reloads the model.
            keep_alive: How long the model stays loaded afterwards: seconds, a timedelta or Go's
                notation (``"5m"``); 0 unloads at once, negative never.
            think: Whether to think first, or how much (``"low"``, ``"medium"``, ``"high"``). A model
                that can think does so unless this is False.
            truncate: Whether to drop the oldest messages when the context is too short for all.
            shift: Whether to go on when the context is full by dropping its oldest tokens.
            logprobs: Whether to return the log probability of each token.
            top_logprobs: How many of the most likely tokens to return at each position, 0 to 20.
            debug_render_only: Return the prompt as the template renders it, and generate nothing.
            **call: What every call takes, see `BodyOptions`.

        Raises:
            IncompleteReply: The server stopped before the end (it can do so with status 200).
        """
        request = arguments.chat_request(
            messages,
            {
                "model": model,
                "tools": tools,
                "format": format,
                "options": options,
                "keep_alive": keep_alive,
                "think": think,
                "truncate": truncate,
                "shift": shift,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "_debug_render_only": debug_render_only,
            },
            call.pop("extra_body", None),
        )
        reply = self._calls.reply(inference.chat, _chat_reply, request, call, Repeat.INFERENCE)
        check_prompt(request, reply)
        return reply

    def generate(
        self,
        model: str,
        prompt: str | None = None,
        *,
        suffix: str | None = None,
        images: Sequence[Image] | None = None,
        system: str | None = None,
        template: str | None = None,
        context: Sequence[int] | None = None,
        raw: bool | None = None,
        format: str | Mapping[str, Any] | None = None,  # noqa: A002 - the API's name
        options: Mapping[str, Any] | Options | None = None,
        keep_alive: KeepAlive | None = None,
        think: bool | str | None = None,
        truncate: bool | None = None,
        shift: bool | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        debug_render_only: bool | None = None,
        **call: Unpack[BodyOptions],
    ) -> GenerateReply:
        """Continue a prompt and wait for the whole reply.

        Args:
            model: Name of the model.
            prompt: The text to continue. None or empty only loads the model, or unloads it where
                ``keep_alive`` is 0.
            suffix: Text that comes after the reply, for models that can fill in.
            images: Images or sound: each a `pathlib.Path`, bytes or base64 text.
            system: System prompt, in place of the model's own.
            template: Prompt template in Go's syntax, in place of the model's own.
            context: ``reply.result.context`` of an earlier reply, to go on from there. Deprecated by
                Ollama.
            raw: Whether to send the prompt as it is, without the template.
            format: As for `chat`, like the arguments that follow.
            options: Sampling and runtime options.
            keep_alive: How long the model stays loaded afterwards.
            think: Whether to think first, or how much.
            truncate: Whether to cut the prompt when the context is too short.
            shift: Whether to go on when the context is full.
            logprobs: Whether to return the log probability of each token.
            top_logprobs: How many of the most likely tokens to return at each position, 0 to 20.
            debug_render_only: Return the prompt as the template renders it, and generate nothing.
            **call: What every call takes, see `BodyOptions`.

        Raises:
            IncompleteReply: The server stopped before the end (it can do so with status 200).
        """
        request = arguments.generate_request(
            images,
            {
                "model": model,
                "prompt": prompt,
                "suffix": suffix,
                "system": system,
                "template": template,
                "context": context,
                "raw": raw,
                "format": format,
                "options": options,
                "keep_alive": keep_alive,
                "think": think,
                "truncate": truncate,
                "shift": shift,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "_debug_render_only": debug_render_only,
            },
            call.pop("extra_body", None),
        )
        reply = self._calls.reply(inference.generate, _generate_reply, request, call, Repeat.INFERENCE)
        check_prompt(request, reply)
        return reply

    def embed(
        self,
        model: str,
        input: str | Sequence[str] | None,  # noqa: A002 - the API's name
        *,
        truncate: bool | None = None,
        dimensions: int | None = None,
        options: Mapping[str, Any] | Options | None = None,
        keep_alive: KeepAlive | None = None,
        **call: Unpack[BodyOptions],
    ) -> EmbedReply:
        """Turn texts into vectors.

        Args:
            model: Name of the model.
            input: One text or several. None, empty text and an empty list only load the model.
            truncate: Whether to cut texts that are longer than the context; otherwise they are refused.
            dimensions: Length of the vectors, if shorter than the model's own. Ollama ignores it when
                it is longer, and so do servers before 0.11.11 always.
            options: Runtime options.
            keep_alive: How long the model stays loaded afterwards.
            **call: What every call takes, see `BodyOptions`.

        Returns:
            One vector per text in ``reply.embeddings``, in the order of the texts.
        """
        request = arguments.embed_request(
            {
                "model": model,
                "input": input,
                "truncate": truncate,
                "dimensions": dimensions,
                "options": options,
                "keep_alive": keep_alive,
            },
            call.pop("extra_body", None),
        )
        reply = self._calls.reply(
            inference.embed,
            lambda result, status: all_embedded(EmbedReply(result, status), request.input_),
            request,
            call,
            Repeat.EMBEDDING,
        )
        check_prompt(request, reply)
        return reply


class InferenceMethods(WholeReplies):
    """Methods that run a model."""

    def chat_stream(
        self,
        model: str,
        messages: str | Sequence[Mapping[str, Any] | Message] | None,
        *,
        tools: Sequence[Mapping[str, Any] | Tool] | None = None,
        format: str | Mapping[str, Any] | None = None,  # noqa: A002 - the API's name
        options: Mapping[str, Any] | Options | None = None,
        keep_alive: KeepAlive | None = None,
        think: bool | str | None = None,
        truncate: bool | None = None,
        shift: bool | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        debug_render_only: bool | None = None,
        **call: Unpack[BodyOptions],
    ) -> ChatStream:
        """Continue a conversation and return the reply while it is generated.

        The arguments are those of `chat`. The server is asked at once, so that what it refuses is
        raised here; the events come when the stream is iterated, and ``stream.reply`` is in the end
        what `chat` would have returned.
        """
        request = arguments.chat_request(
            messages,
            {
                "model": model,
                "tools": tools,
                "format": format,
                "options": options,
                "keep_alive": keep_alive,
                "think": think,
                "truncate": truncate,
                "shift": shift,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "_debug_render_only": debug_render_only,
            },
            call.pop("extra_body", None),
        )
        return ChatStream(*self._opened(inference.chat, ChatState, request, call))

    def generate_stream(
        self,
        model: str,
        prompt: str | None = None,
        *,
        suffix: str | None = None,
        images: Sequence[Image] | None = None,
        system: str | None = None,
        template: str | None = None,
        context: Sequence[int] | None = None,
        raw: bool | None = None,
        format: str | Mapping[str, Any] | None = None,  # noqa: A002 - the API's name
        options: Mapping[str, Any] | Options | None = None,
        keep_alive: KeepAlive | None = None,
        think: bool | str | None = None,
        truncate: bool | None = None,
        shift: bool | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        debug_render_only: bool | None = None,
        **call: Unpack[BodyOptions],
    ) -> GenerateStream:
        """Continue a prompt and return the reply while it is generated.

        The arguments are those of `generate`; the stream is like that of `chat_stream`.
        """
        request = arguments.generate_request(
            images,
            {
                "model": model,
                "prompt": prompt,
                "suffix": suffix,
                "system": system,
                "template": template,
                "context": context,
                "raw": raw,
                "format": format,
                "options": options,
                "keep_alive": keep_alive,
                "think": think,
                "truncate": truncate,
                "shift": shift,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "_debug_render_only": debug_render_only,
            },
            call.pop("extra_body", None),
        )
        return GenerateStream(*self._opened(inference.generate, GenerateState, request, call))

    def _opened(
        self,
        operation: Operation[object],
        state: Callable[[str, int], StateT],
        body: ChatRequest | GenerateRequest,
        options: CallOptions,
    ) -> tuple[OpenCall, StateT, Callable[[TextReply], None]]:
        call = self._calls.begin(options)
        silence = call.limits.timeouts.between
        opened = tried(
            lambda: self._calls.open(operation, body, call, silence=silence), call, Repeat.INFERENCE
        )
        return opened, state(opened.model, opened.answer.status), partial(check_prompt, body)


def _chat_reply(result: ChatResponse, status: int) -> ChatReply:
    return whole(ChatReply(result, status))


def _generate_reply(result: GenerateResponse, status: int) -> GenerateReply:
    return whole(GenerateReply(result, status))
