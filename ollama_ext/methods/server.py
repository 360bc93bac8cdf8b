"""The server itself, its account, the web through it, and routes that are newer than this library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from ollama_openapi import models as bodies
from ollama_openapi.api import account, server, web

from ollama_ext import arguments
from ollama_ext.raw import raw_request, read_raw
from ollama_ext.repeats import Repeat

from .base import Methods

if TYPE_CHECKING:
    from ollama_openapi.models import StatusResponse, UserResponse, WebFetchResponse, WebSearchResponse

    from ollama_ext.options import BodyOptions, CallOptions

#: Methods by which nothing is changed, whatever the route.
_READING = frozenset({"GET", "HEAD"})


class ServerMethods(Methods):
    """Methods about the server."""

    def server_version(self, **call: Unpack[CallOptions]) -> str:
        """Return the version of the server, such as ``0.33.0``."""
        return self._calls.ask(server.server_version, None, call).version

    def server_status(self, **call: Unpack[CallOptions]) -> StatusResponse:
        """Return whether the server may use models of the cloud, and what decided it."""
        return self._calls.ask(server.server_status, None, call)

    def whoami(self, **call: Unpack[CallOptions]) -> UserResponse:
        """Return the account that the server is signed in with.

        Raises:
            Unauthorized: It is signed in with none; ``signin_url`` says where to.
        """
        return self._calls.ask(account.whoami, None, call)

    def sign_out(self, **call: Unpack[CallOptions]) -> None:
        """Sign the server out of its account.

        Raises:
            Unauthorized: It is signed in with none.
        """
        self._calls.ask(account.sign_out, None, call, Repeat.ONCE)

    def web_search(
        self, query: str, *, max_results: int | None = None, **call: Unpack[BodyOptions]
    ) -> WebSearchResponse:
        """Search the web through the server's account at ollama.com.

        Args:
            query: What to search for.
            max_results: How many results to return; Ollama's default is 5, the most 10.
            **call: What every call takes, see `BodyOptions`.
        """
        fields = {"query": query, "max_results": max_results}
        request = arguments.body(bodies.WebSearchRequest, fields, call.pop("extra_body", None))
        return self._calls.ask(web.web_search, request, call, Repeat.ONCE)

    def web_fetch(self, url: str, **call: Unpack[BodyOptions]) -> WebFetchResponse:
        """Fetch a page through the server's account at ollama.com, as text."""
        request = arguments.body(bodies.WebFetchRequest, {"url": url}, call.pop("extra_body", None))
        return self._calls.ask(web.web_fetch, request, call, Repeat.ONCE)

    def request(self, method: str, path: str, *, json: Any = None, **call: Unpack[CallOptions]) -> Any:
        """Call a route that this library has no method for, such as one of a newer server.

        Args:
            method: ``GET``, ``POST``, ...; only GET and HEAD are tried again after a broken connection.
            path: From the server's root, with its query: ``/api/new?x=1``. What the host has as a prefix is
                put before it.
            json: The body, as values that JSON has; None sends none.
            **call: What every call takes, see `CallOptions`.

        Returns:
            The decoded JSON of the answer; a list of all lines where it is a stream of them; its text where
            it is text; None where it has no body.

        Raises:
            OllamaError: The same errors that every other method raises.
        """
        request = raw_request(method, path, json)
        repeat = Repeat.SAFE if request.method in _READING else Repeat.ONCE
        return self._calls.send(
            lambda: request, lambda answer: read_raw(answer, path), None, self._calls.begin(call), repeat
        )
