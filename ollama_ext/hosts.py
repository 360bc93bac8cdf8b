"""Which server a text such as ``OLLAMA_HOST`` means, by the rules of Ollama's own client.

`parse_host` reads any text as Ollama does, however odd the result: `Host.listen` and `Host.connect`
are the URLs that Ollama's Go functions ``envconfig.Host`` and ``envconfig.ConnectableHost`` print,
byte for byte. What an HTTP client needs is stricter: `Host.dial_url` is a URL that can be dialled,
or an `InvalidArgument` that says what to write instead.

Values only: nothing here resolves a name or opens a socket.
"""

from __future__ import annotations

import os
import posixpath
import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING
from unicodedata import category
from urllib.parse import quote

import msgspec

from .errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

_LOOPBACK_HOST = "127.0.0.1"
_OLLAMA_PORT = "11434"
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_LARGEST_PORT = 65535

# Python's str.strip() also removes U+001C to U+001F, which Go does not count as white space.
GO_WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
# What Go leaves unescaped in the two parts of a URL, besides the letters, digits and -._~ that
# urllib never escapes. Bytes from 0x80 on are always escaped.
_GO_HOST_SAFE = "!\"$&'()*+,:;<=>[]"
_GO_PATH_SAFE = "$&+,/:;=@"

_SIGNED_DIGITS = re.compile(r"[+-]?[0-9]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
# DNS host names have no underscores, but names of containers and services do, and they resolve.
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
_LONGEST_NAME = 253
_LONGEST_SHOWN = 200


class Host(msgspec.Struct, frozen=True):
    """A server as `parse_host` understood it.

    Its representation never shows a user or a password. `listen` and `connect` can where the text
    holds one: they are what Ollama prints.

    Attributes:
        scheme: What stood before ``://``, as written; ``http`` when nothing did (``https`` for the
            bare name ``ollama.com``).
        host: An address or a name, without the brackets of an IPv6 address. Empty for ``:1234``.
        port: A number from 0 to 65535, as written (Ollama prints ``00080`` as it is).
        path: What followed the first ``/`` after the host, not decoded; the prefix of a reverse
            proxy.
        given: The text itself, without white space and quotes around it, for messages. Whatever
            stands before an ``@`` is replaced by ``***``.
        userinfo: Whether the text holds a user or a password (``http://user:password@server``),
            which Ollama does not support: it takes them for a part of the host.
    """

    scheme: str
    host: str
    port: str
    path: str
    given: str
    userinfo: bool

    def __repr__(self) -> str:
        """Show the fields, unless a password could be in one of them."""
        names = ("given",) if "@" in self.given else self.__struct_fields__
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"Host({fields})"

    @property
    def listen(self) -> str:
        """The URL that a server with this ``OLLAMA_HOST`` binds, as Ollama prints it."""
        return self._printed(_join_host_port(self.host, self.port))

    @property
    def connect(self) -> str:
        """The URL that Ollama's own client connects to, as it prints it.

        It is `listen` with the addresses that mean "every interface" (``0.0.0.0``, ``::``) replaced
        by the loopback address of the same family.
        """
        return self._printed(_join_host_port(self._connect_host, self.port))

    @property
    def dial_url(self) -> str:
        """The URL of the server for an HTTP client: no trailing slash, ready for ``/api/...``.

        It is `connect` with the port as a plain number, ``127.0.0.1`` for an empty host, the path
        cleaned as Ollama's client does (``a//b/../c`` is ``a/c``), names in ASCII (IDNA), and the
        zone of an IPv6 address as resolvers read it (``[fe80::1%eth0]``, where Ollama prints
        ``%25eth0``).

        Raises:
            InvalidArgument: Nothing could be dialled: a scheme other than ``http`` and ``https``, a
                user or password, port 0, or a host that is neither an address nor a name.
        """
        if self.userinfo:
            self._refuse(
                "has a user or a password before an '@', which Ollama does not support",
                "write 'http://server:11434', and send credentials as a header",
            )
        if self.scheme not in _DEFAULT_PORTS:
            self._refuse(
                "has a scheme that is neither http nor https (in lower case)",
                "write 'http://server:11434', 'https://server' or 'server:11434'",
            )
        port = _port_number(self.port)
        if not port:
            self._refuse(
                "has port 0, which a server binds to get any free port, but no client can reach",
                f"write the port that the server listens on, usually {_OLLAMA_PORT}",
            )
        path = posixpath.normpath("/" + self._printed_path.lstrip("/")).rstrip("/")
        return f"{self.scheme}://{self._dial_host()}:{port}{path}"

    @property
    def is_loopback(self) -> bool:
        """Whether a client connects to its own machine: ``localhost``, 127.0.0.0/8 or ``::1``.

        Names are not resolved. A host that cannot be dialled is judged by its text all the same.
        """
        host = self._connect_host
        if host.lower() in {"", "localhost", "localhost."}:
            return True
        address = _parse_ip(host.partition("%")[0])
        return address is not None and address.is_loopback

    @property
    def _connect_host(self) -> str:
        # Ollama prints the address and splits it again; a host with brackets in it changes by that.
        split = _split_host_port(_join_host_port(self.host, self.port))
        if split is None:
            return self.host
        address = _parse_ip(split[0])
        if address is None or not address.is_unspecified:
            return self.host
        return _LOOPBACK_HOST if isinstance(address, IPv4Address) else "::1"

    @property
    def _printed_path(self) -> str:
        # Go leaves a path that is one asterisk alone: that is how HTTP spells OPTIONS for a server.
        return "*" if self.path == "*" else _quote(self.path, _GO_PATH_SAFE)

    def _printed(self, address: str) -> str:
        scheme = f"{self.scheme}:" if self.scheme else ""
        slash = "/" if self.path and not self.path.startswith("/") else ""
        return f"{scheme}//{_quote(address, _GO_HOST_SAFE)}{slash}{self._printed_path}"

    def _dial_host(self) -> str:
        host = self._connect_host or _LOOPBACK_HOST
        if ":" in host:
            return f"[{self._checked_ipv6(host)}]"
        if _parse_ip(host) is not None:
            return host
        if host.startswith("[") or host.endswith("]"):
            self._refuse(
                "has brackets around something that is not an IPv6 address",
                "leave the brackets out",
            )
        name = _ascii_name(host)
        if name is None:
            self._refuse(
                "has a host that is neither an IP address nor a host name",
                "write the host with letters, digits, '-', '_' and '.' "
                "(other alphabets in their 'xn--' form)",
            )
        if _NUMERIC_LABEL.fullmatch(name.removesuffix(".").rpartition(".")[2]):
            # Resolvers read these as octal, short or 32-bit addresses: never what was meant.
            self._refuse(
                "has a number for a host that is not an IPv4 address",
                f"write all four parts ('{_LOOPBACK_HOST}'), or ':{_OLLAMA_PORT}' for a port alone",
            )
        return name

    def _checked_ipv6(self, host: str) -> str:
        address, percent, zone = host.partition("%")
        if _parse_ip(address) is None or (percent and not _ZONE.fullmatch(zone)):
            self._refuse(
                "has colons in a host that is not an IPv6 address",
                f"write 'server:{_OLLAMA_PORT}' or '[::1]:{_OLLAMA_PORT}' "
                f"(with a zone: '[fe80::1%eth0]:{_OLLAMA_PORT}')",
            )
        return host

    def _refuse(self, fault: str, remedy: str) -> NoReturn:
        raise InvalidArgument(
            f"The host {_shown(self.given)} (host= or $OLLAMA_HOST) {fault}: {remedy}.",
            argument="host",
        )


def parse_host(text: str) -> Host:
    """Read a server's address as Ollama reads ``OLLAMA_HOST``.

    The parts are ``[scheme://][host][:port][/path]``; white space and quotes around them are
    dropped. Defaults: scheme ``http``, host ``127.0.0.1``; port 11434 without a scheme, 80 after
    ``http://`` and 443 after ``https://``. The bare name ``ollama.com`` means
    ``https://ollama.com``. Schemes are compared as written, so ``HTTP://`` is not ``http://``.

    As in Ollama nearly every text means something: a port that is not a number from 0 to 65535 is
    replaced by the default, and what cannot be an address is taken for a host. Whether the result
    can be dialled shows in `Host.dial_url`.

    Source: ``envconfig/config.go`` of Ollama (``Var``, ``Host``, ``ConnectableHost``).

    Raises:
        InvalidArgument: ``text`` is not a string, or holds surrogates that stand for no byte and so
            can be in no environment variable.
    """
    value = _go_text(text).strip(GO_WHITE_SPACE).strip("\"'").strip(GO_WHITE_SPACE)
    scheme, separator, rest = value.partition("://")
    default_port = _DEFAULT_PORTS.get(scheme, _OLLAMA_PORT)
    if not separator:
        scheme, rest, default_port = "http", value, _OLLAMA_PORT
        if value == "ollama.com":
            scheme, rest = "https", "ollama.com:443"
    authority, _, path = rest.partition("/")

    split = _split_host_port(authority)
    if split is not None:
        host, port = split
        understood = _port_number(port) is not None
        port = port if understood else default_port
    else:
        address = _parse_ip(authority.strip("[]"))
        host, port = str(address or authority or _LOOPBACK_HOST), default_port
        understood = address is not None or ":" not in authority
    return Host(
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        given=_without_userinfo(value),
        # A password with a slash in it ends the authority early: "http://user:pass/word@server".
        userinfo="@" in scheme + authority or ("@" in path and not understood),
    )


def host_from_environment(environ: Mapping[str, str] = os.environ) -> Host:
    """Read ``OLLAMA_HOST`` from an environment; unset and empty mean ``http://127.0.0.1:11434``.

    Raises:
        InvalidArgument: As `parse_host`; never for a value of the process's own environment.
    """
    return parse_host(environ.get("OLLAMA_HOST", ""))


def _go_text(text: str) -> str:
    """Return the text that Go sees; bytes that are not UTF-8 are surrogates, as in `os.environ`."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- not all check
        raise InvalidArgument(
            f"The host must be text such as 'http://127.0.0.1:11434', not {type(text).__name__}.",
            argument="host",
        )
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgument(
            f"The host {_shown(_without_userinfo(text))} holds a lone surrogate: write it in plain text.",
            argument="host",
        ) from None


def _quote(text: str, safe: str) -> str:
    return quote(text, safe=safe, errors="surrogateescape")


def _split_host_port(address: str) -> tuple[str, str] | None:
    """Split as Go's ``net.SplitHostPort`` does; None where it reports an error."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return None
    if host.startswith("["):
        if not host.endswith("]"):
            return None
        host = host[1:-1]
    elif ":" in host:
        return None
    return None if any(bracket in host + port for bracket in "[]") else (host, port)


def _join_host_port(host: str, port: str) -> str:
    """Join as Go's ``net.JoinHostPort`` does: whatever holds a colon gets brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _port_number(text: str) -> int | None:
    """Return the number that Go reads, signs and leading zeros included, if it is 0 to 65535."""
    if not _SIGNED_DIGITS.fullmatch(text):
        return None
    digits = text.lstrip("+-").lstrip("0")  # int() refuses thousands of digits, zeros too
    if len(digits) > len(str(_LARGEST_PORT)):
        return None
    number = int(digits or "0")
    if number > _LARGEST_PORT or (number and text.startswith("-")):
        return None
    return number


def _parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """Parse as Go's ``net.ParseIP`` does: no zones, and a mapped IPv4 address is that address."""
    if "%" in text:
        return None
    try:
        if ":" not in text:
            return IPv4Address(text)
        address = IPv6Address(text)
    except AddressValueError:
        return None
    return address.ipv4_mapped or address


def _ascii_name(name: str) -> str | None:
    """Return a host name as DNS spells it, or None if it cannot be one."""
    rooted = name.endswith(".")
    labels = [_ascii_label(label) for label in name.removesuffix(".").split(".")]
    if not all(_LABEL.fullmatch(label) for label in labels):
        return None
    joined = ".".join(labels)
    return None if len(joined) > _LONGEST_NAME else joined + "." * rooted


def _ascii_label(label: str) -> str:
    """Return a label in its ``xn--`` form where it needs one; empty if it has none.

    The codec knows IDNA 2003, which turns some letters into others (``ß`` into ``ss``, full-width
    digits into digits). Newer rules disagree on those, so a label that does not come back as it
    went is refused rather than sent to a host that somebody else may own.
    """
    try:
        if label[:4].lower() == "xn--":
            # HTTP stacks decode these to show them, and fail late on what is no encoding at all.
            return label if _is_international(label[4:].encode().decode("punycode")) else ""
        if label.isascii():
            return label
        encoded = label.encode("idna")
        same = encoded.decode("idna") == label.lower() and _is_international(label)
        return encoded.decode("ascii") if same else ""
    except UnicodeError:
        return ""


def _is_international(label: str) -> bool:
    """Tell whether a label has the shape of one in another alphabet.

    That is letters, marks, digits and inner hyphens, and no mark at the start.
    """
    return (
        not label.isascii()
        and not label.startswith("-")
        and not label.endswith("-")
        and not category(label[0]).startswith("M")
        and all(char == "-" or category(char)[0] in "LM" or char.isdecimal() for char in label)
    )


def _without_userinfo(text: str) -> str:
    before, at, after = text.rpartition("@")
    if not at:
        return text
    scheme, separator, _ = before.partition("://")
    kept = scheme + separator if separator and _SCHEME.fullmatch(scheme) else ""
    return f"{kept}***@{after}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")
