"""From what a server answers instead of a reply to the error that a user would want to catch.

Pure: status, headers and body in, an error of `ollama_ext.errors` out, which says in the server's own words
what is wrong, and then what to do about it.

The status decides on the class, except where Ollama's is no help: the texts it then goes by are in the tables
below, read off the sources and recordings of v0.9 to v0.33. They are sentences of Ollama and of its runner,
never those of Go's decoders, which change with the version of Go. A text that no table knows costs the
remedy, never the error.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from .errors import (
    BadRequest,
    ContextOverflow,
    Forbidden,
    ModelNotFound,
    ModelNotInRegistry,
    RateLimited,
    ResponseError,
    RouteNotFound,
    ServerBusy,
    ServerError,
    StreamError,
    Unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

E = TypeVar("E", ResponseError, StreamError)

_SHOWN_BYTES = 200
# Limits in characters: on the server's words in a message, on a name, path or address in it, and on the words
# that are searched (a runner's last lines can be 8 KiB, and a search takes longer than the text is long).
_LONGEST_WORDS = 450
_LONGEST_NAME = 120
_LONGEST_URL = 300
_LONGEST_SEARCHED = 10_000
_LONGEST_WAIT = 366 * 86_400.0  # seconds
_LARGEST_COUNT = 10**15

_OK, _MOVED, _BAD, _FORBIDDEN, _FAILED, _END = 200, 300, 400, 403, 500, 600
_GONE = {404, 410}
_NEVER_LATER = {501, 505}  # a method or a version of HTTP that the server does not have


class _Known(msgspec.Struct, frozen=True):
    """A text that servers send, as a pattern; what to do about it; whether a repeat has a fair chance."""

    pattern: str
    remedy: str
    retryable: bool = False


_SEE_LOG = "the server's log says more"
#: What goes wrong on the server's machine, whoever asks. A runner that died is started again by the next
#: request; a model that does not load will not do so the next time either.
_MACHINE = (
    _Known(
        r"model runner has unexpectedly stopped|error was encountered while running the model",
        "check the server's log, the model may not fit in memory; the next request starts a new runner",
        retryable=True,
    ),
    _Known(
        r"out[ _-]?of[ _-]?(device[ _-]?)?memory|(not enough|insufficient|more system) memory"
        r"|failed to allocate|allocation failed|malloc failed|unable to load full model on GPU"
        r"|model requires .* but only .* available",
        "the model does not fit in the server's memory: take a smaller one or a smaller num_ctx, or unload "
        "others; " + _SEE_LOG,
    ),
    _Known(
        r"(error|failed|unable|failure) (loading|to load|while loading) model"
        r"|(be incompatible|no longer compatible) with your version of Ollama",
        "update Ollama, or fetch the model again with pull_model(); " + _SEE_LOG,
    ),
    _Known(
        r"NaN or Inf|unsupported value: NaN",
        "the model computes no numbers from this input; " + _SEE_LOG,
    ),
    _Known(
        r"timed out waiting for (llama-server|llama runner) to start|timeout waiting for mlx runner",
        "the model loads too slowly: OLLAMA_LOAD_TIMEOUT of the server is the limit",
        retryable=True,
    ),
    _Known(
        r"(llama-server|runner) process (has terminated|(is )?no longer running)|mlx runner (failed|exited)"
        r"|do embedding request: |(error|failed) reading (embed|llama-server)[a-z ]* response"
        r"|unexpected server status|server not responding|llm server error|^health resp: "
        r'|Post "http://127\.0\.0\.1:\d+/(?!v2/)|^connection refused$',  # v2: a registry on this machine
        "the model's runner died; check the server's log, the model may not fit in memory; the next request "
        "starts a new one",
        retryable=True,
    ),
)
#: What is wrong with the request, also where Ollama says 500.
_REQUEST = (
    _Known(r"^invalid format: ", 'format= takes "json" or a JSON Schema'),
    _Known(r'^option ".*" must be of type ', "give that option in options= a value of that type"),
    _Known(r"^template( error)?: ", "the template is no Go template: mend it, or leave it out"),
    _Known(
        r"quantization is only supported for|requires an unquantized", "start from an F16, BF16 or F32 file"
    ),
    _Known(r"unsupported quantization type", "quantize= takes names such as 'q4_K_M' and 'q8_0'"),
    _Known(
        r"does not support (chat|generate|completion|insert|tools|thinking|vision|audio|embed|image|multi)",
        "show_model() lists what a model is capable of",
    ),
    _Known(
        r"^invalid model name$|^unqualified name: |^(name|source|destination) \".*\" is invalid$",
        "a name is [host/][namespace/]model[:tag], as in 'llama3.2:1b'",
    ),
    _Known(
        r"^digest mismatch, expected ", "the bytes are not those of the digest: were they changed meanwhile?"
    ),
    _Known(
        r"^ollama cloud is disabled",
        "the server runs with OLLAMA_NO_CLOUD or cloud switched off: take a local model, or switch it on",
    ),
    _Known(r"^you are not currently signed in", "there is nothing to sign out of"),
    _Known(r"cannot run this remote model", "its host is not among OLLAMA_REMOTES of the server"),
    _Known(
        r"^open .*[/\\]blobs[/\\]sha256-.*: (no such file|The system cannot find)",
        "the server lacks a file of the model: push_blob() sends it",
    ),
    _Known(r"requires MLX support|MLX is not supported", "the server's machine cannot run such a model"),
)
#: What goes wrong between the server and a registry, or ollama.com.
_NETWORK = (
    _Known(
        r"^digest mismatch, file must be downloaded again",
        "the server threw the damaged file away: pull again; if it stays so, the registry's copy is damaged",
    ),
    _Known(
        r"unauthorized|access denied|(^|manifest: )40[13]: ",
        "the server's account may not do this in that registry: sign it in with `ollama signin`, and push to "
        "a namespace of its own",
    ),
    _Known(
        r"insecure protocol http|look like a TLS handshake|HTTP response to HTTPS",
        "insecure=True allows http",
    ),
    _Known(r"x509: |certificate", "the server does not trust the certificate of that host"),
    _Known(r"no space left on device|not enough space on the disk", "the server's disk is full"),
    _Known(r"permission denied|Access is denied", "the server may not write its model store"),
    _Known(
        r"^file does not exist$",
        "the registry lacks a file of the model, or the namespace that it is pushed to",
    ),
    _Known(
        r"(^|manifest: )(429|5\d\d): |http status (429|5\d\d)|unexpected status code (429|5\d\d)",
        "the registry is busy or failing: try later",
        retryable=True,
    ),
    _Known(
        r"no such host|dial tcp|connection (refused|reset)|broken pipe|i/o timeout|handshake timeout|EOF$"
        r"|context deadline exceeded|(network|host) is unreachable|no route to host|max retries exceeded"
        r"|part stalled|lookup .*: (server misbehaving|temporary failure)",
        "the server cannot reach that host: its network, DNS or HTTPS_PROXY; try later",
        retryable=True,
    ),
)
# Context lengths: of Ollama, of its runners (llama.cpp's also names the batch), of older versions.
_OVERFLOW = (
    r"exceeds (the |the model's )?(maximum )?context length|longer than the context length"
    r"|exceeds the available context size|too large to process.*physical batch size"
)
_COUNTS = (
    r"\((\d{1,15}) tokens\) (?:exceeds|is too large)(?:.* (?:length|context size) \((\d{1,15}) tokens\))?"
)
_NO_MODEL = r"""\bmodel (['"])(.*?)\1 not found"""
_NO_MANIFEST = r"^open .*[/\\]manifests[/\\].*: (no such file|The system cannot find)"
_NOT_IN_REGISTRY = "pull model manifest: file does not exist"
# The statuses that Ollama gives to one and the same of these, by endpoint and version.
_WORDS_DECIDE = {None, 400, 404, 410, 413, 422, 500}

_ROUTE = "nothing there answers this call to {path}: is the host (host= or OLLAMA_HOST) right, {more}"
_FOREIGN = (
    "the server refuses the Host or the Origin of the request: call it by its own address, or set "
    "OLLAMA_HOST (for an Origin: OLLAMA_ORIGINS) on its machine"
)
_NOT_OLLAMA = "that is no answer of Ollama itself: of a proxy before it?"
# The classes that statuses stand for, each with a remedy where no text tells a better one.
_CLASSES: dict[int, tuple[type[ResponseError], str]] = {
    401: (
        Unauthorized,
        "sign in with `ollama signin` on the server's machine, or give api_key= for https://ollama.com",
    ),
    402: (Forbidden, "the account's plan or credit does not cover this: see https://ollama.com/settings"),
    403: (Forbidden, _FOREIGN),
    404: (RouteNotFound, _ROUTE),
    405: (RouteNotFound, _ROUTE),
    407: (Unauthorized, "a proxy wants a user and a password, which belong into its URL"),
    408: (ServerError, "the server, or a proxy before it, waited too long for the request"),
    410: (RouteNotFound, _ROUTE),
    413: (BadRequest, "a proxy before Ollama limits the size of a request; Ollama itself does not"),
    429: (RateLimited, "wait, then try again"),
    499: (
        ServerError,
        "the server takes its caller to have left: a proxy in between may have cut the connection",
    ),
    503: (ServerBusy, "the server, or a proxy before it, cannot serve now: try later"),
}
_BUSY = (
    _Known(
        r"server busy",
        "its queue is full: try later; OLLAMA_MAX_QUEUE of the server is how many may wait, "
        "OLLAMA_NUM_PARALLEL how many run at once",
    ),
    _Known(
        r"account unavailable",
        "the server could not ask ollama.com who it is signed in as: is it offline? Local models work "
        "all the same",
    ),
)

#: Which texts are looked for where a status has said the class; those of the request elsewhere.
_TEXTS: dict[type[ResponseError], tuple[_Known, ...]] = {
    ServerError: (*_MACHINE, *_REQUEST, *_NETWORK),
    ServerBusy: _BUSY,
}


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, path: str, model: str | None = None
) -> ResponseError:
    """Return the error that an answer stands for, ready to be raised.

    Args:
        status: That of the answer. A status of success is right where the body reports an error.
        headers: Those of the answer, with names in lower case. Of their values only an address to which
            the answer redirects is told, and that without user, password and query.
        body: That of the answer.
        path: What was asked, such as ``/api/chat``.
        model: Which model the call is about.
    """
    answer = _Answer(body, path, model, status)
    verdict = answer.verdict(headers)
    kind, remedy = verdict.kind, verdict.remedy
    known: dict[str, Any] = {"status": status, "body": body, "model": model}
    known["retry_after"] = wait = _retry_after(headers, answer.fields)
    if issubclass(kind, ContextOverflow):
        known["input_tokens"], known["context_length"] = answer.counts()
    if issubclass(kind, Unauthorized):
        known["signin_url"] = answer.signin_url
    if issubclass(kind, RateLimited) and wait:
        remedy = f"wait {wait:.0f} s, then try again"
    start = f"HTTP status {status}" + (", but an error" if _OK <= status < _MOVED else "")
    moved = _MOVED <= status < _BAD and "location" in headers  # its body repeats the address, whole
    error = kind(_message(start, "" if moved else _line(answer.words), remedy), **known)
    return _marked(error, verdict.retryable)


def stream_refusal(
    line: bytes, *, status: int = _OK, path: str = "", model: str | None = None
) -> StreamError:
    """Return the error that a line ``{"error": ...}`` inside a stream stands for, ready to be raised.

    It is a `ModelNotInRegistry`, which is a `ModelNotFound` too, where the registry has no such model (pull,
    create) or the server itself has none to push; `StreamError` otherwise.

    Args:
        line: The line.
        status: That of the answer that holds the stream.
        path: What was asked, such as ``/api/pull``.
        model: Which model the call is about.
    """
    answer = _Answer(line, path, model, status)
    told = _line(answer.words) or "the server reported an error in the stream, and did not say which"
    verdict = answer.stream_verdict()
    error = verdict.kind(_message("", told, verdict.remedy), status=status, body=line, model=model)
    return _marked(error, verdict.retryable)


def error_text(body: bytes) -> str:
    """Return what an error body says, in words that fit a message; empty if it says nothing.

    Ollama sends ``{"error": text}``; the text of a runner's error is JSON once more
    (``{"error": {"code": ..., "message": text}}``), which is unwrapped. Anything else is told if it is a
    line of text, such as "404 page not found", and shown from its start if not, such as a proxy's HTML.
    """
    return _line(_words(body))


def reported(body: bytes | str) -> str | None:
    """Return the text of the error in a body, or None if it is not in Ollama's form."""
    value = _decoded(body)
    for key in ("error", "message"):
        if not isinstance(value, dict):
            break
        fields: dict[Any, Any] = value
        value = fields.get(key)
        if isinstance(value, str):
            return value
    return None


def shown(body: bytes) -> str:
    """Return the first bytes of a body, printable, for a message."""
    text = body[:_SHOWN_BYTES].decode("utf-8", errors="replace")
    return repr(text) + (" ..." if len(body) > _SHOWN_BYTES else "")


class _Verdict(msgspec.Struct, Generic[E], frozen=True):
    """A class, what to do about it, and whether a repeat has a fair chance (None: as its class says)."""

    kind: type[E]
    remedy: str = ""
    retryable: bool | None = None


class _Answer:
    """An answer that is no reply, and what it is about.

    Attributes:
        words: What it says, in full.
        text: The same if it is in Ollama's form, else empty: only Ollama's words are searched.
        fields: The fields of its objects; inner ones win.
        code: The status that it stands for: that of HTTP, or the one in the body of a success, or None.
    """

    def __init__(self, body: bytes, path: str, model: str | None, status: int) -> None:
        self.words = _words(body)
        self.text = "" if reported(body) is None else self.words[:_LONGEST_SEARCHED]
        self.fields = _fields(body)
        self.code: int | None = status
        if _OK <= status < _MOVED:
            codes = (_count(self.fields.get(key)) for key in ("StatusCode", "code"))
            self.code = next((each for each in codes if each is not None and _MOVED <= each < _END), None)
        self._path = path.partition("?")[0]
        self._model = model

    def verdict(self, headers: Mapping[str, str]) -> _Verdict[ResponseError]:
        """Return what the answer comes down to."""
        code = self.code
        if code in _WORDS_DECIDE and (verdict := self._by_words()):
            return verdict
        # Embeddings of v0.33 answer 400 to every failure that has no status of its own (server/routes.go).
        if code is None or (code == _BAD and self._path.endswith("/api/embed")):
            if machine := self._known(_MACHINE):
                return _Verdict(ServerError, machine.remedy, machine.retryable)
            if code is None:
                return _Verdict(ResponseError)
        if code in _GONE and (verdict := self._gone(headers)):
            return verdict
        kind, remedy = _class_of(code)
        if known := self._known(_TEXTS.get(kind, _REQUEST)):
            return _Verdict(kind, known.remedy, known.retryable if kind is ServerError else None)
        return _Verdict(kind, self._filled(kind, remedy, headers), False if code in _NEVER_LATER else None)

    def stream_verdict(self) -> _Verdict[StreamError]:
        """Return what an error line of a stream comes down to."""
        if verdict := self._by_words():
            lost = issubclass(verdict.kind, ModelNotFound)
            return _Verdict(ModelNotInRegistry if lost else StreamError, verdict.remedy)
        if self.signin_url:
            return _Verdict(StreamError, self._filled(Unauthorized, "", {}))
        if known := self._known(_TEXTS[ServerError]):
            return _Verdict(StreamError, known.remedy, known.retryable)
        later = self.code is not None and _class_of(self.code)[0].retryable and self.code not in _NEVER_LATER
        return _Verdict(StreamError, "", later)

    def _by_words(self) -> _Verdict[ResponseError] | None:
        """Return what the words alone decide."""
        if re.search(_OVERFLOW, self.text, re.IGNORECASE):
            embed = self._path.endswith("/api/embed")
            other = (
                "leave out truncate=False" if embed else "raise num_ctx in options= as far as the model goes"
            )
            remedy = f"shorten the input, or {other}"
            tokens, context = self.counts()
            if tokens is not None and context is not None:
                remedy = f"{tokens} tokens of input, a context of {context}: {remedy}"
            return _Verdict(ContextOverflow, remedy)
        if self.text == _NOT_IN_REGISTRY:
            name = f"model {_quoted(self._model, _LONGEST_NAME)}" if self._model else "such model"
            lost = "model by the name in from_" if self._path.endswith("/api/create") else name
            return _Verdict(
                ModelNotInRegistry, f"the registry has no {lost}: is the name right, and its tag?"
            )
        if re.search(_NO_MANIFEST, self.text) or re.search(_NO_MODEL, self.text):
            return self._no_model()
        return None

    def _gone(self, headers: Mapping[str, str]) -> _Verdict[ResponseError] | None:
        """Return what is not there, if it is a model or a blob and not the path."""
        if re.search(r"\bmodel\b", self.text, re.IGNORECASE):
            return self._no_model()
        # A HEAD has no body; the type tells Ollama's answer from that of something without such a path.
        if "/api/blobs/" in self._path and headers.get("content-type", "").startswith("application/json"):
            digest = self._path.rpartition("/")[2]
            return _Verdict(ResponseError, f"the server has no blob {_quoted(digest, _LONGEST_NAME)}")
        return None

    def _no_model(self) -> _Verdict[ResponseError]:
        found = re.search(_NO_MODEL, self.text)
        if name := self._model or (found[2] if found else ""):
            pull = f"pull_model({_quoted(name, _LONGEST_NAME)}) fetches it"
        else:
            pull = "name a model"
        return _Verdict(ModelNotFound, f"{pull}, list_models() lists what is there")

    def _filled(self, kind: type[ResponseError], remedy: str, headers: Mapping[str, str]) -> str:
        """Return the remedy of a status, with what is known of the case."""
        if kind is RouteNotFound:
            doubled = next((end for end in ("/v1", "/api") if f"{end}/api/" in self._path), "")
            more = f"without {doubled!r} at its end?" if doubled else "and its Ollama new enough?"
            return remedy.format(path=_quoted(self._path, _LONGEST_URL), more=more)
        if kind is Unauthorized and (url := self.signin_url):
            fits = len(url) <= _LONGEST_URL and re.fullmatch(r"[!-~]+", url)
            return f"sign in at {url} first" if fits else "sign in at the address in signin_url first"
        if kind is ResponseError and (location := headers.get("location")):
            return f"it redirects to {_address(location)}, which is not followed: is that the host?"
        if kind is Forbidden and self.code == _FORBIDDEN and self.words:
            return ""  # it says why; the check of Host and Origin does not
        return remedy or (_NOT_OLLAMA if kind is ServerError and not self.text else "")

    def _known(self, texts: Iterable[_Known]) -> _Known | None:
        """Return the first of these texts that the answer holds."""
        return next((each for each in texts if re.search(each.pattern, self.text, re.IGNORECASE)), None)

    def counts(self) -> tuple[int | None, int | None]:
        """Return how long the input is, and how long the context, in tokens."""
        found = re.search(_COUNTS, self.text)
        tokens, context = found.groups() if found else (None, None)
        said = _count(self.fields.get("n_prompt_tokens")), _count(self.fields.get("n_ctx"))
        return (
            int(tokens) if said[0] is None and tokens else said[0],
            int(context) if said[1] is None and context else said[1],
        )

    @property
    def signin_url(self) -> str | None:
        """Where to sign in, if the answer says so."""
        url = self.fields.get("signin_url")
        return url if isinstance(url, str) and re.match(r"https?://", url) else None


def _class_of(code: int) -> tuple[type[ResponseError], str]:
    if code in _CLASSES:
        return _CLASSES[code]
    if _BAD <= code < _FAILED:
        return BadRequest, ""
    return (ServerError if _FAILED <= code < _END else ResponseError), ""


def _marked(error: E, retryable: bool | None) -> E:
    if retryable is not None and retryable is not error.retryable:
        error.retryable = retryable
    return error


# -- reading a body


def _decoded(data: bytes | str) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _words(body: bytes) -> str:
    words = reported(body)
    if words is None:
        text = body.decode("utf-8", errors="replace").strip()
        return text if text.isprintable() and len(body) <= _SHOWN_BYTES else shown(body)
    while (inner := _inner(words)) is not None:  # ends: what is inside is shorter
        words = inner
    if not words.strip():  # of a remote model, where Ollama writes all its error knows
        status = _fields(body).get("Status")
        words = status if isinstance(status, str) else ""
    return words.strip()


def _inner(words: str) -> str | None:
    """Return the text of the error that a text is the JSON of, else None."""
    if (inner := reported(words)) is not None:
        return inner
    # Where memory ran out, Ollama puts the last lines of its runner below the runner's JSON.
    head, _, rest = words.partition("\n")
    inner = reported(head) if rest else None
    return None if inner is None else f"{inner}\n{rest}"


def _fields(body: bytes) -> dict[Any, Any]:
    """Return the fields of an error body and of the objects in its ``error``, one inside the other."""
    found: dict[Any, Any] = {}
    value: object = body
    while True:
        if isinstance(value, bytes | str):
            whole = _decoded(value)
            value = _decoded(value.partition("\n")[0]) if whole is None and isinstance(value, str) else whole
        if not isinstance(value, dict):
            return found
        found |= value
        value = value.get("error")


def _count(value: object) -> int | None:
    """Return a number of tokens, or a status, if it can be one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < _LARGEST_COUNT else None


def _retry_after(headers: Mapping[str, str], fields: Mapping[Any, Any]) -> float | None:
    """Return how many seconds to wait, by the header (RFC 9110, section 10.2.3), else the body, if any."""
    text = headers.get("retry-after", "").strip()
    if not text:
        value = fields.get("retry_after")
        text = str(value) if isinstance(value, int | float | str) else ""
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text, re.ASCII):
        return min(float(text), _LONGEST_WAIT)
    until = _timestamp(text)
    if until is None:
        return None
    now = _timestamp(headers.get("date", ""))  # the server's own clock, which need not agree with ours
    return min(max(until - (time.time() if now is None else now), 0.0), _LONGEST_WAIT)


def _timestamp(text: str) -> float | None:
    """Return a date of HTTP as seconds since 1970, or None if it is none."""
    if not text[:1].isalpha():  # a date begins with the day of the week
        return None
    from datetime import UTC  # noqa: PLC0415 - as the next one
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - slow to import, and rarely needed

    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is one of UTC (RFC 9110, section 5.6.7), not of this machine.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


# -- writing a message


def _message(start: str, words: str, remedy: str) -> str:
    message = ": ".join(filter(None, (start, words)))
    return f"{message} ({remedy})" if remedy else message


def _line(text: str) -> str:
    """Return a text as one printable line, not too long, without what may be a secret in it."""
    line = text[: 4 * _LONGEST_WORDS]
    # Downloads go to addresses whose query is a signature, and Go's errors hold the address.
    line = re.sub(r"://[^\s/\"'<>]*@", "://", line)
    line = re.sub(r"(://[^\s?#\"'<>]*)[?#][^\s\"'<>]+", r"\1?...", line)
    line = re.sub(r"\b(Bearer|Basic) [\w.~+/=-]{16,}", r"\1 ...", line, flags=re.IGNORECASE)
    line = re.sub(r"\s*[\r\n\t\v\f]\s*", " ", line).strip()
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)
    whole = len(line) <= _LONGEST_WORDS and len(text) <= 4 * _LONGEST_WORDS
    return line if whole else line[:_LONGEST_WORDS] + " ..."


def _quoted(text: str, longest: int) -> str:
    return (
        repr(text) if len(text) <= longest and text.isprintable() else repr(text[:longest])[:longest] + "..."
    )


def _address(location: str) -> str:
    """Return where an answer redirects to, without user, password, query and fragment."""
    location = re.split(r"[?#]", location, maxsplit=1)[0]
    location = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:[/\\]*|[/\\]{2,})[^/\\]*@", r"\1", location)
    return _quoted(location, _SHOWN_BYTES)
