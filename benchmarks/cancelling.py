"""How long a cancelled call takes to come back."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ollama_ext import Cancelled, Client

if TYPE_CHECKING:
    from ollama_ext import ChatStream

#: Seconds that the slowest may take.
TARGET = 0.1

#: A token every ten milliseconds: the reader waits when it is cancelled.
_MODEL = "paced:10000"
_MILLI = 1e3


@dataclass(frozen=True)
class Cancelling:
    """Seconds from ``cancel()`` in one thread to `Cancelled` in the other."""

    samples: list[float]

    @property
    def reached(self) -> bool:
        """Whether none took longer than the target."""
        return max(self.samples) <= TARGET

    def line(self) -> str:
        """Say it in a line."""
        return (
            f"cancelling a stream from another thread, {len(self.samples)} times: median "
            f"{median(self.samples) * _MILLI:.2f} ms, worst {max(self.samples) * _MILLI:.2f} ms (target <= "
            f"{TARGET * _MILLI:.0f} ms): {'reached' if self.reached else 'MISSED'}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the samples and the verdict."""
        return {**asdict(self), "target": TARGET, "reached": self.reached}


def measure(url: str, times: int) -> Cancelling:
    """Cancel that many streams, each while another thread waits for its next token."""
    with Client(url) as client:
        return Cancelling([_cancel_one(client) for _ in range(times)])


def _cancel_one(client: Client) -> float:
    came_back: list[float] = []
    reading = threading.Event()

    def read(stream: ChatStream) -> None:
        try:
            for _ in stream:
                reading.set()
        except Cancelled:
            came_back.append(perf_counter())

    with client.chat_stream(_MODEL, "Tell me all.", options={"num_predict": 1000}) as stream:
        thread = threading.Thread(target=read, args=(stream,))
        thread.start()
        reading.wait()
        start = perf_counter()
        stream.cancel()
        thread.join()
    return came_back[0] - start
