"""Addresses of brokers: which are taken, and how they are shown. A password never gets into a message."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import unquote_to_bytes

_ESCAPE: Final = (
    "write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F, % as %25 and a space as %20 there (Python's "
    "urllib.parse.quote(text, safe='') does it)"
)
_OTHER_WAY: Final = ", or put the password into a file and name that in amqp.password_file"
_LARGEST_PORT: Final = 65535

_PLAIN: Final = (
    r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*"  # of RFC 3986, which says what breaks no URL
)
_USER_OR_PASSWORD: Final = re.compile(_PLAIN)
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}")
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]*))(?::([0-9]{0,6}))?")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

#: What others let a URL say after its ``?``, and the key that says it here.
_QUERY_KEYS: Final = {
    "heartbeat": "amqp.heartbeat",
    "ssl_options": "amqp.ca_file, amqp.cert_file and amqp.key_file",
    "cacertfile": "amqp.ca_file",
    "certfile": "amqp.cert_file",
    "keyfile": "amqp.key_file",
    "password": "amqp.password_file",
}


def redacted(url: str) -> str:
    """Return a URL without what may be secret: its password, and all after a ``?`` or ``#``.

    It need not be a good URL: of one that an unescaped ``@`` or ``/`` breaks, more is left out rather than
    less. ``amqp://me:secret@broker/x`` gives ``amqp://me:***@broker/x``.
    """
    match = _SCHEME.match(url)
    scheme, rest = (match[0], url[match.end() :]) if match else ("", url)
    # The last "@", as a password may hold others.
    before, at, after = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    if not at and match:
        # No "@" at all: what looks like a port may be a password whose host was forgotten.
        authority = re.split(r"[/?#]", after, maxsplit=1)[0]
        user, colon, port = authority.rpartition(":")
        if colon and not re.fullmatch(r"[0-9]{0,5}", port) and not authority.endswith("]"):
            return f"{scheme}{user.partition(':')[0]}:***"
    elif at:
        if re.search(r"[?#]", before):
            # Of a password, and the host follows; or of the end, and more of the secret does.
            return f"{scheme}{re.split(r'[/?#]', user, maxsplit=1)[0]}:***@***"
        user = re.split(r"[/?#]", user, maxsplit=1)[0]
        scheme += f"{user}{':***' if colon or user != before else ''}@"
    kept = re.split(r"[?#]", after, maxsplit=1)
    return scheme + kept[0] + ("?***" if len(kept) > 1 else "")


def amqp_fault(url: str) -> str | None:
    """Return what is wrong with the URL of a broker, and the remedy; None if it is good."""
    for scheme in ("amqp://", "amqps://"):
        if url.startswith(scheme):
            break
    else:
        return (
            "must begin with amqp:// or, for TLS, amqps://, as in "
            "'amqp://user:password@broker.example.com/virtual-host'"
        )
    rest = url.removeprefix(scheme)
    if fault := _authority_fault(rest, _OTHER_WAY):
        return fault
    path, question, query = rest.partition("?")
    if question:
        return _query_fault(query)
    _, _, virtual_host = path.partition("/")
    if "/" in virtual_host:
        return "has a second / after its host: write a / in the name of the virtual host as %2F"
    if not re.fullmatch(rf"(?:{_PLAIN}|:)*", virtual_host) or not _is_utf8(virtual_host):
        return f"has a character in its virtual host that breaks it: {_ESCAPE}"
    return None


def management_fault(url: str) -> str | None:
    """Return what is wrong with the URL of a management API, and the remedy; None if it is good."""
    match = re.match(r"https?://", url)
    if match is None:
        return "must begin with http:// or https://, as in 'https://broker.example.com:15671'"
    rest = url[match.end() :]
    if fault := _authority_fault(rest, ""):
        return fault
    return "must end with the host, the port or a path" if "?" in rest else None


def has_password(url: str) -> bool:
    """Whether a good URL holds a password."""
    authority = url.partition("://")[2].partition("/")[0]
    return "@" in authority and ":" in authority.partition("@")[0]


def _authority_fault(rest: str, other_way: str) -> str | None:
    """Return what is wrong with user, password, host and port. Nothing of them is quoted."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user_and_password, at, address = authority.rpartition("@")
    user, _, password = user_and_password.partition(":")
    if (
        "@" in rest[len(authority) :]
        or not (_USER_OR_PASSWORD.fullmatch(user) and _USER_OR_PASSWORD.fullmatch(password))
        or not (_is_utf8(user) and _is_utf8(password))
    ):
        return f"has a character in its user or password that breaks the URL: {_ESCAPE}{other_way}"
    if at and not user:
        return "has no user before its password: write user:password@host"
    if "#" in rest:
        return f"has a # in it, which breaks it: {_ESCAPE}{other_way}"
    return _address_fault(address)


def _address_fault(address: str) -> str | None:
    match = _ADDRESS.fullmatch(address)
    if match is None or (match[3] is not None and not 0 < int(match[3] or 0) <= _LARGEST_PORT):
        return (
            f"has a port that is no number from 1 to {_LARGEST_PORT}: write host:port (behind a user and a "
            "password there must be a host: user:password@host)"
        )
    if match[1] is not None:
        try:
            IPv6Address(match[1])
        except AddressValueError:
            return "has brackets around something that is no IPv6 address"
        return None
    if not match[2]:
        return "has no host: write one, such as localhost"
    if not _NAME.fullmatch(match[2]):
        return (
            "has a host that is neither a name nor an address: write it with letters, digits, '-', '_' "
            "and '.' (other alphabets in their 'xn--' form)"
        )
    return None


def _query_fault(query: str) -> str:
    for name in re.findall(r"(?:^|&)([a-z_]+)", query):
        if key := _QUERY_KEYS.get(name):
            return f"has {name} after a '?', which is not read here: set {key} instead"
    return "has options after a '?', which are not read here: the keys of amqp say what can be set"


def _is_utf8(text: str) -> bool:
    try:
        unquote_to_bytes(text).decode()
    except UnicodeError:
        return False
    return True
