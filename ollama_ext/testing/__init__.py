"""A scripted Ollama server for tests, and 200 exchanges recorded from real ones.

    from ollama_ext.testing import FakeOllama, Json, Lines, Recording

    with FakeOllama() as server:
        server.on("POST", "/api/chat", Recording("chat-stream").split([7]).cut(at=300))

`FakeOllama` listens on a real socket and sends exactly the bytes that its script says: it is no
mock of an HTTP library, so it fits every client. Imported on demand only: ``import ollama_ext``
does not load it.
"""

from __future__ import annotations

from .recordings import (
    VERSIONS,
    RecordedAnswer,
    RecordedCall,
    RecordedChunk,
    RecordedExchange,
    recordings,
)
from .requests import Headers, RecordedRequest
from .responses import Body, Ending, Json, Lines, Raw, Recording, Response
from .server import FakeOllama
from .waiting import no_wait

__all__ = [
    "VERSIONS",
    "Body",
    "Ending",
    "FakeOllama",
    "Headers",
    "Json",
    "Lines",
    "Raw",
    "RecordedAnswer",
    "RecordedCall",
    "RecordedChunk",
    "RecordedExchange",
    "RecordedRequest",
    "Recording",
    "Response",
    "no_wait",
    "recordings",
]
