"""The public API as a user types it: checked by mypy and pyright, never run.

Each function is a program somebody writes; `assert_type` says what the checkers must make of it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, assert_never, assert_type

from ollama_openapi.models import (
    ChatResponse,
    EmbedResponse,
    GenerateResponse,
    ListModelResponse,
    Logprob,
    ProcessModelResponse,
    ShowResponse,
    ToolCall,
)

import ollama_ext
from ollama_ext import (
    EMPTY_USAGE,
    Cancelled,
    CancelToken,
    ChatReply,
    ChatState,
    ChatStream,
    Client,
    ConnectionFailed,
    ContextOverflow,
    Done,
    EmbedReply,
    Event,
    GenerateReply,
    GenerateState,
    GenerateStream,
    IncompleteReply,
    InvalidArgument,
    LogprobsDelta,
    Message,
    ModelNotFound,
    OllamaError,
    OllamaTimeout,
    Options,
    Progress,
    ProgressStream,
    RateLimited,
    Reply,
    ReplyStream,
    RequestInfo,
    ResponseError,
    Retry,
    RetryPolicy,
    StreamError,
    StreamTruncated,
    TextDelta,
    ThinkingDelta,
    Timeouts,
    Tool,
    ToolCallDelta,
    TotalTimeout,
    Unauthorized,
    Usage,
    parse_host,
    usage_of,
)


def plain_calls(client: Client) -> None:
    reply = client.chat("llama3.2", "Why is the sky blue?")
    assert_type(reply, ChatReply)
    assert_type(reply.text, str)
    assert_type(reply.thinking, str)
    assert_type(reply.tool_calls, list[ToolCall])
    assert_type(reply.logprobs, list[Logprob])
    assert_type(reply.done_reason, str)
    assert_type(reply.message, dict[str, Any])
    assert_type(reply.result, ChatResponse)
    assert_type(reply.status, int)
    assert_type(reply.usage, Usage)
    assert_type(reply.usage.output_tokens, int)
    assert_type(reply.usage.tokens_per_second, float)
    assert_type(reply.usage + EMPTY_USAGE, Usage)
    assert_type(reply.usage.to_dict(), dict[str, int])

    generated = client.generate("llama3.2", "Once upon a time")
    assert_type(generated, GenerateReply)
    assert_type(generated.text, str)
    assert_type(generated.result, GenerateResponse)

    embedded = client.embed("all-minilm", ["a", "b"])
    assert_type(embedded, EmbedReply)
    assert_type(embedded.embeddings, list[list[float]])
    assert_type(embedded.result, EmbedResponse)

    replies: list[Reply] = [reply, generated, embedded]
    assert_type(sum((each.usage for each in replies), EMPTY_USAGE), Usage)

    assert_type(client.list_models(), list[ListModelResponse])
    assert_type(client.list_models()[0].size, int)
    assert_type(client.show_model("llama3.2"), ShowResponse)
    assert_type(client.server_version(), str)
    assert_type(client.host, str)


def a_conversation(client: Client, weather: dict[str, Any]) -> None:
    history: list[dict[str, Any]] = [{"role": "user", "content": "Rain in Bern?"}]
    reply = client.chat("qwen3", history, tools=[weather], think="high")
    history.append(reply.message)
    for call in reply.tool_calls:
        assert_type(call.function.name, str)
        history.append({"role": "tool", "tool_name": call.function.name, "content": "yes"})
    client.chat("qwen3", history)


def arguments_of_many_kinds(client: Client, image: bytes) -> None:
    client.chat("m", None, keep_alive=0)
    client.chat("m", [Message(role="user", content="hi")], keep_alive=timedelta(minutes=5))
    client.chat("m", ({"role": "user", "content": "hi"},), format={"type": "object"}, keep_alive="5m")
    client.chat("m", [{"role": "user", "content": "what?", "images": [Path("a.png"), image]}])
    client.chat("m", "hi", options={"temperature": 0.0}, tools=(Tool.from_dict({}),), think=False)
    client.generate("m", "what?", images=[Path("a.png"), image, "aGk="], options=Options(seed=1), context=[1])
    client.embed(model="m", input="one", dimensions=8, extra_body={"new": 1}, extra_headers={"X-A": "1"})

    # What is wrong is wrong for a type checker too.
    client.chat("m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.chat(("m",), "hi")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.chat("m", "hi", stream=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.generate("m", "hi", images=[5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.embed("m", "a", None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def waits(client: Client, token: CancelToken) -> None:
    def told(retry: Retry) -> None:
        assert_type(retry.error, OllamaError)
        assert_type(retry.wait, float)

    limits = Timeouts(connect=1, first_byte=30.0, between=None)
    assert_type(limits.total, float | None)
    patient = client.with_options(timeout=limits, retry=RetryPolicy(attempts=2, on_retry=told))
    assert_type(patient, Client)
    patient.chat("m", "hi", timeout=30, retry=None, cancel=token, extra_headers={"X-A": "1"})
    patient.list_models(timeout=None, cancel=None)
    with patient.generate_stream("m", "hi", timeout=limits, cancel=token) as stream:
        stream.cancel()
    token.cancel()
    assert_type(token.cancelled, bool)
    assert_type(token.wait(0.1), bool)
    assert_type(RetryPolicy().call(lambda: client.embed("m", "a")), EmbedReply)

    # What is wrong is wrong for a type checker too.
    client.list_models(extra_body={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.chat("m", "hi", timeout="30")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.chat("m", "hi", retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.with_options(host="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def models_and_blobs(client: Client, weights: Path) -> str:
    with client.pull_model_stream("llama3.2", cancel=CancelToken()) as pull:
        assert_type(pull, ProgressStream)
        for step in pull:
            assert_type(step, Progress)
            assert_type(step.overall.fraction, float)
        assert_type(pull.progress, Progress | None)
        pull.cancel()
    client.create_model_stream("mine", files=weights, quantize="q4_K_M", timeout=None).finish()
    client.create_model("mine", "llama3.2", system="Be brief.", parameters={"num_ctx": 4096})
    client.pull_model("llama3.2", insecure=True)
    client.push_model_stream("me/mine").finish()
    client.copy_model("mine", "yours")
    client.delete_model("mine")
    client.load_model("llama3.2", keep_alive="5m")
    client.unload_model("llama3.2")
    assert_type(client.list_running(), list[ProcessModelResponse])
    assert_type(client.check_blob("sha256:" + "0" * 64), bool)
    assert_type(client.request("GET", "/api/new"), Any)

    client.create_model("mine", form="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    return client.push_blob(None, weights, on_progress=lambda step: step.overall.completed)


def streams(client: Client) -> str:
    with client.chat_stream("qwen3", "hi") as stream:
        assert_type(stream, ChatStream)
        for event in stream:
            assert_type(told(event), str)
        assert_type(stream.reply, ChatReply)
        assert_type(stream.partial, ChatReply)
        assert_type(stream.finish(), ChatReply)
        assert_type(stream.status, int)
        assert_type(stream.text_deltas(), Iterator[str])
        assert_type(next(stream), Event)

    with client.generate_stream("qwen3", "hi") as generated:
        assert_type(generated, GenerateStream)
        assert_type(generated.reply, GenerateReply)
    return read(stream) + read(generated)


def read(stream: ReplyStream[ChatReply] | ReplyStream[GenerateReply]) -> str:
    return "".join(stream.text_deltas())


def told(event: Event) -> str:
    """A match over the classes narrows and is exhaustive."""
    match event:
        case ThinkingDelta(text=text):
            assert_type(text, str)
            return text
        case TextDelta(text=text):
            return text
        case ToolCallDelta(call=call):
            assert_type(call, ToolCall)
            return call.function.name
        case LogprobsDelta(logprobs=logprobs):
            assert_type(logprobs, list[Logprob])
            return logprobs[0].token
        case Done(usage=usage, reason=reason):
            assert_type(usage, Usage)
            return reason
        case _:
            assert_never(event)


def told_by_type(event: Event) -> str:
    """So does a comparison of the literal ``type``."""
    assert_type(event.type, Literal["text", "thinking", "tool_call", "logprobs", "done"])
    if event.type == "text":
        assert_type(event, TextDelta)
        return event.text
    if event.type == "thinking":
        assert_type(event, ThinkingDelta)
        return event.text
    if event.type == "tool_call":
        assert_type(event, ToolCallDelta)
        return event.call.function.name
    if event.type == "logprobs":
        assert_type(event, LogprobsDelta)
        return event.logprobs[0].token
    assert_type(event, Done)
    return event.reason


def failures(client: Client) -> str | None:
    try:
        client.chat("m", "hi")
    except ResponseError as error:
        assert_type(error.status, int | None)
        assert_type(error.body, bytes)
        assert_type(error.message, str)
        assert_type(error.model, str | None)
        assert_type(error.request, RequestInfo | None)
        return error.request.url if error.request else None
    except InvalidArgument as error:
        assert_type(error.argument, str | None)
        as_value_error: ValueError = error
        return str(as_value_error)
    except (IncompleteReply, StreamTruncated, StreamError, Cancelled, TotalTimeout) as error:
        assert_type(error.partial, ChatReply | GenerateReply | None)
        assert_type(error.progress, Progress | None)
        assert_type(error.partial_text, str)
        return error.partial_text
    except (ConnectionFailed, OllamaTimeout) as error:
        assert_type(error.retryable, bool)
        return None
    except OllamaError as error:
        assert_type(pickle.dumps(error), bytes)
        raise
    return None


def refusals(client: Client) -> object:
    try:
        client.chat("m", "hi")
    except ContextOverflow as error:
        assert_type(error.input_tokens, int | None)
        return error.context_length
    except Unauthorized as error:
        assert_type(error.signin_url, str | None)
        return error.signin_url
    except (RateLimited, ModelNotFound) as error:
        assert_type(error.retry_after, float | None)
        return error.retry_after
    return None


def states_without_a_connection(lines: list[bytes]) -> None:
    chat, generate = ChatState("m"), GenerateState("m", 200)
    for line in lines:
        assert_type(chat.feed(line), list[Event])
        assert_type(generate.feed_rest(line), list[Event])
    chat.finish()
    assert_type(chat.partial, ChatReply)
    assert_type(generate.partial, GenerateReply)
    assert_type(chat.done, bool)


def values() -> None:
    assert_type(parse_host("gpu1").dial_url, str)
    assert_type(usage_of({"eval_count": 5}), Usage)
    assert_type(ollama_ext.__version__, str)
    with Client("https://host/prefix", headers={"Authorization": "Bearer key"}) as client:
        assert_type(client, Client)
    Client("https://host", api_key="key", verify=False, proxy="http://proxy:3128", max_connections=4).close()
    Client("http://host", timeout=30, retry=None, api_key="key", allow_plain_http_key=True).close()
    Client().close()
