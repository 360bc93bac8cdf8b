"""Ask a running server, one request after the other. The only module here that knows httpx."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from drift.document import CannotCompare, one_line

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

# No answer of a read-only route comes near this; something that is not Ollama might never end.
_MOST_BYTES = 64 * 1024 * 1024
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; `content_type` is without parameters and in small letters."""

    status: int
    content_type: str
    body: bytes


class Server:
    """A server at an address. Use it as a context manager, which closes the connections."""

    def __init__(self, url: str, timeout: float) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: Address of the server; `http://` may be left out.
            timeout: Most seconds to wait for the next bytes of an answer.

        Raises:
            CannotCompare: The address is not one.
        """
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        try:
            address = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise CannotCompare(f"{url}: is not an address: {one_line(error)}.") from error
        if address.scheme not in {"http", "https"} or not address.host:
            raise CannotCompare(
                f"{url}: is not an address of a server; it looks like http://127.0.0.1:11434."
            )
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
            headers={"Accept-Encoding": "identity", "User-Agent": "ollama-ext-drift"},
            # A proxy of the environment cannot reach this machine's own addresses.
            trust_env=not _is_loopback(address.host),
        )

    def __enter__(self) -> Self:
        """Give the server itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request and read the whole answer.

        Args:
            method: Such as `GET`.
            path: From `/` on.
            body: What to send as JSON; nothing where None.

        Raises:
            CannotCompare: No answer came, or one without end.
        """
        request = self._client.build_request(method, f"{self.url}{path}", json=body)
        if body is None:
            request = self._client.build_request(method, f"{self.url}{path}")
        try:
            response = self._client.send(request, stream=True)
            try:
                content = bytearray()
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > _MOST_BYTES:
                        raise CannotCompare(f"{self.url}: the answer to {method} {path} does not end.")
            finally:
                response.close()
        except httpx.HTTPError as error:
            # Many time-outs of httpx have no text.
            reason = one_line(error) or type(error).__name__
            raise CannotCompare(
                f"{self.url}: does not answer {method} {path}: {reason.rstrip('.')}."
            ) from error
        content_type = response.headers.get("content-type", "")
        return Answer(
            status=response.status_code,
            content_type=content_type.partition(";")[0].strip().lower(),
            body=bytes(content),
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
