"""How far a pull, push or create is: the server's lines in, `Progress` out. No I/O.

The server tells bytes per layer, and not always straight: a download that is tried again goes back, the
last event of a layer may lack, and how much there will be in all is never said. What comes out here can
be shown as it is: nothing goes back, and only success is 1.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from ollama_openapi.api.models.pull_model import parse_chunk
from ollama_openapi.errors import ApiError, InvalidBody

from .errors import InvalidResponse, StreamTruncated
from .refusals import shown, stream_refusal

if TYPE_CHECKING:
    from ollama_openapi.models import ProgressChunk

_SUCCESS: Final = "success"
#: All bytes there are known of may be done and a layer be missing still: no bar shows 100 % before success.
_ALMOST: Final = 0.99
#: What Go's int64 holds, and so all that a server can mean.
_MOST_BYTES: Final = 2**63 - 1
#: Layers that are remembered one by one; models have a dozen, uploads of a directory some hundred.
_MOST_LAYERS: Final = 1000


class Overall(msgspec.Struct, frozen=True):
    """How far the whole of a pull, push or create is; none of the three ever goes back.

    Attributes:
        completed: Bytes done of all layers of which a size was told.
        total: Bytes of those layers. It grows while the server comes to speak of further ones.
        fraction: From 0.0 to 1.0, which it is on success only. It waits while ``total`` grows.
    """

    completed: int = 0
    total: int = 0
    fraction: float = 0.0


class Progress(msgspec.Struct, frozen=True):
    """One step of a pull, push or create.

    Attributes:
        status: What happens, in the words of the server, which differ from version to version:
            ``pulling manifest``, ``pulling 941f309b54ca``, ..., ``success``; ``hashing`` and
            ``uploading`` are what this library does with the files of a create before that.
        digest: The layer that this is about, or empty, as while a file is hashed. Not always a digest:
            Ollama sends ``sha256:model`` for a model as a whole, and zeros for one that it quantizes.
        completed: Bytes of this layer (or file) that are done; not more than ``total``, where that is
            told. It goes back only where one is gone through once more, with other steps in between.
        total: Bytes of this layer, or 0 if not told.
        overall: The same over all layers so far.
    """

    status: str
    digest: str
    completed: int
    total: int
    overall: Overall


class _Layer(msgspec.Struct):
    """What is known about one pass over one layer; no number in it ever goes back."""

    completed: int = 0
    total: int = 0
    left: bool = False  # another step followed, so it is whole, whatever was told last

    def tell(self, completed: int, total: int) -> None:
        if total or self.total:
            self.total = max(self.total, total, self.completed)
            completed = min(completed, self.total)
        self.completed = max(self.completed, completed)

    @property
    def counted(self) -> int:
        return self.total if self.left else min(self.completed, self.total)


class _Layers:
    """All layers so far, and what they add up to."""

    def __init__(self) -> None:
        self._layers: dict[tuple[str, str], _Layer] = {}
        self._gone = 0  # bytes of the passes that are no longer remembered, all of them whole
        self._fraction = 0.0
        self._latest: tuple[str, str] | None = None  # the layer that the latest step was about

    def tell(self, key: tuple[str, str], completed: int, total: int) -> _Layer:
        """Take numbers of a layer."""
        layer = self._layers.get(key)
        if layer and layer.left and key != self._latest and completed < layer.completed:
            self._forget(key)  # it is gone through anew, as the zeros are for a second file to quantize
            layer = None
        self._latest = key
        if layer is None:
            layer = self._layers[key] = _Layer()
            if len(self._layers) > _MOST_LAYERS:
                self._forget(next(iter(self._layers)))
        layer.tell(completed, total)
        return layer

    def leave(self, key: tuple[str, str] | None) -> None:
        """Take note that all layers but this one are through: the server takes one after the other."""
        for each, layer in self._layers.items():
            layer.left = layer.left or each != key
        self._latest = key

    def overall(self, *, success: bool) -> Overall:
        """Add up. Bytes need no maximum to hold them: those of each layer never go back, nor do layers go."""
        completed = self._gone + sum(layer.counted for layer in self._layers.values())
        total = self._gone + sum(layer.total for layer in self._layers.values())
        fraction = min(completed / total, _ALMOST) if total else 0.0
        self._fraction = 1.0 if success else max(fraction, self._fraction)
        return Overall(completed, total, self._fraction)

    def _forget(self, key: tuple[str, str]) -> None:
        self._gone += self._layers.pop(key).total


class ProgressState:
    """Takes the lines of one pull, push or create and returns how far it is. No I/O.

    It has the shape of `ReplyState`, so that one stream drives both. Two things differ. A create that
    has to pull its source sends the lines of that pull first, ``success`` included, so `done` waits for
    `finish`. And what a server gets wrong about numbers spoils no pull: negative ones count as 0, those
    beyond 64 bits as the largest; what is no integer at all is `InvalidResponse`.

    Memory does not grow with the number of lines.

    Attributes:
        done: Whether the stream is at its end, and that was success.
        partial: The last progress, or None before the first.
    """

    def __init__(self, status: int = 200, *, path: str = "", model: str | None = None) -> None:
        """Start with nothing but what errors are to name.

        Args:
            status: The HTTP status.
            path: The path of the call. For ``/api/create`` the success of a pull is told from its own.
            model: The model that was asked for.
        """
        self.done: bool = False
        self.partial: Progress | None = None
        self._status = status
        self._path = path
        self._model = model
        self._layers = _Layers()
        self._pulling = False  # inside a create
        self._succeeded = False

    def feed(self, line: bytes) -> list[Progress]:
        """Take one line; return the progress in it, which is one.

        Raises:
            InvalidResponse: The line is no progress.
            StreamError: The line is the server's report of an error.
        """
        if self.done:
            return []
        try:
            chunk = parse_chunk(line)
        except ApiError:
            raise stream_refusal(line, status=self._status, path=self._path, model=self._model) from None
        except InvalidBody as error:
            message = f"a line of the stream is not as the API says ({error}): {shown(line)}"
            raise InvalidResponse(message, status=self._status, body=line, model=self._model) from None
        return [self._take(chunk)]

    def _take(self, chunk: ProgressChunk) -> Progress:
        digest = chunk.digest or ""
        completed, total = _bytes(chunk.completed or 0), _bytes(chunk.total or 0)
        layer, key = _Layer(), None
        if digest or completed or total:
            key = (chunk.status, digest)
            layer = self._layers.tell(key, completed, total)
        self._layers.leave(key)
        self._note_success(chunk.status)
        return self._tell(chunk.status, digest, layer)

    def _note_success(self, status: str) -> None:
        """Tell the success of a create from that of a pull in it, which begins with a line of its own."""
        self._pulling = self._pulling or (status == "pulling manifest" and self._path == "/api/create")
        self._succeeded = status == _SUCCESS and not self._pulling
        if status == _SUCCESS:
            self._pulling = False

    def hashing(self, completed: int, total: int) -> Progress:
        """Take note how far the hashing of a file is, before it is uploaded: nothing that counts overall.

        Args:
            completed: Bytes of it that are hashed.
            total: Its size in bytes, or 0 where that is not known yet.
        """
        layer = _Layer()
        layer.tell(_bytes(completed), _bytes(total))
        return self._tell("hashing", "", layer)

    def uploading(self, digest: str, completed: int, total: int) -> Progress:
        """Take note how far an upload of this client is, before the server says anything.

        Uploads may take turns. To have the fraction know of all of them from the start, tell each once
        with nothing completed; tell one that the server has already as complete.

        Args:
            digest: The blob.
            completed: Bytes of it that are sent; an upload that starts anew does not go back.
            total: Its size in bytes.
        """
        layer = self._layers.tell(("uploading", digest), _bytes(completed), _bytes(total))
        return self._tell("uploading", digest, layer)

    def _tell(self, status: str, digest: str, layer: _Layer) -> Progress:
        overall = self._layers.overall(success=self._succeeded)
        self.partial = Progress(status, digest, layer.completed, layer.total, overall)
        return self.partial

    def feed_rest(self, line: bytes) -> list[Progress]:
        """Take a last line that nothing terminated, and do with it as `feed` does.

        Raises:
            StreamTruncated: It is the beginning of a line.
        """
        if not self.done and line.lstrip().startswith(b"{"):
            try:
                msgspec.json.decode(line)
            except (msgspec.MsgspecError, ValueError):
                raise self._truncated(f"in the middle of a line, {shown(line)}", body=line) from None
            except RecursionError:
                pass  # it is all there
        return self.feed(line)

    def finish(self) -> None:
        """Take note that there are no more lines.

        Raises:
            StreamTruncated: The last one was not success.
        """
        if not self._succeeded:
            last = f"the last step was {self.partial.status!r:.80}" if self.partial else "there was no step"
            raise self._truncated(f"without success ({last})")
        self.done = True

    def _truncated(self, how: str, body: bytes = b"") -> StreamTruncated:
        message = f"the stream ended {how}; how far it had come is in .partial"
        return StreamTruncated(message, status=self._status, body=body, model=self._model)


def _bytes(number: int) -> int:
    return min(max(number, 0), _MOST_BYTES)
