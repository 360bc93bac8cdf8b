"""Which certificates are trusted."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from ollama_ext.errors import InvalidArgument

if TYPE_CHECKING:
    from .settings import TransportSettings


def tls_context(settings: TransportSettings) -> ssl.SSLContext:
    """Return what `Client(verify=)` means, by the rules that users of httpx know.

    True trusts ``$SSL_CERT_FILE`` or ``$SSL_CERT_DIR`` where the environment counts, else the certificates of
    certifi; False trusts everybody; a context is taken as it is.

    Raises:
        InvalidArgument: The environment names certificates that cannot be read.
    """
    if isinstance(settings.verify, ssl.SSLContext):
        return settings.verify
    if settings.verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = _trusting(settings)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting(settings: TransportSettings) -> ssl.SSLContext:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(name) if settings.trust_env else None
        if path:
            try:
                if name == "SSL_CERT_FILE":
                    return ssl.create_default_context(cafile=path)
                return ssl.create_default_context(capath=path)
            except OSError as error:  # ssl.SSLError is one
                raise InvalidArgument(
                    f"the certificates of {name}={path} cannot be used: {error}", argument="verify"
                ) from error
    import certifi  # noqa: PLC0415 - plain http does not need it

    return ssl.create_default_context(cafile=certifi.where())
