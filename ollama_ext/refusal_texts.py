"""The sentences by which Ollama and its runner are known to refuse, and what to do about each.

Read off the sources and recordings of v0.9 to v0.33. Patterns are strings: nothing is compiled at import.
"""

from __future__ import annotations

import msgspec

from .errors import (
    BadRequest,
    Forbidden,
    RateLimited,
    ResponseError,
    RouteNotFound,
    ServerBusy,
    ServerError,
    Unauthorized,
)


class Known(msgspec.Struct, frozen=True):
    """A text that servers send, as a pattern; what to do about it; whether a repeat has a fair chance."""

    pattern: str
    remedy: str
    retryable: bool = False


SEE_LOG = "the server's log says more"
#: What goes wrong on the server's machine, whoever asks. A runner that died is started again by the next
#: request; a model that does not load will not do so the next time either.
MACHINE = (
    Known(
        r"model runner has unexpectedly stopped|error was encountered while running the model",
        "check the server's log, the model may not fit in memory; the next request starts a new runner",
        retryable=True,
    ),
    Known(
        r"out[ _-]?of[ _-]?(device[ _-]?)?memory|(not enough|insufficient|more system) memory"
        r"|failed to allocate|allocation failed|malloc failed|unable to load full model on GPU"
        r"|model requires .* but only .* available",
        "the model does not fit in the server's memory: take a smaller one or a smaller num_ctx, or unload "
        "others; " + SEE_LOG,
    ),
    Known(
        r"(error|failed|unable|failure) (loading|to load|while loading) model"
        r"|(be incompatible|no longer compatible) with your version of Ollama",
        "update Ollama, or fetch the model again with pull_model(); " + SEE_LOG,
    ),
    Known(
        r"NaN or Inf|unsupported value: NaN",
        "the model computes no numbers from this input; " + SEE_LOG,
    ),
    Known(
        r"timed out waiting for (llama-server|llama runner) to start|timeout waiting for mlx runner",
        "the model loads too slowly: OLLAMA_LOAD_TIMEOUT of the server is the limit",
        retryable=True,
    ),
    Known(
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
REQUEST = (
    Known(r"^invalid format: ", 'format= takes "json" or a JSON Schema'),
    Known(r'^option ".*" must be of type ', "give that option in options= a value of that type"),
    Known(r"^template( error)?: ", "the template is no Go template: mend it, or leave it out"),
    Known(
        r"quantization is only supported for|requires an unquantized", "start from an F16, BF16 or F32 file"
    ),
    Known(r"unsupported quantization type", "quantize= takes names such as 'q4_K_M' and 'q8_0'"),
    Known(
        r"does not support (chat|generate|completion|insert|tools|thinking|vision|audio|embed|image|multi)",
        "show_model() lists what a model is capable of",
    ),
    Known(
        r"^invalid model name$|^unqualified name: |^(name|source|destination) \".*\" is invalid$",
        "a name is [host/][namespace/]model[:tag], as in 'llama3.2:1b'",
    ),
    Known(
        r"^digest mismatch, expected ", "the bytes are not those of the digest: were they changed meanwhile?"
    ),
    Known(
        r"^ollama cloud is disabled",
        "the server runs with OLLAMA_NO_CLOUD or cloud switched off: take a local model, or switch it on",
    ),
    Known(r"^you are not currently signed in", "there is nothing to sign out of"),
    Known(r"cannot run this remote model", "its host is not among OLLAMA_REMOTES of the server"),
    Known(
        r"^open .*[/\\]blobs[/\\]sha256-.*: (no such file|The system cannot find)",
        "the server lacks a file of the model: push_blob() sends it",
    ),
    Known(r"requires MLX support|MLX is not supported", "the server's machine cannot run such a model"),
)
#: What goes wrong between the server and a registry, or ollama.com.
NETWORK = (
    Known(
        r"^digest mismatch, file must be downloaded again",
        "the server threw the damaged file away: pull again; if it stays so, the registry's copy is damaged",
    ),
    Known(
        r"unauthorized|access denied|(^|manifest: )40[13]: ",
        "the server's account may not do this in that registry: sign it in with `ollama signin`, and push to "
        "a namespace of its own",
    ),
    Known(
        r"insecure protocol http|look like a TLS handshake|HTTP response to HTTPS",
        "insecure=True allows http",
    ),
    Known(r"x509: |certificate", "the server does not trust the certificate of that host"),
    Known(r"no space left on device|not enough space on the disk", "the server's disk is full"),
    Known(r"permission denied|Access is denied", "the server may not write its model store"),
    Known(
        r"^file does not exist$",
        "the registry lacks a file of the model, or the namespace that it is pushed to",
    ),
    Known(
        r"(^|manifest: )(429|5\d\d): |http status (429|5\d\d)|unexpected status code (429|5\d\d)",
        "the registry is busy or failing: try later",
        retryable=True,
    ),
    Known(
        r"no such host|dial tcp|connection (refused|reset)|broken pipe|i/o timeout|handshake timeout|EOF$"
        r"|context deadline exceeded|(network|host) is unreachable|no route to host|max retries exceeded"
        r"|part stalled|lookup .*: (server misbehaving|temporary failure)",
        "the server cannot reach that host: its network, DNS or HTTPS_PROXY; try later",
        retryable=True,
    ),
)
# Context lengths: of Ollama, of its runners (llama.cpp's also names the batch), of older versions.
OVERFLOW = (
    r"exceeds (the |the model's )?(maximum )?context length|longer than the context length"
    r"|exceeds the available context size|too large to process.*physical batch size"
)
COUNTS = (
    r"\((\d{1,15}) tokens\) (?:exceeds|is too large)(?:.* (?:length|context size) \((\d{1,15}) tokens\))?"
)
NO_MODEL = r"""\bmodel (['"])(.*?)\1 not found"""
NO_MANIFEST = r"^open .*[/\\]manifests[/\\].*: (no such file|The system cannot find)"
NOT_IN_REGISTRY = "pull model manifest: file does not exist"
# The statuses that Ollama gives to one and the same of these, by endpoint and version.
WORDS_DECIDE: set[int | None] = {None, 400, 404, 410, 413, 422, 500}

ROUTE = "nothing there answers this call to {path}: is the host (host= or OLLAMA_HOST) right, {more}"
FOREIGN = (
    "the server refuses the Host or the Origin of the request: call it by its own address, or set "
    "OLLAMA_HOST (for an Origin: OLLAMA_ORIGINS) on its machine"
)
NOT_OLLAMA = "that is no answer of Ollama itself: of a proxy before it?"
# The classes that statuses stand for, each with a remedy where no text tells a better one.
CLASSES: dict[int, tuple[type[ResponseError], str]] = {
    401: (
        Unauthorized,
        "sign in with `ollama signin` on the server's machine, or give api_key= for https://ollama.com",
    ),
    402: (Forbidden, "the account's plan or credit does not cover this: see https://ollama.com/settings"),
    403: (Forbidden, FOREIGN),
    404: (RouteNotFound, ROUTE),
    405: (RouteNotFound, ROUTE),
    407: (Unauthorized, "a proxy wants a user and a password, which belong into its URL"),
    408: (ServerError, "the server, or a proxy before it, waited too long for the request"),
    410: (RouteNotFound, ROUTE),
    413: (BadRequest, "a proxy before Ollama limits the size of a request; Ollama itself does not"),
    429: (RateLimited, "wait, then try again"),
    499: (
        ServerError,
        "the server takes its caller to have left: a proxy in between may have cut the connection",
    ),
    503: (ServerBusy, "the server, or a proxy before it, cannot serve now: try later"),
}
BUSY = (
    Known(
        r"server busy",
        "its queue is full: try later; OLLAMA_MAX_QUEUE of the server is how many may wait, "
        "OLLAMA_NUM_PARALLEL how many run at once",
    ),
    Known(
        r"account unavailable",
        "the server could not ask ollama.com who it is signed in as: is it offline? Local models work "
        "all the same",
    ),
)

#: Which texts are looked for where a status has said the class; those of the request elsewhere.
TEXTS: dict[type[ResponseError], tuple[Known, ...]] = {
    ServerError: (*MACHINE, *REQUEST, *NETWORK),
    ServerBusy: BUSY,
}
