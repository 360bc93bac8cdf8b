"""The clients that are compared, each behind the same few calls, used as its documentation says.

`ollama` is looked up at run time, so that the type checkers need not have it installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ollama_openapi import Client as GeneratedClient
from ollama_openapi.api import inference
from ollama_openapi.models import ChatRequest, EmbedRequest, Message, Options

from ollama_ext import Client, TextDelta

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPT = "Why is the sky blue?"
#: What is embedded. The answer of the null server does not depend on it.
TEXTS = [f"sentence number {index}" for index in range(512)]


class Stack(Protocol):
    """A client under measurement.

    Attributes:
        name: What tables and plots call it.
        import_statement: What a user types to get it.
    """

    name: ClassVar[str]
    import_statement: ClassVar[str]
    close: Callable[[], None]

    def stream(self, model: str, tokens: int) -> str:
        """Stream a reply of so many tokens and return its text, joined from the pieces."""
        ...

    def chat(self) -> str:
        """Ask for a whole reply and return its text."""
        ...

    def embed(self) -> int:
        """Embed the texts and return how many numbers came back."""
        ...


class Ollama:
    """The package ``ollama``: what the others are compared with."""

    name: ClassVar[str] = "ollama"
    import_statement: ClassVar[str] = "from ollama import Client"

    def __init__(self, url: str) -> None:
        """Make a client."""
        self._client: Any = import_module("ollama").Client(host=url)
        self.close: Callable[[], None] = self._client.close

    def stream(self, model: str, tokens: int) -> str:
        """Stream a reply and return its text."""
        pieces: list[str] = []
        stream = self._client.chat(
            model=model,
            messages=[{"role": "user", "content": PROMPT}],
            stream=True,
            options={"num_predict": tokens},
        )
        for chunk in stream:
            pieces.append(chunk.message.content)  # noqa: PERF401 - the loop that a user writes
        return "".join(pieces)

    def chat(self) -> str:
        """Ask for a whole reply."""
        reply = self._client.chat(model="burst", messages=[{"role": "user", "content": PROMPT}])
        text: str = reply.message.content
        return text

    def embed(self) -> int:
        """Embed the texts."""
        return sum(map(len, self._client.embed(model="burst", input=TEXTS).embeddings))


class OllamaExt:
    """``ollama_ext.Client``: what the targets are for."""

    name: ClassVar[str] = "ollama_ext"
    import_statement: ClassVar[str] = "from ollama_ext import Client"

    def __init__(self, url: str) -> None:
        """Make a client."""
        self._client = Client(url)
        self.close: Callable[[], None] = self._client.close

    def stream(self, model: str, tokens: int) -> str:
        """Stream a reply and return its text."""
        pieces: list[str] = []
        with self._client.chat_stream(model, PROMPT, options={"num_predict": tokens}) as stream:
            for event in stream:
                match event:
                    case TextDelta(text=text):
                        pieces.append(text)
                    case _:
                        pass
        return "".join(pieces)

    def chat(self) -> str:
        """Ask for a whole reply."""
        return self._client.chat("burst", PROMPT).text

    def embed(self) -> int:
        """Embed the texts."""
        return sum(map(len, self._client.embed("burst", TEXTS).embeddings))


class Unlimited(OllamaExt):
    """The same without time-outs and retries: what these cost is the difference."""

    name: ClassVar[str] = "ollama_ext without"

    def __init__(self, url: str) -> None:
        """Make a client that waits for ever and tries once."""
        self._client = Client(url, timeout=None, retry=None)
        self.close: Callable[[], None] = self._client.close


class Generated:
    """The generated package by itself, for orientation."""

    name: ClassVar[str] = "ollama_openapi"
    import_statement: ClassVar[str] = "from ollama_openapi import Client"

    def __init__(self, url: str) -> None:
        """Make a client."""
        self._client = GeneratedClient(url)
        self.close: Callable[[], None] = self._client.close

    def stream(self, model: str, tokens: int) -> str:
        """Stream a reply and return its text."""
        pieces: list[str] = []
        body = ChatRequest(
            model=model,
            messages=[Message(role="user", content=PROMPT)],
            options=Options(num_predict=tokens),
        )
        with inference.chat.stream(client=self._client, body=body) as chunks:
            for chunk in chunks:
                pieces.append(chunk.message.content)  # noqa: PERF401 - the loop that a user writes
        return "".join(pieces)

    def chat(self) -> str:
        """Ask for a whole reply."""
        body = ChatRequest(model="burst", messages=[Message(role="user", content=PROMPT)])
        return inference.chat.sync(client=self._client, body=body).message.content

    def embed(self) -> int:
        """Embed the texts."""
        body = EmbedRequest(model="burst", input_=TEXTS)
        return sum(map(len, inference.embed.sync(client=self._client, body=body).embeddings))
