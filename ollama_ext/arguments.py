"""From what users type to the bodies of requests: conveniences resolved, kinds checked, nothing sent.

The kinds are those of the spec, checked by the generated models; what cannot be right is
`InvalidArgument` with the name of the argument.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
from ollama_openapi import models
from ollama_openapi.errors import InvalidBody
from ollama_openapi.types import UNSET, Model, encode_json, plain

from .durations import keep_alive_value
from .errors import InvalidArgument
from .hints import check_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from ollama_openapi.models import (
        ChatRequest,
        CreateRequest,
        EmbedRequest,
        GenerateRequest,
        Message,
    )
    from ollama_openapi.types import Request

M_co = TypeVar("M_co", covariant=True)

#: An image (or sound): a file, its bytes, or base64 text. A string is never read as a path.
Image = Path | bytes | str
#: How long the model stays loaded: seconds, a timedelta, or Go's notation (``"5m"``); negative: for ever.
KeepAlive = timedelta | float | str

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
#: They say where the body ends, which is the transport's to say.
_FRAMING = frozenset({"content-length", "transfer-encoding", "trailer", "upgrade"})


#: What the encoder raises for a value that is no JSON.
_NOT_JSON = (ValueError, TypeError, OverflowError, RecursionError)


class ModelClass(Protocol[M_co]):
    """A generated model."""

    def from_dict(self, src_dict: Mapping[str, Any]) -> M_co:
        """Check and build."""
        ...


def chat_request(
    messages: str | Sequence[Mapping[str, Any] | Message] | None,
    fields: Mapping[str, Any],
    extra_body: Mapping[str, Any] | None,
) -> ChatRequest:
    """Return the body of a chat; ``fields`` are those of the API under their names in JSON."""
    return body(models.ChatRequest, {**fields, "messages": _messages(messages)}, extra_body)


def generate_request(
    images: Sequence[Image] | None, fields: Mapping[str, Any], extra_body: Mapping[str, Any] | None
) -> GenerateRequest:
    """Return the body of a generate call."""
    encoded = None if images is None else _images(images, "images")
    return body(models.GenerateRequest, {**fields, "images": encoded}, extra_body)


def embed_request(fields: Mapping[str, Any], extra_body: Mapping[str, Any] | None) -> EmbedRequest:
    """Return the body of an embed call."""
    return body(models.EmbedRequest, fields, extra_body)


def create_request(fields: Mapping[str, Any], extra_body: Mapping[str, Any] | None) -> CreateRequest:
    """Return the body of a create."""
    return body(models.CreateRequest, {**fields, "messages": _messages(fields.get("messages"))}, extra_body)


def encoded(build: Callable[..., Request], body: Model | None, **flags: bool) -> Request:
    """Build a request; what JSON cannot hold is an `InvalidArgument` that names where it stands."""
    if body is None:
        return build()
    try:
        return build(body=body, **flags)
    except _NOT_JSON as error:
        name = next((name for name, value in body.to_dict().items() if not _encodes(value)), None)
        raise _no_json(name, error) from None


def checked_model(model: Any, argument: str = "model") -> str:
    """Return the name of a model; the server decides whether it is a good one."""
    if not isinstance(model, str):
        kind = type(model).__name__
        raise InvalidArgument(f"{argument} must be a string, not {kind} ({model!r:.80})", argument=argument)
    if not model:
        raise InvalidArgument(f"{argument} is empty: name a model, such as 'llama3.2'", argument=argument)
    return model


def checked_headers(headers: Mapping[str, str] | None, argument: str) -> dict[str, str]:
    """Return headers as a dict; values stay out of the messages, they may be secrets."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise InvalidArgument(f"{argument} must be a mapping of strings", argument=argument)
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise InvalidArgument(
                f"{argument}: name and value of {name!r} must be strings", argument=argument
            )
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidArgument(f"{argument}: {name!r} is no name of a header", argument=argument)
        if name.lower() in _FRAMING:
            raise InvalidArgument(f"{argument}: {name!r} is set by the client itself", argument=argument)
        if not _HEADER_VALUE.fullmatch(value) or value != value.strip(" \t"):
            raise InvalidArgument(
                f"{argument}: the value of {name!r} has a space at an end, or a character that no header has",
                argument=argument,
            )
    return dict(headers)


def body(kind: ModelClass[M_co], fields: Mapping[str, Any], extra: Mapping[str, Any] | None) -> M_co:
    """Return the body of a request: the fields of the API under their names in JSON, None left out.

    Raises:
        InvalidArgument: A value is of a wrong kind.
    """
    if extra is None:
        extra = {}
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise InvalidArgument("extra_body must be a mapping with strings as keys", argument="extra_body")
    if "stream" in extra:
        raise InvalidArgument(
            "extra_body holds 'stream', which the method decides: call chat_stream or generate_stream for it",
            argument="extra_body",
        )
    values = {**{name: value for name, value in fields.items() if value is not None}, **extra}
    if "model" in fields:
        checked_model(values.get("model"))
    if (keep_alive := values.get("keep_alive")) is not None:
        values["keep_alive"] = keep_alive_value(keep_alive)
    _check_schema(values.get("format"))
    _check_tools(values.get("tools"))
    try:
        request = kind.from_dict({name: _plain(value, name) for name, value in values.items()})
    except InvalidBody as error:
        name = str(error.path[0]) if error.path else None
        raise InvalidArgument(f"{error.where}: {error.problem}", argument=_parameter(name)) from None
    check_names(request)
    return request


def _plain(value: Any, name: str) -> Any:
    """Return a value as JSON has it, the caller's own untouched."""
    try:
        return plain(value)
    except (RecursionError, TypeError) as error:  # a list that holds itself, say, or a set
        raise _no_json(name, error) from None


def _no_json(name: str | None, error: Exception) -> InvalidArgument:
    what = name or "the request"
    return InvalidArgument(f"{what} cannot be sent as JSON: {error}", argument=_parameter(name))


def _parameter(name: str | None) -> str | None:
    """Return the parameter for a field: their names are the same, but for two."""
    return "from_" if name == "from" else name and name.removeprefix("_")


def _messages(messages: Any) -> list[dict[str, Any]] | None:
    if messages is None:
        return None
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping | bytes) or not isinstance(messages, Iterable):
        kind = type(messages).__name__
        raise InvalidArgument(
            f"messages must be a string or a sequence of messages, not {kind}: put a single one into a list",
            argument="messages",
        )
    return [_message(message, index) for index, message in enumerate(messages)]


def _message(message: Any, index: int) -> dict[str, Any]:
    images: Any = None  # they may be what JSON has no form for, until they are base64
    rest: Any = message
    if isinstance(message, models.Message):
        images, rest = message.images, attrs.evolve(message, images=UNSET)
    elif isinstance(message, Mapping):
        images, rest = message.get("images"), {**message}
        rest.pop("images", None)
    elif not isinstance(message, Model):
        kind = type(message).__name__
        raise InvalidArgument(
            f"messages[{index}] must be a mapping or a Message, not {kind}; of a reply, append reply.message",
            argument="messages",
        )
    fields: dict[str, Any] = _plain(rest, "messages")
    if images is not None and images is not UNSET:
        fields["images"] = _images(images, f"messages[{index}].images")
    return fields


def _images(images: Any, where: str) -> list[str]:
    argument = where.partition("[")[0]
    single = isinstance(images, str | bytes | bytearray | memoryview | Path | Mapping)
    if single or not isinstance(images, Iterable):
        raise InvalidArgument(f"{where} must be a sequence of images: put one into a list", argument=argument)
    return [_image(image, f"{where}[{index}]", argument) for index, image in enumerate(images)]


def _image(image: Any, where: str, argument: str) -> str:
    if isinstance(image, Path):
        image = _content(image, where, argument)
    if isinstance(image, bytes | bytearray | memoryview):
        return base64.b64encode(image).decode("ascii")
    if not isinstance(image, str):
        kind = type(image).__name__
        raise InvalidArgument(f"{where} must be a Path, bytes or base64 text, not {kind}", argument=argument)
    try:
        # Ollama, like Go, reads over line ends.
        binascii.a2b_base64(image.replace("\n", "").replace("\r", ""), strict_mode=True)
    except ValueError:
        raise InvalidArgument(
            f"{where}: {image[:40]!r} is not base64 (standard alphabet, with padding, no 'data:' prefix); "
            "for a file, pass a pathlib.Path",
            argument=argument,
        ) from None
    return image


def _content(image: Path, where: str, argument: str) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        problem = error.strerror or str(error)
    except ValueError as error:  # a name that no file can have
        problem = str(error)
    raise InvalidArgument(f"{where}: cannot read {image}: {problem}", argument=argument)


def _check_schema(value: Any) -> None:
    if value is not None and not isinstance(value, str | Mapping):
        hint = ".model_json_schema()" if hasattr(value, "model_json_schema") else ""
        raise InvalidArgument(
            f"format must be 'json' or a JSON Schema as a mapping, not {value!r:.80}"
            + (f": pass {getattr(value, '__name__', 'it')}{hint}" if hint else ""),
            argument="format",
        )


def _check_tools(tools: Any) -> None:
    if not isinstance(tools, Sequence):
        return  # the model of the request says what it should be
    for index, tool in enumerate(tools):
        if callable(tool):
            name = getattr(tool, "__name__", repr(tool))
            raise InvalidArgument(
                f"tools[{index}] is the function {name}: describe it as a mapping or a Tool, "
                "and call it yourself when the model asks",
                argument="tools",
            )


def _encodes(value: Any) -> bool:
    try:
        encode_json(value)
    except _NOT_JSON:
        return False
    return True
