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
            CannotCompare: The address is not one, holds a password, or what the environment says about
                proxies and certificates cannot be used.
        """
        if "@" in url:
            # Wherever it stands: a password with a slash in it looks like a path. It is shown nowhere.
            raise CannotCompare(
                "The address has a user or a password before an '@', which Ollama does not support: "
                "write http://server:11434."
            )
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        try:
            address = httpx.URL(self.url)
        except (httpx.InvalidURL, ValueError) as error:
            raise CannotCompare(f"{url}: is not an address: {one_line(error)}.") from error
        if address.scheme not in {"http", "https"} or not address.host:
            raise CannotCompare(
                f"{url}: is not an address of a server; it looks like http://127.0.0.1:11434."
            )
        try:
            self._client = httpx.Client(
                timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
                headers={"Accept-Encoding": "identity", "User-Agent": "ollama-ext-drift"},
                # A proxy of the environment cannot reach this machine's own addresses.
                trust_env=not _is_loopback(address.host),
            )
        except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
            raise CannotCompare(f"{self.url}: cannot be asked: {_bad_environment(error)}.") from error

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
        try:
            request = self._client.build_request(method, f"{self.url}{path}", json=body)
            response = self._client.send(request, stream=True)
            try:
                content = bytearray()
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > _MOST_BYTES:
                        raise CannotCompare(f"{self.url}: the answer to {method} {path} does not end.")
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError, OSError) as error:
            raise CannotCompare(f"{self.url}: does not answer {method} {path}: {_reason(error)}.") from error
        content_type = response.headers.get("content-type", "")
        return Answer(
            status=response.status_code,
            content_type=content_type.partition(";")[0].strip().lower(),
            body=bytes(content),
        )


def _bad_environment(error: Exception) -> str:
    """What to look at. The error's own text may hold the password of a proxy, and is not shown."""
    if isinstance(error, OSError):  # first: errors of certificates are ValueErrors too
        return f"SSL_CERT_FILE or SSL_CERT_DIR names no usable certificates ({type(error).__name__})"
    if isinstance(error, ImportError):
        return "a proxy in ALL_PROXY, HTTP_PROXY or HTTPS_PROXY needs a package that is not installed"
    return "ALL_PROXY, HTTP_PROXY, HTTPS_PROXY or NO_PROXY has an address that is none, such as http://proxy:3128"


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "a label of the server's or the proxy's name is empty, too long or not text"
    # Many time-outs of httpx have no text.
    return (one_line(error) or type(error).__name__).rstrip(".")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
