"""What a user comes for, step by step: `tox -e demo`.

Runs on the Ollama at ``$OLLAMA_HOST`` or the default address if one answers (read-only, with the
smallest model that can do the step), else on a scripted server that replays recorded exchanges. Each
step says which of the two it used. Nothing is changed, nothing is left behind.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from ollama_ext import (
    Client,
    ConnectionFailed,
    Done,
    InvalidArgument,
    OllamaError,
    ResponseError,
    StreamTruncated,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from ollama_ext.testing import FakeOllama, Recording

if TYPE_CHECKING:
    from collections.abc import Callable

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Name of the city"}},
            "required": ["city"],
        },
    },
}
SHORT = {"num_predict": 60, "temperature": 0, "seed": 1}
TEXTS = ["The sky is blue.", "Grass is green.", ""]  # those of the recorded exchange


class Stage(NamedTuple):
    """Where a step plays: a client, the model it uses, and whether the server is a real one."""

    client: Client
    model: str
    real: bool

    @property
    def label(self) -> str:
        """What to call it in the table."""
        kind = "real Ollama" if self.real else "stand-in: recorded exchange"
        return f"{kind}, {self.model}"


class Demo:
    """The steps, and what they use."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        """Look for a real server; have the scripted one ready."""
        self.console = console
        self.fake = stack.enter_context(FakeOllama())
        self.stand_in = stack.enter_context(Client(self.fake.url))
        self.real = stack.enter_context(Client(retry=None))
        self.models: list[tuple[str, list[str]]] = []
        try:
            version = self.real.server_version()
            listed = self.real.list_models()
            # A stub of a model on another host is tiny, and would send the prompts there.
            local = [entry for entry in listed if not (entry.remote_host or entry.remote_model)]
            smallest = sorted(local, key=lambda entry: entry.size)[:20]
            self.models = [(entry.name, self._capabilities(entry.name)) for entry in smallest]
        except OllamaError as error:
            console.print(
                f"No Ollama answers at {self.real.host}, so every step is a stand-in: recorded exchanges, "
                f"replayed over a real socket. ({error})",
                markup=False,
            )
        else:
            console.print(f"Ollama {version} answers at {self.real.host} with {len(listed)} models.")

    def _capabilities(self, model: str) -> list[str]:
        try:
            return self.real.show_model(model).capabilities or []
        except OllamaError:  # deleted meanwhile, or a manifest that the server cannot read
            return []

    def stage(self, capability: str, recording: str, model: str, path: str = "/api/chat") -> Stage:
        """Return the smallest real model that can do it, else the recording's."""
        for name, capabilities in self.models:
            if capability in capabilities:
                return Stage(self.real, name, real=True)
        self.fake.on("POST", path, Recording(recording))
        return Stage(self.stand_in, model, real=False)

    def chat(self) -> tuple[str, str]:
        """Stream a chat, text as it comes, and read its usage."""
        stage = self.stage("completion", "chat-stream", "smollm2:135m")
        question = "Why is the sky blue? One sentence."
        self.console.print(f"> {question}  [dim]({stage.label})[/]")
        with stage.client.chat_stream(stage.model, question, options=SHORT) as stream:
            for event in stream:
                match event:
                    case ThinkingDelta(text=text):
                        self.console.print(text, end="", style="dim", markup=False, highlight=False)
                    case TextDelta(text=text):
                        self.console.print(text, end="", markup=False, highlight=False)
                    case Done():
                        self.console.print()
                    case _:
                        pass
        usage = stream.reply.usage
        return (
            f"{usage.input_tokens} tokens in, {usage.output_tokens} out, "
            f"{usage.tokens_per_second:.0f} tokens/s, ended by {stream.reply.done_reason!r}"
        ), stage.label

    def tool_calls(self) -> tuple[str, str]:
        """Offer a tool, and take the call that the model makes."""
        stage = self.stage("tools", "chat-stream-tools", "smol-tools")
        question = "What is the weather in Paris?"
        self.console.print(f"> {question}  [dim]({stage.label})[/]")
        calls: list[str] = []
        with stage.client.chat_stream(stage.model, question, tools=[WEATHER_TOOL], options=SHORT) as stream:
            for event in stream:
                if isinstance(event, ToolCallDelta):
                    function = event.call.function
                    calls.append(f"{function.name}({function.arguments})")
        for call in calls:
            self.console.print(f"the model asks for {call}", markup=False)
        return ", ".join(calls) or f"answered in words: {stream.reply.text[:40]!r}", stage.label

    def embeddings(self) -> tuple[str, str]:
        """Embed some texts, and see how alike they are."""
        stage = self.stage("embedding", "embed-many", "all-minilm:l6-v2", "/api/embed")
        vectors = stage.client.embed(stage.model, TEXTS, dimensions=64).embeddings
        self.console.print(f"likeness to {TEXTS[0]!r}  [dim]({stage.label})[/]")
        for text, vector in zip(TEXTS, vectors, strict=True):
            likeness = sum(a * b for a, b in zip(vectors[0], vector, strict=True))
            self.console.print(f"{likeness:6.2f}  {text!r}")
        return f"{len(vectors)} vectors of {len(vectors[0])} numbers (dimensions=64)", stage.label

    def errors(self) -> tuple[str, str]:
        """Meet the failures that a program has to live with, each as one class to catch."""
        stage = self.stage("completion", "chat-missing-model", "smollm2:135m")
        caught: list[str] = []

        def expect(kind: type[OllamaError], call: Callable[[], object]) -> None:
            try:
                call()
            except kind as error:
                caught.append(kind.__name__)
                self.console.print(f"{kind.__name__}: {error}", markup=False, highlight=False)
            else:
                raise OllamaError(f"expected {kind.__name__}, and nothing was raised")

        with Client("127.0.0.1:9", retry=None) as nobody:
            expect(ConnectionFailed, nobody.server_version)
        expect(ResponseError, lambda: stage.client.chat("nope", "hello"))
        expect(InvalidArgument, lambda: stage.client.chat(stage.model, "hi", options={"seed": 1.5}))
        self.fake.on("POST", "/api/chat", Recording("chat-stream").cut(at=400, how="reset"))
        expect(StreamTruncated, lambda: self.stand_in.chat_stream("smollm2:135m", "hello").finish())
        return "caught " + ", ".join(caught), f"{stage.label}; scripted: the cut stream"


def main() -> int:
    """Run the steps; return 0 if all went well."""
    console = Console(soft_wrap=True)
    failed = False
    table = Table("Step", "Result", "On", "Seconds", title="What the demo did")
    with ExitStack() as stack:
        try:
            demo = Demo(console, stack)
        except InvalidArgument as error:
            console.print(str(error), markup=False)
            return 2
        steps = {
            "Chat, streamed": demo.chat,
            "Tool calls": demo.tool_calls,
            "Embeddings": demo.embeddings,
            "Errors": demo.errors,
        }
        for title, step in steps.items():
            console.rule(title, align="left")
            started = time.perf_counter()
            try:
                result, stage = step()
            except OllamaError as error:
                result, stage, failed = f"failed: {error}", "", True
                console.print(result, markup=False)
            table.add_row(title, result, stage, f"{time.perf_counter() - started:.1f}")
    console.print()
    console.print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
