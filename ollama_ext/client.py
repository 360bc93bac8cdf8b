"""The client: one method per thing that a user wants from an Ollama server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ollama_openapi.api import inference, models, server

from . import arguments
from .calls import Calls
from .errors import InvalidArgument
from .hosts import host_from_environment, parse_host
from .replies import ChatReply, EmbedReply, GenerateReply, all_embedded, whole
from .state import ChatState, GenerateState
from .streaming import ChatStream, GenerateStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from ollama_openapi.models import ListModelResponse, Message, Options, ShowResponse, Tool

    from .arguments import Image, KeepAlive


class Client:
    """A client of one Ollama server. Share it between threads; close it, or use ``with``.

    Making one opens no connection. In every method the first argument is the model and the second what
    it is asked, both also by name; everything else is keyword-only, named as in Ollama's API, and None
    means "not sent", so that the server's own default holds.

    Every call raises errors of the tree in `ollama_ext.errors`: `InvalidArgument` before anything is
    sent, `ConnectionFailed` and `OllamaTimeout` when there is no answer, `ResponseError` when the
    server refuses, `InvalidResponse` when the answer is not what the API promises.

    Args:
        host: Address of the server in any form that Ollama's own client takes (``gpu1``,
            ``10.0.0.5:11434``, ``https://host/prefix``). Left out: ``$OLLAMA_HOST``, else
            ``http://127.0.0.1:11434``.
        headers: Sent with every request.

    A connection may take 5 seconds, silence 600: a server sends nothing while a model is loaded. Nothing is
    tried again by itself.
    """

    def __init__(self, host: str | None = None, *, headers: Mapping[str, str] | None = None) -> None:
        """Take note of where the server is."""
        if host is not None and not isinstance(host, str):
            kind = type(host).__name__
            raise InvalidArgument(f"host must be a string, not {kind}", argument="host")
        self._host = host_from_environment() if host is None else parse_host(host)
        self._calls = Calls(self._host, arguments.checked_headers(headers, "headers"))

    @property
    def host(self) -> str:
        """The URL that requests go to."""
        return self._host.dial_url

    def __repr__(self) -> str:
        """Show where the server is."""
        return f"Client({self.host!r})"

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
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
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
            extra_body: Fields that are sent as well; they win over the ones above.
            extra_headers: Headers that are sent as well.

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
            extra_body,
        )
        return self._calls.reply(
            inference.chat, lambda result, status: whole(ChatReply(result, status)), request, extra_headers
        )

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
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
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
            extra_body,
        )
        return self._calls.stream(inference.chat, ChatState, ChatStream, request, extra_headers)

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
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
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
            extra_body: Fields that are sent as well; they win over the ones above.
            extra_headers: Headers that are sent as well.

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
            extra_body,
        )
        return self._calls.reply(
            inference.generate,
            lambda result, status: whole(GenerateReply(result, status)),
            request,
            extra_headers,
        )

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
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
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
            extra_body,
        )
        return self._calls.stream(inference.generate, GenerateState, GenerateStream, request, extra_headers)

    def embed(
        self,
        model: str,
        input: str | Sequence[str] | None,  # noqa: A002 - the API's name
        *,
        truncate: bool | None = None,
        dimensions: int | None = None,
        options: Mapping[str, Any] | Options | None = None,
        keep_alive: KeepAlive | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
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
            extra_body: Fields that are sent as well; they win over the ones above.
            extra_headers: Headers that are sent as well.

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
            extra_body,
        )
        return self._calls.reply(
            inference.embed,
            lambda result, status: all_embedded(EmbedReply(result, status), request.input_),
            request,
            extra_headers,
        )

    def list_models(self, *, extra_headers: Mapping[str, str] | None = None) -> list[ListModelResponse]:
        """Return the models that the server has, newest first.

        ``digest`` is that of the manifest, without ``sha256:``; ``size`` is in bytes.
        """
        return self._calls.ask(models.list_models, None, extra_headers).models

    def show_model(
        self,
        model: str,
        *,
        verbose: bool | None = None,
        system: str | None = None,
        options: Mapping[str, Any] | Options | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> ShowResponse:
        """Return what the server knows about a model.

        Args:
            model: Name of the model.
            verbose: Whether to send the arrays in ``model_info`` too; without it they are None.
            system: A system prompt to show in place of the model's own.
            options: Options to show in the ``modelfile`` in place of the model's own.
            extra_body: Fields that are sent as well; they win over the ones above.
            extra_headers: Headers that are sent as well.
        """
        request = arguments.show_request(
            {"model": model, "verbose": verbose, "system": system, "options": options}, extra_body
        )
        return self._calls.ask(models.show_model, request, extra_headers)

    def server_version(self, *, extra_headers: Mapping[str, str] | None = None) -> str:
        """Return the version of the server, such as ``0.33.0``."""
        return self._calls.ask(server.server_version, None, extra_headers).version

    def close(self) -> None:
        """Close every connection, those of open streams too."""
        self._calls.close()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self.close()
