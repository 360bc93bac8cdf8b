"""The pure half of a stream: lines in, events out, and the reply that they add up to. No I/O.

Any split of the same bytes gives the same lines, so the same events and the same reply. `ChatState` and
`GenerateState` can be used without a connection, for lines that come from somewhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec
from ollama_openapi import models
from ollama_openapi.errors import InvalidBody

from .errors import InvalidResponse, StreamTruncated
from .events import Done, Event, LogprobsDelta, TextDelta, ThinkingDelta, ToolCallDelta
from .refusals import shown, stream_refusal
from .replies import ChatReply, GenerateReply

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R", bound=ChatReply | GenerateReply)
T = TypeVar("T")

_decode = msgspec.json.Decoder().decode


class _Said(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str
    text: str = msgspec.field(name="content")
    thinking: str = ""


class _PlainChat(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A chunk of a chat with text or thinking and nothing else, as nearly all are.

    Decoding into this and reading it costs half of what a dict and its look-ups cost. What does not fit in
    any way is decoded anew, into a dict.
    """

    model: str
    created_at: str
    message: _Said
    done: bool

    def said(self) -> _Said:
        return self.message


class _PlainGenerate(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The same of a generate call, where one object holds all."""

    model: str
    created_at: str
    done: bool
    text: str = msgspec.field(name="response")
    thinking: str = ""

    def said(self) -> _PlainGenerate:
        return self


class ReplyState(ABC, Generic[R]):
    """Takes the lines of one stream, returns their events and adds up the reply. No I/O.

    A reply adds up as Ollama adds it up for a call without streaming: text, thinking, tool calls and
    log probabilities of all chunks one after the other, every other field from the last chunk that has
    it. Time per line and memory beside the text do not grow with the length of the stream.

    Attributes:
        done: Whether the last chunk was seen, and the reply is whole.
    """

    _text_key: ClassVar[str]
    _plain: ClassVar[msgspec.json.Decoder[Any]]

    def __init__(self, model: str, status: int = 200) -> None:
        """Start with nothing but the model that was asked for and the HTTP status."""
        self.done: bool = False
        self._status = status
        self._text = StringIO()
        self._thinking = StringIO()
        self._tool_calls: list[Any] = []
        self._logprobs: list[Any] = []
        self._start: dict[str, Any] = {"model": model, "created_at": "", "done": False}
        self._fields = dict(self._start)  # of the reply, as they come; later ones win
        self._message: dict[str, Any] = {}  # what else is in the object that holds the text
        self._reply: R | None = None
        self._latest: _PlainChat | _PlainGenerate | None = None  # its fields are still to be taken over

    def feed(self, line: bytes) -> list[Event]:
        """Take one line; return what happened in it: thinking, text, calls, log probabilities, done.

        Lines after the last chunk are not looked at.

        Raises:
            InvalidResponse: The line is no chunk of this kind of stream. What text it has is in
                `partial`, though no event told of it.
            StreamError: The line is the server's report of an error.
        """
        if self.done:
            return []
        try:
            plain: _PlainChat | _PlainGenerate = self._plain.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._feed_any(line)
        if plain.done:
            return self._feed_any(line)
        self._latest = plain
        said = plain.said()
        return self._add_texts(said.thinking, said.text)

    def _feed_any(self, line: bytes) -> list[Event]:
        self._catch_up()
        chunk = self._chunk_in(line)
        message = self._message_of(chunk)
        if message is None:
            raise self._invalid(line, "is no chunk of this kind of stream")
        events = self._add_texts(self._text_in(message, "thinking", line), "")
        events += self._add_texts("", self._text_in(message, self._text_key, line))
        if (calls := message.pop("tool_calls", None)) is not None:
            events += map(ToolCallDelta, self._built("tool_calls", models.ToolCall.from_dict, calls, line))
            self._tool_calls += calls
        if (logprobs := chunk.pop("logprobs", None)) is not None:
            values = self._built("logprobs", models.Logprob.from_dict, logprobs, line)
            events += [LogprobsDelta(values)] if values else []
            self._logprobs += logprobs
        if message is not chunk:
            self._message.update(message)
        self._fields.update(chunk)
        # A prompt that is rendered for debugging comes as one object and is never "done".
        if chunk.get("done") is not False or chunk.get("_debug_info") is not None:
            events += self._end(chunk, line)
        return events

    def _text_in(self, message: dict[str, Any], key: str, line: bytes) -> str:
        text = message.pop(key, None)
        if text is None:
            return ""
        if text.__class__ is not str:
            raise self._invalid(line, f"has a {key!r} that is no text")
        words: str = text
        return words

    def _add_texts(self, thinking: str, text: str) -> list[Event]:
        events: list[Event] = []
        if thinking:
            self._thinking.write(thinking)
            events.append(ThinkingDelta(thinking))
        if text:
            self._text.write(text)
            events.append(TextDelta(text))
        return events

    def _end(self, chunk: dict[str, Any], line: bytes) -> list[Event]:
        done = chunk.get("done")
        if done is None and chunk.get("_debug_info") is None:
            return []  # left out, which is as good as false
        if done is not True and done is not False:
            raise self._invalid(line, "has a 'done' that is neither true nor false")
        try:
            self._reply = reply = self._add_up(self._fields, self._message)
        except InvalidBody as error:
            raise self._invalid(line, f"makes no whole reply ({error})") from None
        self.done = True
        return [Done(reply.usage, reply.done_reason)]

    def feed_rest(self, line: bytes) -> list[Event]:
        """Take a last line that nothing terminated, and do with it as `feed` does.

        Raises:
            StreamTruncated: It is the beginning of a chunk.
        """
        if not self.done and line.lstrip().startswith(b"{"):
            try:
                _decode(line)
            except (msgspec.MsgspecError, ValueError):
                raise self._truncated(f"ended in the middle of a line, {shown(line)}", body=line) from None
            except RecursionError:
                pass  # it is all there
        return self.feed(line)

    def finish(self) -> None:
        """Take note that there are no more lines.

        Raises:
            StreamTruncated: The last chunk never came.
        """
        if not self.done:
            raise self._truncated('ended without its last chunk ("done": true)')

    @property
    def partial(self) -> R:
        """The reply as far as it has arrived."""
        if self._reply is not None:
            return self._reply
        self._catch_up()
        try:
            return self._add_up(self._fields, self._message)
        except InvalidBody:  # a field of a wrong type must not hide the text
            return self._add_up(self._start, {})

    def _catch_up(self) -> None:
        """Take over what the latest plain chunk holds beside its text."""
        latest, self._latest = self._latest, None
        if latest is not None:
            self._fields.update(model=latest.model, created_at=latest.created_at, done=False)
            if isinstance(latest, _PlainChat):
                self._message["role"] = latest.message.role

    def _chunk_in(self, line: bytes) -> dict[str, Any]:
        try:
            chunk = _decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._invalid(line, f"is not JSON ({error})") from None
        if chunk.__class__ is not dict:
            raise self._invalid(line, "is not an object")
        if "error" in chunk:
            raise stream_refusal(line, status=self._status, model=self._start["model"])
        fields: dict[str, Any] = chunk
        return fields

    @abstractmethod
    def _message_of(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """Take out of a chunk the object that holds text, thinking and calls; None if it has none."""

    @abstractmethod
    def _build(self, fields: dict[str, Any], message: dict[str, Any]) -> R:
        """Build the reply."""

    def _add_up(self, fields: dict[str, Any], message: dict[str, Any]) -> R:
        message = {**message, self._text_key: self._text.getvalue()}
        if thinking := self._thinking.getvalue():
            message["thinking"] = thinking
        if self._tool_calls:
            message["tool_calls"] = self._tool_calls
        if self._logprobs:
            fields = {**fields, "logprobs": self._logprobs}
        return self._build(fields, message)

    def _built(self, name: str, build: Callable[[Any], T], items: Any, line: bytes) -> list[T]:
        if items.__class__ is not list:
            raise self._invalid(line, f"has {name!r} that are no list")
        built: list[T] = []
        try:
            for item in items:
                built.append(build(item))  # noqa: PERF401 - its length says where the bad one is
        except InvalidBody as error:
            at = error.within(len(built)).within(name)
            raise self._invalid(line, f"is not as the API says ({at})") from None
        return built

    def _invalid(self, line: bytes, problem: str) -> InvalidResponse:
        message = f"a line of the stream {problem}: {shown(line)}"
        return InvalidResponse(message, status=self._status, body=line)

    def _truncated(self, problem: str, body: bytes = b"") -> StreamTruncated:
        message = f"the stream {problem}; what had arrived is in .partial"
        return StreamTruncated(message, status=self._status, body=body)


class ChatState(ReplyState[ChatReply]):
    """The state of a stream of ``/api/chat``."""

    _text_key = "content"
    _plain = msgspec.json.Decoder(_PlainChat)

    def _message_of(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        message = chunk.pop("message", None)
        return message if message.__class__ is dict else None

    def _build(self, fields: dict[str, Any], message: dict[str, Any]) -> ChatReply:
        body = {**fields, "message": {"role": "assistant", **message}}
        return ChatReply(models.ChatResponse.from_dict(body), self._status)


class GenerateState(ReplyState[GenerateReply]):
    """The state of a stream of ``/api/generate``, whose chunks hold text and thinking themselves."""

    _text_key = "response"
    _plain = msgspec.json.Decoder(_PlainGenerate)

    def _message_of(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        return chunk if self._text_key in chunk else None

    def _build(self, fields: dict[str, Any], message: dict[str, Any]) -> GenerateReply:
        return GenerateReply(models.GenerateResponse.from_dict({**fields, **message}), self._status)
