"""Names of models, read as Ollama's server reads them: ``[scheme://][host/][namespace/]model[:tag]``.

`parse_name` splits any text as Ollama does, however odd the result, and `ModelName.valid` is Ollama's
verdict on it; `checked_name` is for names that must be good, and says what is wrong with the others.
`parse_reference` is what the server does before that to the ``model`` of a request: it takes off the
suffixes ``:cloud`` and ``:local``. Values only: whether there is such a model is the server's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from .errors import InvalidArgument
from .hosts import GO_WHITE_SPACE

if TYPE_CHECKING:
    from typing import NoReturn

#: Where a reference wants its model to run.
Source = Literal["unspecified", "local", "cloud"]

# Ollama's mark for a part whose separator is there but which is empty itself; "!" makes it invalid.
_MISSING = "!MISSING!"
# The longest each part may be in characters, and what it may hold after its first character besides
# ASCII letters and digits. In this order they are the levels of a model store.
_PARTS = {"host": (350, "_-.:"), "namespace": (80, "_-"), "model": (80, "_-."), "tag": (80, "_-.")}
_MOST_SLASHES = 2  # after the scheme


class ModelName(msgspec.Struct, frozen=True, kw_only=True):
    """The name of a model in its parts, valid or not; `parse_name` makes it.

    Upper and lower case are kept as given. Two values are equal only if they are so letter by letter;
    whether they name the same model is asked of `same_as`.

    Attributes:
        scheme: What stood before ``://``, else ``https``. Ollama accepts any and uses none.
        host: The registry, with its port if it has one.
        namespace: The user or organization there.
        model: The model itself.
        tag: Its variant.
    """

    scheme: str = ""
    host: str = ""
    namespace: str = ""
    model: str = ""
    tag: str = ""

    @property
    def valid(self) -> bool:
        """Whether Ollama takes this for the name of a model: all four parts from host to tag are good."""
        return _part_fault(self) is None

    @property
    def fully_qualified(self) -> bool:
        """The same as `valid`: for Ollama a name is valid when no part is missing or malformed."""
        return self.valid

    @property
    def short(self) -> str:
        """The name as Ollama lists it: without host and namespace where they are the defaults.

        The tag is always there: ``llama3.2:latest``, ``user/model:1b``, ``hf.co/user/model:Q4_K_M``.
        """
        name = _filled(self, DEFAULT_NAME)
        if _folded(name.host) != _folded(DEFAULT_NAME.host):
            return f"{name.host}/{name.namespace}/{name.model}:{name.tag}"
        if _folded(name.namespace) != _folded(DEFAULT_NAME.namespace):
            return f"{name.namespace}/{name.model}:{name.tag}"
        return f"{name.model}:{name.tag}"

    @property
    def full(self) -> str:
        """All parts but the scheme, as in ``registry.ollama.ai/library/llama3.2:latest``."""
        host = self.host and f"{self.host}/"
        namespace = self.namespace and f"{self.namespace}/"
        tag = self.tag and f":{self.tag}"
        return f"{host}{namespace}{self.model}{tag}"

    @property
    def path(self) -> str:
        """Where a model store keeps the manifest, below ``manifests``: ``host/namespace/model/tag``.

        Raises:
            InvalidArgument: The name is not valid. A valid one leads nowhere else: no part holds a
                ``/`` or begins with a dot.
        """
        fault = _part_fault(self)
        if fault is not None:
            _refuse(self.full, fault)
        return f"{self.host}/{self.namespace}/{self.model}/{self.tag}"

    def same_as(self, other: ModelName) -> bool:
        """Tell whether both name the same model: defaults filled in, case and scheme ignored.

        Ollama looks its models up like this (two exceptions, which compare letter by letter: ``from`` of
        a create, and the legacy ``/api/embeddings``).
        """
        mine, theirs = _filled(self, DEFAULT_NAME), _filled(other, DEFAULT_NAME)
        return all(_folded(getattr(mine, part)) == _folded(getattr(theirs, part)) for part in _PARTS)


#: What Ollama fills in for the parts that a name leaves out.
DEFAULT_NAME = ModelName(scheme="https", host="registry.ollama.ai", namespace="library", tag="latest")


class ModelReference(msgspec.Struct, frozen=True, kw_only=True):
    """What the ``model`` of a request means to the server; `parse_reference` makes it.

    Attributes:
        model: The text without its suffix and without white space around it.
        source: What the suffix said: ``cloud``, ``local``, or ``unspecified`` without one.
    """

    model: str
    source: Source

    @property
    def name(self) -> ModelName:
        """The name of the model, valid or not."""
        return parse_name(self.model)


def parse_name(text: str, *, defaults: ModelName = DEFAULT_NAME) -> ModelName:
    """Split a name into its parts as Ollama does; whether it is a good one, `ModelName.valid` tells.

    Bytes that are not UTF-8 may be in the text as `os.fsdecode` has them; no valid name holds any.
    Parts that Ollama finds empty beside their separator are ``!MISSING!``, as in Ollama.

    Source: ``types/model/name.go`` of Ollama (``ParseName``; with ``defaults=ModelName()``
    ``ParseNameBare``).

    Args:
        text: Any text.
        defaults: Fills the parts that the text leaves out. Its model is not used.

    Raises:
        InvalidArgument: ``text`` is not a string.
    """
    _check_type(text)
    # No tag holds a slash, so a colon before the last slash belongs to a scheme or a port.
    rest, tag = _cut(text, ":") if text.rfind(":") > text.rfind("/") else (text, "")
    scheme = host = namespace = ""
    if "/" not in rest:
        model = rest
    else:
        rest, model = _cut(rest, "/")
        if "/" not in rest:
            namespace = rest
        else:
            rest, namespace = _cut(rest, "/")
            scheme, separator, host = rest.partition("://")
            if not separator:
                scheme, host = "", rest
    bare = ModelName(scheme=scheme, host=host, namespace=namespace, model=model, tag=tag)
    return _filled(bare, defaults)


def checked_name(text: str) -> ModelName:
    """Read a name that must be good.

    Raises:
        InvalidArgument: Ollama does not take it for the name of a model. The message says which part is
            wrong and what to write.
    """
    name = parse_name(text)
    fault = _part_fault(name)
    if fault is not None:
        _refuse(text, _text_fault(text) or _shape_fault(text, name) or fault)
    return name


def parse_reference(text: str) -> ModelReference:
    """Take the source off what a request calls its model, as the server does.

    The last ``:cloud`` or ``:local``, in any case, is the source; so is the end of a tag that ends in
    ``-cloud``: ``gpt-oss:20b-cloud`` is ``gpt-oss:20b`` in the cloud. The server reads the ``model`` of
    generate, chat, embed, show, delete and pull, and the ``from`` of create, like this; the names of
    copy and push, and of what create makes, it takes as they are.

    Source: ``internal/modelref`` of Ollama (``ParseRef``).

    Raises:
        InvalidArgument: The text is not a string, is blank, or has two sources.
    """
    _check_type(text)
    text = text.strip(GO_WHITE_SPACE)
    if not text:
        _refuse(text, "is empty: write a name such as 'llama3.2' or 'llama3.2:1b'")
    model, source = _split_source(text)
    if source != "unspecified" and _split_source(model)[1] != "unspecified":
        _refuse(text, "has two sources: end it with one ':cloud' or ':local', not both")
    return ModelReference(model=model, source=source)


def _split_source(text: str) -> tuple[str, Source]:
    before, colon, after = text.rpartition(":")
    after = after.strip(GO_WHITE_SPACE)
    ending = after.lower()
    if not colon:
        return text, "unspecified"
    if ending in {"cloud", "local"}:
        return before, "cloud" if ending == "cloud" else "local"
    if ending.endswith("-cloud") and "/" not in after:
        return f"{before}:{after[: -len('-cloud')]}", "cloud"
    return text, "unspecified"


def _cut(text: str, separator: str) -> tuple[str, str]:
    before, _, after = text.rpartition(separator)
    return before or _MISSING, after or _MISSING


def _filled(name: ModelName, defaults: ModelName) -> ModelName:
    return ModelName(
        scheme=name.scheme or defaults.scheme,
        host=name.host or defaults.host,
        namespace=name.namespace or defaults.namespace,
        model=name.model,
        tag=name.tag or defaults.tag,
    )


def _folded(part: str) -> bytes:
    """Fold the case of ASCII letters only, so that no invalid look-alike equals a valid name."""
    return part.encode("utf-8", "surrogatepass").lower()


def _part_fault(name: ModelName) -> str | None:
    """Return what is wrong with the first bad part, and the rule for it."""
    for part, (longest, marks) in _PARTS.items():
        value: str = getattr(name, part)
        problem = _problem(part, value, longest, marks)
        if problem:
            others = " ".join(marks)
            return (
                f"{problem}: write 1 to {longest} ASCII letters, digits and {others} as {part}, the first "
                "one a letter, a digit or _"
            )
    return None


def _problem(part: str, value: str, longest: int, marks: str) -> str | None:
    if not value:
        return f"has no {part}"
    if len(value) > longest:
        return f"has a {part} of {len(value)} characters"
    for position, char in enumerate(value):
        if not (char.isascii() and (char.isalnum() or char in marks)):
            return f"has {char!r} in its {part} {value!r:.200}"
        if position == 0 and char in marks and char != "_":
            return f"has {char!r} at the start of its {part} {value!r:.200}"
    return None


def _text_fault(text: str) -> str | None:
    """Return what is wrong with an invalid text as a whole, and the remedy."""
    if not text:
        return "is empty: write a name such as 'llama3.2' or 'llama3.2:1b'"
    if "@" in text:
        return "has an '@', but Ollama supports no digests in names: write a tag, as in 'llama3.2:1b'"
    stripped = text.strip(GO_WHITE_SPACE)
    if parse_name(stripped).valid:
        return f"has white space around it: write {stripped!r}"
    model, source = _split_source(text)
    if parse_name(model).valid:
        return f"has the source {source!r} after its tag, which only requests may name: write {model!r}"
    return None


def _shape_fault(text: str, name: ModelName) -> str | None:
    """Return which parts there are too many or too few of, and the remedy."""
    _, after_scheme, rest = text.rpartition("://")
    slashes = rest.count("/")
    if after_scheme and slashes != _MOST_SLASHES:
        return "has a scheme, but not the three parts that must follow it: write 'https://host/namespace/model:tag'"
    if slashes > _MOST_SLASHES:
        return "has more than three parts between slashes: write at most 'host/namespace/model:tag'"
    missing = [part for part in _PARTS if getattr(name, part) == _MISSING]
    if missing and _MISSING not in text:
        separator = ":" if missing == ["tag"] or not slashes else "/"
        return f"has a {separator!r} but no {missing[0]} beside it: write one, or leave the {separator!r} out"
    host, slash, model = text.partition("/")
    looks_like_host = ("." in host or ":" in host) and _problem("host", host, *_PARTS["host"]) is None
    if slash and host == name.namespace and looks_like_host:
        likely = f"{host}/NAMESPACE/{model}"
        return f"has a host but no namespace (which has no '.' and no ':'): write {likely!r:.200}"
    return None


def _check_type(text: str) -> None:
    if not isinstance(text, str):
        kind = type(text).__name__
        raise InvalidArgument(
            f"The name of a model must be text such as 'llama3.2:1b', not {kind}.", argument="model"
        )


def _refuse(text: str, fault: str) -> NoReturn:
    raise InvalidArgument(f"The model name {text!r:.200} {fault}.", argument="model", model=text)
