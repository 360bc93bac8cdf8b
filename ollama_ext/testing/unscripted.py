"""What a server says to a request that no test scripted, as far as the recordings tell.

Its rules are the docstring of `FakeOllama`, where users read them.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from .catalog import full_name
from .folding import fold
from .inference import choose_chat, choose_generate
from .responses import Json, Lines, Recording, Response
from .routes import misrouted
from .vectors import embed

if TYPE_CHECKING:
    from collections.abc import Callable

    from .catalog import Catalog
    from .recordings import RecordedExchange
    from .requests import RecordedRequest

_Fields = dict[str, Any]

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_JSON_KINDS: dict[type, str] = {bool: "bool", str: "string", int: "number", float: "number"}
_REQUEST_TYPES = {
    "/api/show": "ShowRequest",
    "/api/chat": "ChatRequest",
    "/api/generate": "GenerateRequest",
    "/api/embed": "EmbedRequest",
    "/api/embeddings": "EmbeddingRequest",
    "/api/pull": "PullRequest",
    "/api/push": "PushRequest",
    "/api/create": "CreateRequest",
    "/api/copy": "CopyRequest",
    "/api/delete": "DeleteRequest",
}


class Unscripted:
    """The answers of a server of one recorded version.

    It keeps one thing from request to request: the digests of the blobs that were pushed.
    """

    def __init__(self, known: Catalog) -> None:
        """Take the recordings to answer from."""
        self._catalog = known
        self._blobs: set[str] = set()
        self._posts: dict[str, Callable[[_Fields], Response | None]] = {
            "/api/show": self._show,
            "/api/chat": self._chat,
            "/api/generate": self._generate,
            "/api/embed": self._embed,
            "/api/embeddings": self._embeddings,
            "/api/copy": self._copy,
            "/api/delete": self._delete,
        }

    def answer(self, request: RecordedRequest) -> Response:
        """Return what the server would say."""
        method, path = request.method, request.path
        refused = misrouted(method, path, self._catalog.version)
        if refused is not None:
            return refused
        if path.startswith("/api/blobs/"):
            return self._blob(request, unquote(path.rpartition("/")[2]))
        if method in {"GET", "HEAD"}:
            return self._get(request)
        return self._post(request)

    # -- requests without a body

    def _get(self, request: RecordedRequest) -> Response:
        fixed = {
            "/": self._catalog.get_or_newest("root"),
            "/api/tags": self._catalog.tags,
            "/api/ps": self._catalog.running,
            "/api/version": self._catalog.get("version"),
            "/api/status": self._catalog.get("status"),
            "/api/experimental/model-recommendations": self._catalog.get("model-recommendations"),
        }
        found = fixed.get(request.path)
        return self._nothing_recorded(request) if found is None else _replay(found)

    # -- blobs, which are more useful alive than replayed

    def _blob(self, request: RecordedRequest, digest: str) -> Response:
        head = request.method == "HEAD"
        if not _DIGEST.fullmatch(digest):
            if head:
                return _replay(self._catalog.get_or_newest("blob-head-bad-digest"))
            return Json({"error": "invalid digest format"}, 400)
        if head:
            there = digest.replace("-", ":", 1) in self._blobs
            return _replay(self._catalog.get_or_newest("blob-head-present" if there else "blob-head-missing"))
        if digest in self._blobs:
            return _replay(self._catalog.get_or_newest("blob-push-exists"))
        true = f"sha256:{request.body_sha256}"
        self._blobs.add(true)  # whatever the path says: a mismatched upload stays, as in Ollama
        if digest == true:
            return _replay(self._catalog.get_or_newest("blob-push-created"))
        recorded = self._catalog.get_or_newest("blob-push-wrong-digest")
        sent = hashlib.sha256(recorded.request.body or b"").hexdigest()
        named = recorded.request.path.rpartition("/")[2]
        return _reworded(recorded, {named: digest, f"sha256:{sent}": true})

    # -- requests with a JSON body

    def _post(self, request: RecordedRequest) -> Response:
        fields = self._decoded(request)
        if isinstance(fields, Response):
            return fields
        handler = self._posts.get(request.path)
        if handler is not None:
            answer = handler(fields)
        else:
            same = self._catalog.same_request(request.method, request.path, fields)
            same = same or (self._catalog.get("me-offline") if request.path == "/api/me" else None)
            answer = None if same is None else _replay(same)
        return answer or self._nothing_recorded(request, fields.get("model"))

    def _decoded(self, request: RecordedRequest) -> _Fields | Response:
        """Return the fields of the body, or what the server says to a body that has none."""
        kind = _REQUEST_TYPES.get(request.path)
        text = request.body.decode("utf-8", errors="replace").lstrip()
        if not text:
            return {} if kind is None else _replay(self._catalog.get_or_newest("chat-empty-body"))
        try:  # Go's decoder reads one value and leaves what follows it alone
            value, _ = cast("tuple[object, int]", json.JSONDecoder().raw_decode(text))
        except (ValueError, RecursionError):
            return _replay(self._catalog.get_or_newest("chat-bad-json"))
        if value is None:
            return {}
        if isinstance(value, dict):
            fields = cast("_Fields", value)
            return {name.lower(): field for name, field in fields.items()}
        found = "array" if isinstance(value, list) else _JSON_KINDS[type(value)]
        where = f"api.{kind}" if kind else "map[string]interface {}"
        return Json({"error": f"json: cannot unmarshal {found} into Go value of type {where}"}, 400)

    def _show(self, fields: _Fields) -> Response | None:
        model = _model(fields)
        if not model:
            return _replay(self._catalog.get_or_newest("show-empty-name"))
        if not self._catalog.knows(model):
            return self._missing("show-missing", model)
        found = self._catalog.show(model)
        return None if found is None else _replay(found)

    def _chat(self, fields: _Fields) -> Response | None:
        model = _model(fields)
        if not model:
            return _replay(self._catalog.get_or_newest("show-empty-name"))  # the same words
        if not self._catalog.knows(model):
            return self._missing("chat-missing-model", model)
        return self._inference(choose_chat(self._catalog, model, fields), model, fields)

    def _generate(self, fields: _Fields) -> Response | None:
        model = _model(fields)
        if not self._catalog.knows(model):
            own = "generate-missing-model"
            name = own if self._catalog.get(own) else "chat-missing-model"  # one wording for both
            return self._missing(name, model)
        if fields.get("prompt") and not self._catalog.can(model, "completion"):
            return Json({"error": f'"{model}" does not support generate'}, 400)
        return self._inference(choose_generate(self._catalog, model, fields), model, fields)

    def _inference(self, chosen: RecordedExchange | None, model: str, fields: _Fields) -> Response | None:
        if chosen is None:
            return None
        asked = chosen.request.json()["model"]
        if chosen.response.status >= 400:  # noqa: PLR2004 - client and server errors
            return _reworded(chosen, {asked: model})
        streamed = chosen.response.content_type == "application/x-ndjson"
        if streamed and fields.get("stream") is False:
            folded = fold(cast("list[_Fields]", chosen.response.lines()))
            return Json({**folded, "model": model})
        if asked == model:
            return _replay(chosen)
        if streamed:  # the server echoes the name as it was asked for
            return Lines(*({**line, "model": model} for line in chosen.response.lines()))
        return Json({**chosen.response.json(), "model": model})

    def _embed(self, fields: _Fields) -> Response | None:
        model = _model(fields)
        if not model:
            return self._missing("chat-missing-model", model)
        if not self._catalog.knows(model):
            return self._missing("embed-missing-model", model)
        return embed(self._catalog, model, fields)

    def _embeddings(self, fields: _Fields) -> Response | None:
        model = _model(fields)
        if not model:
            return _replay(self._catalog.get_or_newest("show-empty-name"))
        if not self._catalog.knows(model):
            return self._missing("embed-missing-model", model)
        if not fields.get("prompt"):
            return Json({"embedding": []})
        return _replay(self._catalog.get_or_newest("embeddings-legacy"))

    def _copy(self, fields: _Fields) -> Response | None:
        source = _printable(fields.get("source"))
        if self._catalog.knows(source):
            return _replay(self._catalog.get_or_newest("copy"))
        return self._missing("copy-missing", source)

    def _delete(self, fields: _Fields) -> Response | None:
        model = _model(fields)
        if self._catalog.knows(model):
            return _replay(self._catalog.get_or_newest("delete"))
        return self._missing("delete-missing", model)

    def _missing(self, name: str, model: str) -> Response:
        """Return the recorded words for a missing model, about this model."""
        recorded = self._catalog.get_or_newest(name)
        body = recorded.request.json()
        asked = str(body.get("model") or body.get("source"))
        words = recorded.response.json()["error"]
        if f"{asked}:latest" in words:  # some versions name the tag that was not asked for
            return _reworded(recorded, {f"{asked}:latest": _tagged(model)})
        return _reworded(recorded, {asked: model})

    def _nothing_recorded(self, request: RecordedRequest, model: object = None) -> Response:
        about = f" for model {model!r}" if model else ""
        return Json(
            {
                "error": f"ollama_ext.testing: no recording of {self._catalog.version} fits "
                f"{request.method} {request.path}{about}; script one: "
                f'server.on("{request.method}", "{request.path}", ...)'
            },
            501,
        )


def _replay(exchange: RecordedExchange) -> Response:
    return Recording(exchange.name, exchange.version)


def _reworded(exchange: RecordedExchange, names: dict[str, str]) -> Response:
    """Return a recorded error with other names in its words."""
    if all(old == new for old, new in names.items()):
        return _replay(exchange)
    words = cast("str", exchange.response.json()["error"])
    for old, new in names.items():
        words = words.replace(old, new)
    return Json({"error": words}, exchange.response.status)


def _model(fields: _Fields) -> str:
    model = fields.get("model") or fields.get("name")  # the older spelling of some routes
    return _printable(model)


def _printable(value: object) -> str:
    """Return a text without lone surrogates, which JSON can write and UTF-8 cannot; else ``""``."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _tagged(model: str) -> str:
    return model if full_name(model) == model.lower() else f"{model}:latest"
