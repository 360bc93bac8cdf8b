"""From what a server answers instead of a reply to the error that a user would want to catch.

Pure: status, headers and body in, an error of `ollama_ext.errors` out, which says in the server's own words
what is wrong, and then what to do about it.

The status decides on the class, except where Ollama's is no help: then it goes by the texts of
`refusal_texts`, which are sentences of Ollama and of its runner, never those of Go's decoders, which change
with the version of Go. A text that no table knows costs the remedy, never the error.
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
    ServerError,
    StreamError,
    Unauthorized,
)
from .refusal_texts import (
    CLASSES,
    COUNTS,
    MACHINE,
    NO_MANIFEST,
    NO_MODEL,
    NOT_IN_REGISTRY,
    NOT_OLLAMA,
    OVERFLOW,
    REQUEST,
    TEXTS,
    WORDS_DECIDE,
    Known,
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
        if code in WORDS_DECIDE and (verdict := self._by_words()):
            return verdict
        # Embeddings of v0.33 answer 400 to every failure that has no status of its own (server/routes.go).
        if code is None or (code == _BAD and self._path.endswith("/api/embed")):
            if machine := self._known(MACHINE):
                return _Verdict(ServerError, machine.remedy, machine.retryable)
            if code is None:
                return _Verdict(ResponseError)
        if code in _GONE and (verdict := self._gone(headers)):
            return verdict
        kind, remedy = _class_of(code)
        if known := self._known(TEXTS.get(kind, REQUEST)):
            return _Verdict(kind, known.remedy, known.retryable if kind is ServerError else None)
        return _Verdict(kind, self._filled(kind, remedy, headers), False if code in _NEVER_LATER else None)

    def stream_verdict(self) -> _Verdict[StreamError]:
        """Return what an error line of a stream comes down to."""
        if verdict := self._by_words():
            lost = issubclass(verdict.kind, ModelNotFound)
            return _Verdict(ModelNotInRegistry if lost else StreamError, verdict.remedy)
        if self.signin_url:
            return _Verdict(StreamError, self._filled(Unauthorized, "", {}))
        if known := self._known(TEXTS[ServerError]):
            return _Verdict(StreamError, known.remedy, known.retryable)
        later = self.code is not None and _class_of(self.code)[0].retryable and self.code not in _NEVER_LATER
        return _Verdict(StreamError, "", later)

    def _by_words(self) -> _Verdict[ResponseError] | None:
        """Return what the words alone decide."""
        if re.search(OVERFLOW, self.text, re.IGNORECASE):
            embed = self._path.endswith("/api/embed")
            other = (
                "leave out truncate=False" if embed else "raise num_ctx in options= as far as the model goes"
            )
            remedy = f"shorten the input, or {other}"
            tokens, context = self.counts()
            if tokens is not None and context is not None:
                remedy = f"{tokens} tokens of input, a context of {context}: {remedy}"
            return _Verdict(ContextOverflow, remedy)
        if self.text == NOT_IN_REGISTRY:
            name = f"model {_quoted(self._model, _LONGEST_NAME)}" if self._model else "such model"
            lost = "model by the name in from_" if self._path.endswith("/api/create") else name
            return _Verdict(
                ModelNotInRegistry, f"the registry has no {lost}: is the name right, and its tag?"
            )
        if re.search(NO_MANIFEST, self.text) or re.search(NO_MODEL, self.text):
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
        found = re.search(NO_MODEL, self.text)
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
        return remedy or (NOT_OLLAMA if kind is ServerError and not self.text else "")

    def _known(self, texts: Iterable[Known]) -> Known | None:
        """Return the first of these texts that the answer holds."""
        return next((each for each in texts if re.search(each.pattern, self.text, re.IGNORECASE)), None)

    def counts(self) -> tuple[int | None, int | None]:
        """Return how long the input is, and how long the context, in tokens."""
        found = re.search(COUNTS, self.text)
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
    if code in CLASSES:
        return CLASSES[code]
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
