"""The memory of a very long stream, sampled along the way in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from os import sysconf
from pathlib import Path
from typing import Any

#: Bytes per token that may be added beside the text: half a pointer. Whatever is kept of every token, be
#: it only a place in a list, takes more; the spare room that a growing text buffer allocates takes less.
TARGET = 4.0

_SAMPLES = 200
_STATM = Path("/proc/self/statm")
#: Whether this system tells a process how much memory it has.
AVAILABLE = _STATM.exists()


@dataclass(frozen=True)
class Memory:
    """How much memory a stream took.

    Attributes:
        tokens: When each sample was taken.
        resident: Resident set of the process then, in bytes.
        text: Size of the text that had accumulated, in bytes.
    """

    tokens: list[int]
    resident: list[int]
    text: list[int]

    @property
    def beside_text(self) -> list[int]:
        """What is left of the resident set without the text, in bytes."""
        return [resident - text for resident, text in zip(self.resident, self.text, strict=True)]

    @property
    def growth(self) -> float:
        """Bytes per token that were added beside the text, from peak to peak of the two halves.

        Peaks, because memory goes up and down on the way: `io.StringIO` of Python 3.11, which holds the
        text, joins its pieces 100,000 at a time.
        """
        middle = len(self.tokens) // 2
        first, second = self.beside_text[:middle], self.beside_text[middle:]
        return (max(second) - max(first)) / (self.tokens[-1] - self.tokens[middle - 1])

    @property
    def reached(self) -> bool:
        """Whether memory is flat."""
        return self.growth <= TARGET


def measure(url: str, tokens: int) -> Memory:
    """Stream so many tokens through ``ollama_ext.Client`` in a fresh interpreter."""
    command = (sys.executable, str(Path(__file__)), url, str(tokens))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 - this very file
    samples: dict[str, Any] = json.loads(done.stdout)
    return Memory(**samples)


def _resident() -> int:
    """Return the resident set of this process, in bytes."""
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return pages * sysconf("SC_PAGE_SIZE")


def _stream(url: str, tokens: int) -> dict[str, list[int]]:
    from ollama_ext import Client, TextDelta  # noqa: PLC0415 - not for the process that starts this one

    seen = size = 0
    samples: dict[str, list[int]] = {"tokens": [], "resident": [], "text": []}
    every = max(1, tokens // _SAMPLES)
    with (
        Client(url) as client,
        client.chat_stream("burst", "Tell me all.", options={"num_predict": tokens}) as stream,
    ):
        for event in stream:
            if isinstance(event, TextDelta):
                seen += 1
                size += len(event.text)  # ASCII: a byte for a character
                if seen % every == 0:
                    samples["tokens"].append(seen)
                    samples["resident"].append(_resident())
                    samples["text"].append(size)
        if len(stream.reply.text) != size:
            raise RuntimeError("the reply is not what was streamed")
    return samples


if __name__ == "__main__":
    json.dump(_stream(sys.argv[1], int(sys.argv[2])), sys.stdout)
