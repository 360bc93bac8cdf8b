"""The client: where the server is, and how it is to be talked to. What it can be asked is in `methods`."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Final, Self, Unpack

from .calls import Calls
from .errors import InvalidArgument
from .hosts import host_from_environment, parse_host
from .methods.inference import InferenceMethods
from .methods.models import ModelMethods
from .methods.running import RunningMethods
from .methods.server import ServerMethods
from .methods.transfers import TransferMethods
from .options import Defaults, default_headers
from .retry import RetryPolicy
from .timeouts import Timeouts
from .transport import Transport, TransportSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

    from .options import ClientOptions

_TIMEOUTS: Final = Timeouts()
_RETRIES: Final = RetryPolicy()


class Client(InferenceMethods, ModelMethods, RunningMethods, TransferMethods, ServerMethods):
    """A client of one Ollama server. Share it between threads; close it, or use ``with``.

    Making one opens no connection. Every call raises errors of the tree in `ollama_ext.errors`:
    `InvalidArgument` before anything is sent, `ConnectionFailed` and `OllamaTimeout` when there is no answer,
    `ResponseError` when the server refuses, `InvalidResponse` when the answer is not what the API promises.

    Args:
        host: Address of the server in any form that Ollama's own client takes (``gpu1``,
            ``10.0.0.5:11434``, ``https://host/prefix``). Left out: ``$OLLAMA_HOST``, else
            ``http://127.0.0.1:11434``.
        timeout: `Timeouts`, or seconds for a whole call, or None for no limit. Nothing waits for ever unless
            it is told to.
        retry: When a call is made again, or None for never.
        headers: Sent with every request.
        api_key: Sent as a bearer token, to https hosts only. ``$OLLAMA_API_KEY`` is sent to
            ``https://ollama.com`` and nowhere else.
        allow_plain_http_key: Whether ``api_key`` may cross the network in the clear.
        verify: Which certificates to trust: True for those of certifi, or of ``$SSL_CERT_FILE`` or
            ``$SSL_CERT_DIR``; an `ssl.SSLContext` of your own; False for all.
        proxy: URL of a proxy. Left out: that of the environment, if it names one for the host; never for a
            host on this machine.
        trust_env: Whether the environment's proxies and certificates count.
        max_connections: How many connections may be open at a time; a call beyond that waits for another
            one's end. Left out: as many as there are calls.
        max_idle_connections: How many connections are kept for later calls, for a minute.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        timeout: Timeouts | float | None = _TIMEOUTS,
        retry: RetryPolicy | None = _RETRIES,
        headers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        allow_plain_http_key: bool = False,
        verify: ssl.SSLContext | bool = True,
        proxy: str | None = None,
        trust_env: bool = True,
        max_connections: int | None = None,
        max_idle_connections: int = 20,
    ) -> None:
        """Take note of where the server is."""
        if host is not None and not isinstance(host, str):
            kind = type(host).__name__
            raise InvalidArgument(f"host must be a string, not {kind}", argument="host")
        self._host = host_from_environment() if host is None else parse_host(host)
        settings = TransportSettings(
            verify=verify,
            proxy=proxy,
            trust_env=trust_env,
            max_connections=max_connections,
            max_idle_connections=max_idle_connections,
        )
        defaults = Defaults(
            timeout,
            retry,
            default_headers(self._host, headers, api_key, allow_plain_http_key=allow_plain_http_key),
            allow_plain_http_key=allow_plain_http_key,
        )
        self._calls = Calls(Transport(self._host, settings), defaults)

    @property
    def host(self) -> str:
        """The URL that requests go to."""
        return self._host.dial_url

    def with_options(self, **options: Unpack[ClientOptions]) -> Self:
        """Return a client with other defaults that shares the connections of this one.

        What is left out stays as it is; headers are added to this client's. Closing either closes both.
        """
        other = copy(self)
        other._calls = Calls(  # noqa: SLF001 - it is one of us
            self._calls.transport, self._calls.defaults.replaced(self._host, options)
        )
        return other

    def close(self) -> None:
        """Close every connection, those of open streams too."""
        self._calls.close()

    def __repr__(self) -> str:
        """Show where the server is."""
        return f"Client({self.host!r})"

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self.close()
