"""`FleetClient`: the methods of `ollama_ext.Client` that run a model, answered by the workers of a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, Unpack, cast

import msgspec
from ollama_openapi.api import inference

from ollama_ext import arguments
from ollama_ext.errors import InvalidArgument
from ollama_ext.methods.inference import WholeReplies
from ollama_ext.options import Defaults
from ollama_ext.replies import EmbedReply, all_embedded
from ollama_ext.retry import RetryPolicy
from ollama_ext.settings import AmqpSettings, Settings, redacted

from .queued import QueuedCalls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from ollama_openapi.models import Options

    from ollama_ext.arguments import KeepAlive
    from ollama_ext.calls import Calls as HttpCalls
    from ollama_ext.options import BodyOptions
    from ollama_ext.timeouts import Timeouts


# Seconds for a call that says nothing else, and how many texts of an embed go into one message.
_TIMEOUT: Final = 600.0
_TEXTS: Final = 64
_RETRIES: Final = RetryPolicy()


class FleetClient(WholeReplies):
    """A client of a fleet: `chat`, `generate` and `embed` as `ollama_ext.Client` has them, over RabbitMQ.

    Whichever worker is free answers. A call ends with the reply, with the error that `Client` would have
    raised, or with a `FleetError`. What a worker or a connection loses on the way is done again: a request
    may run twice, and its caller sees one reply. Share one between threads; close it, or use ``with``.

    Making one opens no connection, the first call does. Headers and other options of HTTP have no meaning
    here.
    """

    def __init__(
        self,
        broker: str | AmqpSettings | None = None,
        *,
        exchange: str | None = None,
        timeout: Timeouts | float | None = _TIMEOUT,
        retry: RetryPolicy | None = _RETRIES,
        max_in_flight: int = 64,
        name: str = "ollama-ext caller",
    ) -> None:
        """Take note of where the broker is.

        Args:
            broker: URL of the broker, such as ``amqp://user:password@host/vhost``, or the settings of one.
                Left out: what ``$OLLAMA_EXT_AMQP__URL`` and its like say, else this machine's.
            exchange: Where requests are published, if not where the settings say.
            timeout: Seconds for a whole call, or `Timeouts`, whose ``total`` counts or else its
                ``first_byte``, or None for no limit. The broker drops a request that has waited for so long.
            retry: When a call is made again that the queue had no room for, or None for never.
            max_in_flight: How many requests may wait for their replies at once; more wait in their threads.
            name: Of the connections, as the broker's management UI shows them.

        Raises:
            InvalidArgument: An argument cannot be right.
        """
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise InvalidArgument(
                f"max_in_flight must be a whole number from 1 on, not {max_in_flight!r:.40}",
                argument="max_in_flight",
            )
        settings = _settings_of(broker, exchange)
        self._addresses = ", ".join(redacted(url) for url in settings.urls)
        self._queued = QueuedCalls(
            settings, Defaults(timeout, retry, {}, allow_plain_http_key=False), max_in_flight, name
        )
        # It answers what `WholeReplies` asks of the calls of a client, and no more is asked.
        self._calls = cast("HttpCalls", self._queued)

    def embed(
        self,
        model: str,
        input: str | Sequence[str] | None,  # noqa: A002 - the API's name
        *,
        truncate: bool | None = None,
        dimensions: int | None = None,
        options: Mapping[str, Any] | Options | None = None,
        keep_alive: KeepAlive | None = None,
        **call: Unpack[BodyOptions],
    ) -> EmbedReply:
        """Turn texts into vectors, as `Client.embed` does.

        A long list is cut into messages of 64 texts, which all free workers share; the vectors come in the
        order of the texts, and the usage is the sum. If one message fails, so does the call.
        """
        told: dict[str, Any] = {
            "truncate": truncate,
            "dimensions": dimensions,
            "options": options,
            "keep_alive": keep_alive,
        }
        if not isinstance(input, list | tuple) or len(input) <= _TEXTS:
            return super().embed(model, input, **told, **call)
        texts = list(input)
        parts = [texts[start : start + _TEXTS] for start in range(0, len(texts), _TEXTS)]
        extra = call.pop("extra_body", None)
        requests = [arguments.embed_request({"model": model, "input": part, **told}, extra) for part in parts]
        begun = self._queued.begin(call)
        return all_embedded(
            _joined(self._queued.replies(inference.embed, EmbedReply, requests, begun)), texts
        )

    def close(self) -> None:
        """Close the connections; calls that wait end with an error."""
        self._queued.close()

    def __repr__(self) -> str:
        """Show where the broker is, without the password."""
        return f"FleetClient({self._addresses!r})"

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()


def _joined(replies: Sequence[EmbedReply]) -> EmbedReply:
    """Return the replies to the parts of a list as one: vectors in order, numbers summed."""
    results = [reply.result.to_dict() for reply in replies]
    whole = dict(results[0])
    whole["embeddings"] = [vector for result in results for vector in result["embeddings"]]
    for name in ("prompt_eval_count", "total_duration", "load_duration"):
        if any(name in result for result in results):
            whole[name] = sum(result.get(name) or 0 for result in results)
    return EmbedReply(type(replies[0].result).from_dict(whole), replies[0].status)


def _settings_of(broker: Any, exchange: str | None) -> AmqpSettings:
    if isinstance(broker, AmqpSettings):
        return broker if exchange is None else msgspec.structs.replace(broker, exchange=exchange)
    if broker is not None and not isinstance(broker, str):
        kind = type(broker).__name__
        raise InvalidArgument(f"broker must be a URL or AmqpSettings, not {kind}", argument="broker")
    return Settings.load(None, overrides={"amqp.url": broker, "amqp.exchange": exchange}).amqp
