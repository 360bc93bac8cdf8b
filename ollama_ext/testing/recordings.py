"""The recorded exchanges: what real Ollama servers were asked and what they answered.

Loaded from the JSON files beside this module (``recordings/README.md`` describes them). No I/O but
reading those files, each at most once.
"""

from __future__ import annotations

import base64
import hashlib
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

import attrs
import msgspec

from ollama_ext.errors import InvalidArgument

#: The recorded server versions, newest first.
VERSIONS = ("v0.33.0-rc2", "v0.24.0", "v0.9.6")


@attrs.frozen
class RecordedCall:
    """The request of a recorded exchange.

    Attributes:
        method: As sent, such as ``"POST"``.
        path: As sent, such as ``"/api/chat"``.
        headers: Pairs of name and value; Host and Connection were not kept.
        body: The bytes of the body (``b""`` for none). A JSON body is written anew, without spaces:
            the recorder kept its value. None where only size and hash of an upload were kept.
        body_size: The length of the body in bytes.
        body_sha256: The SHA-256 of the body, in hexadecimal.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = attrs.field(repr=False)
    body_size: int
    body_sha256: str = attrs.field(repr=False)

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ValueError: The body is no JSON, is empty, or was not kept.
        """
        return _json(self.body or b"")


@attrs.frozen
class RecordedChunk:
    """A piece of a recorded body: one HTTP chunk, or the whole of a body with Content-Length.

    Attributes:
        milliseconds: When it came, counted from the request.
        data: Its bytes.
    """

    milliseconds: int
    data: bytes


@attrs.frozen
class RecordedAnswer:
    """The response of a recorded exchange.

    Attributes:
        status: The HTTP status.
        headers: Pairs of name and value, in the order they came; Date was dropped.
        chunks: The body in pieces.
        first_byte_ms: Milliseconds from the request to the first byte of the answer.
        clean_end: False where the connection closed before the end of the body.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: tuple[RecordedChunk, ...] = attrs.field(repr=False)
    first_byte_ms: int
    clean_end: bool

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def chunked(self) -> bool:
        """Whether the body came in HTTP chunks."""
        return any(name.lower() == "transfer-encoding" for name, _ in self.headers)

    @property
    def content_type(self) -> str:
        """The media type without parameters, or ``""``."""
        for name, value in self.headers:
            if name.lower() == "content-type":
                return value.partition(";")[0].strip()
        return ""

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ValueError: The body is not one JSON value.
        """
        return _json(self.body)

    def lines(self) -> list[Any]:
        """Return the decoded lines of an NDJSON body (a cut last line included, if it decodes).

        Raises:
            ValueError: A line is no JSON.
        """
        return [_json(line) for line in self.body.split(b"\n") if line]


@attrs.frozen
class RecordedExchange:
    """One recorded exchange.

    Attributes:
        name: Its name, unique within the version, such as ``"chat-stream"``.
        version: The server that answered, such as ``"v0.33.0-rc2"``.
        note: What was special about the situation, or None.
        request: What was asked.
        response: What was answered.
    """

    name: str
    version: str
    note: str | None
    request: RecordedCall
    response: RecordedAnswer


def recordings(version: str | None = None) -> list[RecordedExchange]:
    """Return the recorded exchanges, by name; without a version those of all, newest first.

    Args:
        version: One of `VERSIONS`, or None for all.

    Raises:
        InvalidArgument: There are no recordings of that version.
    """
    versions = VERSIONS if version is None else (check_version(version),)
    return [exchange for each in versions for exchange in _load(each).values()]


def find_recording(name: str, version: str = VERSIONS[0]) -> RecordedExchange:
    """Return one recorded exchange.

    Raises:
        InvalidArgument: There is none of that name or version; the message names close matches.
    """
    exchanges = _load(check_version(version))
    if name in exchanges:
        return exchanges[name]
    near = get_close_matches(str(name), exchanges, n=3, cutoff=0.5)
    elsewhere = [each for each in VERSIONS if name in _load(each)]
    if near:
        advice = "close matches: " + ", ".join(near)
    else:
        advice = f"ollama_ext.testing.recordings({version!r}) lists them"
    if elsewhere:
        advice = f"it is recorded for {' and '.join(elsewhere)}; {advice}"
    raise InvalidArgument(f"no recording {name!r} of {version}; {advice}", argument="name")


def check_version(version: object) -> str:
    """Return the version if there are recordings of it, else raise `InvalidArgument`."""
    if isinstance(version, str) and version in VERSIONS:
        return version
    raise InvalidArgument(
        f"no recordings of version {version!r}; there are {', '.join(VERSIONS)}",
        argument="version",
    )


class _Body(msgspec.Struct):
    """The two stand-ins for a request body that is no JSON; every other shape is JSON itself."""

    base64: str | None = None
    bytes: int | None = None
    sha256: str | None = None


class _Request(msgspec.Struct):
    method: str
    path: str
    headers: dict[str, str]
    body: msgspec.Raw


class _Response(msgspec.Struct):
    status: int
    headers: list[tuple[str, str]]
    first_byte_ms: int
    clean_end: bool
    chunks: list[tuple[int, str]]


class _File(msgspec.Struct):
    name: str
    server: str
    request: _Request
    response: _Response
    note: str | None = None


@cache
def _load(version: str) -> dict[str, RecordedExchange]:
    folder = resources.files("ollama_ext.testing") / "recordings" / version
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".json")]
    exchanges = [_exchange(entry.read_bytes(), version) for entry in files]
    return {each.name: each for each in sorted(exchanges, key=lambda each: each.name)}


def _exchange(data: bytes, version: str) -> RecordedExchange:
    file = msgspec.json.decode(data, type=_File)
    answer = file.response
    return RecordedExchange(
        name=file.name,
        version=version,
        note=file.note,
        request=_call(file.request),
        response=RecordedAnswer(
            status=answer.status,
            headers=tuple(answer.headers),
            chunks=tuple(RecordedChunk(when, text.encode()) for when, text in answer.chunks),
            first_byte_ms=answer.first_byte_ms,
            clean_end=answer.clean_end,
        ),
    )


def _call(request: _Request) -> RecordedCall:
    raw = bytes(request.body)
    value = msgspec.json.decode(raw)
    body: bytes | None = b"" if value is None else msgspec.json.encode(value)
    size, digest = len(body or b""), hashlib.sha256(body or b"").hexdigest()
    if isinstance(value, dict) and value and value.keys() <= set(_Body.__struct_fields__):
        stand_in = msgspec.convert(value, _Body)
        if stand_in.base64 is not None:
            body = base64.b64decode(stand_in.base64)
            size, digest = len(body), hashlib.sha256(body).hexdigest()
        else:
            body = None
            size, digest = stand_in.bytes or 0, stand_in.sha256 or ""
    return RecordedCall(
        method=request.method,
        path=request.path,
        headers=tuple(request.headers.items()),
        body=body,
        body_size=size,
        body_sha256=digest,
    )


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON ({error}): {data[:100]!r}") from error
