"""The state of a stream: any split of the bytes gives the same events, and they add up to the reply."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import (
    UNFINISHED,
    chunk,
    identify,
    line,
    new_state,
    pieces,
    play,
    recorded_replies,
    recorded_streams,
    text_of,
    whole_lines,
)

from ollama_ext import (
    ChatState,
    Done,
    Event,
    GenerateState,
    InvalidResponse,
    LogprobsDelta,
    ReplyState,
    StreamError,
    StreamTruncated,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
)
from ollama_ext.testing import RecordedExchange, Recording

STREAMS = [each for each in recorded_streams() if each.name not in UNFINISHED]
#: Recordings of one question asked both ways: streamed and not.
TWINS = [
    ("chat-stream", "chat-nostream", "v0.33.0-rc2"),
    ("chat-stream", "chat-nostream", "v0.24.0"),
    ("chat-stream", "chat-nostream", "v0.9.6"),
    ("chat-stream-thinking", "chat-nostream-thinking", "v0.33.0-rc2"),
    ("chat-stream-tools", "chat-nostream-tools", "v0.33.0-rc2"),
    ("chat-stream-two-tools", "chat-nostream-two-tools", "v0.33.0-rc2"),
    ("chat-stream-logprobs", "chat-nostream-logprobs", "v0.33.0-rc2"),
    ("generate-stream", "generate-nostream", "v0.33.0-rc2"),
    ("generate-stream", "generate-nostream", "v0.24.0"),
    ("generate-stream", "generate-nostream", "v0.9.6"),
]

sizes = st.lists(st.integers(1, 4000), min_size=1, max_size=8)


def fed(*lines: object, state: ReplyState[Any] | None = None) -> list[Event]:
    state = state or ChatState("m")
    return [event for each in lines for event in state.feed(line(each))]


# -- the recorded streams


@pytest.mark.parametrize("exchange", recorded_replies(), ids=identify)
def test_any_split_of_a_recorded_reply_gives_the_same_events_and_reply(exchange: RecordedExchange) -> None:
    def outcome(reads: list[bytes]) -> tuple[object, ...]:
        state = new_state(exchange)
        try:
            return (*play(state, reads), state.partial, state.done)
        except StreamError as error:
            return (str(error), error.body, state.partial, state.done)

    body = exchange.response.body
    expected = outcome([body])

    @settings(max_examples=12, deadline=None)
    @given(sizes)
    def splits(sizes: list[int]) -> None:
        assert outcome(list(pieces(body, sizes))) == expected

    splits()
    assert outcome(list(pieces(body, [1]))) == expected
    assert outcome([chunk.data for chunk in exchange.response.chunks]) == expected


@pytest.mark.parametrize("exchange", STREAMS, ids=identify)
def test_a_recorded_stream_adds_up_to_all_its_chunks(exchange: RecordedExchange) -> None:
    chunks = whole_lines(exchange.response.body)
    state = new_state(exchange)
    events = play(state, [exchange.response.body])
    reply, last = state.partial, chunks[-1]

    assert reply.text == text_of(chunks) == "".join(e.text for e in events if isinstance(e, TextDelta))
    inside = [each.get("message", each) for each in chunks]
    thinking = "".join(each.get("thinking", "") for each in inside)
    assert reply.thinking == thinking == "".join(e.text for e in events if isinstance(e, ThinkingDelta))
    calls = [call for each in inside for call in each.get("tool_calls", [])]
    assert [call.to_dict() for call in reply.tool_calls] == calls
    assert [e.call.to_dict() for e in events if isinstance(e, ToolCallDelta)] == calls
    logprobs = [each for chunk in chunks for each in chunk.get("logprobs", [])]
    assert [each.to_dict() for each in reply.logprobs] == logprobs
    assert [each.to_dict() for e in events if isinstance(e, LogprobsDelta) for each in e.logprobs] == logprobs
    assert reply.usage.output_tokens == last.get("eval_count", 0)
    assert events[-1] == Done(reply.usage, last["done_reason"])
    sums = {"message", "response", "thinking", "tool_calls", "logprobs"}
    result = reply.result.to_dict()
    assert {k: v for k, v in result.items() if k not in sums} == {
        k: v for k, v in last.items() if k not in sums
    }


@pytest.mark.parametrize(("streamed", "plain", "version"), TWINS)
def test_a_recorded_stream_adds_up_to_the_shape_of_the_reply_that_was_not_streamed(
    streamed: str, plain: str, version: str
) -> None:
    stream, twin = Recording(streamed, version).exchange, Recording(plain, version).exchange
    state = new_state(stream)
    play(state, [stream.response.body])
    added, expected = state.partial.result.to_dict(), twin.response.json()
    if "top_logprobs" not in twin.request.json():
        for each in added.get("logprobs", []):
            each.pop("top_logprobs", None)

    assert shape(added) == shape(expected)


def shape(value: Any) -> Any:
    """Return the fields and types of a JSON value; of a list those of its first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_a_runner_that_was_killed_is_an_error_line_after_what_had_arrived() -> None:
    exchange = Recording("generate-stream-runner-killed").exchange
    state = new_state(exchange)
    *lines, last = exchange.response.body.splitlines()
    for each in lines:
        state.feed(each)
    text = state.partial.text

    with pytest.raises(StreamError) as caught:
        state.feed(last)
    assert str(caught.value).startswith("an error was encountered while running the model: unexpected EOF (")
    assert (caught.value.status, caught.value.body) == (200, last)
    assert state.partial.text == text == text_of(whole_lines(b"\n".join([*lines, b""])))


@pytest.mark.parametrize("name", ["generate-stream-server-killed", "generate-stream-server-terminated"])
def test_a_stream_that_ends_without_its_last_chunk_is_truncated(name: str) -> None:
    exchange = Recording(name).exchange
    state = new_state(exchange)
    play(state, [exchange.response.body])

    with pytest.raises(StreamTruncated, match="without its last chunk"):
        state.finish()
    assert state.partial.text == text_of(whole_lines(exchange.response.body))
    assert not state.partial.result.done


@pytest.mark.parametrize("name", ["chat-load", "chat-unload", "generate-load", "generate-unload"])
def test_one_object_where_a_stream_was_asked_for_is_a_whole_reply(name: str) -> None:
    exchange = Recording(name).exchange
    state = new_state(exchange)

    events = play(state, [exchange.response.body])
    assert events == [Done(Usage(), name.partition("-")[2])]
    assert state.partial.result.to_dict() == exchange.response.json()


def test_a_rendered_prompt_is_whole_though_never_done() -> None:
    exchange = Recording("generate-debug-render").exchange
    state = new_state(exchange)

    assert play(state, [exchange.response.body]) == [Done(Usage(), "")]
    assert state.done
    assert state.partial.result.to_dict() == exchange.response.json()


# -- one chunk


CALL: dict[str, Any] = {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
LOGPROB: dict[str, Any] = {"token": "x", "logprob": -0.5, "bytes": [120]}


@pytest.mark.parametrize("done", [False, True])
def test_events_of_a_chunk_come_in_the_order_thinking_text_calls_logprobs_done(done: bool) -> None:
    message = {"thinking": "hm", "tool_calls": [CALL, CALL]}
    events = fed(chunk("hi", done=done, message=message, logprobs=[LOGPROB]))
    kinds = ["thinking", "text", "tool_call", "tool_call", "logprobs", "done"]
    assert [event.type for event in events] == kinds[: 6 if done else 5]


def test_what_the_last_chunk_carries_is_in_the_reply() -> None:
    state = ChatState("m")
    fed(chunk("a", message={"thinking": "t"}), state=state)
    message = {"thinking": "u", "tool_calls": [CALL]}
    fed(chunk("b", done=True, message=message, logprobs=[LOGPROB]), state=state)
    reply = state.partial
    assert (reply.text, reply.thinking, len(reply.tool_calls), len(reply.logprobs)) == ("ab", "tu", 1, 1)


def test_generate_chunks_hold_text_thinking_and_calls_themselves() -> None:
    state = GenerateState("m")
    base = {"model": "m", "created_at": "", "done": False}
    events = fed(
        {**base, "response": "", "thinking": "t"},
        {**base, "response": "x", "tool_calls": [CALL], "done": True, "context": [1, 2]},
        state=state,
    )
    assert [event.type for event in events] == ["thinking", "text", "tool_call", "done"]
    reply = state.partial
    assert (reply.text, reply.thinking, reply.result.context) == ("x", "t", [1, 2])
    assert [call.to_dict() for call in reply.tool_calls] == [CALL]


def test_empty_text_thinking_calls_and_logprobs_are_no_events() -> None:
    empty = {"thinking": "", "tool_calls": []}
    assert fed(chunk("", message=empty, logprobs=[])) == []
    nothing = {"content": None, "thinking": None, "tool_calls": None}
    assert fed(chunk("", message=nothing, logprobs=None)) == []


def test_line_separators_that_are_no_line_ends_are_text() -> None:
    text = "a\u0085b\u2028c\u2029d\x0be\x0cf\x1cg"
    body = line(chunk(text)) + b"\n" + line(chunk(done=True)) + b"\n"
    assert text[1:2].encode() in body
    for size in (1, 2, 3, len(body)):
        state = ChatState("m")
        events = play(state, pieces(body, [size]))
        assert events[0] == TextDelta(text)
        assert state.partial.text == text


def test_blank_lines_and_carriage_returns_are_no_chunks() -> None:
    body = b"\n\r\n" + line(chunk("a")) + b"\r\n \t\n\n" + line(chunk("b", done=True)) + b"\n\n"
    state = ChatState("m")
    events = play(state, [body])
    assert [event.type for event in events] == ["text", "text", "done"]
    assert state.partial.text == "ab"


def test_a_last_line_that_nothing_terminated_counts() -> None:
    state = ChatState("m")
    play(state, [line(chunk("a")) + b"\n" + line(chunk("b", done=True))])
    assert state.done
    assert state.partial.text == "ab"


def test_a_last_line_of_which_only_the_beginning_came_is_a_truncated_stream() -> None:
    whole = line(chunk("b", done=True))
    for end in range(1, len(whole)):
        state = ChatState("m")
        state.feed(line(chunk("a")))
        with pytest.raises(StreamTruncated, match="middle of a line") as caught:
            state.feed_rest(whole[:end])
        assert caught.value.body == whole[:end]
        assert state.partial.text == "a"


def test_a_body_that_is_no_stream_at_all_is_invalid_even_without_a_line_end() -> None:
    with pytest.raises(InvalidResponse, match="<html>"):
        ChatState("m").feed_rest(b"<html>")


def test_lines_after_the_last_chunk_are_not_looked_at() -> None:
    state = ChatState("m")
    fed(chunk("a", done=True), state=state)
    assert state.feed(b"garbage") == state.feed_rest(b"{") == state.feed(line({"error": "x"})) == []
    assert state.partial.text == "a"


def test_a_line_of_megabytes_may_come_byte_by_byte() -> None:  # in quadratic time it would take hours
    text = "x" * 2_000_000
    state = ChatState("m")
    body = line(chunk(text, done=True)) + b"\n"
    play(state, (body[at : at + 1] for at in range(len(body))))
    assert state.partial.text == text


def test_fields_that_the_api_does_not_know_survive_into_the_result() -> None:
    state = ChatState("m")
    fed(
        chunk("a", message={"new": 1, "odd": None}, first=[1]),
        chunk("b", done=True, message={"tool_calls": [{**CALL, "extra": 2}], "more": {}}, second=None),
        state=state,
    )
    result = state.partial.result.to_dict()
    assert result["first"] == [1]
    assert "second" in result
    assert result["message"] == {
        "role": "assistant",
        "content": "ab",
        "new": 1,
        "odd": None,
        "more": {},
        "tool_calls": [{**CALL, "extra": 2}],
    }


def test_the_usage_of_the_last_event_is_that_of_the_reply() -> None:
    state = ChatState("m")
    *_, done = fed(chunk("a", load_duration=7), chunk(done=True), state=state)
    assert isinstance(done, Done)
    assert done.usage == state.partial.usage == Usage(input_tokens=3, output_tokens=2, load_duration=7)


def test_the_partial_reply_grows_with_the_stream() -> None:
    state = ChatState("asked-for")
    assert (state.partial.text, state.partial.result.model, state.partial.result.done) == (
        "",
        "asked-for",
        False,
    )
    fed(chunk("a"), state=state)
    assert (state.partial.text, state.partial.result.model) == ("a", "m")
    fed(chunk("b"), state=state)
    assert state.partial.text == "ab"


# -- lines that are no chunks


BAD = {
    "not JSON": b"<html>",
    "half": b'{"model":"m"',
    "a list": b"[1]",
    "null": b"null",
    "a string": b'"x"',
    "a number": b"7",
    "invalid UTF-8": b'{"message":{"content":"\xff\xfe"}}',
    "too deep": b'{"message":' + b"[" * 100_000,
    "no message": line({"model": "m", "done": False}),
    "message null": line({**chunk(), "message": None}),
    "message a list": line({**chunk(), "message": []}),
    "content a number": line(chunk(message={"content": 5})),
    "content false": line(chunk(message={"content": False})),
    "content a list": line(chunk(message={"content": []})),
    "thinking an object": line(chunk(message={"thinking": {}})),
    "tool_calls an object": line(chunk(message={"tool_calls": {}})),
    "tool_calls of text": line(chunk(message={"tool_calls": ["x"]})),
    "a call without a function": line(chunk(message={"tool_calls": [{"id": "x"}]})),
    "logprobs text": line(chunk(logprobs="x")),
    "logprobs without a token": line(chunk(logprobs=[{}])),
    "done text": line({**chunk(), "done": "true"}),
    "done a number": line({**chunk(), "done": 1}),
    "a reason that is a number": line({**chunk(done=True), "done_reason": 5}),
    "a count that is text": line({**chunk(done=True), "eval_count": "5"}),
    "a role that is a number": line(chunk(done=True, message={"role": 1})),
    "a model that is a number": line(chunk(done=True, model=1)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_line_that_is_no_chunk_is_an_error_that_shows_it_and_keeps_what_had_arrived(bad: bytes) -> None:
    state = ChatState("m")
    fed(chunk("so far", message={"thinking": "t", "tool_calls": [CALL]}, logprobs=[LOGPROB]), state=state)

    with pytest.raises(InvalidResponse) as caught:
        state.feed(bad)
    assert caught.value.body == bad
    assert caught.value.status == 200
    assert bad[:9].decode(errors="replace") in str(caught.value)
    assert not state.done
    partial = state.partial
    assert (partial.text, partial.thinking) == ("so far", "t")
    assert (len(partial.tool_calls), len(partial.logprobs)) == (1, 1)


def test_a_generate_stream_refuses_chunks_of_a_chat() -> None:
    with pytest.raises(InvalidResponse, match="no chunk of this kind"):
        GenerateState("m").feed(line(chunk("x")))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "boom"}, "boom"),
        ({"error": '{"error":{"code":400,"message":"too long"}}'}, "too long"),
        ({"error": {"message": "inside"}}, "inside"),
        ({"error": ""}, "did not say which"),
        ({"error": 5}, '{"error": 5}'),
        ({"error": "late", "done": True, "message": {"content": "x"}}, "late"),
    ],
)
def test_an_error_line_is_an_error_in_the_servers_words(body: dict[str, Any], words: str) -> None:
    with pytest.raises(StreamError) as caught:
        ChatState("m").feed(line(body))
    assert words in str(caught.value)
    assert caught.value.body == line(body)


texts = st.text(max_size=20)
chunks = st.lists(st.builds(chunk, texts, message=st.fixed_dictionaries({"thinking": texts})), max_size=12)


@settings(deadline=None)
@given(chunks, sizes)
def test_whatever_the_texts_they_add_up_and_do_not_depend_on_the_split(
    chunks: list[dict[str, Any]], sizes: list[int]
) -> None:
    body = b"".join(line(each) + b"\n" for each in [*chunks, chunk(done=True)])
    state = ChatState("m")
    events = play(state, pieces(body, sizes))
    assert state.partial.text == "".join(each["message"]["content"] for each in chunks)
    assert state.partial.thinking == "".join(each["message"]["thinking"] for each in chunks)
    assert all(event.text for event in events if isinstance(event, TextDelta | ThinkingDelta))
