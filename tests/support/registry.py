"""A model registry on 127.0.0.1, as small as Ollama's pushes and pulls allow: plain HTTP, all in memory."""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Generator

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Registry(ThreadingHTTPServer):
    """The blobs and manifests that were pushed.

    Attributes:
        blobs: By digest.
        manifests: By path.
        cut_downloads: How many downloads of a blob are still to be cut in the middle.
    """

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a port of the system's choice."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.cut_downloads = 0

    @property
    def address(self) -> str:
        """What a model's name begins with to be found here."""
        return f"127.0.0.1:{self.server_address[1]}"


@contextmanager
def registry() -> Generator[Registry]:
    """Run a registry inside the ``with`` block."""
    with Registry() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Registry  # pyright: ignore[reportIncompatibleVariableOverride] - it serves no other
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        self._body()
        number = str(len(self.server.uploads))
        self.server.uploads[number] = b""
        self._answer(202, headers={"Location": f"http://{self.server.address}/uploads/{number}"})

    def do_PATCH(self) -> None:
        number = urlsplit(self.path).path.rpartition("/")[2]
        self.server.uploads[number] += self._body()
        self._answer(202, headers={"Location": f"http://{self.server.address}/uploads/{number}"})

    def do_PUT(self) -> None:
        url, body = urlsplit(self.path), self._body()
        if "/manifests/" in url.path:
            self.server.manifests[url.path] = body
        else:
            content = self.server.uploads[url.path.rpartition("/")[2]] + body
            (digest,) = parse_qs(url.query)["digest"]
            if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
                self._answer(400)
                return
            self.server.blobs[digest] = content
        self._answer(201)

    def _get(self) -> None:
        manifest = self.server.manifests.get(self.path)
        content = manifest if manifest is not None else self.server.blobs.get(self.path.rpartition("/")[2])
        if content is None:
            self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        elif self.command == "GET" and manifest is None and not self.path.startswith("/data/"):
            # Ollama downloads from where the registry sends it to, which must be another host.
            digest, port = self.path.rpartition("/")[2], self.server.server_address[1]
            self._answer(307, headers={"Location": f"http://localhost:{port}/data/{digest}"})
        elif wanted := _RANGE.fullmatch(self.headers.get("Range", "")):
            first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
            told = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
            self._answer(206, content[first : last + 1], told)
        else:
            self._answer(200, content)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if status == 206 and self.server.cut_downloads:
            self.server.cut_downloads -= 1
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(content)
