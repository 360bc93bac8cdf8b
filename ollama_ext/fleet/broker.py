"""How to reach the broker: connection parameters for pika from our settings, and what its refusals mean."""

from __future__ import annotations

import platform
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec
import pika
from pika import exceptions
from pika.credentials import ExternalCredentials, PlainCredentials

from ollama_ext.version import __version__

from .errors import BrokerRefused, BrokerUnreachable, FleetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ollama_ext.settings import AmqpSettings

# Seconds for the TCP connection, and for all up to the open AMQP connection.
_CONNECT, _OPEN = 5.0, 15.0
# RabbitMQ resets a connection whose client properties are much longer, and pika takes that for a refusal.
_LONGEST_PROPERTIES: Final = 2048

# What pika makes of a connection that ends while it is being opened; and what a broker says that refuses us.
_GUESSES: Final = (
    exceptions.IncompatibleProtocolError,
    exceptions.ProbableAuthenticationError,
    exceptions.ProbableAccessDeniedError,
)
_REFUSALS: Final = frozenset({403, 530})

Kind = Literal["", "login", "vhost", "plain", "tls", "certificate"]


class Reason(msgspec.Struct, frozen=True):
    """Why a connection or a channel could not be had, or ended.

    Attributes:
        text: What happened, and what to do about it. Without secrets.
        code: The AMQP reply code, or None where the connection broke.
        final: Whether trying again is in vain until somebody changes something.
        kind: What was refused, where that is known: us (``login``), the virtual host, plain text where TLS is
            spoken (``plain``), TLS where it is not or not without our certificate, the broker's certificate.
    """

    text: str
    code: int | None = None
    final: bool = False
    kind: Kind = ""

    def error(self) -> FleetError:
        """Return it as an error to raise."""
        return BrokerRefused(self.text) if self.final else BrokerUnreachable(self.text)


def user_of(url: str) -> str:
    """Return the user that a URL logs in with."""
    return unquote(urlsplit(url).username or "guest")


def vhost_of(url: str) -> str:
    """Return the virtual host that a URL names."""
    return unquote(urlsplit(url).path[1:]) or "/"


def parameters(
    url: str, settings: AmqpSettings, name: str, told: Mapping[str, str]
) -> pika.ConnectionParameters:
    """Return pika's parameters for a broker, with passwords and certificates read anew.

    Args:
        url: Which broker, of those in the settings.
        settings: How it is reached.
        name: Of the connection, as the management UI shows it.
        told: What else the broker is told about us.

    Raises:
        BrokerUnreachable: A file of the settings cannot be read; somebody may be about to replace it.
    """
    parts = urlsplit(url)
    tls = parts.scheme == "amqps"
    host = parts.hostname or "localhost"
    return pika.ConnectionParameters(
        host=host,
        port=parts.port or (5671 if tls else 5672),
        virtual_host=vhost_of(url),
        credentials=_credentials(parts.username, parts.password, settings),
        ssl_options=pika.SSLOptions(tls_context(settings), host) if tls else None,
        heartbeat=settings.heartbeat,
        connection_attempts=1,  # the link tries again, and says so
        socket_timeout=_CONNECT,
        stack_timeout=_OPEN,
        blocked_connection_timeout=None,  # an alarm passes; acknowledgements go on meanwhile
        client_properties=_properties(name, told),
    )


def _credentials(
    user: str | None, password: str | None, settings: AmqpSettings
) -> PlainCredentials | ExternalCredentials:
    if user is None and settings.cert_file is not None and settings.password_file is None:
        return ExternalCredentials()  # the certificate says who we are
    secret = unquote(password) if password is not None else None
    if settings.password_file is not None:
        secret = _text_of(settings.password_file).rstrip("\r\n")
    return PlainCredentials(unquote(user or "guest"), "guest" if secret is None else secret)


def _text_of(file: str | Path) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise BrokerUnreachable(f"cannot read {file}: {reason}") from None


def tls_context(settings: AmqpSettings) -> ssl.SSLContext:
    """Return whom a connection trusts, and which certificate of ours it shows.

    Raises:
        BrokerUnreachable: The files cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=_path(settings.ca_file))
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, _path(settings.key_file))
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(
            str(file) for file in (settings.ca_file, settings.cert_file, settings.key_file) if file
        )
        raise BrokerUnreachable(f"cannot use the certificates of {files}: {error}") from None
    return context


def _path(file: str | Path | None) -> str | None:
    return None if file is None else str(file)


def _properties(name: str, told: Mapping[str, str]) -> dict[str, Any]:
    """Return what the management UI shows of us, cut to what RabbitMQ takes."""
    shown: dict[str, Any] = {
        "connection_name": name[:255],
        "product": "ollama-ext",
        "version": __version__,
        "platform": f"Python {platform.python_version()}, pika {pika.__version__}",
    }
    room = _LONGEST_PROPERTIES - sum(len(key) + len(str(value)) + 8 for key, value in shown.items())
    for key, value in told.items():
        cut = value.encode()[: max(room - len(key) - 8, 0)].decode(errors="ignore")
        room -= len(key) + len(cut.encode()) + 8
        if cut:
            shown[key] = cut
    return shown


def reason_of(reason: BaseException, address: str = "the broker", user: str = "") -> Reason:
    """Return what an exception of pika means, in words that name the remedy.

    Args:
        reason: Why a connection was not opened, or why it or a channel ended.
        address: Which broker, without secrets.
        user: Who we are there.
    """
    cause = _innermost(reason)
    who = f"user {user!r}" if user else "the user"
    if isinstance(cause, FleetError):
        return Reason(str(cause))
    if isinstance(cause, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        return _closed(cause.reply_code, cause.reply_text, address, who)
    return _unopened(cause, address, who) or _refused(cause, address, who) or _broken(cause, address)


def _unopened(cause: BaseException, address: str, who: str) -> Reason | None:
    """Return how a connection ended while it was being opened, or None if it is not about that.

    Pika guesses from how far it had come, and keeps what it saw as a text. But a broker that refuses says so
    (`ConnectionClosedByBroker`); one that just went may be restarting, and so may the network.
    """
    if isinstance(cause, exceptions.ConnectionOpenAborted | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Reason(f"{address} did not answer in time, or hung up, while the connection was being opened")
    seen = str(cause) if isinstance(cause, _GUESSES) else ""
    closed = re.search(r"ConnectionClosedByBroker: \((\d+)\) '?(.*)", seen, re.DOTALL)
    if closed is not None and int(closed[1]) not in _REFUSALS:
        return _closed(int(closed[1]), closed[2].rstrip("'\""), address, who)
    if "StreamLostError" not in seen:
        return None
    return _hung_up(cause, seen, address)


def _hung_up(cause: BaseException, seen: str, address: str) -> Reason:
    """Return why a broker ended a connection in silence."""
    if "SSLError" in seen and "ALERT" in seen:
        wanted = "it wants another certificate than ours, or one at all (amqp.cert_file)"
        return Reason(f"{address} ended TLS: {wanted}", final=True, kind="tls")
    text = f"{address} ended the connection while it was being opened: it is starting, or going down"
    if not isinstance(cause, exceptions.IncompatibleProtocolError):
        return Reason(text)
    if address.startswith("amqps:"):  # it may have told what is wrong with our certificate, and we not heard
        return Reason(f"{text}, or it wants a certificate (amqp.cert_file)", kind="tls")
    return Reason(f"{text}, or it is a port with TLS (the URL then begins with amqps://)", kind="plain")


def _refused(cause: BaseException, address: str, who: str) -> Reason | None:
    """Return what somebody must change, or None if that is not it."""
    code: int | None = None
    kind: Kind
    match cause:
        case exceptions.ProbableAuthenticationError() | exceptions.AuthenticationError():
            code, kind = 403, "login"
            text = (
                f"{address} refuses {who}: wrong password, no such user, or `guest` from another machine "
                "(RabbitMQ lets guest in from its own machine only; make a user: rabbitmqctl add_user NAME)"
            )
        case exceptions.ProbableAccessDeniedError():
            code, kind = 530, "vhost"
            text = (
                f"{address} does not let {who} into this virtual host: does it exist (rabbitmqctl add_vhost "
                "NAME), and may the user use it (rabbitmqctl set_permissions)?"
            )
        case exceptions.IncompatibleProtocolError():
            kind = "plain"
            text = (
                f"{address} does not speak AMQP 0-9-1 here: for a port with TLS the URL begins with amqps://"
            )
        case ssl.SSLCertVerificationError():
            kind = "certificate"
            text = (
                f"the certificate of {address} is not trusted ({cause.verify_message}): name the file of its "
                "authority as amqp.ca_file, and the host as it stands in the certificate"
            )
        case ssl.SSLError():
            kind = "tls"
            text = (
                f"no TLS with {address} ({cause.reason}): is it a port without TLS (amqp://), or does it "
                "want a certificate (amqp.cert_file)?"
            )
        case _:
            return None
    return Reason(text, code, final=True, kind=kind)


def _broken(cause: BaseException, address: str) -> Reason:
    if isinstance(cause, exceptions.AMQPHeartbeatTimeout):
        return Reason(f"{address} fell silent: no heartbeat came in time")
    if isinstance(cause, OSError) and cause.strerror:
        return Reason(f"{address} cannot be reached: {cause.strerror}")
    text = re.sub(r"\s+", " ", str(cause)).strip()[:300]
    return Reason(f"{address}: {type(cause).__name__}{': ' if text else ''}{text}")


def _closed(code: int, text: str, address: str, who: str) -> Reason:
    match code:
        case 403 if "ACCESS_REFUSED - Login" in text or "login" in text.lower():
            return Reason(
                f"{address} refuses {who}: wrong password, no such user, or `guest` from another machine "
                f"({text})",
                code,
                final=True,
                kind="login",
            )
        case 530:
            return Reason(
                f"{address} does not let {who} into the virtual host ({text}): rabbitmqctl add_vhost NAME, "
                "and rabbitmqctl set_permissions -p NAME ...",
                code,
                final=True,
                kind="vhost",
            )
        case 541:
            return Reason(f"{address} is starting, or failed ({text})", code)
        case _:
            return Reason(f"{address}: {text} ({code})", code)


def _innermost(reason: BaseException) -> BaseException:
    """Return the exception that says most: pika wraps those of its connecting, each in the next."""
    seen: set[int] = set()
    while id(reason) not in seen:
        seen.add(id(reason))
        inner = next(_inside(reason), None)
        if inner is None:
            break
        reason = inner
    return reason


def _inside(reason: BaseException) -> Iterator[BaseException]:
    if isinstance(reason, exceptions.ConnectionClosed | exceptions.ChannelClosed | OSError):
        return
    for name in ("exceptions", "args"):
        held: Any = getattr(reason, name, ())
        for each in reversed(tuple(held)):
            if isinstance(each, BaseException):
                yield each
    inner: Any = getattr(reason, "exception", None)
    if isinstance(inner, BaseException):
        yield inner
